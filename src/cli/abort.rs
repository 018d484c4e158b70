//! `muster abort`: pulls a run's kill switch, then sees that its load is gone.

#![expect(
    clippy::disallowed_methods,
    reason = "the edge: looks again every second, for as long as a prober may take"
)]

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::args::BucketArgs;
use super::glance::Onlooker;
use super::{edge, output, report};
use crate::error::Error;
use crate::exit::Exit;
use crate::job::{RunId, Timestamp, Vantage};
use crate::rendezvous::drive::abort;
use crate::rendezvous::keys::{Folder, Item, RunKey};
use crate::rendezvous::objects::Live;
use crate::rendezvous::status::{State, Status};
use crate::rendezvous::{LEASE, RendezvousError, document};
use crate::store::Store;

/// How often the heartbeats are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the probers may take: each looks for an abort within ten seconds, and says so in its
/// next heartbeat or by its report.
const WITHIN: Duration = Duration::from_secs(30);

/// `muster abort`
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The run
    #[arg(value_name = "RUN", env = "MUSTER_RUN")]
    run: RunId,

    /// Why, for the report [default: by muster abort]
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "by muster abort",
        hide_default_value = true
    )]
    reason: String,
    #[command(flatten)]
    bucket: BucketArgs,
}

/// Stops every prober of a run.
pub async fn run(args: Args) -> Result<Exit, Error> {
    let onlooker = Onlooker::new(args.bucket.open().await?);
    let run = &args.run;
    let before = onlooker.look(run).await?;
    if before.objects == 0 {
        let place = report::place(&onlooker.store);
        let run = run.clone();
        return Err(RendezvousError::NoSuchRun { run, place }.into());
    }
    if let Some(why) = nothing_to_stop(&before) {
        output::print(&format!("run {run} {why}; there is nothing to stop"))?;
        return Ok(Exit::Passed);
    }
    let since = onlooker.now();
    match abort(&onlooker.store, run, &args.reason, edge::random()).await? {
        true => tracing::info!("the kill switch is pulled; probers stop within 10 s"),
        false => tracing::info!("somebody had pulled the kill switch before"),
    }
    let end = Instant::now() + WITHIN;
    loop {
        let loaded = loaded(&onlooker, run, since).await?;
        if loaded.is_empty() {
            output::print(&format!("run {run} is aborted; no prober puts on load"))?;
            return Ok(Exit::Passed);
        }
        if Instant::now() >= end {
            let names: Vec<&str> = loaded.iter().map(Vantage::as_str).collect();
            let text = format!(
                "the kill switch of run {run} is pulled, but {} did not say so within {} s; a prober that hears nothing for {} s stops by itself",
                names.join(", "),
                WITHIN.as_secs(),
                LEASE.as_secs()
            );
            return Err(Error::new(Exit::Incomplete, text));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Why there is no load to stop, and none to come.
fn nothing_to_stop(status: &Status) -> Option<&'static str> {
    match status.state {
        State::Combined { .. } | State::Over => Some("is over"),
        State::Cancelled { .. } => Some("was cancelled"),
        State::NeverStarted => Some("was never started"),
        State::Open
        | State::Starting
        | State::Running { .. }
        | State::Collecting
        | State::Aborted { .. }
        | State::Unreadable { .. } => None,
    }
}

/// The vantages that may still put on load: whose heartbeat neither says otherwise since `since`
/// on the bucket's clock, nor has been silent for a lease, and whose report is not there.
async fn loaded(onlooker: &Onlooker, run: &RunId, since: Timestamp) -> Result<Vec<Vantage>, Error> {
    let store = &onlooker.store;
    let reported = onlooker.look(run).await?.reported;
    let mut loaded = Vec::new();
    for entry in store.list(&Folder::Live.list(run)).await?.objects {
        let Ok(key) = entry.key.parse::<RunKey>() else {
            continue;
        };
        let Item::Live(vantage) = &key.item else {
            continue;
        };
        let silent = |at| onlooker.now().saturating_since(at) > LEASE;
        if reported.contains(vantage) || silent(entry.last_modified) {
            continue;
        }
        let object = store.get(&key.key(), key.limit()).await?;
        let live = document::read::<Live>(&key, &object.body).ok();
        let own_at = live.as_ref().and_then(|live| live.own_at);
        if own_at.is_some_and(silent) {
            continue;
        }
        // A `Last-Modified` has whole seconds.
        let fresh = own_at.is_none() && object.last_modified + Duration::from_secs(1) > since;
        if !(fresh && live.is_some_and(|live| live.connected == 0)) {
            loaded.push(vantage.clone());
        }
    }
    Ok(loaded)
}
