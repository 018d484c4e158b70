//! The world: earliest event first, until all is done or too much time has passed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::bucket::{Answer, Call, SimBucket, Way};
use super::process::{Does, Exchange, Heard, Machine, Process, Then, local, truly};
use super::properties::Properties;
use super::scenario::{BEGIN, Casting, Dice, Role, Scenario};
use crate::clock::Sample;
use crate::job::{SCHEMA_MAJOR, Timestamp, WriteId};
use crate::rendezvous::document;
use crate::rendezvous::exchange::Reply;
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::objects::Abort;
use crate::rendezvous::prober::{Event, Orders, Tested};
use crate::report::part::{TierClock, TierPart};
use crate::store::{Fault, Next};

/// More steps than any world needs.
const STEPS_MAX: u64 = 200_000;

enum Happens {
    Begin(usize),
    Wake(usize, u64),
    Arrive(usize, Exchange, Call, Way, Timestamp),
    Answer(usize, Exchange, Answer, Option<Sample>),
    Settle(usize, Exchange, Next),
    Tested(usize),
    Measured(usize, u64, usize),
    LoadEnded(usize, u64),
    Kill(usize),
    Abort,
    Look,
}

pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) bucket: SimBucket,
    pub(super) processes: Vec<Process>,
    pub(super) now: Timestamp,
    pub(super) aborted_at: Option<Timestamp>,
    /// What happened, if it is kept.
    pub(super) trace: Option<Vec<String>>,
    pub(super) steps: u64,
    queue: BinaryHeap<Reverse<(Timestamp, u64)>>,
    events: std::collections::BTreeMap<u64, Happens>,
    generations: Vec<u64>,
    loads: Vec<u64>,
    order: u64,
    properties: Properties,
}

impl World {
    pub(super) fn new(mut scenario: Scenario) -> Self {
        if scenario.blackout.is_none() {
            // When all is over, one trigger is enough for a result, and a second changes nothing.
            for later in [100, 160] {
                scenario.cast.push(Casting {
                    role: Role::Finalizer,
                    begins: end_of(&scenario).saturating_since(BEGIN) + Duration::from_secs(later),
                    offset_us: 0,
                    drift_ppm: 0,
                    killed: None,
                    stopped: None,
                });
            }
        }
        let n = scenario.cast.len();
        let mut world = World {
            bucket: SimBucket::new(&scenario),
            processes: (0..n).map(|i| Process::new(&scenario, i)).collect(),
            now: BEGIN,
            aborted_at: None,
            trace: None,
            steps: 0,
            queue: BinaryHeap::new(),
            events: std::collections::BTreeMap::new(),
            generations: vec![0; n],
            loads: vec![0; n],
            order: 0,
            properties: Properties::default(),
            scenario,
        };
        for i in 0..n {
            let casting = world.processes[i].casting.clone();
            world.schedule(BEGIN + casting.begins, Happens::Begin(i));
            if let Some(after) = casting.killed {
                world.schedule(BEGIN + after, Happens::Kill(i));
            }
        }
        if let Some(after) = world.scenario.abort {
            world.schedule(BEGIN + after, Happens::Abort);
        }
        world.schedule(BEGIN, Happens::Look);
        world
    }

    /// Runs it; what was found wrong comes out.
    pub(super) fn run(&mut self) -> Vec<String> {
        let limit = end_of(&self.scenario) + Duration::from_secs(400);
        while let Some(Reverse((at, id))) = self.queue.pop() {
            let Some(event) = self.events.remove(&id) else {
                continue;
            };
            if at > limit {
                break;
            }
            self.steps += 1;
            if self.steps > STEPS_MAX {
                self.properties.found("the world does not end".into());
                break;
            }
            self.now = at;
            self.bucket.set_time(at);
            self.happen(event);
        }
        let mut properties = std::mem::take(&mut self.properties);
        properties.at_the_end(self);
        properties.findings
    }

    fn schedule(&mut self, at: Timestamp, event: Happens) {
        self.order += 1;
        self.events.insert(self.order, event);
        self.queue.push(Reverse((at, self.order)));
    }

    /// The end of a process' stop, if it is stopped now.
    fn stopped_until(&self, p: usize) -> Option<Timestamp> {
        let (from, length) = self.processes[p].casting.stopped?;
        let (from, to) = (BEGIN + from, BEGIN + from + length);
        (from <= self.now && self.now < to).then_some(to)
    }

    pub(super) fn is_loading(&self, p: usize) -> Option<&Orders> {
        let process = &self.processes[p];
        let orders = process.load.as_ref()?;
        let first = orders.tiers.first()?.settle_from;
        let on = process.alive
            && self.stopped_until(p).is_none()
            && self.now >= truly(&process.casting, first);
        on.then_some(orders)
    }

    fn happen(&mut self, event: Happens) {
        let whose = match &event {
            Happens::Begin(p)
            | Happens::Wake(p, _)
            | Happens::Answer(p, ..)
            | Happens::Settle(p, ..)
            | Happens::Tested(p)
            | Happens::Measured(p, ..)
            | Happens::LoadEnded(p, _) => Some(*p),
            Happens::Arrive(..) | Happens::Kill(_) | Happens::Abort | Happens::Look => None,
        };
        if let Some(p) = whose {
            if !self.processes[p].alive || self.processes[p].ended {
                return;
            }
            if let Some(until) = self.stopped_until(p) {
                return self.schedule(until, event);
            }
        }
        match event {
            Happens::Begin(p) => self.tell(p, Heard::Wake),
            Happens::Wake(p, generation) => {
                if self.generations[p] == generation {
                    self.tell(p, Heard::Wake);
                }
            }
            Happens::Arrive(p, exchange, call, way, sent) => {
                let dated =
                    way.fault != Some(Fault::LostRequest) && way.fault != Some(Fault::LostResponse);
                let answer = self.bucket.arrive(call, way);
                let at = self.now + way.after;
                let casting = &self.processes[p].casting;
                let date_s = self.now.as_micros().div_euclid(1_000_000);
                let sample = dated.then(|| Sample::date(sent, date_s, local(casting, at)));
                self.schedule(at, Happens::Answer(p, exchange, answer, sample));
            }
            Happens::Answer(p, exchange, answer, sample) => {
                if let Some(mut sample) = sample {
                    // Who was stopped meanwhile received it only now.
                    sample.received = local(&self.processes[p].casting, self.now);
                    self.tell(p, Heard::Clock(sample));
                }
                self.then(p, exchange.answered(answer));
            }
            Happens::Settle(p, exchange, next) => self.then(p, exchange.next(next)),
            Happens::Tested(p) => {
                let tested = self.self_test(p);
                self.tell(p, Heard::Prober(Event::SelfTested(tested)));
            }
            Happens::Measured(p, load, tier) => {
                if self.loads[p] == load
                    && let Some(part) = self.measured(p, tier)
                {
                    self.tell(p, Heard::Prober(Event::Part(Box::new(part))));
                }
            }
            Happens::LoadEnded(p, load) => {
                if self.loads[p] == load {
                    self.processes[p].load = None;
                    self.loads[p] += 1;
                    self.tell(p, Heard::Prober(Event::LoadEnded));
                }
            }
            Happens::Kill(p) => {
                self.note(p, || "is killed".into());
                self.processes[p].alive = false;
                self.processes[p].load = None;
            }
            Happens::Abort => {
                let abort = Abort {
                    schema: SCHEMA_MAJOR,
                    write_id: WriteId::from_u64(9),
                    run: self.scenario.job.run.clone(),
                    reason: "drawn".into(),
                };
                let key = RunKey::new(&abort.run, Item::Abort).key();
                self.bucket.poke(&key, document::write(&abort).unwrap());
                self.aborted_at = Some(self.now);
            }
            Happens::Look => {
                let mut properties = std::mem::take(&mut self.properties);
                properties.each_second(self);
                self.properties = properties;
                if self.processes.iter().any(|p| p.alive && !p.ended) {
                    self.schedule(self.now + Duration::from_secs(1), Happens::Look);
                }
            }
        }
    }

    fn note(&mut self, p: usize, what: impl FnOnce() -> String) {
        let Some(trace) = &mut self.trace else {
            return;
        };
        let ms = self.now.saturating_since(BEGIN).as_millis();
        let role = match &self.processes[p].casting.role {
            Role::Prober(vantage) => vantage.to_string(),
            other => format!("{other:?}"),
        };
        trace.push(format!("{ms:>7} {p} {role}: {}", what()));
    }

    fn tell(&mut self, p: usize, heard: Heard) {
        if self.processes[p].ended {
            return;
        }
        if let Heard::Replied(reply) = &heard {
            let mut properties = std::mem::take(&mut self.properties);
            properties.replied(p, reply);
            self.properties = properties;
            self.note(p, || brief(reply));
        }
        let now = local(&self.processes[p].casting, self.now);
        let does = self.processes[p].handle(now, heard);
        for does in does {
            self.does(p, does);
        }
        self.generations[p] += 1;
        if let Some(end) = self.processes[p].end() {
            self.note(p, || format!("ends: {end}"));
            self.processes[p].ended = true;
        } else if let Some(at) = self.processes[p].wake_at() {
            let at = truly(&self.processes[p].casting, at).max(self.now);
            let generation = self.generations[p];
            self.schedule(at, Happens::Wake(p, generation));
        }
    }

    fn does(&mut self, p: usize, does: Does) {
        match does {
            Does::Ask(request) => self.then(p, Exchange::begin(request)),
            Does::Tell(what) => self.note(p, || format!("{what:?}")),
            Does::SelfTest => {
                let ms = 300 + Dice(self.scenario.seed ^ p as u64).roll(2_000);
                self.schedule(self.now + Duration::from_millis(ms), Happens::Tested(p));
            }
            Does::StartLoad(orders) => {
                self.note(p, || {
                    format!("loads from tier {}", orders.tiers[0].plan.tier)
                });
                let mut properties = std::mem::take(&mut self.properties);
                properties.load_begins(self, p, &orders);
                self.properties = properties;
                self.loads[p] += 1;
                let load = self.loads[p];
                let casting = self.processes[p].casting.clone();
                for (n, tier) in orders.tiers.iter().enumerate() {
                    let at = truly(&casting, tier.to) + Duration::from_millis(5);
                    self.schedule(at, Happens::Measured(p, load, n));
                }
                let last = orders.tiers.last().map_or(orders.stop_at, |t| t.to);
                let end = truly(&casting, last.min(orders.stop_at));
                let end = end.max(self.now) + Duration::from_millis(500);
                self.schedule(end, Happens::LoadEnded(p, load));
                self.processes[p].load = Some(*orders);
            }
            Does::StopLoad => {
                self.note(p, || "stops its load".into());
                self.processes[p].load = None;
                let at = self.now + Duration::from_millis(300);
                let load = self.loads[p];
                self.schedule(at, Happens::LoadEnded(p, load));
            }
        }
    }

    fn then(&mut self, p: usize, then: Then) {
        match then {
            Then::Done(reply) => self.tell(p, Heard::Replied(reply)),
            Then::Wait(exchange, delay, next) => {
                self.schedule(self.now + delay, Happens::Settle(p, exchange, *next));
            }
            Then::Call(exchange, call) => {
                let dark = self
                    .scenario
                    .blackout
                    .is_some_and(|after| self.now >= BEGIN + after);
                let way = self.bucket.send(&call, dark);
                let sent = local(&self.processes[p].casting, self.now);
                let at = self.now + way.before;
                self.schedule(at, Happens::Arrive(p, exchange, call, way, sent));
            }
        }
    }

    /// The node that a prober meets, and that node's clock minus the true one.
    pub(super) fn node(&self, p: usize) -> (u64, i64) {
        let several = Dice(self.scenario.seed ^ 0x50de).roll(4) == 0;
        let node = if several { p as u64 % 2 } else { 0 };
        let offset = Dice(self.scenario.seed ^ node).roll(6_000_000);
        (node, i64::try_from(offset).unwrap() - 3_000_000)
    }

    fn self_test(&self, p: usize) -> Result<Tested, String> {
        let mut dice = Dice(self.scenario.seed ^ 0x7e57 ^ p as u64);
        if !self.scenario.calm && dice.roll(20) == 0 {
            return Err("no path".into());
        }
        let (node, offset) = self.node(p);
        let casting = &self.processes[p].casting;
        let clock = (0..10)
            .map(|n| {
                let received = self.now.offset_micros(-n * 200_000);
                let back = i64::try_from(dice.roll(40_000)).unwrap();
                let there = i64::try_from(dice.roll(40_000)).unwrap();
                let read = received.offset_micros(offset - back).as_micros();
                Sample::pong(
                    local(casting, received.offset_micros(-back - there)),
                    read.div_euclid(1_000),
                    local(casting, received),
                )
            })
            .collect();
        Ok(Tested {
            clock,
            node: format!("node{node}"),
        })
    }

    /// A tier's part, unless the process or its load was not there for all of it.
    fn measured(&self, p: usize, n: usize) -> Option<TierPart> {
        let process = &self.processes[p];
        let orders = process.load.as_ref()?;
        let tier = orders.tiers.get(n)?;
        if let Some((from, length)) = process.casting.stopped {
            let (from, to) = (BEGIN + from, BEGIN + from + length);
            let casting = &process.casting;
            if from < truly(casting, tier.to) && truly(casting, tier.settle_from) < to {
                return None;
            }
        }
        let mut part = TEMPLATE.with(TierPart::clone);
        part.run = orders.job.run.clone();
        part.job_sha256 = orders.job.digest;
        part.vantage = orders.claim.vantage();
        part.claim = orders.claim.clone();
        part.tier = tier.plan.tier;
        part.window = tier.plan.window;
        part.measured = tier.plan.window;
        part.clock = match &process.machine {
            Machine::Prober(machine) => {
                let local = local(&process.casting, self.now);
                let clock = |at| Some(machine.run_clock(local)?.seen_at(at));
                clock(tier.from)
                    .zip(clock(tier.to))
                    .map(|(opened, closed)| TierClock { opened, closed })
            }
            Machine::Coordinator(_) | Machine::Finalizer(_) => None,
        };
        Some(part)
    }
}

thread_local! {
    static TEMPLATE: TierPart = template();
}

/// A part without distributions: they cost time here, and decide nothing.
fn template() -> TierPart {
    let mut part = crate::report::sample::part("a", 0);
    for histogram in [
        &mut part.join_us,
        &mut part.connect_us,
        &mut part.track_subscribe_us,
        &mut part.rtt_us,
        &mut part.jitter_us,
        &mut part.loss_ppm,
        &mut part.bitrate_in_kbps,
        &mut part.generator.tick_lag_us,
        &mut part.generator.pacing_lag_us,
        &mut part.generator.join_lag_us,
    ] {
        *histogram = crate::measure::Histogram::default();
    }
    part.phases_us.clear();
    part
}

/// When no process has anything to wait for any more.
pub(super) fn end_of(scenario: &Scenario) -> Timestamp {
    let times = &scenario.job.times;
    times.hard_deadline + times.grace.0 + Duration::from_secs(60)
}

fn brief(reply: &Reply) -> String {
    let (what, result) = match reply {
        Reply::Read(key, r) => (format!("read {}", key.key()), r.as_ref().err()),
        Reply::Created(key, Ok(settled)) => {
            let whose = match settled {
                crate::store::Settled::Mine => "mine",
                crate::store::Settled::Theirs(_) => "theirs",
            };
            (format!("{whose} {}", key.key()), None)
        }
        Reply::Created(key, r) => (format!("create {}", key.key()), r.as_ref().err()),
        Reply::Overwritten(key, r) => (format!("put {}", key.key()), r.as_ref().err()),
        Reply::Listed(list, r) => (format!("list {}", list.prefix), r.as_ref().err()),
    };
    match result {
        None => what,
        Some(e) => format!("{what}: {e}"),
    }
}

impl World {
    /// The claims that stand in the bucket.
    pub(super) fn claims(
        &self,
    ) -> std::collections::BTreeMap<(crate::job::Vantage, u32), Timestamp> {
        let list = crate::rendezvous::keys::Folder::Slots.list(&self.scenario.job.run);
        crate::rendezvous::coordinator::claims(&self.bucket.look(&list))
    }
}
