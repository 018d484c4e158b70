//! Finding the run to take part in: the named one, or the newest that still accepts.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Estimate;
use crate::job::{Fleet, Job, RunId, Timestamp, Vantage};
use crate::rendezvous::admission::{Verdict, verdict};
use crate::rendezvous::exchange::{Errand, Reply, Request};
use crate::rendezvous::keys::{Item, RunKey, list_runs, run_of_folder};
use crate::rendezvous::objects::StartDocument;
use crate::rendezvous::{RendezvousError, document};
use crate::store::{Object, StoreError};

/// How often the bucket is looked through for a run, at first and at last.
const LOOK_FIRST: Duration = Duration::from_secs(1);
const LOOK_LAST: Duration = Duration::from_secs(10);
/// How many of the newest runs are looked at.
const NEWEST: usize = 8;

/// A search.
#[derive(Debug)]
pub(super) struct Find {
    named: Option<RunId>,
    vantage: Vantage,
    place: String,
    begun: Timestamp,
    timeout: Duration,
    look: Errand,
    candidates: Vec<RunId>,
    at: Option<(RunId, Option<Job>)>,
    closed: BTreeSet<RunId>,
    trouble: Option<StoreError>,
}

/// What a search wants next.
#[derive(Debug)]
pub(super) enum Step {
    /// To ask.
    Ask(Request),
    /// Nothing, until it hears or wakes.
    Wait,
    /// To end: here is the job, or why there is none.
    Done(Box<Result<Job, RendezvousError>>),
}

fn done(result: Result<Job, RendezvousError>) -> Step {
    Step::Done(Box::new(result))
}

impl Find {
    pub(super) fn new(
        named: Option<RunId>,
        vantage: Vantage,
        place: String,
        now: Timestamp,
        timeout: Duration,
    ) -> Self {
        Find {
            named,
            vantage,
            place,
            begun: now,
            timeout,
            look: Errand::at(now),
            candidates: Vec::new(),
            at: None,
            closed: BTreeSet::new(),
            trouble: None,
        }
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        let give_up = self.begun + self.timeout;
        Some(self.look.wake_at().map_or(give_up, |t| t.min(give_up)))
    }

    pub(super) fn wake(&mut self, now: Timestamp) -> Step {
        if now >= self.begun + self.timeout {
            return done(Err(match self.trouble.take() {
                Some(e) => e.into(),
                None => RendezvousError::NoOpenRun {
                    place: self.place.clone(),
                    vantage: self.vantage.clone(),
                    waited: self.timeout,
                },
            }));
        }
        if !self.look.start(now) {
            return Step::Wait;
        }
        match self.named.clone() {
            Some(run) => self.look_at(run),
            None => Step::Ask(Request::List(list_runs())),
        }
    }

    fn look_at(&mut self, run: RunId) -> Step {
        let key = RunKey::new(&run, Item::Job);
        self.at = Some((run, None));
        Step::Ask(Request::Read(key))
    }

    pub(super) fn replied(&mut self, now: Timestamp, reply: Reply, bucket: &Estimate) -> Step {
        match reply {
            Reply::Listed(_, Ok(listing)) => {
                self.candidates = listing
                    .prefixes
                    .iter()
                    .filter_map(|folder| run_of_folder(folder))
                    .filter(|run| !self.closed.contains(run))
                    .collect();
                let old = self.candidates.len().saturating_sub(NEWEST);
                self.candidates.drain(..old);
                self.next(now)
            }
            Reply::Listed(_, Err(e)) | Reply::Read(_, Err(e)) if !e.is_absent() => {
                if !e.retryable() {
                    return done(Err(e.into()));
                }
                self.trouble = Some(e);
                self.rest(now)
            }
            Reply::Read(key, answer) if key.item == Item::Job => match answer {
                Ok(object) => self.job_read(now, &key, &object, bucket),
                Err(_) if self.named.is_some() => done(Err(RendezvousError::NoSuchRun {
                    run: key.run,
                    place: self.place.clone(),
                })),
                // Its coordinator may be about to write it.
                Err(_) => self.next(now),
            },
            Reply::Read(key, answer) => {
                let Some((_, Some(job))) = self.at.take() else {
                    return self.rest(now);
                };
                match answer {
                    Ok(object) if job.times.start_at.is_none() => {
                        self.closed_by(now, &key, &object, &job)
                    }
                    _ => done(Ok(job)),
                }
            }
            _ => self.rest(now),
        }
    }

    fn job_read(
        &mut self,
        now: Timestamp,
        key: &RunKey,
        object: &Object,
        bucket: &Estimate,
    ) -> Step {
        let job = match document::read::<Job>(key, &object.body) {
            Ok(job) => job,
            Err(e) => return self.refuse(now, key.run.clone(), e),
        };
        if let Fleet::Vantages(fleet) = &job.fleet
            && !fleet.contains(&self.vantage)
        {
            let e = RendezvousError::NotInFleet {
                run: job.run.clone(),
                vantage: self.vantage.clone(),
                fleet: fleet.clone(),
            };
            return self.refuse(now, job.run, e);
        }
        if bucket.surely_past(now, job.times.accept_until) {
            let e = not_accepting(&job);
            return self.refuse(now, job.run, e);
        }
        let start = RunKey::new(&job.run, Item::Start);
        self.at = Some((job.run.clone(), Some(job)));
        Step::Ask(Request::Read(start))
    }

    /// The start was decided already, without this prober.
    fn closed_by(&mut self, now: Timestamp, key: &RunKey, object: &Object, job: &Job) -> Step {
        let e = match document::read::<StartDocument>(key, &object.body) {
            Err(e) => e,
            Ok(document) => match verdict(&document, object.last_modified, job) {
                Verdict::Cancelled(reason) => RendezvousError::Cancelled {
                    run: job.run.clone(),
                    reason,
                },
                Verdict::Start(_) => RendezvousError::StartedWithout {
                    run: job.run.clone(),
                    vantage: self.vantage.clone(),
                },
            },
        };
        self.refuse(now, job.run.clone(), e)
    }

    /// A named run ends the search here; of many, the next is looked at.
    fn refuse(&mut self, now: Timestamp, run: RunId, e: RendezvousError) -> Step {
        if self.named.is_some() {
            return done(Err(e));
        }
        self.closed.insert(run);
        self.next(now)
    }

    fn next(&mut self, now: Timestamp) -> Step {
        match self.candidates.pop() {
            Some(run) => self.look_at(run),
            None => self.rest(now),
        }
    }

    fn rest(&mut self, now: Timestamp) -> Step {
        self.at = None;
        self.candidates.clear();
        self.look.answered();
        let waited = now.saturating_since(self.begun);
        self.look
            .again(now + (waited / 6).clamp(LOOK_FIRST, LOOK_LAST));
        Step::Wait
    }
}

fn not_accepting(job: &Job) -> RendezvousError {
    RendezvousError::NotAccepting {
        run: job.run.clone(),
        until: job.times.accept_until,
    }
}
