//! Waiting for the start, then for its hour, until an abort check allows the load.

use std::collections::VecDeque;
use std::time::Duration;

use super::{
    Action, HEARTBEAT_EVERY, ProberProgress, RETRY_AFTER, Settings, heartbeat, never_started,
};
use crate::clock::Estimate;
use crate::job::{ClaimId, Fleet, Job, SCHEMA_MAJOR, Timestamp};
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
/// An answer that took longer allows nothing.
const CHECK_VALID: Duration = Duration::from_secs(5);
/// The write id of a cancel, after those of claim and ready.
const CANCEL_WRITE: u64 = 1 << 32;

/// A wait.
#[derive(Debug)]
pub(super) struct Wait {
    job: Job,
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
    pub(super) job: Job,
    pub(super) claim: ClaimId,
    pub(super) start: Start,
    pub(super) seat: Seat,
    pub(super) sequence: u64,
    pub(super) aborted: Option<String>,
}

impl Wait {
    pub(super) fn new(
        job: Job,
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
            && self.check == Errand::IDLE
        {
            let local = reference(start, bucket, sfu)
                .assumed(now)
                .to_local(start.start_at);
            let (local, ahead) = (local, local - CHECK_AHEAD);
            self.check.again(ahead.max(now));
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
                match answer {
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
