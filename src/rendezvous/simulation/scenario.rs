//! What a seed means: the job, the processes, what goes wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use super::bucket::{Fault, Weather};
use super::clock::SimClock;
use super::dice::Dice;
use super::fleet::{Labels, label, shared};
use super::forge::{FORGERIES, Forgery, Guise};
use super::ticket::ticket_key;
use crate::job::{
    Digested, Fleet, Job, JobSpec, Origin, Ramp, Span, Timestamp, Vantage, VantageSpec, WriteId,
};
use crate::rendezvous::chance::mix;
use crate::rendezvous::document;
use crate::store::Op;

/// When every world begins, in true time, which is the bucket's.
pub(super) const BEGIN: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// How many probers a run has.
pub(super) const PROBERS: u64 = 10;
/// How long the slots are waited for.
const TIMEOUT_S: u64 = 25;
/// How long they are where a run is aborted: longer than a prober may take to look by itself.
const ABORTED_WAIT_S: u64 = 60;
/// After so long a claim that was made at the beginning is dead: the lease, and what comes before
/// and after it.
const TAKEN_OVER_S: u64 = 80;

/// A process to be.
#[derive(Clone, Debug)]
pub(super) struct Casting {
    pub(super) role: Role,
    pub(super) clock: SimClock,
    /// Killed so long after the world's beginning.
    pub(super) killed: Option<Duration>,
    /// Killed at its n-th action: before it, or after.
    pub(super) crash: Option<(u32, Moment)>,
    /// A prober that was handed a ticket, and has neither credentials nor a key of its own.
    pub(super) ticket: bool,
}

impl Casting {
    /// A process whose clock is right, that begins so long after the world.
    pub(super) fn punctual(role: Role, begins: Duration) -> Self {
        Casting {
            role,
            clock: SimClock {
                begins,
                ..SimClock::default()
            },
            killed: None,
            crash: None,
            ticket: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    After,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Coordinator,
    Prober(Vantage),
    /// With what a platform's trigger does, or one that waits for the run's end.
    Finalizer {
        waits: bool,
    },
    /// Pulls the kill switch.
    Aborter,
}

/// The bucket's failure for ever.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dark {
    pub(super) after: Duration,
    pub(super) fault: Fault,
    /// Reads alone, writes alone, or all.
    pub(super) befalls: fn(Op) -> bool,
}

/// What kind of a world it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only clocks are wrong: all must be measured.
    Calm,
    /// Everything may go wrong.
    Rough,
    /// Somebody pulls the kill switch; the bucket is well.
    Aborted,
    /// The bucket falls silent, or refuses, for ever.
    Dark,
    /// All processes die.
    Extinct,
    /// Creates aren't atomic, and labels are taken twice.
    Torn,
    /// The coordinator is stopped until the time for a start has just passed.
    Tardy,
    /// The start is fixed with the job, and probers come late.
    Late,
    /// Somebody never comes, and the rest waits.
    Waiting,
    /// Most never come; who took a slot dies, and another takes it over.
    Inherited,
    /// Somebody writes another job over the run's.
    Rewritten,
}

const KINDS: [Kind; 20] = [
    Kind::Calm,
    Kind::Rough,
    Kind::Torn,
    Kind::Aborted,
    Kind::Dark,
    Kind::Inherited,
    Kind::Late,
    Kind::Extinct,
    Kind::Tardy,
    Kind::Rough,
    Kind::Calm,
    Kind::Rough,
    Kind::Torn,
    Kind::Aborted,
    Kind::Dark,
    Kind::Rewritten,
    Kind::Late,
    Kind::Extinct,
    Kind::Tardy,
    Kind::Rough,
];

impl Kind {
    /// The kind of a seed's world.
    pub(super) fn of(seed: u64) -> Kind {
        KINDS[usize::try_from(seed % KINDS.len() as u64).unwrap()]
    }
}

/// A world's plan.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    pub(super) kind: Kind,
    pub(super) job: Digested<Job>,
    pub(super) cast: Vec<Casting>,
    pub(super) weather: Weather,
    pub(super) dark: Option<Dark>,
    /// Then somebody writes `abort.json`.
    pub(super) abort: Option<Duration>,
    /// Then somebody writes another job over the run's.
    pub(super) rewritten: Option<Duration>,
    /// Then all die.
    pub(super) extinct: Option<Duration>,
    /// Creates look and write in one step.
    pub(super) atomic: bool,
    pub(super) forgeries: Vec<(Duration, Forgery, Guise)>,
    /// Who meets another node than it thinks, whose clock is so much ahead.
    pub(super) stray: Option<(usize, i64)>,
    /// How many SFU nodes probers meet, and how fast their clocks drift at most.
    pub(super) nodes: u64,
    pub(super) node_drift_ppm: i64,
    /// How long a prober looks for a run and waits for its start.
    pub(super) patience: Duration,
}

impl Scenario {
    /// The world of a seed.
    pub(super) fn of(seed: u64) -> Self {
        Self::of_kind(seed, Kind::of(seed))
    }

    pub(super) fn of_kind(seed: u64, kind: Kind) -> Self {
        let mut dice = Dice(mix(seed));
        let fixed = kind == Kind::Late || (kind != Kind::Tardy && dice.chance(20));
        let tiers = dice.pick(&[1, 1, 1, 2]);
        let duration_s = match kind {
            // Longer than the lease, or than an abort takes.
            Kind::Dark => 40 + dice.roll(20),
            Kind::Aborted => 3 + dice.roll(25),
            _ => 3 + dice.roll(6),
        };
        let spec = JobSpec {
            duration: Some(Span::secs(duration_s)),
            settle: Some(Span::secs(2 + dice.roll(2))),
            ramp: Some(ramp(tiers)),
            timeout: Some(Span::secs(match kind {
                Kind::Inherited => TAKEN_OVER_S + 25,
                Kind::Aborted => ABORTED_WAIT_S,
                _ => TIMEOUT_S,
            })),
            grace: Some(Span::secs(10)),
            existing_room: Some(dice.chance(20)),
            thresholds: Some(vec!["connected>=99%".parse().unwrap()]),
            start_at: fixed.then(|| BEGIN + Duration::from_secs(12 + dice.roll(10))),
            vantages: shared(seed),
            ..JobSpec::default()
        };
        let job = job(&mut dice, PROBERS, BEGIN, spec);
        let mut scenario = Self::quiet(seed, kind, job, PROBERS, 6_000);
        let ends = scenario.job.times.hard_deadline;
        let length = u64::try_from(ends.saturating_since(BEGIN).as_millis()).unwrap();
        match kind {
            Kind::Calm => {
                let off = dice.pick(&[-2_000_000, 700_000, 3_000_000]);
                let stray = usize::try_from(1 + dice.roll(PROBERS)).unwrap();
                scenario.stray = dice.chance(40).then_some((stray, off));
            }
            Kind::Waiting => {}
            Kind::Rewritten => scenario.rewritten = Some(dice.millis(length)),
            Kind::Inherited => scenario.bequeath(&mut dice, length),
            Kind::Aborted => {
                scenario.abort = Some(dice.millis(length));
                if !fixed && dice.chance(40) {
                    // One never comes, and the rest waits.
                    scenario.cast.pop();
                    let waiting = dice.millis((ABORTED_WAIT_S - 15) * 1_000);
                    scenario.abort = Some(Duration::from_secs(15) + waiting);
                }
                if let Some(at) = scenario.job.times.start_at {
                    // Who is stopped while it asks must ask again.
                    let start = at.saturating_since(BEGIN);
                    scenario.abort = Some(start - dice.millis(4_000));
                    for one in &mut scenario.cast[1..] {
                        let from = start - dice.millis(5_000);
                        let to = start + Duration::from_secs(3) + dice.millis(15_000);
                        one.clock.stopped = dice.chance(50).then_some((from, to));
                    }
                }
            }
            Kind::Dark => {
                let all: fn(Op) -> bool = |_| true;
                let reads: fn(Op) -> bool = |op| matches!(op, Op::Get | Op::List);
                let writes: fn(Op) -> bool = |op| matches!(op, Op::Put | Op::Replace | Op::Create);
                scenario.dark = Some(Dark {
                    after: dice.millis(length),
                    fault: dice.pick(&[Fault::LostRequest, Fault::Denied, Fault::Busy]),
                    befalls: dice.pick(&[all, all, reads, writes]),
                });
                scenario.stop_some(&mut dice, 10, length);
            }
            Kind::Extinct => {
                scenario.extinct = Some(dice.millis(length));
                scenario.storm(&mut dice);
            }
            Kind::Torn => scenario.tear(&mut dice),
            Kind::Tardy => {
                let by = scenario.job.times.start_by.saturating_since(BEGIN);
                let from = Duration::from_secs(TIMEOUT_S) - dice.millis(1_500);
                let to = by + Duration::from_secs(1) + dice.millis(1_500);
                scenario.cast[0].clock.stopped = Some((from, to));
                // Most must be missing, or it starts before, and is cancelled soon.
                scenario.cast.truncate(4);
            }
            Kind::Late | Kind::Rough => {
                if kind == Kind::Late {
                    let at = scenario.job.times.start_at.unwrap_or(BEGIN);
                    let start = at.saturating_since(BEGIN);
                    for one in &mut scenario.cast[1..] {
                        if dice.chance(30) {
                            one.clock.begins = start - dice.millis(4_000);
                        }
                    }
                }
                scenario.storm(&mut dice);
                scenario.crowd(&mut dice, length);
                scenario.stop_some(&mut dice, 15, length);
                scenario.kill_some(&mut dice, 20, length);
                scenario.abort = dice.chance(15).then(|| dice.millis(length));
            }
        }
        let forged = match kind {
            Kind::Calm | Kind::Rough | Kind::Extinct => dice.chance(20),
            _ => kind == Kind::Inherited,
        };
        if forged {
            let mut guises = Dice(mix(seed ^ 0xf04e));
            for forgery in FORGERIES {
                let at = ends.saturating_since(BEGIN) - dice.millis(15_000);
                let guise = guises.pick(&[Guise::Tier, Guise::Report]);
                scenario.forgeries.push((at, forgery, guise));
            }
        }
        if dice.chance(50) {
            scenario.hand_out_tickets(&mut dice);
        }
        scenario
    }

    /// Most of the slots are given by ticket, if they have names: to who was to have them, and to
    /// some who were not. Others come without.
    pub(super) fn hand_out_tickets(&mut self, dice: &mut Dice) {
        let Fleet::Vantages(_) = &self.job.fleet else {
            return;
        };
        let mut job = self.job.document.clone();
        let labels = Labels::of(&job);
        for (n, vantage) in (0..PROBERS).map(|n| (n, labels.slot(n))) {
            // A ticket is for a slot.
            if dice.chance(80) && labels.told(self.seed, n) == vantage {
                let key = ticket_key(self.seed, &vantage).public();
                job.ticket_keys.insert(vantage, key);
            }
        }
        for (n, one) in (0u64..).zip(&mut self.cast) {
            let expected = n <= PROBERS;
            if let Role::Prober(vantage) = &one.role
                && job.ticket_keys.contains_key(vantage)
                && (expected || dice.chance(60))
            {
                one.ticket = true;
                // It is handed out once the job is there.
                one.clock.begins += Duration::from_secs(1);
            }
        }
        self.job = document::digested(job).unwrap();
    }

    /// Some take slots and die; others come when that shows, and some of them die as well.
    fn bequeath(&mut self, dice: &mut Dice, length: u64) {
        self.patience = Duration::from_secs(TAKEN_OVER_S + 80);
        self.cast.truncate(4);
        for n in [1, 2] {
            let mut heir = self.cast[n].clone();
            self.cast[n].killed = Some(Duration::from_secs(10) + dice.millis(4_000));
            heir.clock.begins = Duration::from_secs(TAKEN_OVER_S) + dice.millis(8_000);
            let dies = Duration::from_millis(length) - dice.millis(20_000);
            heir.killed = dice.chance(70).then_some(dies);
            self.cast.push(heir);
        }
    }

    /// A coordinator and its probers, each with a clock that is wrong.
    pub(super) fn quiet(
        seed: u64,
        kind: Kind,
        job: Digested<Job>,
        probers: u64,
        begin_within_ms: u64,
    ) -> Self {
        let mut dice = Dice(mix(seed ^ 0xca57));
        // Together they drift apart by less than the 500 ppm that clocks may.
        let node_drift_ppm = dice.pick(&[0, 40]);
        let mut cast = vec![casting(&mut dice, Role::Coordinator, 500)];
        let labels = Labels::of(&job);
        for n in 0..probers {
            let prober = Role::Prober(labels.told(seed, n));
            cast.push(casting(&mut dice, prober, begin_within_ms));
        }
        for one in &mut cast {
            one.clock.drift_ppm = dice.around(499 - node_drift_ppm);
        }
        Scenario {
            seed,
            kind,
            job,
            cast,
            weather: Weather {
                longest_delay_ms: 1 + dice.roll(200),
                ..Weather::default()
            },
            dark: None,
            abort: None,
            rewritten: None,
            extinct: None,
            atomic: true,
            forgeries: Vec::new(),
            stray: None,
            nodes: if dice.chance(25) { 3 } else { 1 },
            node_drift_ppm,
            patience: Duration::from_secs(90),
        }
    }

    fn storm(&mut self, dice: &mut Dice) {
        let rate = dice.pick(&[0, 10, 60]);
        self.weather = Weather {
            lost_request: rate,
            lost_response: rate,
            denied: rate / 8,
            busy: rate,
            conflict: rate,
            exists: rate,
            stale: rate * 2,
            longest_delay_ms: 1 + dice.roll(1_000),
        };
    }

    /// Others with labels that some have or nobody expects, and more than one of the rest.
    fn crowd(&mut self, dice: &mut Dice, length: u64) {
        let labels = Labels::of(&self.job);
        for _ in 0..dice.roll(3) {
            let prober = Role::Prober(labels.told(self.seed, dice.roll(PROBERS + 2)));
            let within = dice.pick(&[6_000, 60_000]);
            self.cast.push(casting(dice, prober, within));
        }
        if dice.chance(15) {
            self.cast.push(casting(dice, Role::Coordinator, 20_000));
        }
        for _ in 0..dice.pick(&[0, 0, 1, 2]) {
            let finalizer = Role::Finalizer {
                waits: dice.chance(50),
            };
            let mut one = casting(dice, finalizer, 1);
            one.clock.begins = Duration::from_millis(length) - dice.millis(20_000);
            self.cast.push(one);
        }
    }

    fn stop_some(&mut self, dice: &mut Dice, percent: u64, length: u64) {
        for one in &mut self.cast {
            if dice.chance(percent) {
                let from = dice.millis(length);
                one.clock.stopped = Some((from, from + dice.millis(90_000)));
            }
        }
    }

    fn kill_some(&mut self, dice: &mut Dice, percent: u64, length: u64) {
        for one in &mut self.cast {
            if dice.chance(percent) {
                one.killed = Some(dice.millis(length));
            } else if dice.chance(percent) {
                let n = u32::try_from(dice.roll(40)).unwrap();
                one.crash = Some((n, dice.pick(&[Moment::Before, Moment::After])));
            }
        }
    }

    fn tear(&mut self, dice: &mut Dice) {
        self.atomic = false;
        self.weather.longest_delay_ms = 1 + dice.roll(600);
        for n in 1..=PROBERS {
            if dice.chance(50) {
                let n = usize::try_from(n).unwrap();
                let mut twin = self.cast[n].clone();
                twin.clock.begins += dice.millis(800);
                self.cast.push(twin);
            }
        }
        let mut twin = self.cast[0].clone();
        twin.clock.begins += dice.millis(400);
        self.cast.push(twin);
    }
}

pub(super) fn ramp(tiers: u64) -> Ramp {
    let tiers: Vec<u32> = (0..tiers).map(|n| 2 + u32::try_from(n).unwrap()).collect();
    Ramp::new(&tiers).unwrap()
}

/// A process whose clock may be far off, drift, and be set by an hour.
pub(super) fn casting(dice: &mut Dice, role: Role, begins_below_ms: u64) -> Casting {
    // A coordinator writes the bucket's time into the job, so its own is near it.
    let error = if role == Role::Coordinator {
        200_000
    } else {
        60_000_000
    };
    let hour = 3_600_000_000;
    let step = (dice.millis(100_000), dice.pick(&[hour, -hour]));
    Casting {
        clock: SimClock {
            begins: dice.millis(begins_below_ms),
            offset_us: dice.around(error),
            drift_ppm: dice.around(450),
            step: (role != Role::Coordinator && dice.chance(30)).then_some(step),
            stopped: None,
        },
        killed: None,
        crash: None,
        ticket: false,
        role,
    }
}

/// A job of so many vantages, by name or by number.
pub(super) fn job(
    dice: &mut Dice,
    probers: u64,
    created: Timestamp,
    spec: JobSpec,
) -> Digested<Job> {
    let by_name = dice.chance(50);
    let named = spec.vantages.unwrap_or_else(|| {
        let labels: BTreeSet<Vantage> = (0..probers).map(label).collect();
        labels.into_iter().map(VantageSpec::from).collect()
    });
    let spec = JobSpec {
        url: Some("ws://sfu".into()),
        vantages: by_name.then_some(named),
        expect: (!by_name).then(|| u32::try_from(probers).unwrap()),
        max_participants: Some(100_000),
        room: spec.existing_room.unwrap_or(false).then(|| "lobby".into()),
        ..spec
    };
    let origin = Origin {
        run: "sim".parse().unwrap(),
        write_id: WriteId::from_u64(1),
        now: created,
    };
    document::digested(Job::resolve(spec, origin).unwrap()).unwrap()
}

/// When no process has anything to wait for any more.
pub(super) fn end_of(job: &Job) -> Timestamp {
    job.times.hard_deadline + job.times.grace.0
}
