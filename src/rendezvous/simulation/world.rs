//! The world: earliest event first, until all is done or too much time has passed.

use std::fmt::Debug;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::bucket::{Answer, Call, SimBucket, Way, Weather};
use super::dice::Dice;
use super::forge::{self, Forgery, Guise};
use super::history::{Finalized, History, Load, Reading};
use super::memory;
use super::process::{Does, Exchange, Heard, Machine, Process, Then};
use super::properties::end;
use super::queue::Queue;
use super::scenario::{BEGIN, Casting, Kind, Moment, Role, Scenario, end_of};
use super::sfu;
use crate::clock::Sample;
use crate::job::{ClaimId, Timestamp};
use crate::rendezvous::coordinator::{Cleanup, End};
use crate::rendezvous::exchange::Reply;
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::objects::ReferenceClock;
use crate::rendezvous::prober::{Event, Orders};
use crate::rendezvous::status::Status;
use crate::signature::SigningKey;
use crate::store::{Key, Next, Op, Settled};

/// More steps than any world of ten probers needs.
const STEPS_PER_PROCESS: u64 = 20_000;
/// How long a store that looks and writes in two steps takes between them.
const TORN_MS: u64 = 1_500;
/// How long participants take to leave.
const LEAVING: Duration = Duration::from_millis(500);

enum Happens {
    Wake(usize, u64),
    Arrive(usize, Box<(Exchange, Call)>, Way, Timestamp),
    /// The second half of a create that isn't atomic.
    Write(usize, Box<(Exchange, Key, Bytes)>, Way, Timestamp),
    Answer(usize, Box<(Exchange, Answer)>, Option<(Timestamp, i64)>),
    Settle(usize, Box<(Exchange, Next)>),
    Tested(usize),
    Measured(usize, u64, usize),
    LoadEnded(usize, u64),
    Kill(usize),
    Extinction,
    Forge(Forgery, Guise),
    /// Another job is written over the run's.
    Rewrite,
}

pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) bucket: SimBucket,
    pub(super) processes: Vec<Process>,
    pub(super) now: Timestamp,
    pub(super) history: History,
    /// What happened, if it is kept.
    pub(super) trace: Option<Vec<String>>,
    pub(super) steps: u64,
    /// It went on for ever.
    pub(super) endless: bool,
    /// Where the run stood when its deadline and its grace had passed.
    pub(super) status_at_end: Option<Status>,
    queue: Queue<Happens>,
    dice: Dice,
    /// What is on, by process: an index into the history's loads.
    on: Vec<Option<usize>>,
}

impl World {
    pub(super) fn new(scenario: Scenario) -> Self {
        // Some parse what others wrote, as processes do.
        memory::remember(!(scenario.seed / 10).is_multiple_of(8));
        let mut world = World {
            bucket: SimBucket::new(),
            processes: Vec::new(),
            now: BEGIN,
            history: History::default(),
            trace: None,
            steps: 0,
            endless: false,
            status_at_end: None,
            queue: Queue::new(),
            dice: Dice(scenario.seed ^ 0xd1ce),
            on: Vec::new(),
            scenario,
        };
        for casting in world.scenario.cast.clone() {
            world.enter(casting);
        }
        if let Some(after) = world.scenario.abort {
            world.enter(Casting::punctual(Role::Aborter, after));
        }
        if let Some(after) = world.scenario.extinct {
            world.schedule(BEGIN + after, Happens::Extinction);
        }
        if let Some(after) = world.scenario.rewritten {
            world.schedule(BEGIN + after, Happens::Rewrite);
        }
        for (after, forgery, guise) in world.scenario.forgeries.clone() {
            world.schedule(BEGIN + after, Happens::Forge(forgery, guise));
        }
        world
    }

    fn enter(&mut self, casting: Casting) {
        let p = self.processes.len();
        self.schedule(BEGIN + casting.clock.begins, Happens::Wake(p, 0));
        if let Some(after) = casting.killed {
            self.schedule(BEGIN + after, Happens::Kill(p));
        }
        let process = Process::new(&self.scenario, p, casting);
        self.processes.push(process);
        self.on.push(None);
    }

    /// Runs it to its end: all are done, and one trigger after the deadline and the grace has been
    /// heard (in some worlds twice), another one if more came after it.
    pub(super) fn run(&mut self) {
        if self.scenario.dark.is_some() {
            return self.play(end_of(&self.scenario.job) + Duration::from_secs(400));
        }
        let over = end_of(&self.scenario.job) + Duration::from_secs(3);
        self.play(over);
        self.status_at_end = end::status(self, over);
        self.trigger(over);
        if self.scenario.seed % 8 == 1 {
            // Events come more than once.
            self.trigger(over);
        }
        self.play(over + Duration::from_secs(400));
        if self.bucket.last_part() >= Some(over) {
            let now = self.now + Duration::from_secs(2);
            self.trigger(now);
            self.play(now + Duration::from_secs(100));
        }
    }

    /// A finalizer as a platform starts it once, in clear weather.
    fn trigger(&mut self, at: Timestamp) {
        self.scenario.weather = Weather {
            longest_delay_ms: 20,
            ..Weather::default()
        };
        let after = at.saturating_since(BEGIN);
        self.enter(Casting::punctual(Role::Finalizer { waits: false }, after));
    }

    /// Lets happen what is due until then.
    fn play(&mut self, until: Timestamp) {
        let most = STEPS_PER_PROCESS * self.processes.len() as u64;
        while let Some((at, event)) = self.queue.next_by(until) {
            self.now = at;
            self.happen(event);
            if self.steps > most {
                self.endless = true;
                return;
            }
        }
    }

    fn schedule(&mut self, at: Timestamp, event: Happens) {
        self.queue.schedule(at, event);
    }

    fn happen(&mut self, event: Happens) {
        let whose = match &event {
            Happens::Wake(p, n) => {
                if self.processes[*p].wakes.1 != *n {
                    return;
                }
                Some(*p)
            }
            Happens::Answer(p, ..)
            | Happens::Settle(p, ..)
            | Happens::Tested(p)
            | Happens::Measured(p, ..)
            | Happens::LoadEnded(p, _) => Some(*p),
            _ => None,
        };
        if let Some(p) = whose {
            let process = &self.processes[p];
            if !process.alive || process.ended {
                return;
            }
            if let Some(until) = process.casting.clock.stopped_until(self.now) {
                return self.schedule(until, event);
            }
        }
        self.steps += 1;
        match event {
            Happens::Wake(p, _) => self.tell(p, Heard::Wake),
            Happens::Arrive(p, what, way, sent) => self.arrive(p, *what, way, sent),
            Happens::Write(p, what, way, sent) => {
                let (exchange, key, body) = *what;
                self.bucket.write(self.now, &key, body);
                let answer = self.bucket.written();
                self.answer(p, exchange, answer, way, sent);
            }
            Happens::Answer(p, what, date) => {
                let (exchange, answer) = *what;
                if let Some((sent, date_s)) = date {
                    // Who was stopped meanwhile received it only now.
                    let received = self.local(p);
                    self.tell(p, Heard::Clock(Sample::date(sent, date_s, received)));
                }
                self.then(p, exchange.answered(answer));
            }
            Happens::Settle(p, what) => {
                let (exchange, next) = *what;
                self.then(p, exchange.next(next));
            }
            Happens::Tested(p) => {
                let tested = sfu::self_test(&self.scenario, &self.processes[p], p, self.now);
                self.tell(p, Heard::Prober(Event::SelfTested(tested)));
            }
            Happens::Measured(p, load, tier) => {
                if self.processes[p].load == load
                    && let Some(on) = self.on[p]
                {
                    let load = &self.history.loads[on];
                    if let Some(part) = sfu::measured(self, load, tier) {
                        self.tell(p, Heard::Prober(Event::Part(Box::new(part))));
                    }
                }
            }
            Happens::LoadEnded(p, load) => {
                if self.processes[p].load == load {
                    self.off(p);
                    self.processes[p].load += 1;
                    self.read_clocks(p, true);
                    self.tell(p, Heard::Prober(Event::LoadEnded));
                }
            }
            Happens::Rewrite => forge::rewrite_job(self),
            Happens::Kill(p) => self.kill(p),
            Happens::Extinction => {
                for p in 0..self.processes.len() {
                    self.kill(p);
                }
            }
            Happens::Forge(forgery, guise) => {
                if let Some(key) = forge::forge(self, forgery, guise) {
                    self.history.forged.insert(key);
                }
            }
        }
    }

    fn local(&self, p: usize) -> Timestamp {
        self.processes[p].casting.clock.local(self.now)
    }

    fn kill(&mut self, p: usize) {
        if self.processes[p].alive && !self.processes[p].ended {
            self.note(p, &"is killed");
            self.processes[p].alive = false;
            self.off(p);
        }
    }

    fn off(&mut self, p: usize) {
        if let Some(on) = self.on[p].take() {
            self.history.loads[on].to = Some(self.now);
        }
    }

    fn note(&mut self, p: usize, what: &dyn Debug) {
        let Some(trace) = &mut self.trace else {
            return;
        };
        let ms = self.now.saturating_since(BEGIN).as_millis();
        let role = match &self.processes[p].casting.role {
            Role::Prober(vantage) => vantage.to_string(),
            Role::Coordinator => "coordinator".into(),
            Role::Finalizer { .. } => "finalizer".into(),
            Role::Aborter => "aborter".into(),
        };
        trace.push(format!("{ms:>7} {p} {role}: {what:?}"));
    }

    fn tell(&mut self, p: usize, heard: Heard) {
        if self.processes[p].ended || !self.processes[p].alive {
            return;
        }
        if self.trace.is_some()
            && let Heard::Replied(reply) = &heard
        {
            self.note(p, &brief(reply));
        }
        let now = self.local(p);
        let requests = self.history.requests(p);
        let does = self.processes[p].handle(now, requests, heard);
        for does in does {
            if !self.act(p, does) {
                return;
            }
        }
        if self.processes[p].is_done() {
            self.end(p);
        } else {
            self.plan_wake(p);
        }
    }

    fn plan_wake(&mut self, p: usize) {
        let process = &mut self.processes[p];
        let wake_at = process.wake_at();
        if wake_at == process.wakes.0 && wake_at.is_some_and(|t| t > self.now) {
            return;
        }
        process.wakes = (wake_at, process.wakes.1 + 1);
        let n = process.wakes.1;
        if let Some(t) = wake_at {
            let at = process.casting.clock.truly(t, self.now);
            self.schedule(at, Happens::Wake(p, n));
        }
    }

    fn end(&mut self, p: usize) {
        if self.trace.is_some() {
            let end = self.processes[p].end();
            self.note(p, &end);
        }
        self.processes[p].ended = true;
        self.history.ended.insert(p, self.now);
        match &self.processes[p].machine {
            Machine::Coordinator(machine) => {
                // Who fails deletes what it made itself: the first one made the room.
                let over = matches!(machine.end(), Some(End::Over { .. }));
                if let Cleanup::Delete(room) = machine.cleanup()
                    && (over || p == 0)
                {
                    self.history.deleted.push((p, self.now, room));
                }
            }
            Machine::Finalizer(machine) => {
                if let Some(result) = machine.end() {
                    self.history.finalized.push(Finalized {
                        process: p,
                        result: result.clone(),
                    });
                }
            }
            Machine::Prober(_) => self.off(p),
            Machine::Aborter(_) => {}
        }
    }

    /// Does what a process wants, unless it dies of it; says whether it lives.
    fn act(&mut self, p: usize, does: Does) -> bool {
        let n = self.processes[p].acted;
        self.processes[p].acted += 1;
        let crash = self.processes[p].casting.crash.filter(|(at, _)| *at == n);
        if matches!(crash, Some((_, Moment::Before))) {
            self.kill(p);
            return false;
        }
        self.does(p, does);
        if crash.is_some() {
            self.kill(p);
        }
        self.processes[p].alive
    }

    fn does(&mut self, p: usize, does: Does) {
        match does {
            Does::Ask(request) => self.then(p, Exchange::begin(request)),
            Does::Tell(what) => self.note(p, &what),
            Does::SelfTest => {
                let after = Duration::from_millis(300) + self.dice.millis(1_500);
                self.schedule(self.now + after, Happens::Tested(p));
            }
            Does::StartLoad(orders) => self.start_load(p, *orders),
            Does::StopLoad => {
                self.note(p, &"stops its load");
                self.off(p);
                let load = self.processes[p].load;
                self.schedule(self.now + LEAVING, Happens::LoadEnded(p, load));
            }
        }
    }

    fn start_load(&mut self, p: usize, orders: Orders) {
        self.note(p, &orders.tiers);
        self.processes[p].load += 1;
        let load = self.processes[p].load;
        let clock = self.processes[p].casting.clock.clone();
        let mut opens = Vec::new();
        for (n, tier) in orders.tiers.iter().enumerate() {
            opens.push((tier.plan.tier, clock.truly(tier.from, self.now)));
            let at = clock.truly(tier.to, self.now) + Duration::from_millis(5);
            self.schedule(at, Happens::Measured(p, load, n));
        }
        let first = orders
            .tiers
            .first()
            .map_or(orders.stop_at, |t| t.settle_from);
        let last = orders.tiers.last().map_or(orders.stop_at, |t| t.to);
        let end = clock.truly(last.min(orders.stop_at), self.now);
        self.schedule(end + LEAVING, Happens::LoadEnded(p, load));
        let now = self.local(p);
        let Machine::Prober(machine) = &self.processes[p].machine else {
            return;
        };
        let start = super::properties::start(self);
        let width_max = self.scenario.job.limits.clock_width.0;
        let vantage = orders.claim.vantage();
        let reference = start.as_ref().map(|start| {
            let known = machine.known().run(start, Some(&vantage), width_max, now);
            known.offset
        });
        let reference_us = match start.map(|s| s.reference) {
            Some(ReferenceClock::Sfu) => sfu::named(&self.scenario, p, self.now).1,
            _ => 0,
        };
        self.on[p] = Some(self.history.loads.len());
        self.history.loads.push(Load {
            process: p,
            ordered: self.now,
            from: clock.truly(first, self.now),
            to: None,
            orders: Rc::new(orders),
            reference,
            reference_us,
            opens,
        });
        self.read_clocks(p, true);
    }

    /// Writes down what a prober thinks of the other clocks, which a load must have read.
    fn read_clocks(&mut self, p: usize, must: bool) {
        let now = self.local(p);
        let Machine::Prober(machine) = &self.processes[p].machine else {
            return;
        };
        let (bucket, sfu) = machine.clocks();
        let ahead = self.now.as_micros() - now.as_micros();
        let node = sfu::node(&self.scenario, p, self.now).1;
        for (clock, said, truth_us) in [
            ("bucket", bucket.at(now), ahead),
            ("SFU", sfu.at(now), ahead + node),
        ] {
            if must || said.is_some() {
                self.history.readings.push(Reading {
                    process: p,
                    clock,
                    said,
                    truth_us,
                });
            }
        }
    }

    fn then(&mut self, p: usize, then: Then) {
        match then {
            Then::Done(reply, body) => {
                if let (Reply::Created(key, Ok(settled)), Some(body)) = (&reply, body) {
                    let mine = matches!(settled, Settled::Mine);
                    self.history.settled(self.now, p, key, body, mine);
                }
                self.tell(p, Heard::Replied(reply));
            }
            Then::Wait(exchange, delay, next) => {
                let what = Box::new((exchange, *next));
                self.schedule(self.now + delay, Happens::Settle(p, what));
            }
            Then::Call(exchange, call) => {
                let op = call.op();
                let (counts_as, times) = match (&self.processes[p].pass, &call) {
                    (Some(pass), Call::List(list)) => (Op::Get, pass.reads_to_list(list)),
                    _ => (op, 1),
                };
                for _ in 0..times {
                    self.count(p, counts_as, call.key());
                }
                if matches!(op, Op::Put | Op::Replace | Op::Create) {
                    self.read_clocks(p, false);
                }
                if let Some(answer) = self.refused(p, &call) {
                    let what = Box::new((exchange, answer));
                    let at = self.now + Duration::from_millis(1);
                    return self.schedule(at, Happens::Answer(p, what, None));
                }
                let mut way = self.scenario.weather.way(&mut self.dice, op);
                if let Some(dark) = &self.scenario.dark
                    && self.now >= BEGIN + dark.after
                    && (dark.befalls)(op)
                {
                    way = Way::befallen(way.before, way.after, Some(dark.fault));
                }
                let sent = self.local(p);
                let at = self.now + way.before;
                let what = Box::new((exchange, call));
                self.schedule(at, Happens::Arrive(p, what, way, sent));
            }
        }
    }

    fn arrive(&mut self, p: usize, what: (Exchange, Call), way: Way, sent: Timestamp) {
        let (exchange, call) = what;
        if let Call::Create(key, body) = &call
            && !self.scenario.atomic
            && way.fault.is_none()
            && self.bucket.peek(key).is_none()
        {
            let at = self.now + self.dice.millis(TORN_MS);
            let what = Box::new((exchange, key.clone(), body.clone()));
            return self.schedule(at, Happens::Write(p, what, way, sent));
        }
        let aborts = self.history.aborted_at.is_none() && call.key().ends_with("/abort.json");
        let mut answer = self.bucket.arrive(self.now, call, way);
        if aborts && self.bucket_has(Item::Abort) {
            self.history.aborted_at = Some(self.now);
        }
        if let Some(pass) = &self.processes[p].pass {
            answer = pass.narrowed(answer);
        }
        self.answer(p, exchange, answer, way, sent);
    }

    fn count(&mut self, p: usize, op: Op, key: &str) {
        self.history.asked(p, op, key);
        // A finalizer has a budget of its own.
        if !matches!(self.processes[p].machine, Machine::Finalizer(_)) {
            self.history.asked_at(self.now);
        }
    }

    /// The answer of a ticket to what it does not open.
    fn refused(&self, p: usize, call: &Call) -> Option<Answer> {
        let pass = self.processes[p].pass.as_ref()?;
        (!pass.opens(call)).then(|| self.bucket.no_ticket(call.op()))
    }

    fn answer(&mut self, p: usize, exchange: Exchange, answer: Answer, way: Way, sent: Timestamp) {
        let date_s = self.now.as_micros().div_euclid(1_000_000);
        let date = way.is_answered().then_some((sent, date_s));
        let what = Box::new((exchange, answer));
        self.schedule(self.now + way.after, Happens::Answer(p, what, date));
    }

    /// The key by which a claim was made.
    pub(super) fn signer(&self, claim: &ClaimId) -> Option<SigningKey> {
        let mut keys = self.processes.iter().filter_map(|p| p.key.clone());
        keys.find(|key| forge::is_of(claim, key))
    }

    /// Whether an object of the run is there.
    pub(super) fn bucket_has(&self, item: Item) -> bool {
        let key = RunKey::new(&self.scenario.job.run, item).key();
        self.bucket.peek(&key).is_some()
    }

    /// The finalizers that were started once all was over.
    pub(super) fn triggers(&self) -> std::ops::Range<usize> {
        let first = self.scenario.cast.len() + usize::from(self.scenario.abort.is_some());
        first..self.processes.len()
    }

    /// Whether faults befall no call.
    pub(super) fn is_calm(&self) -> bool {
        let stormy = matches!(
            self.scenario.kind,
            Kind::Rough | Kind::Late | Kind::Extinct | Kind::Dark
        );
        !stormy
    }
}

fn brief(reply: &Reply) -> String {
    let (what, result) = match reply {
        Reply::Read(key, r) => (format!("read {key}"), r.as_ref().err()),
        Reply::Created(key, Ok(Settled::Mine)) => (format!("mine {key}"), None),
        Reply::Created(key, Ok(Settled::Theirs(_))) => (format!("theirs {key}"), None),
        Reply::Created(key, r) => (format!("create {key}"), r.as_ref().err()),
        Reply::Overwritten(key, r) => (format!("put {key}"), r.as_ref().err()),
        Reply::Listed(list, r) => (format!("list {}", list.prefix), r.as_ref().err()),
    };
    match result {
        None => what,
        Some(e) => format!("{what}: {e}"),
    }
}
