//! `muster runs`: the runs of the bucket, with where each stands.

use super::args::{BucketArgs, Format};
use super::glance::Onlooker;
use super::{output, report};
use crate::error::Error;
use crate::exit::Exit;
use crate::render;

/// `muster runs`
#[derive(clap::Args, Debug)]
pub struct Args {
    /// How many of the newest runs to show [default: 20]
    #[arg(
        long,
        value_name = "N",
        default_value = "20",
        hide_default_value = true
    )]
    newest: usize,

    /// How the list on standard output looks [default: text]
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "text",
        hide_default_value = true
    )]
    format: Format,
    #[command(flatten)]
    bucket: BucketArgs,
}

/// Prints a line for each run, the newest first.
pub async fn run(args: Args) -> Result<Exit, Error> {
    let onlooker = Onlooker::new(args.bucket.open().await?);
    let all = report::runs(&onlooker.store).await?;
    let shown = all.get(..args.newest).unwrap_or(&all);
    let statuses = onlooker.look_at(shown).await?;
    output::print(&match args.format {
        Format::Text => render::runs(&statuses),
        Format::Json => serde_json::to_string_pretty(&statuses)
            .map_err(|e| Error::new(Exit::Internal, format!("cannot write the list: {e}")))?,
    })?;
    let older = all.len().saturating_sub(statuses.len());
    if older > 0 {
        tracing::info!("and {older} older ones; --newest {} shows all", all.len());
    }
    Ok(Exit::Passed)
}
