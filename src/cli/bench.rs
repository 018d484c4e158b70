//! `muster bench`: what participants and the finalizer cost.

mod capacity;
mod density;
mod finalize;
mod joins;
mod span;

use std::path::{Path, PathBuf};

use super::args::KeysArgs;
use super::output;
use super::signals::Signals;
use crate::bench::child::Told;
use crate::bench::participants::{Load, Participants};
use crate::error::Error;
use crate::exit::Exit;
use crate::local::cache::cache_dir;
use crate::local::livekit_server;

/// `muster bench`
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// CPU per packet and memory per participant, beside `lk` (if on PATH) and a bare loop
    Density(density::Args),
    /// Many joins in a short time, and whether all came when they were due
    Joins(joins::Args),
    /// Many participants in one process for minutes, and whether it stays flat
    Capacity(capacity::Args),
    /// Combining the parts of many vantages from a real MinIO, and whether it grows linearly
    Finalize(finalize::Args),
    /// The finalizer of one run, in a process of its own
    #[command(hide = true)]
    Finalizer(finalize::ProcessArgs),
    /// Participants in a process of their own
    #[command(hide = true)]
    Participants(ParticipantsArgs),
}

#[derive(clap::Args, Debug)]
struct ParticipantsArgs {
    #[arg(long)]
    url: String,
    #[arg(long)]
    room: String,
    #[arg(long, default_value_t = 1)]
    rooms: u32,
    #[arg(long)]
    count: u32,
    #[arg(long)]
    join_rate: u32,
    #[arg(long, value_enum, default_value = "subscribers")]
    load: Load,
    #[command(flatten)]
    keys: KeysArgs,
}

/// Measures, or is what is measured.
pub async fn run(args: Args) -> Result<Exit, Error> {
    match args.what {
        What::Density(args) => return density::run(args).await,
        What::Joins(args) => return joins::run(args).await,
        What::Capacity(args) => return capacity::run(args).await,
        What::Finalize(args) => return finalize::run(args).await,
        What::Finalizer(args) => finalize::process(args).await?,
        What::Participants(args) => participants(args).await?,
    }
    Ok(Exit::Passed)
}

/// What `--livekit-server` is, in every bench.
const SERVER_HELP: &str =
    "The livekit-server to start [default: the one on PATH, else one that is built into the cache]";

/// The server's program, found or built.
async fn server(named: Option<&Path>) -> Result<PathBuf, Error> {
    let cache = cache()?;
    let say = |line: String| tracing::info!("{line}");
    Ok(livekit_server::find(named, &cache, say).await?)
}

/// Where servers are built.
fn cache() -> Result<PathBuf, Error> {
    cache_dir(|name| std::env::var_os(name)).ok_or_else(|| {
        Error::new(
            Exit::BadConfiguration,
            "no cache directory; set HOME or MUSTER_CACHE_DIR",
        )
    })
}

/// Waits for a measurement, or for a signal that ends it.
async fn measured<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let mut signals = Signals::listen()?;
    tokio::select! {
        measured = work => measured,
        signal = signals.next() => {
            let text = format!("{signal}: stopped, with nothing measured");
            Err(Error::new(Exit::Aborted, text))
        }
    }
}

/// How to exit after a measurement with these findings.
const fn finding(findings: &[String]) -> Exit {
    if findings.is_empty() {
        Exit::Passed
    } else {
        Exit::ThresholdFailed
    }
}

/// Appends the findings, or that there are none.
fn verdict(findings: &[String], good: &str, out: &mut String) {
    if findings.is_empty() {
        out.push_str(&format!("{good}\n\n"));
        return;
    }
    for finding in findings {
        out.push_str(&format!("FAILED: {finding}\n"));
    }
    out.push('\n');
}

async fn participants(args: ParticipantsArgs) -> Result<(), Error> {
    let participants = Participants {
        url: args.url,
        room: args.room,
        rooms: args.rooms,
        keys: args.keys.keys()?,
        load: args.load,
        count: args.count,
        join_rate: args.join_rate,
    };
    let mut signals = Signals::listen()?;
    let stop = async {
        signals.next().await;
    };
    let told = |told: &Told| output::print(&line(told)?);
    participants.run(stop, told).await
}

fn line(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|e| Error::new(Exit::Internal, e.to_string()))
}
