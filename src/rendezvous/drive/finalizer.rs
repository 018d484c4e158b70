//! Drives a finalizer, and reads what others left.

use tokio::task::JoinSet;

use super::Bucket;
use crate::clock;
use crate::job::{Job, RunId};
use crate::rendezvous::exchange::Reply;
use crate::rendezvous::finalizer::{Event, Finalizer, Finished, Settings, WHOLE_MAX};
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::{RendezvousError, document};
use crate::store::{RequestCounts, Store};

/// A run's job; `None` when there is no such run.
///
/// # Errors
/// When the bucket does not say, or the job can't be read.
pub async fn read_job(store: &dyn Store, run: &RunId) -> Result<Option<Job>, RendezvousError> {
    let key = RunKey::new(run, Item::Job);
    match store.get(&key.key(), key.limit()).await {
        Ok(object) => document::read(&key, &object.body).map(Some),
        Err(e) if e.is_absent() => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Finalizes a run: freezes what has arrived and stores the combined report. Called again, it
/// makes a further revision only if more has come since.
///
/// With `wait`, it waits for the run's end; else a run that isn't over is an error. `seed` is a
/// random number, drawn for this call. What `bucket` was asked before is taken for the coordinator's.
///
/// # Errors
/// When there is no such run, when it is not over, when the bucket fails.
pub async fn run_finalizer(
    bucket: &Bucket,
    run: RunId,
    wait: bool,
    seed: u64,
) -> Result<Finished, RendezvousError> {
    let settings = Settings {
        run,
        wait,
        whole_max: WHOLE_MAX,
        place: bucket.place(),
        seed,
    };
    let before = bucket.requests();
    let coordinator = (before != RequestCounts::default()).then_some(before);
    let mut machine = Finalizer::new(settings, clock::now());
    let mut under_way: JoinSet<Reply> = JoinSet::new();
    let mut judging: JoinSet<Event> = JoinSet::new();
    let mut event = Event::Wake;
    loop {
        for sample in bucket.clock() {
            for request in machine.handle(clock::now(), Event::Clock(sample)) {
                bucket.ask(request, &mut under_way);
            }
        }
        machine.count(coordinator, bucket.requests());
        for request in machine.handle(clock::now(), event) {
            bucket.ask(request, &mut under_way);
        }
        if let Some(end) = machine.take_end() {
            return end;
        }
        let wake_at = machine.wake_at();
        event = tokio::select! {
            judged = super::next_of(&mut judging) => judged?,
            reply = super::next_of(&mut under_way) => match reply? {
                Reply::Read(key, Ok(object)) if let Some(terms) = machine.terms(&key) => {
                    // Some milliseconds on one of the runtime's threads, of which there are as many
                    // as processors.
                    judging.spawn(async move {
                        Event::Judged(key, Box::new(terms.judge(&object.body)))
                    });
                    Event::Wake
                }
                reply => Event::Replied(reply),
            },
            () = super::wait_until(wake_at) => Event::Wake,
        };
    }
}
