//! The command line: raw arguments, a resolved plan, a result. Every failure has one line and
//! one exit code.

pub(crate) mod abort;
mod args;
mod bench;
pub(crate) mod bucket_clock;
mod check;
mod clean;
pub(crate) mod coordinate;
pub(crate) mod edge;
mod finalize;
mod fleet;
mod glance;
pub(crate) mod guards;
mod iam;
mod lambda;
mod local;
pub(crate) mod log;
mod others;
mod output;
pub(crate) mod plan;
mod probe;
pub(crate) mod progress;
mod report;
mod run;
mod runs;
mod sfu_clock;
mod signals;
mod tickets;
mod viewer;
mod watch;
mod whoami;

use std::ffi::OsString;

use crate::error::Error;
use crate::exit::Exit;
pub(crate) use args::{BucketArgs, LogFormat};
use args::{Cli, Command};
pub use guards::CloudRefusal;

/// Parses `args`, carries out the command, and says how to exit.
pub fn main(args: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::read(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for; all else is a mistake. Nothing helps against a
            // closed stream.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::BadConfiguration
            } else {
                Exit::Passed
            };
        }
    };
    let result = log::start(cli.log_format).and_then(|()| carry_out(cli.command));
    match result {
        Ok(exit) => exit,
        Err(error) => {
            log::failure(cli.log_format, &error);
            error.exit()
        }
    }
}

fn carry_out(command: Command) -> Result<Exit, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::new(Exit::Internal, format!("cannot start threads: {e}")))?;
    // On a worker, so that a panic comes back as a value, and so that children are started by a
    // thread that lives as long as the runtime.
    let task = runtime.spawn(async move {
        match command {
            Command::Run(args) => run::run(args).await,
            Command::Probe(args) => probe::run(args).await,
            Command::Finalize(args) => finalize::run(args).await,
            Command::Report(args) => report::run(&args).await,
            Command::Plan(args) => plan::run(&args),
            Command::Check(args) => check::run(&args).await,
            Command::Local(args) => local::run(args).await,
            Command::Abort(args) => abort::run(args).await,
            Command::Runs(args) => runs::run(args).await,
            Command::Watch(args) => watch::run(args).await,
            Command::Clean(args) => clean::run(args).await,
            Command::Iam(args) => iam::run(&args),
            Command::Bench(args) => bench::run(args).await,
        }
    });
    let result = runtime.block_on(task).unwrap_or_else(|panic| {
        let text = format!("muster itself failed, which is a bug: {panic}");
        Err(Error::new(Exit::Internal, text))
    });
    // What still runs has been told to stop; a thread that does not is not waited for.
    runtime.shutdown_background();
    result
}
