//! Carries out what the machines decide: dull loops over the bucket, the load and the clock.

mod bucket;
mod coordinator;
mod finalizer;
mod prober;

pub use bucket::Bucket;
pub use coordinator::{CoordinatorOptions, RunEnd, run_coordinator};
pub use finalizer::run_finalizer;
pub use prober::{ProberOptions, run_prober};

use crate::clock;
use crate::job::Timestamp;

/// Waits until a local time, or for ever. It may return early: a machine takes that.
async fn wait_until(t: Option<Timestamp>) {
    match t {
        Some(t) => clock::sleep_until(t).await,
        None => std::future::pending().await,
    }
}
