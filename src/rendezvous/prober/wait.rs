//! Waiting for the start, then for its hour, until an abort check allows the load.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Action, ProberProgress, RETRY_AFTER, Settings, leave, never_started};
use crate::clock::{Estimate, RunClock};
use crate::job::{ClaimId, Digested, Job, SCHEMA_MAJOR, Timestamp, WriteId};
use crate::rendezvous::admission::{
    Admission, Seat, Verdict, admission, full, seat_by_arrival, verdict,
};
use crate::rendezvous::chance::{self, write_id};
use crate::rendezvous::coordinator::claims;
use crate::rendezvous::exchange::{Errand, Reply, Request, start_poll};
use crate::rendezvous::keys::{Folder, Item, RunKey};
use crate::rendezvous::objects::{Decision, Slot, Start, StartDocument};
use crate::rendezvous::reference::Clocks;
use crate::rendezvous::{RendezvousError, document};
use crate::store::{Object, Settled, StoreError};

/// So long before its first joins a prober asks whether it still may.
const CHECK_AHEAD: Duration = Duration::from_secs(4);
/// How often a seated prober looks for an abort until then.
const ABORT_EVERY: Duration = Duration::from_secs(30);
/// The longest pause between two looks for a start once the wait for the slots is over: then it is
/// decided.
const LATE_POLL: Duration = Duration::from_secs(6);
/// So long before it gives up it looks for the start a last time.
const LAST_LOOK: Duration = Duration::from_secs(3);
/// What a prober may act on has stood for so long. In a store whose creates aren't atomic, a
/// second writer who looked before the first one wrote has overwritten it by then.
const STANDS_FOR: Duration = Duration::from_secs(2);
/// `Last-Modified` is rounded down to whole seconds (RFC 9110 section 5.6.7).
const TIME_GRAIN: Duration = Duration::from_secs(1);
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
    /// Tells its own write of the slot from that of another who has the same ticket.
    slot_write: WriteId,
    begun: Timestamp,
    ready_at: Timestamp,
    asked: u64,
    look: Errand,
    cancel: Errand,
    slots: Errand,
    confirm: Errand,
    check: Errand,
    start: Option<Start>,
    /// When the start was stored, by the bucket's clock.
    stored: Timestamp,
    seat: Option<Seat>,
    /// Why the run was aborted, once it was.
    aborted: Option<String>,
    /// What it must read again before it acts on it: the start, then the slot if that decides.
    unconfirmed: VecDeque<Item>,
    /// Its create of a cancel was refused for good.
    may_not_cancel: bool,
    /// How many looks in a row failed.
    failed: u32,
    /// Whether [`Wait::prepare`] has been.
    prepared: bool,
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
    /// When the abort check that allows it was sent.
    pub(super) abort_ok: Timestamp,
    pub(super) aborted: Option<String>,
}

impl Wait {
    pub(super) fn new(
        job: Digested<Job>,
        claim: ClaimId,
        settings: &Settings,
        slot_write: WriteId,
        begun: Timestamp,
        now: Timestamp,
    ) -> Self {
        Wait {
            job,
            claim,
            settings: settings.clone(),
            slot_write,
            begun,
            ready_at: now,
            asked: 0,
            look: Errand::at(now),
            cancel: Errand::IDLE,
            slots: Errand::IDLE,
            confirm: Errand::IDLE,
            check: Errand::IDLE,
            start: None,
            stored: now,
            seat: None,
            aborted: None,
            unconfirmed: VecDeque::new(),
            may_not_cancel: false,
            failed: 0,
            prepared: false,
            trouble: None,
        }
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        let give_up = self
            .start
            .is_none()
            .then_some(self.begun + self.settings.timeout);
        let errands = [self.look, self.cancel, self.slots, self.confirm, self.check];
        errands
            .iter()
            .filter_map(Errand::wake_at)
            .chain(give_up)
            .min()
    }

    pub(super) fn act(
        &mut self,
        now: Timestamp,
        clocks: &Clocks,
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
                let late = clocks.bucket.surely_past(now, self.job.times.start_by);
                if late && self.asked > 0 && !self.may_not_cancel {
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
            && self
                .run_clock(start, clocks, now)
                .offset
                .latest_local(last.window.to)
                <= now
        {
            // The bucket never said that it may load.
            return Heard::Failed(match self.trouble.take() {
                Some(e) => e.into(),
                None => never_started(&self.job, &self.settings),
            });
        }
        if self.seat.is_some() && !self.prepared {
            self.prepare(now, clocks, out);
        }
        if self.confirm.start(now)
            && let Some(item) = self.unconfirmed.front()
        {
            let key = RunKey::new(&self.job.run, item.clone());
            out.push_back(Action::Ask(Request::Read(key)));
        }
        if self.check.start(now) {
            let key = RunKey::new(&self.job.run, Item::Abort);
            out.push_back(Action::Ask(Request::Read(key)));
        }
        if self.slots.start(now) {
            let list = Folder::Slots.list(&self.job.run);
            out.push_back(Action::Ask(Request::List(list)));
        }
        Heard::Nothing
    }

    /// Looks at once whether the run was stopped.
    pub(super) fn alarm(&mut self, now: Timestamp) {
        self.check.hurry(now);
        if self.start.is_none() && !self.cancel.under_way() {
            self.look.hurry(now);
        }
    }

    /// It has a seat: from when on it may ask whether it may use it, and what it asks.
    fn prepare(&mut self, now: Timestamp, clocks: &Clocks, out: &mut VecDeque<Action>) {
        let Some(start) = &self.start else {
            return;
        };
        let local = self
            .run_clock(start, clocks, now)
            .offset
            .to_local(start.start_at);
        let stands = self.stored + TIME_GRAIN + STANDS_FOR;
        let stands = clocks.bucket.assumed(now).latest_local(stands);
        self.prepared = true;
        self.unconfirmed.push_back(Item::Start);
        let vantage = self.claim.vantage();
        let named = start
            .roster
            .get(&vantage)
            .is_some_and(|entry| entry.claim.is_some());
        // Who shares a ticket shares the claim as well.
        let shared = self.job.ticket_keys.contains_key(&vantage) && !planted!(SlotByClaimAlone);
        if (!named || shared) && !planted!(SlotNotConfirmed) {
            self.unconfirmed
                .push_back(Item::Slot(vantage, self.claim.k()));
        }
        let ahead = CHECK_AHEAD + super::spread(self.job.fleet.size(), self.settings.seed, 0);
        self.confirm = Errand::at(stands.max(local - ahead));
        self.check.again(now + ABORT_EVERY);
        out.push_back(Action::Tell(ProberProgress::Started {
            local,
            tiers: u32::try_from(start.tiers.len()).unwrap_or(u32::MAX),
        }));
    }

    fn run_clock(&self, start: &Start, clocks: &Clocks, now: Timestamp) -> RunClock {
        let vantage = self.claim.vantage();
        clocks.run(start, Some(&vantage), self.job.limits.clock_width.0, now)
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
        clocks: &Clocks,
        out: &mut VecDeque<Action>,
    ) -> Heard {
        let heard = self.heard(now, reply, clocks, out);
        match (heard, &self.aborted) {
            // Who has a seat reports that it did nothing; who doesn't know of a start looks once.
            (Heard::Nothing, Some(reason)) if self.seat.is_some() => {
                self.begin(now, Some(reason.clone()))
            }
            (Heard::Nothing, Some(reason)) if !self.asks_for_seat() => {
                Heard::Failed(RendezvousError::Aborted {
                    run: self.job.run.clone(),
                    reason: reason.clone(),
                })
            }
            (heard, _) => heard,
        }
    }

    /// Whether an answer is to come that may give it a seat.
    fn asks_for_seat(&self) -> bool {
        let listing = self.slots.under_way() || self.slots.wake_at().is_some();
        listing || self.look.under_way() || self.cancel.under_way()
    }

    fn heard(
        &mut self,
        now: Timestamp,
        reply: Reply,
        clocks: &Clocks,
        out: &mut VecDeque<Action>,
    ) -> Heard {
        match reply {
            Reply::Read(key, answer)
                if self.confirm.under_way() && self.unconfirmed.front() == Some(&key.item) =>
            {
                self.confirm.answered();
                match answer {
                    Ok(object) => return self.confirmed(now, &key, &object),
                    Err(e) => {
                        self.trouble(e, out);
                        let pause = self.retry_after();
                        self.confirm.again(now + pause);
                    }
                }
            }
            Reply::Read(key, answer) if key.item == Item::Start => {
                self.look.answered();
                match answer {
                    Ok(object) => return self.decided(now, &key, &object),
                    Err(e) if e.is_absent() && self.may_not_cancel => {
                        return self.never_decided();
                    }
                    Err(e) => {
                        let next = self.next_look(now, &e, &clocks.bucket);
                        self.look.again(next);
                        self.trouble(e, out);
                    }
                }
            }
            Reply::Created(key, answer) => {
                self.cancel.answered();
                match answer {
                    Ok(Settled::Theirs(object)) => return self.decided(now, &key, &object),
                    Ok(Settled::Mine) => return self.never_decided(),
                    // Who may not decide looks a last time: a start that comes now is none.
                    Err(e) if !e.retryable() => {
                        self.may_not_cancel = true;
                        self.look.again(now);
                    }
                    Err(e) => {
                        self.trouble(e, out);
                        let pause = self.retry_after();
                        self.cancel.again(now + pause);
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
                        let pause = self.retry_after();
                        self.slots.again(now + pause);
                    }
                }
            }
            Reply::Read(key, answer) if key.item == Item::Abort => {
                let asked = self.check.answered();
                let old = asked.is_none_or(|t| now.saturating_since(t) > CHECK_VALID);
                match answer {
                    // It looked because it was alarmed.
                    Err(e) if e.is_absent() && self.seat.is_none() => {}
                    // What it would act on is not confirmed yet, and then this is asked again.
                    Err(e) if e.is_absent() && !self.unconfirmed.is_empty() => {
                        self.check.again(now + ABORT_EVERY);
                    }
                    // After a gap the right to act is checked again.
                    Err(e) if e.is_absent() && old && !planted!(OldCheckCounts) => {
                        self.check.again(now);
                    }
                    Err(e) if e.is_absent() => return self.begin(asked.unwrap_or(now), None),
                    Ok(object) => {
                        self.aborted = Some(leave::reason(&key, &object.body));
                    }
                    Err(e) => {
                        self.trouble(e, out);
                        let pause = self.retry_after();
                        self.check.again(now + pause);
                    }
                }
            }
            Reply::Read(..) | Reply::Overwritten(..) => {}
        }
        Heard::Nothing
    }

    /// The pause after a request failed: it doubles up to four seconds.
    fn retry_after(&mut self) -> Duration {
        if planted!(RetriesAtOnce) {
            return Duration::ZERO;
        }
        self.failed = self.failed.saturating_add(1);
        RETRY_AFTER * 2u32.saturating_pow((self.failed - 1).min(2))
    }

    /// When to look for the start again: less and less often, and more often once it is due.
    fn next_look(&mut self, now: Timestamp, e: &StoreError, bucket: &Estimate) -> Timestamp {
        let spread = chance::byte(self.settings.seed, self.asked);
        let pause = start_poll(now.saturating_since(self.ready_at), spread);
        if !e.is_absent() {
            self.failed = self.failed.saturating_add(1);
            if planted!(RetriesAtOnce) {
                return now;
            }
            let soon = RETRY_AFTER * 2u32.saturating_pow(self.failed.min(5));
            return now + soon.min(pause);
        }
        self.failed = 0;
        let shut = bucket.assumed(now).to_local(self.job.times.accept_until);
        let next = if now >= shut {
            now + pause.min(LATE_POLL)
        } else {
            (now + pause).min(shut + LATE_POLL / 255 * u32::from(spread))
        };
        let last = self.begun + self.settings.timeout - LAST_LOOK;
        if now < last { next.min(last) } else { next }
    }

    /// It reads again what it is about to act on.
    fn confirmed(&mut self, now: Timestamp, key: &RunKey, object: &Object) -> Heard {
        if key.item == Item::Start {
            let same = document::read::<StartDocument>(key, &object.body).is_ok_and(
                |d| matches!(d.decision, Decision::Start(s) if Some(&s) == self.start.as_ref()),
            );
            let other = !same || object.last_modified != self.stored;
            if other && !planted!(StartNotConfirmed) {
                // Another was written over it: that is the one that stands.
                self.seat = None;
                self.prepared = false;
                self.unconfirmed.clear();
                self.check.done();
                return self.decided(now, key, object);
            }
        } else {
            match document::read::<Slot>(key, &object.body) {
                Ok(slot) if slot.claim == self.claim && self.wrote(&slot) => {}
                Ok(_) => return self.seated(Admission::Replaced),
                Err(e) => return Heard::Failed(e),
            }
        }
        self.failed = 0;
        self.unconfirmed.pop_front();
        if self.unconfirmed.is_empty() {
            self.check.again(now);
        } else {
            self.confirm.again(now);
        }
        Heard::Nothing
    }

    fn wrote(&self, slot: &Slot) -> bool {
        slot.write_id == self.slot_write || planted!(SlotByClaimAlone)
    }

    fn never_decided(&self) -> Heard {
        let by = self.job.times.start_by;
        Heard::Failed(RendezvousError::Cancelled {
            run: self.job.run.clone(),
            reason: format!("no start was decided by {by}"),
        })
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
                self.stored = object.last_modified;
                self.look.done();
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
        match admission {
            Admission::Seated(seat) => {
                self.seat = Some(seat);
                Heard::Nothing
            }
            Admission::Replaced => Heard::Failed(RendezvousError::SlotTaken { run, vantage }),
            Admission::Outside | Admission::ByArrival => {
                let full = self.start.as_ref().and_then(|s| full(s, &self.job));
                Heard::Failed(match full {
                    Some(expect) => RendezvousError::FleetFull {
                        run,
                        vantage,
                        expect,
                    },
                    None => RendezvousError::StartedWithout { run, vantage },
                })
            }
        }
    }

    pub(super) fn trouble(&mut self, e: StoreError, out: &mut VecDeque<Action>) {
        if !e.is_absent() {
            let what = e.to_string();
            out.push_back(Action::Tell(ProberProgress::Trouble { what }));
            self.trouble = Some(e);
        }
    }

    fn begin(&self, asked: Timestamp, aborted: Option<String>) -> Heard {
        match (&self.start, self.seat) {
            (Some(start), Some(seat)) => Heard::Load(Box::new(Begin {
                job: self.job.clone(),
                claim: self.claim.clone(),
                start: start.clone(),
                seat,
                abort_ok: asked,
                aborted,
            })),
            _ => Heard::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
