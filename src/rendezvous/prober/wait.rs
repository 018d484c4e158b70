//! Waiting for the start, then for its hour, until an abort check allows the load.

use std::collections::VecDeque;
use std::time::Duration;

use super::{
    Action, HEARTBEAT_EVERY, ProberProgress, RETRY_AFTER, Settings, heartbeat, never_started,
};
use crate::clock::Estimate;
use crate::job::{ClaimId, Digested, Fleet, Job, SCHEMA_MAJOR, Timestamp};
use crate::prober::LiveFigures;
use crate::rendezvous::admission::{Admission, Seat, Verdict, admission, seat_by_arrival, verdict};
use crate::rendezvous::chance::{self, write_id};
use crate::rendezvous::coordinator::claims;
use crate::rendezvous::exchange::{Errand, Reply, Request, start_poll};
use crate::rendezvous::keys::{Folder, Item, RunKey};
use crate::rendezvous::objects::{Abort, Decision, ReferenceClock, Start, StartDocument};
use crate::rendezvous::{RendezvousError, document};
use crate::store::{Object, Settled, StoreError};

/// So long before its first joins a prober asks whether it still may.
const CHECK_AHEAD: Duration = Duration::from_secs(4);
/// How often a seated prober looks for an abort until then.
const ABORT_EVERY: Duration = Duration::from_secs(20);
/// An answer that took longer allows nothing.
const CHECK_VALID: Duration = Duration::from_secs(5);
/// The write id of a cancel, after those of claim and ready.
const CANCEL_WRITE: u64 = 1 << 32;

/// A wait.
#[derive(Debug)]
pub(super) struct Wait {
    job: Digested<Job>,
    claim: ClaimId,
    settings: Settings,
    begun: Timestamp,
    ready_at: Timestamp,
    asked: u64,
    sequence: u64,
    look: Errand,
    cancel: Errand,
    slots: Errand,
    beat: Errand,
    check: Errand,
    start: Option<Start>,
    seat: Option<Seat>,
    /// An abort check from then on may allow the load.
    may_begin: Option<Timestamp>,
    trouble: Option<StoreError>,
}

/// What came of it so far.
#[derive(Debug)]
pub(super) enum Heard {
    /// Nothing yet.
    Nothing,
    /// There will be no load.
    Failed(RendezvousError),
    /// Load now.
    Load(Box<Begin>),
}

/// A load that may begin, or the abort that forbids it.
#[derive(Debug)]
pub(super) struct Begin {
    pub(super) job: Digested<Job>,
    pub(super) claim: ClaimId,
    pub(super) start: Start,
    pub(super) seat: Seat,
    pub(super) sequence: u64,
    pub(super) aborted: Option<String>,
}

impl Wait {
    pub(super) fn new(
        job: Digested<Job>,
        claim: ClaimId,
        settings: &Settings,
        begun: Timestamp,
        now: Timestamp,
    ) -> Self {
        Wait {
            job,
            claim,
            settings: settings.clone(),
            begun,
            ready_at: now,
            asked: 0,
            sequence: 0,
            look: Errand::at(now),
            cancel: Errand::IDLE,
            slots: Errand::IDLE,
            beat: Errand::at(now),
            check: Errand::IDLE,
            start: None,
            seat: None,
            may_begin: None,
            trouble: None,
        }
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        let give_up = self
            .start
            .is_none()
            .then_some(self.begun + self.settings.timeout);
        [self.look, self.cancel, self.slots, self.beat, self.check]
            .iter()
            .filter_map(Errand::wake_at)
            .chain(give_up)
            .min()
    }

    pub(super) fn act(
        &mut self,
        now: Timestamp,
        bucket: &Estimate,
        sfu: &Estimate,
        out: &mut VecDeque<Action>,
    ) -> Heard {
        let run = &self.job.run;
        if self.start.is_none() {
            if now >= self.begun + self.settings.timeout {
                return Heard::Failed(never_started(&self.job, &self.settings));
            }
            if self.look.start(now) {
                let key = RunKey::new(run, Item::Start);
                // Whoever finds the time for a start passed cancels: the run's end is decided.
                if bucket.surely_past(now, self.job.times.start_by) && self.asked > 0 {
                    self.look.answered();
                    self.look.done();
                    self.cancel = Errand::at(now);
                } else {
                    self.asked += 1;
                    out.push_back(Action::Ask(Request::Read(key)));
                }
            }
            if self.cancel.start(now) {
                match self.cancellation() {
                    Ok(request) => out.push_back(Action::Ask(request)),
                    Err(e) => return Heard::Failed(e),
                }
            }
        }
        if let Some(start) = &self.start
            && let Some(last) = start.tiers.last()
            && reference(start, bucket, sfu).surely_past(now, last.window.to)
        {
            // The bucket never said that it may load.
            return Heard::Failed(match self.trouble.take() {
                Some(e) => e.into(),
                None => never_started(&self.job, &self.settings),
            });
        }
        if let Some(start) = &self.start
            && self.seat.is_some()
            && self.may_begin.is_none()
        {
            let local = reference(start, bucket, sfu)
                .assumed(now)
                .to_local(start.start_at);
            self.may_begin = Some(local - CHECK_AHEAD);
            self.check.again(now);
            out.push_back(Action::Tell(ProberProgress::Started {
                local,
                tiers: u32::try_from(start.tiers.len()).unwrap_or(u32::MAX),
            }));
        }
        if self.check.start(now) {
            let key = RunKey::new(&self.job.run, Item::Abort);
            out.push_back(Action::Ask(Request::Read(key)));
        }
        if self.slots.start(now) {
            let list = Folder::Slots.list(&self.job.run);
            out.push_back(Action::Ask(Request::List(list)));
        }
        if self.beat.start(now) {
            self.sequence += 1;
            let figures = LiveFigures {
                phase: "waiting".to_owned(),
                ..LiveFigures::default()
            };
            let beat = heartbeat(&self.job, &self.claim, self.sequence, &figures);
            out.extend(beat.map(Action::Ask));
        }
        Heard::Nothing
    }

    fn cancellation(&self) -> Result<Request, RendezvousError> {
        let by = self.job.times.start_by;
        let document = StartDocument {
            schema: SCHEMA_MAJOR,
            write_id: write_id(self.settings.seed, CANCEL_WRITE),
            run: self.job.run.clone(),
            job_sha256: self.job.digest,
            decision: Decision::Cancel {
                reason: format!("no start was decided by {by}"),
            },
        };
        let key = RunKey::new(&self.job.run, Item::Start);
        Ok(Request::Create(key, document::write(&document)?))
    }

    pub(super) fn replied(
        &mut self,
        now: Timestamp,
        reply: Reply,
        out: &mut VecDeque<Action>,
    ) -> Heard {
        match reply {
            Reply::Read(key, answer) if key.item == Item::Start => {
                self.look.answered();
                let spread = chance::byte(self.settings.seed, self.asked);
                let pause = start_poll(now.saturating_since(self.ready_at), spread);
                match answer {
                    Ok(object) => return self.decided(now, &key, &object),
                    Err(e) => {
                        self.trouble(e, out);
                        self.look.again(now + pause);
                    }
                }
            }
            Reply::Created(key, answer) => {
                self.cancel.answered();
                match answer {
                    Ok(Settled::Theirs(object)) => return self.decided(now, &key, &object),
                    Ok(Settled::Mine) => {
                        let by = self.job.times.start_by;
                        return Heard::Failed(RendezvousError::Cancelled {
                            run: self.job.run.clone(),
                            reason: format!("no start was decided by {by}"),
                        });
                    }
                    Err(e) => {
                        self.trouble(e, out);
                        self.cancel.again(now + RETRY_AFTER);
                    }
                }
            }
            Reply::Listed(_, answer) => {
                self.slots.answered();
                match answer {
                    Ok(listing) => {
                        let seat = seat_by_arrival(&claims(&listing), &self.job, &self.claim);
                        return self.seated(seat);
                    }
                    Err(e) => {
                        self.trouble(e, out);
                        self.slots.again(now + RETRY_AFTER);
                    }
                }
            }
            Reply::Read(key, answer) if key.item == Item::Abort => {
                let asked = self.check.answered();
                let old = asked.is_none_or(|t| now.saturating_since(t) > CHECK_VALID);
                let may_begin = self.may_begin.unwrap_or(now);
                match answer {
                    Err(e) if e.is_absent() && asked.is_none_or(|t| t < may_begin) => {
                        self.check.again((now + ABORT_EVERY).min(may_begin));
                    }
                    // After a gap the right to act is checked again.
                    Err(e) if e.is_absent() && old => self.check.again(now),
                    Err(e) if e.is_absent() => return self.begin(None),
                    Ok(object) => {
                        let reason = document::read::<Abort>(&key, &object.body)
                            .map_or_else(|e| e.to_string(), |abort| abort.reason);
                        return self.begin(Some(reason));
                    }
                    Err(e) => {
                        self.trouble(e, out);
                        self.check.again(now + RETRY_AFTER);
                    }
                }
            }
            Reply::Overwritten(_, answer) => {
                self.beat.answered();
                self.beat.again(now + HEARTBEAT_EVERY);
                if let Err(e) = answer {
                    self.trouble(e, out);
                }
            }
            Reply::Read(..) => {}
        }
        Heard::Nothing
    }

    fn decided(&mut self, now: Timestamp, key: &RunKey, object: &Object) -> Heard {
        let document = match document::read::<StartDocument>(key, &object.body) {
            Ok(document) => document,
            Err(e) => return Heard::Failed(e),
        };
        let run = self.job.run.clone();
        match verdict(&document, object.last_modified, &self.job) {
            Verdict::Cancelled(reason) => Heard::Failed(RendezvousError::Cancelled { run, reason }),
            Verdict::Start(start) => {
                let admission = admission(&start, &self.job, &self.claim);
                self.start = Some(*start);
                if admission == Admission::ByArrival {
                    self.slots = Errand::at(now);
                    return Heard::Nothing;
                }
                self.seated(admission)
            }
        }
    }

    fn seated(&mut self, admission: Admission) -> Heard {
        let (run, vantage) = (self.job.run.clone(), self.claim.vantage());
        let open = self.start.as_ref().is_some_and(|s| s.roster.is_empty());
        match admission {
            Admission::Seated(seat) => {
                self.seat = Some(seat);
                Heard::Nothing
            }
            Admission::Replaced => Heard::Failed(RendezvousError::SlotTaken { run, vantage }),
            Admission::Outside | Admission::ByArrival => {
                let seats = self.start.as_ref().map_or(0, |s| s.roster.len());
                let full = open || u32::try_from(seats) == Ok(self.job.fleet.size());
                Heard::Failed(match &self.job.fleet {
                    Fleet::Expect(expect) if full => RendezvousError::FleetFull {
                        run,
                        vantage,
                        expect: *expect,
                    },
                    _ => RendezvousError::StartedWithout { run, vantage },
                })
            }
        }
    }

    fn trouble(&mut self, e: StoreError, out: &mut VecDeque<Action>) {
        if !e.is_absent() {
            let what = e.to_string();
            out.push_back(Action::Tell(ProberProgress::Trouble { what }));
            self.trouble = Some(e);
        }
    }

    fn begin(&self, aborted: Option<String>) -> Heard {
        match (&self.start, self.seat) {
            (Some(start), Some(seat)) => Heard::Load(Box::new(Begin {
                job: self.job.clone(),
                claim: self.claim.clone(),
                start: start.clone(),
                seat,
                sequence: self.sequence,
                aborted,
            })),
            _ => Heard::Nothing,
        }
    }
}

/// The clock that a start's times are on. A prober that did not measure the SFU's falls back to
/// the bucket's.
pub(super) fn reference<'a>(
    start: &Start,
    bucket: &'a Estimate,
    sfu: &'a Estimate,
) -> &'a Estimate {
    match start.reference {
        ReferenceClock::Sfu if *sfu != Estimate::unknown() => sfu,
        _ => bucket,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{JobSpec, Origin, WriteId};
    use crate::load::schedule;
    use crate::rendezvous::roster::entries;
    use crate::signature::SigningKey;
    use crate::store::{At, Location};

    const T0: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn object(body: bytes::Bytes) -> Object {
        Object {
            body,
            etag: None,
            last_modified: T0,
        }
    }

    /// Waits for a start in ten minutes, as the start says.
    fn seated() -> Wait {
        let spec = JobSpec {
            url: Some("ws://sfu".into()),
            vantages: Some(vec!["iad".parse().unwrap()]),
            start_at: Some(T0 + Duration::from_secs(600)),
            ..JobSpec::default()
        };
        let origin = Origin {
            run: "r1".parse().unwrap(),
            write_id: WriteId::from_u64(1),
            now: T0,
        };
        let job = document::digested(Job::resolve(spec, origin).unwrap()).unwrap();
        let settings = Settings {
            run: None,
            vantage: "iad".parse().unwrap(),
            timeout: Duration::from_secs(600),
            must_end_by: None,
            function: None,
            build: "test".into(),
            key: SigningKey::from_seed([1; 32]).unwrap(),
            place: "here".into(),
            seed: 1,
        };
        let claim = ClaimId::new(&settings.vantage, 0, 1);
        let start_at = job.times.start_at.unwrap();
        let document = StartDocument {
            schema: SCHEMA_MAJOR,
            write_id: WriteId::from_u64(2),
            run: job.run.clone(),
            job_sha256: job.digest,
            decision: Decision::Start(Start {
                roster: entries([(settings.vantage.clone(), (None, None))].into()),
                start_at,
                tiers: schedule(&job, start_at),
                reference: ReferenceClock::Bucket,
            }),
        };
        let key = RunKey::new(&job.run, Item::Start);
        let mut wait = Wait::new(job, claim, &settings, T0, T0);
        let body = document::write(&document).unwrap();
        let reply = Reply::Read(key, Ok(object(body)));
        wait.replied(T0, reply, &mut VecDeque::new());
        assert!(wait.seat.is_some());
        wait
    }

    /// Whether it asks for an abort.
    fn asks(wait: &mut Wait, now: Timestamp) -> bool {
        let (unknown, mut out) = (Estimate::unknown(), VecDeque::new());
        wait.act(now, &unknown, &unknown, &mut out);
        out.iter().any(
            |action| matches!(action, Action::Ask(Request::Read(key)) if key.item == Item::Abort),
        )
    }

    #[test]
    fn an_abort_ends_the_wait_for_a_fixed_start() {
        let mut wait = seated();
        let key = || RunKey::new(&"r1".parse().unwrap(), Item::Abort);
        let absent = At::store(&Location {
            bucket: "b".into(),
            prefix: String::new(),
            endpoint: "memory".into(),
        });
        let (mut now, mut asked) = (T0, 0);
        while now < T0 + Duration::from_secs(300) {
            if asks(&mut wait, now) {
                asked += 1;
                let at = absent.clone();
                let reply = Reply::Read(key(), Err(StoreError::Absent { at }));
                let heard = wait.replied(now, reply, &mut VecDeque::new());
                assert!(matches!(heard, Heard::Nothing), "{heard:?}");
            }
            now = now + Duration::from_secs(1);
        }
        assert!((10..=30).contains(&asked), "{asked} questions");
        while !asks(&mut wait, now) {
            now = now + Duration::from_secs(1);
        }
        assert!(now < T0 + Duration::from_secs(330));
        let abort = Abort {
            schema: SCHEMA_MAJOR,
            write_id: WriteId::from_u64(3),
            run: "r1".parse().unwrap(),
            reason: "enough".into(),
        };
        let reply = Reply::Read(key(), Ok(object(document::write(&abort).unwrap())));
        match wait.replied(now, reply, &mut VecDeque::new()) {
            Heard::Load(begin) => assert_eq!(begin.aborted.as_deref(), Some("enough")),
            heard => panic!("{heard:?}"),
        }
    }
}
