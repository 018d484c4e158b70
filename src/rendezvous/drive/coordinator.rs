//! Drives a coordinator.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::Bucket;
use crate::clock;
use crate::job::{Digested, Job, RunId, Vantage};
use crate::prober::Pongs;
use crate::rendezvous::RendezvousError;
use crate::rendezvous::coordinator::{Action, Cleanup, Coordinator, End, Event, Settings};
use crate::rendezvous::exchange::Reply;
use crate::rendezvous::progress::Progress;

/// How to coordinate a run.
#[derive(Debug)]
pub struct CoordinatorOptions {
    /// What to do.
    pub job: Digested<Job>,
    /// What admits its vantages, if they take part by tickets.
    pub tickets: BTreeMap<Vantage, Bytes>,
    /// End as soon as a fixed start is in the bucket.
    pub detach: bool,
    /// A random number, drawn for this process.
    pub seed: u64,
    /// What was read of the SFU's clock from here.
    pub pongs: mpsc::Receiver<Pongs>,
    /// Hears what happens.
    pub progress: mpsc::UnboundedSender<Progress>,
    /// Becomes `true` when the user wants the run to end.
    pub abort: watch::Receiver<bool>,
}

/// How a coordinator's work ended.
#[derive(Debug)]
pub struct RunEnd {
    /// The run.
    pub run: RunId,
    /// What came of it: over (finalize it now), or left to itself.
    pub outcome: Result<End, RendezvousError>,
    /// What to do with its room now.
    pub cleanup: Cleanup,
}

/// Coordinates a run to its end.
pub async fn run_coordinator(bucket: &Bucket, options: CoordinatorOptions) -> RunEnd {
    let CoordinatorOptions {
        job,
        tickets,
        detach,
        seed,
        mut pongs,
        progress,
        mut abort,
    } = options;
    let settings = Settings { detach, seed };
    let mut machine = Coordinator::new(job, settings, clock::now()).with_tickets(tickets);
    let mut under_way: JoinSet<Reply> = JoinSet::new();
    let mut event = Event::Wake;
    let mut listening = true;
    loop {
        for sample in bucket.clock() {
            perform(
                bucket,
                &mut under_way,
                &progress,
                machine.handle(clock::now(), Event::Clock(sample)),
            );
        }
        machine.count(bucket.requests());
        perform(
            bucket,
            &mut under_way,
            &progress,
            machine.handle(clock::now(), event),
        );
        if let Some(end) = machine.end() {
            let outcome = match end {
                End::Failed(e) => Err(e.clone()),
                end => Ok(end.clone()),
            };
            return RunEnd {
                run: machine.job().run.clone(),
                outcome,
                cleanup: machine.cleanup(),
            };
        }
        let wake_at = machine.wake_at();
        event = tokio::select! {
            reply = super::next_of(&mut under_way) => match reply {
                Ok(reply) => Event::Replied(reply),
                Err(e) => return RunEnd {
                    run: machine.job().run.clone(),
                    outcome: Err(e),
                    cleanup: machine.cleanup(),
                },
            },
            Some(read) = pongs.recv() => Event::Pongs(read.samples, read.node),
            () = super::wait_until(wake_at) => Event::Wake,
            changed = abort.changed(), if listening => {
                listening = changed.is_ok();
                if *abort.borrow() { Event::Abort("by its user".to_owned()) } else { Event::Wake }
            }
        };
    }
}

fn perform(
    bucket: &Bucket,
    under_way: &mut JoinSet<Reply>,
    progress: &mpsc::UnboundedSender<Progress>,
    actions: Vec<Action>,
) {
    for action in actions {
        match action {
            Action::Ask(request) => bucket.ask(request, under_way),
            // Who doesn't want to know has dropped the receiver.
            Action::Tell(what) => drop(progress.send(what)),
        }
    }
}
