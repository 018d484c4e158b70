//! The finalizer function: called for each report and once at the end, it makes the combined
//! report when all is in or the time has come, and leaves at once otherwise.

use serde_json::{Value, json};

use super::Invocation;
use super::event::FinalizerEvent;
use crate::cli::{BucketArgs, edge};
use crate::error::Error;
use crate::job::RunId;
use crate::rendezvous::RendezvousError;
use crate::rendezvous::drive::{Bucket, run_finalizer};

/// Finalizes the runs that an event is about, as far as they are over.
///
/// # Errors
/// When the event can't be read, or the bucket fails; the same event again goes on from there.
pub async fn finalize(event: Value, invocation: &Invocation) -> Result<Value, Error> {
    let bucket = BucketArgs::from_env()?;
    let prefix = bucket.settings()?.url.prefix().to_owned();
    let event = FinalizerEvent::read(event, &prefix)?;
    let work = async {
        let bucket = Bucket::from(bucket.open().await?);
        let mut runs = Vec::new();
        match event {
            // Clocks differ: at its time a run may not be over for another moment.
            FinalizerEvent::Due(run) => runs.push(one(&bucket, run, true).await?),
            FinalizerEvent::Reported(reported) => {
                for run in reported {
                    runs.push(one(&bucket, run, false).await?);
                }
            }
        }
        Ok(json!({"runs": runs}))
    };
    invocation.within(work).await
}

async fn one(bucket: &Bucket, run: RunId, wait: bool) -> Result<Value, Error> {
    match run_finalizer(bucket, run.clone(), wait, edge::random()).await {
        Ok(finished) => {
            let (revision, verdict) = (finished.revision.0, finished.combined.verdict);
            tracing::info!("run {run}: revision {revision}, {verdict:?}");
            Ok(json!({"run": run, "revision": revision, "verdict": verdict}))
        }
        Err(e @ (RendezvousError::StillRunning { .. } | RendezvousError::NotStarted { .. })) => {
            tracing::info!("{e}");
            Ok(json!({"run": run, "left": e.to_string()}))
        }
        Err(e) => Err(e.into()),
    }
}
