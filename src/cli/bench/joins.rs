//! `muster bench joins`.

use std::path::PathBuf;

use super::{SERVER_HELP, finding, line, measured, server};
use crate::bench::joins::{self, Joins, Setup, Times};
use crate::cli::output;
use crate::error::Error;
use crate::exit::Exit;
use crate::prober::descriptors;
use crate::render::table::{paragraph, table};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Subscribers that join
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    subscribers: u32,

    /// Rooms that they join in turn, each with one publisher of audio
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rooms: u32,

    /// Joins per second
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    join_rate: u32,

    #[arg(long, value_name = "PATH", help = SERVER_HELP)]
    livekit_server: Option<PathBuf>,

    /// Write the result to this file as JSON as well
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

impl Args {
    /// Fails on what can't be had, before anything starts.
    fn check(&self) -> Result<(), Error> {
        if self.rooms > self.subscribers {
            let text = format!(
                "--rooms {} is more than --subscribers {}: a room needs one at least",
                self.rooms, self.subscribers
            );
            return Err(Error::new(Exit::BadConfiguration, text));
        }
        descriptors::provide(self.subscribers.into(), self.rooms.into())?;
        output::check_path(self.json.as_deref())
    }
}

/// Joins, and says how it went.
pub async fn run(args: Args) -> Result<Exit, Error> {
    args.check()?;
    let setup = Setup {
        livekit_server: server(args.livekit_server.as_deref()).await?,
        subscribers: args.subscribers,
        rooms: args.rooms,
        join_rate: args.join_rate,
    };
    let say = |step: &str| tracing::info!("measuring: {step}");
    let joins = measured(joins::measure(&setup, say)).await?;
    output::print(&text(&joins))?;
    if let Some(path) = &args.json {
        output::keep(path, &line(&joins)?)?;
    }
    Ok(finding(&joins.findings))
}

fn text(joins: &Joins) -> String {
    let times = |t: &Times| {
        let ms = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.1}"));
        format!(
            "p50 {} ms, p99 {} ms, worst {} ms",
            ms(t.p50),
            ms(t.p99),
            ms(t.max)
        )
    };
    let failed: Vec<String> = joins
        .failures
        .iter()
        .map(|(cause, n)| format!("{n} {cause}"))
        .collect();
    let failed = if failed.is_empty() {
        "none failed".to_owned()
    } else {
        format!("failed: {}", failed.join(", "))
    };
    let achieved = match joins.achieved_per_second {
        Some(rate) => format!("{rate:.1} a second"),
        None => "one join has no rate".to_owned(),
    };
    let rows = [
        (
            "joins",
            format!("{} over {} rooms, {failed}", joins.joins, joins.rooms),
        ),
        (
            "asked for",
            format!("{:.0} a second", joins.asked_per_second),
        ),
        ("achieved", achieved),
        (
            "all over",
            format!("{:.2} s after the first was due", joins.seconds),
        ),
        ("due to dial", times(&joins.late_ms)),
        ("dial to connected", times(&joins.connected_ms)),
        (
            "CPU",
            format!(
                "{:.2} ms per join, of the prober's process",
                joins.cpu_ms_per_join
            ),
        ),
    ];
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(name, value)| vec![format!("{name:<19}{value}")])
        .collect();
    let mut out = table(&rows);
    out.push('\n');
    let good = match joins.conditions.is_release() {
        true => "what was asked for was done",
        false => "what was asked for was done; what a join costs was not looked at",
    };
    super::verdict(&joins.findings, good, &mut out);
    out.push_str(&paragraph("Conditions: ", 12, &joins.conditions.text()));
    out
}
