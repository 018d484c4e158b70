//! A run from its job to its result: what `run` and `local` share.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::{edge, others, sfu_clock};
use crate::error::Error;
use crate::job::{Job, RunId, Vantage, Workload};
use crate::rendezvous::Progress;
use crate::rendezvous::coordinator::{Cleanup, End};
use crate::rendezvous::document;
use crate::rendezvous::drive::{Bucket, CoordinatorOptions, run_coordinator, run_finalizer};
use crate::report::Combined;
use crate::rooms::{Keys, Rooms};
use crate::store::{Finding, probe};

/// What a run is coordinated with.
pub struct Coordination {
    /// What to do.
    pub job: Job,
    /// What admits its vantages, if they take part by tickets.
    pub tickets: BTreeMap<Vantage, Bytes>,
    /// Where the run meets.
    pub bucket: Bucket,
    /// The SFU's rooms.
    pub rooms: Rooms,
    /// What joins the SFU.
    pub keys: Keys,
    /// End as soon as a fixed start is in the bucket.
    pub detach: bool,
    /// Take part in the load of an SFU that another run is at.
    pub beside_others: bool,
}

/// What came of it.
pub enum Outcome {
    /// The run goes on by itself.
    Detached(RunId),
    /// The run is over, and this is its report.
    Over(Box<Combined>),
}

/// Coordinates a run to its end. It waits for its probers, which somebody else starts; whatever
/// happens, it leaves no room of its own behind.
pub async fn coordinate(
    with: Coordination,
    progress: mpsc::UnboundedSender<Progress>,
    abort: watch::Receiver<bool>,
) -> Result<Outcome, Error> {
    let Coordination {
        job,
        tickets,
        bucket,
        rooms,
        keys,
        detach,
        beside_others,
    } = with;
    let store = bucket.store();
    let found = probe(store, edge::random()).await?;
    found.require(store)?;
    if let Finding::No(why) = &found.replace {
        tracing::warn!(
            "this store has no conditional overwrites ({why}): probers that wait notice an abort within 40 s, not 10"
        );
    }
    if !beside_others {
        others::refuse(store, &rooms, &job).await?;
    }
    let made = make_room(&rooms, &job).await?;
    let run = job.run.clone();
    let (told, pongs) = mpsc::channel(1);
    // Ends with this function at the latest.
    let mut reading = JoinSet::new();
    if job.times.start_at.is_none() {
        // A start that is fixed goes by the bucket's clock.
        reading.spawn(sfu_clock::read(job.clone(), keys, told));
    }
    let ended = run_coordinator(
        &bucket,
        CoordinatorOptions {
            job: document::digested(job)?,
            tickets,
            detach,
            seed: edge::random(),
            pongs,
            progress,
            abort,
        },
    )
    .await;
    reading.shutdown().await;
    let over = matches!(ended.outcome, Ok(End::Over { .. }));
    let goes_on = matches!(ended.outcome, Ok(End::Detached(_))) || ended.cleanup == Cleanup::Keep;
    let result = match ended.outcome {
        Ok(End::Detached(_)) => Ok(Outcome::Detached(run.clone())),
        Ok(End::Over { .. }) => run_finalizer(&bucket, run.clone(), true, edge::random())
            .await
            .map(|finished| Outcome::Over(Box::new(finished.combined)))
            .map_err(Error::from),
        Ok(End::Failed(error)) | Err(error) => Err(error.into()),
    };
    let used = match ended.cleanup {
        // A run that somebody else began goes on when this coordinator fails.
        Cleanup::Delete(room) if over || made.as_ref() == Some(&room) => Some(room),
        Cleanup::Delete(_) | Cleanup::Keep => None,
        Cleanup::Leave(why) => {
            tracing::debug!("the room stays: {why}");
            None
        }
    };
    // The run's room has another name when somebody else began it.
    let unused = made.filter(|room| !goes_on && used.as_ref() != Some(room));
    for room in used.into_iter().chain(unused) {
        delete_room(&rooms, &room, &run).await;
    }
    result
}

/// Makes the room that all vantages share, unless it has to exist already. Its name, if it was
/// made here and now.
async fn make_room(rooms: &Rooms, job: &Job) -> Result<Option<String>, Error> {
    let Workload::SharedRoom {
        room,
        existing_room,
        ..
    } = &job.workload;
    if *existing_room {
        rooms.must_exist(room).await?;
        Ok(None)
    } else {
        // By the clock of the job's own times, which may be another than this machine's.
        let needed = job.times.hard_deadline.saturating_since(job.created_at) + job.times.grace.0;
        let made = rooms.create(room, &job.run, needed).await?;
        Ok(made.then(|| room.clone()))
    }
}

async fn delete_room(rooms: &Rooms, room: &str, run: &RunId) {
    match rooms.delete(room, run).await {
        Ok(true) => tracing::debug!("deleted room {room}"),
        Ok(false) => tracing::debug!("room {room} is gone already, or not this run's"),
        Err(error) => tracing::warn!("room {room} stays until it times out: {error}"),
    }
}
