//! Carries out what the machines decide: dull loops over the bucket, the load and the clock.

mod abort;
mod bucket;
mod coordinator;
mod finalizer;
mod prober;

pub use abort::abort;
pub use bucket::Bucket;
pub use coordinator::{CoordinatorOptions, RunEnd, run_coordinator};
pub use finalizer::{read_job, run_finalizer};
pub use prober::{ProberOptions, run_prober};

use tokio::task::{JoinError, JoinSet};

use crate::clock;
use crate::job::Timestamp;
use crate::rendezvous::RendezvousError;

/// Waits for the next of these tasks to end, or for ever. A panic in one is an error: what its
/// machine waits for will never come.
async fn next_of<T: 'static>(tasks: &mut JoinSet<T>) -> Result<T, RendezvousError> {
    match tasks.join_next().await {
        Some(ended) => ended.map_err(|e: JoinError| RendezvousError::Internal(e.to_string())),
        None => std::future::pending().await,
    }
}

/// Waits until a local time, or for ever. It may return early: a machine takes that.
async fn wait_until(t: Option<Timestamp>) {
    match t {
        Some(t) => clock::sleep_until(t).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_task_is_an_error() {
        let mut tasks = JoinSet::new();
        tasks.spawn(async { 1 });
        assert_eq!(next_of(&mut tasks).await, Ok(1));
        tasks.spawn(async { panic!("as asked for") });
        let error = next_of(&mut tasks).await;
        assert!(
            matches!(error, Err(RendezvousError::Internal(_))),
            "{error:?}"
        );
    }
}
