//! Finding the run to take part in: the named one, or the newest that still accepts.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Settings;
use super::left_out::{self, LeftOut};
use crate::clock::Estimate;
use crate::job::{Digest, Digested, Fleet, Job, RunId, Timestamp, Vantage};
use crate::rendezvous::admission::{Verdict, verdict};
use crate::rendezvous::chance;
use crate::rendezvous::exchange::{Errand, Reply, Request, pause};
use crate::rendezvous::keys::{Item, RunKey, list_runs, runs_of};
use crate::rendezvous::objects::StartDocument;
use crate::rendezvous::{RendezvousError, document};
use crate::signature::PublicKey;
use crate::store::Object;

/// The longest pause between two looks through the bucket for a run.
const LOOK_LAST: Duration = Duration::from_secs(45);
/// How long a named run may be missing: its coordinator and its probers may start together.
const JOB_WITHIN: Duration = Duration::from_secs(10);
/// How many of the newest runs are looked at.
const NEWEST: usize = 8;

/// A search.
#[derive(Debug)]
pub(super) struct Find {
    named: Option<RunId>,
    vantage: Vantage,
    key: PublicKey,
    job_sha256: Option<Digest>,
    place: String,
    begun: Timestamp,
    timeout: Duration,
    /// Keeps probers from asking in step.
    spread: u8,
    look: Errand,
    candidates: Vec<RunId>,
    at: Option<(RunId, Option<Digested<Job>>)>,
    closed: BTreeSet<RunId>,
    /// Of the named run, once it is found to go on without this prober.
    left_out: Option<LeftOut>,
    trouble: Option<RendezvousError>,
}

/// What a search wants next.
#[derive(Debug)]
pub(super) enum Step {
    /// To ask.
    Ask(Request),
    /// Nothing, until it hears or wakes.
    Wait,
    /// To end: here is the job, or why there is none.
    Done(Box<Result<Digested<Job>, RendezvousError>>),
}

fn done(result: Result<Digested<Job>, RendezvousError>) -> Step {
    Step::Done(Box::new(result))
}

impl Find {
    pub(super) fn new(settings: &Settings, now: Timestamp) -> Self {
        Find {
            named: settings.run.clone(),
            vantage: settings.vantage.clone(),
            key: settings.key.public(),
            job_sha256: settings.job_sha256,
            place: settings.place.clone(),
            begun: now,
            timeout: settings.timeout,
            spread: chance::byte(settings.seed, 0),
            look: Errand::at(now),
            candidates: Vec::new(),
            at: None,
            closed: BTreeSet::new(),
            left_out: None,
            trouble: None,
        }
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        let give_up = self.begun + self.timeout;
        Some(self.look.wake_at().map_or(give_up, |t| t.min(give_up)))
    }

    pub(super) fn wake(&mut self, now: Timestamp) -> Step {
        if now >= self.begun + self.timeout {
            if let Some(left_out) = &self.left_out {
                return done(Err(left_out.so_far()));
            }
            let trouble = self.trouble.take();
            return done(Err(trouble.unwrap_or_else(|| RendezvousError::NoOpenRun {
                place: self.place.clone(),
                vantage: self.vantage.clone(),
                waited: self.timeout,
            })));
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
        if let Some(left_out) = &self.left_out {
            return match left_out.replied(reply) {
                left_out::Step::Ask(request) => Step::Ask(request),
                left_out::Step::Done(e) => done(Err(e)),
            };
        }
        match reply {
            Reply::Listed(_, Ok(listing)) => {
                self.candidates = runs_of(&listing);
                self.candidates.retain(|run| !self.closed.contains(run));
                let old = self.candidates.len().saturating_sub(NEWEST);
                self.candidates.drain(..old);
                self.next(now)
            }
            Reply::Listed(_, Err(e)) | Reply::Read(_, Err(e)) if !e.is_absent() => {
                if !e.retryable() {
                    return done(Err(e.into()));
                }
                self.trouble = Some(e.into());
                self.rest(now)
            }
            Reply::Read(key, answer) if key.item == Item::Job => match answer {
                Ok(object) => self.job_read(now, &key, &object, bucket),
                // Its coordinator may be about to write it.
                Err(_) if self.named.is_some() => self.missing(now, key.run),
                Err(_) => self.next(now),
            },
            Reply::Read(key, answer) => {
                let Some((_, Some(job))) = self.at.take() else {
                    return self.rest(now);
                };
                match answer {
                    Ok(object) => self.decided(now, &key, &object, job),
                    Err(_) => done(Ok(job)),
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
        let job = match document::read_digested::<Job>(key, &object.body) {
            Ok(job) => job,
            Err(e) => return self.refuse(now, key.run.clone(), e),
        };
        let unknown: Vec<&str> = job.unknown_needs().collect();
        if !unknown.is_empty() {
            let (run, needs) = (job.run.clone(), unknown.join(", "));
            return self.refuse(
                now,
                key.run.clone(),
                RendezvousError::NeedsNewer { run, needs },
            );
        }
        if self.job_sha256.is_some_and(|ticket| ticket != job.digest) {
            let run = job.run.clone();
            return self.refuse(now, key.run.clone(), RendezvousError::JobChanged { run });
        }
        let slots = job.fleet.slots(&self.vantage);
        if slots.is_empty() {
            let e = RendezvousError::NotInFleet {
                run: job.run.clone(),
                vantage: self.vantage.clone(),
                fleet: job.fleet.clone(),
            };
            return self.refuse(now, key.run.clone(), e);
        }
        let refused = |slot: &Vantage| job.ticket_keys.get(slot).is_some_and(|k| *k != self.key);
        if slots.iter().all(refused) && !planted!(TicketNotNeeded) {
            let e = RendezvousError::NeedsTicket {
                run: job.run.clone(),
                vantage: self.vantage.clone(),
            };
            return self.refuse(now, key.run.clone(), e);
        }
        if bucket.surely_past(now, self.accepts_until(&job)) {
            let e = not_accepting(&job);
            return self.refuse(now, key.run.clone(), e);
        }
        let start = RunKey::new(&job.run, Item::Start);
        self.at = Some((job.run.clone(), Some(job)));
        Step::Ask(Request::Read(start))
    }

    /// Until when it may come. To a run that it was told to take part in, whose start was fixed
    /// with the job and whose slots are known by name, it may come late: there is a place that
    /// nobody else can take.
    fn accepts_until(&self, job: &Job) -> Timestamp {
        let has_its_place = matches!(job.fleet, Fleet::Vantages(_)) && job.times.start_at.is_some();
        if self.named.is_some() && has_its_place {
            job.times.hard_deadline
        } else {
            job.times.accept_until
        }
    }

    /// The named run has no job, so far.
    fn missing(&mut self, now: Timestamp, run: RunId) -> Step {
        let place = self.place.clone();
        let e = RendezvousError::NoSuchRun { run, place };
        if now >= self.begun + JOB_WITHIN {
            return done(Err(e));
        }
        self.trouble = Some(e);
        self.rest(now)
    }

    /// The start was decided already: without this prober, unless it was fixed with the job.
    fn decided(
        &mut self,
        now: Timestamp,
        key: &RunKey,
        object: &Object,
        job: Digested<Job>,
    ) -> Step {
        let e = match document::read::<StartDocument>(key, &object.body) {
            Err(e) => e,
            Ok(document) => match verdict(&document, object.last_modified, &job) {
                Verdict::Cancelled(reason) => RendezvousError::Cancelled {
                    run: job.run.clone(),
                    reason,
                },
                Verdict::Start(_) if job.times.start_at.is_some() => return done(Ok(job)),
                Verdict::Start(start) if self.named.is_some() => {
                    let (left_out, ask) = LeftOut::new(&job, &start, &self.vantage);
                    self.left_out = Some(left_out);
                    return Step::Ask(ask);
                }
                Verdict::Start(_) => RendezvousError::StartedWithout {
                    run: job.run.clone(),
                    vantage: self.vantage.clone(),
                },
            },
        };
        self.refuse(now, key.run.clone(), e)
    }

    /// A named run ends the search here; of many, the next is looked at.
    fn refuse(&mut self, now: Timestamp, run: RunId, e: RendezvousError) -> Step {
        if self.named.is_some() {
            return done(Err(e));
        }
        if e.is_skew() {
            self.trouble = Some(e);
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
        let next = now + pause(waited * 3 / 2, LOOK_LAST, self.spread);
        // A named one is not waited for longer than that.
        let missing = self.begun + JOB_WITHIN;
        let named = self.named.is_some() && now < missing;
        self.look
            .again(if named { next.min(missing) } else { next });
        Step::Wait
    }
}

fn not_accepting(job: &Job) -> RendezvousError {
    RendezvousError::NotAccepting {
        run: job.run.clone(),
        until: job.times.accept_until,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{JobSpec, SCHEMA_MAJOR, WriteId};
    use crate::rendezvous::objects::Decision;
    use crate::rendezvous::sample::{T0, absent, job, object, settings};
    use crate::signature::SigningKey;

    fn find(named: Option<&str>, timeout_s: u64) -> Find {
        let settings = Settings {
            run: named.map(|run| run.parse().unwrap()),
            timeout: Duration::from_secs(timeout_s),
            ..settings()
        };
        Find::new(&settings, T0)
    }

    /// Looks until it ends, finding nothing; after how long, and with what.
    fn never_there(mut find: Find) -> (u64, RendezvousError) {
        let mut now = T0;
        let mut step = find.wake(now);
        loop {
            step = match step {
                Step::Ask(Request::Read(key)) => {
                    let reply = Reply::Read(key, absent());
                    find.replied(now, reply, &Estimate::unknown())
                }
                Step::Ask(other) => panic!("asks {other:?}"),
                Step::Wait => {
                    now = find.wake_at().unwrap();
                    find.wake(now)
                }
                Step::Done(result) => {
                    return (now.saturating_since(T0).as_secs(), result.unwrap_err());
                }
            };
        }
    }

    #[test]
    fn a_named_run_may_come_a_little_later() {
        for (timeout_s, at_most) in [(600, 12), (3, 3)] {
            let (waited, e) = never_there(find(Some("r1"), timeout_s));
            assert!(matches!(e, RendezvousError::NoSuchRun { .. }), "{e}");
            assert!((3..=at_most).contains(&waited), "{waited} s of {timeout_s}");
        }
    }

    /// What a search says of this job, which is there.
    fn said(find: &mut Find, job: &Digested<Job>) -> Option<RendezvousError> {
        let Step::Ask(Request::Read(key)) = find.wake(T0) else {
            panic!("does not look")
        };
        let reply = Reply::Read(key, Ok(object(document::write(&job.document).unwrap())));
        match find.replied(T0, reply, &Estimate::unknown()) {
            Step::Done(result) => result.err(),
            _ => None,
        }
    }

    #[test]
    fn a_job_that_gave_tickets_takes_their_holders_alone() {
        let mut asked = job(JobSpec::default()).document;
        let ticket = SigningKey::from_seed([2; 32]).unwrap();
        asked
            .ticket_keys
            .insert("iad".parse().unwrap(), ticket.public());
        let asked = document::digested(asked).unwrap();
        let mut holder = find(Some("r1"), 600);
        let e = said(&mut holder, &asked);
        assert!(
            matches!(e, Some(RendezvousError::NeedsTicket { .. })),
            "{e:?}"
        );
        let mut holder = find(Some("r1"), 600);
        holder.key = ticket.public();
        holder.job_sha256 = Some(asked.digest);
        assert_eq!(said(&mut holder, &asked), None);
        let mut holder = find(Some("r1"), 600);
        holder.job_sha256 = Some(Digest::of(b"another"));
        let e = said(&mut holder, &job(JobSpec::default()));
        assert!(
            matches!(e, Some(RendezvousError::JobChanged { .. })),
            "{e:?}"
        );
    }

    #[test]
    fn who_was_told_of_a_run_with_a_fixed_start_may_come_late() {
        let start_at = T0 + Duration::from_secs(60);
        let fixed = |vantages: bool| {
            job(JobSpec {
                vantages: vantages.then(|| vec!["iad".parse().unwrap()]),
                expect: (!vantages).then_some(1),
                start_at: Some(start_at),
                ..JobSpec::default()
            })
        };
        let waiting = job(JobSpec::default());
        for (named, job, may) in [
            (Some("r1"), fixed(true), true),
            (None, fixed(true), false),
            (Some("r1"), fixed(false), false),
            (Some("r1"), waiting, false),
        ] {
            let until = find(named, 600).accepts_until(&job);
            assert_eq!(until > job.times.accept_until, may, "{named:?}");
            assert!(until <= job.times.hard_deadline);
        }
    }

    #[test]
    fn a_cancelled_run_is_left_alone_though_its_start_is_fixed() {
        let job = job(JobSpec {
            expect: Some(1),
            start_at: Some(T0 + Duration::from_secs(60)),
            ..JobSpec::default()
        });
        let cancel = StartDocument {
            schema: SCHEMA_MAJOR,
            write_id: WriteId::from_u64(2),
            run: job.run.clone(),
            job_sha256: job.digest,
            decision: Decision::Cancel {
                reason: "enough".into(),
            },
        };
        let bucket = Estimate::unknown();
        let mut find = find(None, 600);
        find.candidates = vec![job.run.clone()];
        let Step::Ask(Request::Read(key)) = find.next(T0) else {
            panic!("does not look")
        };
        let reply = Reply::Read(key, Ok(object(document::write(&job.document).unwrap())));
        let Step::Ask(Request::Read(key)) = find.replied(T0, reply, &bucket) else {
            panic!("does not look for the start")
        };
        assert_eq!(key.item, Item::Start);
        let reply = Reply::Read(key, Ok(object(document::write(&cancel).unwrap())));
        let step = find.replied(T0, reply, &bucket);
        assert!(matches!(step, Step::Wait), "{step:?}");
        assert!(find.closed.contains(&job.run));
    }
}
