//! `muster run`: coordinate a run on several machines.

use std::collections::BTreeMap;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, watch};

use super::args::{BucketArgs, FleetArgs, JobArgs, KeysArgs, OutputArgs, StartArgs};
use super::coordinate::{Coordination, Outcome, coordinate};
use super::lambda::LambdaArgs;
use super::progress::Shown;
use super::signals::Signals;
use super::tickets::IssueArgs;
use super::{bucket_clock, edge, output, plan, viewer};
use crate::error::Error;
use crate::exit::Exit;
use crate::job::RunId;
use crate::rendezvous::Progress;
use crate::rendezvous::drive::Bucket;
use crate::rooms::Rooms;

/// `muster run`
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    fleet: FleetArgs,
    #[command(flatten)]
    job: JobArgs,
    #[command(flatten)]
    start: StartArgs,

    /// Exit once the job and its fixed start are written; `muster finalize` does the rest
    #[arg(long, help_heading = "Job")]
    detach: bool,

    /// The new run's id; a second call with the same id joins the first [default: made up]
    #[arg(long, value_name = "RUN", env = "MUSTER_RUN", help_heading = "Job")]
    run: Option<RunId>,
    #[command(flatten)]
    keys: KeysArgs,
    #[command(flatten)]
    bucket: BucketArgs,
    #[command(flatten)]
    tickets: IssueArgs,
    #[command(flatten)]
    lambda: LambdaArgs,

    /// Print a link that shows the room in a browser; whoever has it may watch
    #[arg(long, help_heading = "Output")]
    viewer: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Coordinates the run, and prints its result.
pub async fn run(args: Args) -> Result<Exit, Error> {
    let fleet = args.lambda.fleet(&args.fleet);
    let defaults = args.lambda.over(plan::defaults());
    let resolve = |origin| plan::job(&fleet, &args.job, &args.start, origin, defaults.clone());
    let origin = edge::origin(args.run.clone());
    // What is wrong with the job shows before anything is asked.
    let job = resolve(origin.clone())?;
    if args.detach && job.times.start_at.is_none() {
        return Err(Error::new(
            Exit::BadConfiguration,
            "--detach needs a start that is fixed; add --start-in 90s or --start-at TIME",
        ));
    }
    output::check_writable(&args.output)?;
    args.tickets.check_writable()?;
    let keys = args.keys.keys()?;
    let store = args.bucket.open().await?;
    // All that is asked for the run is counted, from the first question on.
    let bucket = Bucket::from(store.clone());
    let by_bucket =
        bucket_clock::by_bucket(bucket.store(), store.dates(), origin, args.run.clone());
    let job = match by_bucket.await? {
        origin if origin.now == job.created_at => job,
        origin => resolve(origin)?,
    };
    let (job, functions) = args.lambda.functions(job).await?;
    tracing::info!("estimated cost: {}", job.estimate().text());
    let rooms = Rooms::new(&job.url, &keys);
    let link = args
        .viewer
        .then(|| viewer::link_to(&job, &keys))
        .transpose()?;
    let (tell, mut told) = mpsc::unbounded_channel();
    let (abort, aborted) = watch::channel(false);
    let (job, tickets, book) = if args.tickets.wanted() || functions.is_some() {
        let issued = args.tickets.issue(job, &store, &keys).await?;
        (issued.job.document, issued.tickets, Some(issued.book))
    } else {
        (job, BTreeMap::new(), None)
    };
    let coordination = Coordination {
        job,
        tickets,
        bucket,
        rooms,
        keys,
        detach: args.detach,
        beside_others: args.job.beside_others,
    };
    let mut ended = std::pin::pin!(coordinate(coordination, tell, aborted));
    let mut signals = Signals::listen()?;
    let mut shown = Shown::default();
    let mut calls = FuturesUnordered::new();
    let mut failed = None;
    let outcome = loop {
        tokio::select! {
            biased;
            Some(progress) = told.recv() => {
                shown.show(&progress);
                if let Progress::JobWritten { run, tickets } = &progress {
                    if let Some(link) = &link {
                        viewer::show(link);
                    }
                    match &book {
                        Some(book) if *tickets => {
                            args.tickets.hand_out(book, args.output.format)?;
                            if let Some(functions) = &functions {
                                calls.push(functions.call(run.clone(), book));
                            }
                        }
                        Some(_) => tracing::warn!("the run was begun without tickets, and has none"),
                        None => {}
                    }
                }
            }
            Some(called) = calls.next(), if !calls.is_empty() => {
                // Without all its functions the run is not what was asked for.
                if let Err(error) = called {
                    abort.send_replace(true);
                    failed = Some(error);
                }
            }
            outcome = &mut ended => break outcome,
            signal = signals.next() => signals.ask_once(signal, &abort)?,
        }
    };
    // Who leaves the run to itself leaves once its functions are called.
    while let Some(called) = calls.next().await {
        failed = failed.or(called.err());
    }
    if let Some(error) = failed {
        return Err(error);
    }
    match outcome? {
        Outcome::Over(combined) => output::report(&combined, &args.output),
        Outcome::Detached(run) => {
            output::print(&run.to_string())?;
            Ok(Exit::Passed)
        }
    }
}
