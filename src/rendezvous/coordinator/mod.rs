//! The coordinator's decisions: write the job, wait for the slots, decide the start, watch until
//! all is in that will be waited for.

mod decide;
mod gather;
mod hand_out;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use self::hand_out::HandOut;
use self::watch::Watch;
pub(super) use self::watch::claims;
use super::RendezvousError;
use super::admission::{self, Verdict};
use super::chance::write_id;
use super::document;
use super::exchange::{Errand, Reply, Request};
use super::keys::{Item, RunKey, list_run};
use super::objects::{Decision, Start, StartDocument};
use super::progress::Progress;
use super::reference::Clocks;
use super::roster::{Call, Gathered};
use super::rouse::Rouse;
use crate::clock::Sample;
use crate::job::{Digested, Job, SCHEMA_MAJOR, Timestamp, Vantage, Workload, WriteId};
use crate::store::{Op, RequestCounts, Settled, StoreError};

/// How often the slots are looked at, at first and at last.
const GATHER_FIRST: Duration = Duration::from_millis(500);
const GATHER_LAST: Duration = Duration::from_secs(2);
/// How long after a failed request the next try comes.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a coordinator hears.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time has passed.
    Wake,
    /// The bucket answered.
    Replied(Reply),
    /// The bucket's clock was read.
    Clock(Sample),
    /// The SFU's clock was read, at this node.
    Pongs(Vec<Sample>, String),
    /// The user wants the run to end, for this reason.
    Abort(String),
}

/// What a coordinator wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ask the bucket.
    Ask(Request),
    /// Show it.
    Tell(Progress),
}

/// How a coordination ends.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// The start is fixed and in the bucket; the rest happens without the coordinator.
    Detached(Box<Start>),
    /// All is in that will be waited for: finalize.
    Over {
        /// The start.
        start: Box<Start>,
        /// Why the run was aborted, if it was.
        aborted: Option<String>,
    },
    /// The run does not take place.
    Failed(RendezvousError),
}

/// What to do with the run's room now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// Delete it: the run created it, and all its participants have left.
    Delete(String),
    /// Leave it.
    Leave(&'static str),
    /// Leave it, and what was made for the run: it may go on without this coordinator.
    Keep,
}

/// How to coordinate.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// End as soon as a fixed start is in the bucket.
    pub detach: bool,
    /// Makes write ids, different for each coordinator.
    pub seed: u64,
}

/// A coordinator.
#[derive(Debug)]
pub struct Coordinator {
    job: Digested<Job>,
    settings: Settings,
    tickets: BTreeMap<Vantage, bytes::Bytes>,
    clocks: Clocks,
    begun: Timestamp,
    phase: Phase,
    abort: Option<String>,
    /// Somebody pulled the kill switch, whatever else is known of it.
    abort_listed: bool,
    write_job: Errand,
    look: Errand,
    decide: Errand,
    reads: BTreeSet<RunKey>,
    /// Claims that were read, whatever they said.
    slots: BTreeSet<(Vantage, u32)>,
    gathered: Gathered,
    /// Vantages that became ready.
    waiting: BTreeSet<Vantage>,
    writes: u64,
    /// What its process asked of the bucket so far.
    asked: Option<RequestCounts>,
    /// It failed and does not know that the run takes no place.
    may_go_on: bool,
    out: VecDeque<Action>,
}

#[derive(Debug)]
enum Phase {
    Writing,
    HandingOut(HandOut),
    Gathering,
    Deciding,
    Watching(Box<Watch>),
    /// It was aborted before its start: those who wait are to know.
    Rousing(Box<(Rouse, End)>),
    Ended(End),
}

impl Coordinator {
    /// A coordinator of this job.
    pub fn new(job: Digested<Job>, settings: Settings, now: Timestamp) -> Self {
        Coordinator {
            job,
            settings,
            tickets: BTreeMap::new(),
            clocks: Clocks::default(),
            begun: now,
            phase: Phase::Writing,
            abort: None,
            abort_listed: false,
            write_job: Errand::at(now),
            look: Errand::IDLE,
            decide: Errand::IDLE,
            reads: BTreeSet::new(),
            slots: BTreeSet::new(),
            gathered: Gathered::default(),
            waiting: BTreeSet::new(),
            writes: 0,
            asked: None,
            may_go_on: false,
            out: VecDeque::new(),
        }
    }

    /// Has it write these tickets, which the job names the keys of.
    #[must_use]
    pub fn with_tickets(mut self, tickets: BTreeMap<Vantage, bytes::Bytes>) -> Self {
        self.tickets = tickets;
        self
    }

    /// The job, which is the bucket's if the run had one already.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Tells it what its process asked of the bucket so far.
    pub fn count(&mut self, so_far: RequestCounts) {
        self.asked = Some(so_far);
    }

    /// What it will have asked when it leaves, if it leaves with the start that it writes now.
    fn asked_by_detaching(&self) -> Option<RequestCounts> {
        let mut all = self.asked.filter(|_| self.settings.detach)?;
        all.count(Op::Create);
        all.count(Op::Get);
        Some(all)
    }

    /// Takes an event in; what to do comes out.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        match event {
            Event::Wake => {}
            Event::Clock(sample) => self.clocks.bucket.add(&sample),
            Event::Pongs(samples, node) => self.clocks.pongs(&samples, &node),
            Event::Abort(reason) => self.abort = Some(reason),
            Event::Replied(reply) => self.replied(now, reply),
        }
        self.act(now);
        self.out.drain(..).collect()
    }

    /// When to wake it, if nothing happens before.
    pub fn wake_at(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Ended(_) => None,
            Phase::Writing => self.write_job.wake_at(),
            Phase::HandingOut(tickets) => tickets.wake_at(),
            Phase::Gathering => self.look.wake_at(),
            Phase::Deciding => self.decide.wake_at(),
            Phase::Watching(watch) => watch.wake_at(),
            Phase::Rousing(rousing) => rousing.0.wake_at(),
        }
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<&End> {
        match &self.phase {
            Phase::Ended(end) => Some(end),
            _ => None,
        }
    }

    /// What to do with the room once it has ended.
    pub fn cleanup(&self) -> Cleanup {
        let Workload::SharedRoom {
            room,
            existing_room,
            ..
        } = &self.job.workload;
        if *existing_room && !planted!(DeletesAnyRoom) {
            return Cleanup::Leave("it existed before the run");
        }
        if planted!(LeavesTheRoom) {
            return Cleanup::Leave("a mistake");
        }
        match self.end() {
            Some(End::Failed(_)) if self.may_go_on => Cleanup::Keep,
            Some(End::Over { .. } | End::Failed(_)) => Cleanup::Delete(room.clone()),
            Some(End::Detached(_)) if planted!(DeletesTooSoon) => Cleanup::Delete(room.clone()),
            Some(End::Detached(_)) => Cleanup::Leave("the run goes on without the coordinator"),
            None => Cleanup::Leave("participants may be in it"),
        }
    }

    fn act(&mut self, now: Timestamp) {
        match &mut self.phase {
            Phase::Writing => {
                if let Some(reason) = &self.abort
                    && self.write_job.wake_at().is_some()
                {
                    self.end_with(End::Failed(RendezvousError::Cancelled {
                        run: self.job.run.clone(),
                        reason: reason.clone(),
                    }));
                } else if self.write_job.start(now) {
                    let body = document::write(&self.job.document);
                    self.create(Item::Job, body);
                }
            }
            Phase::HandingOut(tickets) => {
                if tickets.done() || (self.abort.is_some() && !tickets.under_way()) {
                    self.announce(now);
                } else if self.abort.is_none() {
                    self.out.extend(tickets.act(now));
                }
            }
            Phase::Gathering => self.gather(now),
            Phase::Deciding => {
                if self.decide.start(now) {
                    if self.must_wait(now) {
                        self.phase = Phase::Gathering;
                        self.look = Errand::at(now);
                    } else {
                        self.write_start(now);
                    }
                }
            }
            Phase::Watching(watch) => {
                if let Some(reason) = self.abort.take() {
                    watch.abort(now, reason);
                }
                let asked = watch.act(now, &self.clocks.bucket);
                self.out.extend(asked);
                if let Some(aborted) = watch.over() {
                    let start = Box::new(watch.start().clone());
                    self.out.push_back(Action::Tell(Progress::Finalizing));
                    self.end_with(End::Over { start, aborted });
                }
            }
            Phase::Rousing(rousing) => {
                let (rouse, end) = &mut **rousing;
                self.out.extend(rouse.act(now).into_iter().map(Action::Ask));
                if rouse.is_done() {
                    let end = end.clone();
                    self.end_with(end);
                }
            }
            Phase::Ended(_) => {}
        }
    }

    fn gather(&mut self, now: Timestamp) {
        // While answers are still to come, once per look is enough.
        let looks = self.look.wake_at().is_some_and(|t| t <= now);
        if self.abort_listed && self.abort.is_none() {
            if !looks {
                return;
            }
            self.abort = Some("the kill switch was pulled, and can't be read".to_owned());
        }
        if (looks || self.reads.is_empty() || self.abort.is_some()) && !self.must_wait(now) {
            self.phase = Phase::Deciding;
            self.decide = Errand::at(now);
            return self.act(now);
        }
        if self.look.start(now) {
            self.ask(Request::List(list_run(&self.job.run)));
        }
    }

    fn must_wait(&self, now: Timestamp) -> bool {
        self.abort.is_none() && self.job.times.start_at.is_none() && self.called(now) == Call::Wait
    }

    fn called(&self, now: Timestamp) -> Call {
        decide::call(&self.job, &self.gathered, &self.clocks.bucket, now)
    }

    fn write_start(&mut self, now: Timestamp) {
        let mut decision = match &self.abort {
            Some(reason) => Decision::Cancel {
                reason: reason.clone(),
            },
            None => decide::decision(&self.job, &self.gathered, &self.clocks, now),
        };
        if let Decision::Start(start) = &mut decision {
            start.asked = self.asked_by_detaching();
        }
        let document = StartDocument {
            schema: SCHEMA_MAJOR,
            write_id: self.write_id(),
            run: self.job.run.clone(),
            job_sha256: self.job.digest,
            decision,
        };
        let body = document::write(&document);
        self.create(Item::Start, body);
    }

    fn replied(&mut self, now: Timestamp, reply: Reply) {
        if let Phase::Watching(watch) = &mut self.phase {
            let told = watch.replied(now, reply, &self.clocks.bucket);
            self.out.extend(told);
            return;
        }
        if let Phase::HandingOut(tickets) = &mut self.phase {
            match tickets.replied(now, reply) {
                Ok(told) => self.out.extend(told),
                Err(e) => self.end_with(End::Failed(e)),
            }
            return;
        }
        if let Phase::Rousing(rousing) = &mut self.phase {
            return rousing.0.replied(now, &reply);
        }
        match reply {
            Reply::Created(key, answer) if key.item == Item::Job => self.job_written(now, answer),
            Reply::Created(key, answer) if key.item == Item::Start => {
                self.decide.answered();
                match answer {
                    // Its time of storing decides whether it counts, so it is read back.
                    Ok(Settled::Mine) => self.ask(Request::Read(key)),
                    Ok(Settled::Theirs(object)) => {
                        self.started(now, &key, &object.body, object.last_modified);
                    }
                    Err(e) => self.retry_decision(now, &e),
                }
            }
            Reply::Read(key, answer) if key.item == Item::Start => match answer {
                Ok(object) => self.started(now, &key, &object.body, object.last_modified),
                Err(e) => self.retry_decision(now, &e),
            },
            Reply::Listed(_, answer) => {
                self.look.answered();
                let waited = now.saturating_since(self.begun);
                let pause = (waited / 10).clamp(GATHER_FIRST, GATHER_LAST);
                self.look.again(now + pause);
                match answer {
                    Ok(listing) => self.listed(&listing),
                    Err(e) => self.trouble(&e),
                }
            }
            Reply::Read(key, Ok(object)) => {
                self.reads.remove(&key);
                self.learned(key, &object.body, object.last_modified);
            }
            Reply::Read(key, Err(e)) => {
                // The next listing asks again.
                self.reads.remove(&key);
                self.trouble(&e);
            }
            Reply::Created(..) | Reply::Overwritten(..) => {}
        }
    }

    fn job_written(&mut self, now: Timestamp, answer: Result<Settled, StoreError>) {
        self.write_job.answered();
        match answer {
            Ok(settled) => {
                if let Settled::Theirs(object) = settled {
                    // The run exists: this coordinator joins it instead of starting another.
                    let key = RunKey::new(&self.job.run, Item::Job);
                    match document::read_digested::<Job>(&key, &object.body) {
                        Ok(job) => self.job = job,
                        Err(e) => return self.end_with(End::Failed(e)),
                    }
                    // Who began it hands out its tickets.
                    self.tickets.clear();
                }
                let tickets = std::mem::take(&mut self.tickets);
                let run = self.job.run.clone();
                self.phase = Phase::HandingOut(HandOut::new(run, tickets, now));
            }
            Err(e) => self.end_with(End::Failed(e.into())),
        }
    }

    /// Probers can come.
    fn announce(&mut self, now: Timestamp) {
        let written = Progress::JobWritten {
            run: self.job.run.clone(),
            tickets: !self.job.ticket_keys.is_empty(),
        };
        self.out.push_back(Action::Tell(written));
        self.phase = Phase::Gathering;
        self.look = Errand::at(now);
        self.act(now);
    }

    fn retry_decision(&mut self, now: Timestamp, e: &StoreError) {
        self.trouble(e);
        // Past the hard deadline nobody can start any more, whatever stands in the bucket.
        if self
            .clocks
            .bucket
            .surely_past(now, self.job.times.hard_deadline)
        {
            return self.end_with(End::Failed(e.clone().into()));
        }
        self.decide = Errand::at(now + RETRY_AFTER);
    }

    fn started(&mut self, now: Timestamp, key: &RunKey, body: &[u8], stored: Timestamp) {
        let document = match document::read::<StartDocument>(key, body) {
            Ok(document) => document,
            Err(e) => return self.end_with(End::Failed(e)),
        };
        match admission::verdict(&document, stored, &self.job) {
            Verdict::Cancelled(reason) => {
                let run = self.job.run.clone();
                let error = match self.called(now) {
                    call @ (Call::NobodyCame | Call::NobodyReady(_)) if self.abort.is_none() => {
                        decide::no_start(&self.job, call)
                    }
                    _ => RendezvousError::Cancelled { run, reason },
                };
                let end = End::Failed(error);
                if self.abort.is_some() {
                    let rouse = Rouse::new(self.job.run.clone(), stored, now);
                    self.phase = Phase::Rousing(Box::new((rouse, end)));
                } else {
                    self.end_with(end);
                }
            }
            Verdict::Start(start) => {
                let width_max = self.job.limits.clock_width.0;
                let builds = self.gathered.builds(&start.roster);
                self.out
                    .push_back(Action::Tell(Progress::Builds { builds }));
                let (unfit, absent) = self.gathered.missing(&self.job.fleet, &start.roster);
                if !unfit.is_empty() || !absent.is_empty() {
                    let without = Progress::StartsWithout { unfit, absent };
                    self.out.push_back(Action::Tell(without));
                }
                let clock = self.clocks.run(&start, None, width_max, now);
                let local = clock.offset.to_local(start.start_at);
                self.out.push_back(Action::Tell(Progress::Started {
                    start: start.clone(),
                    local,
                }));
                // Whoever is asked to abort stays until that is done.
                if self.settings.detach && self.abort.is_none() {
                    self.end_with(End::Detached(start));
                } else {
                    let seed = self.settings.seed;
                    let watch = Watch::new(self.job.document.clone(), *start, seed, now);
                    self.phase = Phase::Watching(Box::new(watch));
                }
            }
        }
    }

    fn write_id(&mut self) -> WriteId {
        self.writes += 1;
        write_id(self.settings.seed, self.writes)
    }

    fn create(&mut self, item: Item, body: Result<bytes::Bytes, RendezvousError>) {
        match body {
            Ok(body) => self.ask(Request::Create(RunKey::new(&self.job.run, item), body)),
            Err(e) => self.end_with(End::Failed(e)),
        }
    }

    fn ask(&mut self, request: Request) {
        self.out.push_back(Action::Ask(request));
    }

    fn trouble(&mut self, e: &StoreError) {
        let what = e.to_string();
        self.out.push_back(Action::Tell(Progress::Trouble { what }));
    }

    fn end_with(&mut self, end: End) {
        self.may_go_on = match self.phase {
            // It was asked to be written, and perhaps it was: another may have joined it.
            Phase::Writing => self.write_job.wake_at().is_none(),
            Phase::HandingOut(_) => true,
            _ => false,
        };
        self.phase = Phase::Ended(end);
    }
}
