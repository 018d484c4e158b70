//! `muster watch`: shows a run from another terminal, then its report.

#![expect(
    clippy::disallowed_methods,
    reason = "the edge: looks again every other second"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;

use super::args::{BucketArgs, OutputArgs};
use super::glance::Onlooker;
use super::progress::Shown;
use super::{output, report};
use crate::error::Error;
use crate::exit::Exit;
use crate::job::{RunId, Timestamp};
use crate::render;
use crate::rendezvous::keys::{Folder, Item, RunKey};
use crate::rendezvous::objects::Live;
use crate::rendezvous::status::{State, Status};
use crate::rendezvous::{Progress, RendezvousError, document};
use crate::store::Store;

/// How often the bucket is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// `muster watch`
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The run [default: the newest]
    #[arg(value_name = "RUN", env = "MUSTER_RUN")]
    run: Option<RunId>,
    #[command(flatten)]
    bucket: BucketArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Shows what happens until the run is over; then prints its report, and exits as it did.
pub async fn run(args: Args) -> Result<Exit, Error> {
    output::check_writable(&args.output)?;
    let onlooker = Onlooker::new(args.bucket.open().await?);
    let run = report::named_or_newest(&onlooker.store, args.run.clone()).await?;
    let mut watch = Watch::default();
    loop {
        let status = match onlooker.look(&run).await {
            Ok(status) => status,
            // A bucket that answered before may do so again.
            Err(e) if e.exit() == Exit::Unreachable && watch.before.is_some() => {
                tracing::warn!("{e}");
                sleep(LOOK_EVERY).await;
                continue;
            }
            Err(e) => return Err(e),
        };
        if status.objects == 0 {
            let place = report::place(&onlooker.store);
            return Err(RendezvousError::NoSuchRun { run, place }.into());
        }
        watch.show(&onlooker, &status).await?;
        let over = status.load_is_over(onlooker.now());
        match status.state {
            State::Combined { .. } => {
                let combined = report::of_run(&onlooker.store, &run).await?;
                return output::report(&combined, &args.output);
            }
            State::Aborted { reason } if status.start.is_none() => {
                let text = format!("run {run} was aborted before its start: {reason}");
                return Err(Error::new(Exit::Aborted, text));
            }
            // Nobody has combined what came, and nobody is about to.
            State::Aborted { .. } if over => return Err(RendezvousError::NoReport { run }.into()),
            State::Cancelled { reason } => {
                let text = format!("run {run} was cancelled: {reason}");
                return Err(Error::new(Exit::Aborted, text));
            }
            State::NeverStarted => {
                let text = format!("run {run} was never started, and can't be any more");
                return Err(Error::new(Exit::TimedOut, text));
            }
            State::Unreadable { reason } => {
                let text = format!("the job of run {run} can't be read: {reason}");
                return Err(Error::new(Exit::Incomplete, text));
            }
            State::Over => return Err(RendezvousError::NoReport { run }.into()),
            State::Open
            | State::Starting
            | State::Running { .. }
            | State::Collecting
            | State::Aborted { .. } => {}
        }
        sleep(LOOK_EVERY).await;
    }
}

/// What has been shown so far.
#[derive(Default)]
struct Watch {
    before: Option<Status>,
    live: BTreeMap<RunKey, Timestamp>,
    shown: Shown,
}

impl Watch {
    async fn show(&mut self, onlooker: &Onlooker, status: &Status) -> Result<(), Error> {
        let state = render::state(&status.state);
        if self.before.as_ref().map(|b| render::state(&b.state)) != Some(state.clone()) {
            tracing::info!("run {}: {state}", status.run);
        }
        let before = |of: fn(&Status) -> &std::collections::BTreeSet<_>| {
            self.before.as_ref().map(of).cloned().unwrap_or_default()
        };
        let expected = status.expected.map_or("?".to_owned(), |n| n.to_string());
        for vantage in status.claimed.difference(&before(|s| &s.claimed)) {
            tracing::info!("{vantage}: took its slot");
        }
        for vantage in status.ready.difference(&before(|s| &s.ready)) {
            tracing::info!("{vantage}: answered ({} of {expected})", status.ready.len());
        }
        for vantage in status.reported.difference(&before(|s| &s.reported)) {
            let vantage = vantage.clone();
            self.shown.show(&Progress::Reported { vantage });
        }
        self.before = Some(status.clone());
        if matches!(status.state, State::Combined { .. }) {
            return Ok(());
        }
        let store = &onlooker.store;
        for entry in store.list(&Folder::Live.list(&status.run)).await?.objects {
            let Ok(key) = entry.key.parse::<RunKey>() else {
                continue;
            };
            let is_live = matches!(key.item, Item::Live(_));
            if !is_live
                || self.live.insert(key.clone(), entry.last_modified) == Some(entry.last_modified)
            {
                continue;
            }
            let object = store.get(&key.key(), key.limit()).await?;
            if let Ok(live) = document::read::<Live>(&key, &object.body) {
                self.shown.show(&Progress::Live {
                    live: Box::new(live),
                });
            }
        }
        Ok(())
    }
}
