//! The command line as it is typed: raw arguments, each group with the plan it resolves to.

mod bucket;
mod command;
mod job;
mod keys;
mod output;
mod ticket;

pub use bucket::{BucketArgs, open};
pub use job::{FleetArgs, JobArgs, StartArgs};
pub use keys::KeysArgs;
pub use output::{Format, OutputArgs};
pub use ticket::TicketArgs;

use clap::{Parser, Subcommand, ValueEnum};

use super::{
    abort, bench, check, clean, finalize, iam, local, plan, probe, report, run, runs, watch,
};

/// Does a LiveKit SFU hold up when clients from several regions join at once, and where does
/// it break?
#[derive(Debug, Parser)]
#[command(
    name = "muster",
    version,
    after_help = "MUSTER_LOG sets what is logged on standard error (`info`, `muster=debug`) [default: info].\n\
        Exit codes: 0 passed, 1 internal, 99 a threshold failed, 102 timed out, 104 bad configuration,\n\
        105 aborted, 111 incomplete or unknown, 112 slot taken, 113 SFU or bucket unreachable."
)]
pub struct Cli {
    /// How log lines on standard error look [default: text]
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "text",
        hide_default_value = true
    )]
    pub log_format: LogFormat,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one, made once; clap's derive takes no box here"
)]
pub enum Command {
    /// Write a job, wait for the probers, start them together, print the combined result
    Run(run::Args),
    /// Take part in a run from here: claim the slot, try the path, wait for the start, ramp
    Probe(probe::Args),
    /// Combine whatever has arrived for a run that is over; may be called as often as you like
    Finalize(finalize::Args),
    /// Print the combined report of a run, the newest by default; exit as that run did
    Report(report::Args),
    /// Print the resolved job with its shares, windows and totals; write nothing
    Plan(plan::Args),
    /// Tell within ten seconds whether keys, rooms, the bucket, UDP and TCP work from here
    Check(check::Args),
    /// A whole run on this machine: bucket, livekit-server, probers and coordinator
    Local(local::Args),
    /// Stop a run: every prober leaves within ten seconds
    Abort(abort::Args),
    /// List the runs in the bucket, with where each stands
    Runs(runs::Args),
    /// Show a run while it goes on, from any terminal; then print its report
    Watch(watch::Args),
    /// Remove old runs from the bucket, and rooms that they left behind
    Clean(clean::Args),
    /// Print the least IAM policies of coordinator, finalizer and each vantage
    Iam(iam::Args),
    /// What muster's participants cost, beside LiveKit's own load tester and a bare loop
    Bench(bench::Args),
}
