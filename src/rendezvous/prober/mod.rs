//! A prober's decisions: find the run, claim the slot, try the path, wait for the start, load
//! under a lease, report.
//!
//! It loads only if the start's roster names its claim and an abort check was definite.

mod announce;
mod claim;
mod decline;
mod find;
mod fit;
mod function;
mod leave;
mod left_out;
mod load;
mod pulse;
mod schedule;
mod testing;
mod wait;

use std::collections::VecDeque;
use std::time::Duration;

use self::announce::{Announcing, whole_ms};
use self::claim::Claim;
use self::decline::Decline;
use self::find::Find;
pub use self::function::Function;
use self::leave::Leave;
use self::load::Load;
pub use self::pulse::HEARTBEAT_EVERY;
use self::pulse::Pulse;
use self::testing::Testing;
use self::wait::{Heard, Wait};
use super::RendezvousError;
use super::chance::{self, write_id};
use super::exchange::{Reply, Request, sooner};
use super::keys::{Item, RunKey};
use super::progress::ProberProgress;
use super::reference::Clocks;
use crate::clock::{Estimate, RunClock, Sample};
use crate::job::{ClaimId, Digest, Digested, Job, RunId, Timestamp, Vantage, WriteId};
use crate::load::{Place, TierPlan};
use crate::participant::Transport;
use crate::prober::LiveFigures;
use crate::report::part::{Outcome, TierPart};
use crate::signature::SigningKey;
use crate::store::RequestCounts;

/// How long after a failed request the next try comes.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a whole fleet does at the same moment is spread over two milliseconds for each prober, so
/// that a thousand ask five hundred times a second, up to this.
const SPREAD_MAX: Duration = Duration::from_secs(4);

/// A share of the time over which a fleet spreads what it does at once, by chance.
fn spread(fleet: u32, seed: u64, n: u64) -> Duration {
    let all = Duration::from_millis(2) * fleet.saturating_sub(1);
    all.min(SPREAD_MAX) / 255 * u32::from(chance::byte(seed, n))
}

/// What a prober hears.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time has passed.
    Wake,
    /// The bucket answered.
    Replied(Reply),
    /// The bucket's clock was read.
    Clock(Sample),
    /// The SFU's clock was read again, at this node.
    Pongs(Vec<Sample>, String),
    /// The path was tried: what it showed, or why it can't be used.
    SelfTested(Result<Tested, String>),
    /// The load's latest figures.
    Figures(LiveFigures),
    /// The load has measured a tier.
    Part(Box<TierPart>),
    /// The last participant has left.
    LoadEnded,
    /// The user, or the platform, wants it to end.
    Interrupt,
}

/// What trying the path showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tested {
    /// Readings of the SFU's clock.
    pub clock: Vec<Sample>,
    /// The node that answered; empty when unknown.
    pub node: String,
    /// How media travel.
    pub transport: Transport,
}

/// What a prober wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ask the bucket.
    Ask(Request),
    /// Show it.
    Tell(ProberProgress),
    /// Try the path to the SFU, as the slot's prober.
    SelfTest(Box<Digested<Job>>, Vantage),
    /// Put on load.
    StartLoad(Box<Orders>),
    /// Have all participants leave.
    StopLoad,
}

/// The load to put on, in local time.
#[derive(Clone, Debug, PartialEq)]
pub struct Orders {
    /// The job.
    pub job: Digested<Job>,
    /// By which claim.
    pub claim: ClaimId,
    /// Which of those that take part it is.
    pub index: u32,
    /// Its place in the division of the load.
    pub place: Place,
    /// The tiers, in order.
    pub tiers: Vec<LocalTier>,
    /// No load after this.
    pub stop_at: Timestamp,
}

/// One tier in local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTier {
    /// What the start decided, on the run's reference clock.
    pub plan: TierPlan,
    /// Joins may begin.
    pub settle_from: Timestamp,
    /// The window opens.
    pub from: Timestamp,
    /// The window closes.
    pub to: Timestamp,
}

/// A prober's part in a run that it took part in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The run.
    pub run: RunId,
    /// By which claim.
    pub claim: ClaimId,
    /// How it ended.
    pub outcome: Outcome,
    /// The tiers that it measured.
    pub tiers: Vec<u32>,
}

/// Which run to probe, as whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The run, or the newest one that accepts.
    pub run: Option<RunId>,
    /// The label: a vantage's, of which it takes a free slot, or a slot's.
    pub vantage: Vantage,
    /// How long to look for a run and to wait for its start.
    pub timeout: Duration,
    /// When the process must have ended, in local time.
    pub must_end_by: Option<Timestamp>,
    /// The function that the process is, if it is one.
    pub function: Option<Function>,
    /// muster's version and revision.
    pub build: String,
    /// Signs its parts: the ticket's, or one of its own.
    pub key: SigningKey,
    /// The job that its ticket is for, if it has one.
    pub job_sha256: Option<Digest>,
    /// The bucket, for messages.
    pub place: String,
    /// Makes write ids and pauses, different for each process.
    pub seed: u64,
}

/// A prober.
#[derive(Debug)]
pub struct Prober {
    settings: Settings,
    begun: Timestamp,
    clocks: Clocks,
    interrupted: bool,
    requests: RequestCounts,
    phase: Phase,
    /// Its heartbeat, from its claim on.
    pulse: Option<Pulse>,
    /// It is to look whether the run was stopped.
    alarmed: bool,
    /// Of its claim to the slot.
    slot_write: WriteId,
    writes: u64,
    out: VecDeque<Action>,
}

#[derive(Debug)]
enum Phase {
    Finding(Box<Find>),
    Declining(Box<Decline>),
    Claiming(Box<Digested<Job>>, Box<Claim>),
    Testing(Box<Testing>),
    Announcing(Box<Announcing>),
    Waiting(Box<Wait>),
    Loading(Box<Load>),
    Leaving(Box<Leave>),
    Ended(Box<Result<Ended, RendezvousError>>),
}

impl Prober {
    /// A prober that begins now.
    pub fn new(settings: Settings, now: Timestamp) -> Self {
        let find = Find::new(&settings, now);
        Prober {
            slot_write: write_id(settings.seed, 0),
            settings,
            begun: now,
            clocks: Clocks::default(),
            interrupted: false,
            requests: RequestCounts::default(),
            phase: Phase::Finding(Box::new(find)),
            pulse: None,
            alarmed: false,
            writes: 0,
            out: VecDeque::new(),
        }
    }

    /// Says what was asked of the bucket so far, for the report.
    pub fn count(&mut self, requests: RequestCounts) {
        self.requests = requests;
    }

    /// Takes an event in; what to do comes out.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        match event {
            Event::Wake => {}
            Event::Clock(sample) => self.clocks.bucket.add(&sample),
            Event::Pongs(samples, node) => self.clocks.pongs(&samples, &node),
            Event::Interrupt => self.interrupted = true,
            Event::Replied(reply) => self.replied(now, reply),
            Event::SelfTested(result) => self.tested(now, result),
            Event::Figures(_) | Event::Part(_) | Event::LoadEnded => {
                if let Phase::Loading(load) = &mut self.phase {
                    load.heard(now, event);
                }
            }
        }
        self.act(now);
        self.out.drain(..).collect()
    }

    /// When to wake it, if nothing happens before.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let pulse = self.pulse.as_ref().and_then(Pulse::wake_at);
        let phase = match &self.phase {
            Phase::Finding(find) => find.wake_at(),
            Phase::Declining(decline) => decline.wake_at(),
            Phase::Claiming(_, claim) => claim.wake_at(),
            Phase::Testing(testing) => testing.wake_at(),
            Phase::Announcing(a) => a.errand.wake_at(),
            Phase::Waiting(wait) => wait.wake_at(),
            Phase::Loading(load) => load.wake_at(),
            Phase::Leaving(leave) => Some(leave.until),
            Phase::Ended(_) => return None,
        };
        sooner(phase, pulse)
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<&Result<Ended, RendezvousError>> {
        match &self.phase {
            Phase::Ended(end) => Some(end),
            _ => None,
        }
    }

    /// The bucket's and the SFU's clock, as measured from here.
    pub fn clocks(&self) -> (&Estimate, &Estimate) {
        (&self.clocks.bucket, &self.clocks.sfu)
    }

    /// All that it knows of the clocks.
    pub fn known(&self) -> &Clocks {
        &self.clocks
    }

    /// The run's time as known here; nothing while there is no load.
    pub fn run_clock(&self, now: Timestamp) -> Option<RunClock> {
        match &self.phase {
            Phase::Loading(load) => Some(load.run_clock(&self.clocks, now)),
            _ => None,
        }
    }

    /// When the right to load ends, in local time, unless the bucket extends it; nothing while
    /// there is no load.
    pub fn may_load_until(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Loading(load) => Some(load.may_load_until()),
            _ => None,
        }
    }

    fn act(&mut self, now: Timestamp) {
        if self.interrupted && !matches!(self.phase, Phase::Loading(_) | Phase::Ended(_)) {
            let e = RendezvousError::Interrupted {
                run: self.settings.run.clone(),
            };
            return self.end_with(Err(e));
        }
        self.beat(now);
        match &mut self.phase {
            Phase::Finding(find) => {
                let step = find.wake(now);
                self.find_step(now, step);
            }
            Phase::Declining(decline) => {
                self.out.extend(decline.act(now).map(Action::Ask));
            }
            Phase::Claiming(_, claim) => {
                if now >= self.begun + self.settings.timeout
                    && let Some(e) = claim.trouble()
                {
                    return self.end_with(Err(e.into()));
                }
                let step = claim.wake(now);
                self.claim_step(now, step);
            }
            Phase::Testing(testing) => {
                self.out.extend(testing.act(now).map(Action::Ask));
            }
            Phase::Ended(_) => {}
            Phase::Announcing(a) => {
                if now >= self.begun + self.settings.timeout {
                    let e = a
                        .trouble
                        .take()
                        .unwrap_or_else(|| never_started(&a.job, &self.settings));
                    return self.end_with(Err(e));
                }
                if a.errand.start(now) {
                    let key = RunKey::new(&a.job.run, Item::Ready(a.claim.clone()));
                    let create = Request::Create(key, a.body.clone());
                    self.out.push_back(Action::Ask(create));
                }
            }
            Phase::Waiting(wait) => {
                let heard = wait.act(now, &self.clocks, &mut self.out);
                self.wait_heard(now, heard);
            }
            Phase::Loading(load) => {
                if self.interrupted {
                    load.stop("interrupted");
                }
                load.count(self.requests);
                let pulse = self.pulse.as_ref();
                if let Some(end) = load.act(now, &self.clocks, pulse, &mut self.out) {
                    self.end_with(end);
                }
            }
            Phase::Leaving(leave) => {
                if now >= leave.until {
                    let why = leave.why.clone();
                    self.end_with(Err(why));
                }
            }
        }
    }

    fn replied(&mut self, now: Timestamp, reply: Reply) {
        let reply = match reply {
            Reply::Overwritten(_, answer) => return self.beaten(now, answer),
            reply => reply,
        };
        match &mut self.phase {
            Phase::Finding(find) => {
                let step = find.replied(now, reply, &self.clocks.bucket);
                self.find_step(now, step);
            }
            Phase::Declining(decline) => {
                if let Some(why) = decline.replied(now, &reply) {
                    self.end_with(Err(why));
                }
            }
            Phase::Claiming(_, claim) => {
                let step = claim.replied(now, reply, &self.clocks.bucket);
                self.claim_step(now, step);
            }
            Phase::Announcing(_) => self.announced(now, reply),
            Phase::Waiting(wait) => {
                let heard = wait.replied(now, reply, &self.clocks, &mut self.out);
                self.wait_heard(now, heard);
            }
            Phase::Loading(load) => load.replied(now, reply, &mut self.out),
            Phase::Testing(testing) => {
                testing.replied(now, &self.clocks.bucket);
                let stopped = leave::stopped(&testing.job, reply);
                match stopped {
                    Some(why) => self.leave(now, why),
                    None => self.announce(now),
                }
            }
            Phase::Leaving(_) | Phase::Ended(_) => {}
        }
    }

    fn find_step(&mut self, now: Timestamp, step: find::Step) {
        match step {
            find::Step::Wait => {}
            find::Step::Ask(request) => self.out.push_back(Action::Ask(request)),
            find::Step::Done(result) => match *result {
                Err(e) => self.left_alone(now, e),
                Ok(job) => {
                    let run = job.run.clone();
                    self.tell(ProberProgress::Found { run });
                    let claim = Claim::new(
                        &job,
                        &self.settings.vantage,
                        self.settings.key.public(),
                        self.settings.build.clone(),
                        self.slot_write.clone(),
                        now,
                    );
                    self.phase = Phase::Claiming(Box::new(job), Box::new(claim));
                }
            },
        }
    }

    /// There is no run for it. Of the one that it was to take part in, it says so.
    fn left_alone(&mut self, now: Timestamp, why: RendezvousError) {
        let Some(run) = self.settings.run.clone().filter(|_| why.is_skew()) else {
            return self.end_with(Err(why));
        };
        let write_id = self.write_id();
        match Decline::new(&run, &self.settings, why, write_id, now) {
            Ok(decline) => self.phase = Phase::Declining(Box::new(decline)),
            Err(e) => self.end_with(Err(e)),
        }
    }

    fn claim_step(&mut self, now: Timestamp, step: claim::Step) {
        match step {
            claim::Step::Wait => {}
            claim::Step::Ask(request) => self.out.push_back(Action::Ask(request)),
            claim::Step::Done(result) => match *result {
                Err(e) => self.end_with(Err(e)),
                Ok(claim) => {
                    let Phase::Claiming(job, _) = &self.phase else {
                        return;
                    };
                    let job = job.clone();
                    // From here on it is known by its slot.
                    let slot = claim.vantage();
                    self.settings.vantage = slot.clone();
                    self.tell(ProberProgress::Claimed {
                        claim: claim.clone(),
                    });
                    self.pulse = Some(Pulse::new(job.run.clone(), claim.clone(), now));
                    let unfit = fit::unfit(&job, &self.settings, &self.clocks.bucket, now);
                    let testing = Testing::new(Digested::clone(&job), claim, now);
                    self.phase = Phase::Testing(Box::new(testing));
                    match unfit {
                        Some(why) => self.tested(now, Err(why)),
                        None => self.out.push_back(Action::SelfTest(job, slot)),
                    }
                }
            },
        }
    }

    fn tested(&mut self, now: Timestamp, result: Result<Tested, String>) {
        if let Phase::Testing(testing) = &mut self.phase {
            testing.tested(result);
            self.announce(now);
        }
    }

    fn wait_heard(&mut self, now: Timestamp, heard: Heard) {
        match heard {
            Heard::Nothing => {}
            // Whoever stopped the run waits for a sign of it.
            Heard::Failed(
                e @ (RendezvousError::Aborted { .. } | RendezvousError::Cancelled { .. }),
            ) => self.leave(now, e),
            Heard::Failed(e) => self.end_with(Err(e)),
            Heard::Load(begin) => {
                let beat_ok = self.pulse.as_mut().map_or(now, |pulse| {
                    pulse.quicken(now);
                    pulse.ok()
                });
                let seed = self.settings.seed;
                let load = Load::new(
                    *begin,
                    beat_ok,
                    &self.settings,
                    now,
                    &self.clocks,
                    seed,
                    &mut self.out,
                );
                self.phase = Phase::Loading(Box::new(load));
            }
        }
    }

    fn write_id(&mut self) -> WriteId {
        self.writes += 1;
        write_id(self.settings.seed, self.writes)
    }

    fn tell(&mut self, progress: ProberProgress) {
        self.out.push_back(Action::Tell(progress));
    }

    fn end_with(&mut self, end: Result<Ended, RendezvousError>) {
        self.phase = Phase::Ended(Box::new(end));
    }
}

fn never_started(job: &Job, settings: &Settings) -> RendezvousError {
    RendezvousError::NeverStarted {
        run: job.run.clone(),
        waited: settings.timeout,
    }
}
