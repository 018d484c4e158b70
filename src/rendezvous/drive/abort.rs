//! Drives who stops a run.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::bucket::answer;
use crate::clock;
use crate::job::RunId;
use crate::rendezvous::RendezvousError;
use crate::rendezvous::abort::Aborter;
use crate::store::Store;

/// Pulls the kill switch of a run and has its probers look at it; says whether it was this call
/// that pulled it. `seed` is a random number, drawn for this call.
///
/// # Errors
/// When the kill switch can't be written.
pub async fn abort(
    store: &dyn Store,
    run: &RunId,
    reason: &str,
    seed: u64,
) -> Result<bool, RendezvousError> {
    let mut machine = Aborter::new(run, reason, seed, clock::now())?;
    let mut under_way = FuturesUnordered::new();
    loop {
        for request in machine.act(clock::now()) {
            under_way.push(answer(store, request));
        }
        if let Some(end) = machine.end() {
            return end.clone().map_err(RendezvousError::from);
        }
        let wake_at = machine.wake_at();
        tokio::select! {
            Some(reply) = under_way.next() => machine.replied(clock::now(), &reply),
            () = super::wait_until(wake_at) => {}
        }
    }
}
