//! What a seed means: the job, the processes, what goes wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::job::{Job, JobSpec, Origin, Ramp, Span, Timestamp, Vantage, WriteId};
use crate::rendezvous::chance::mix;
use crate::store::FaultRates;

/// When every world begins, in true time.
pub(super) const BEGIN: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// A process to be.
#[derive(Clone, Debug)]
pub(super) struct Casting {
    pub(super) role: Role,
    /// Begins so long after the world.
    pub(super) begins: Duration,
    /// Its clock's error at the world's beginning, and how fast it grows.
    pub(super) offset_us: i64,
    pub(super) drift_ppm: i64,
    /// Killed so long after the world's beginning.
    pub(super) killed: Option<Duration>,
    /// Stopped so long after the world's beginning, for so long.
    pub(super) stopped: Option<(Duration, Duration)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Coordinator,
    Prober(Vantage),
    Finalizer,
}

/// A world's plan.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    pub(super) job: Job,
    pub(super) cast: Vec<Casting>,
    pub(super) faults: FaultRates,
    /// From then on the bucket answers nothing.
    pub(super) blackout: Option<Duration>,
    /// Then somebody writes `abort.json`.
    pub(super) abort: Option<Duration>,
    /// Each prober whose label is expected is well, and so is the bucket: all must be measured.
    pub(super) calm: bool,
}

/// Numbers drawn one after the other from a seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % below.max(1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }

    fn millis(&mut self, below: u64) -> Duration {
        Duration::from_millis(self.roll(below))
    }
}

impl Scenario {
    /// Nothing goes wrong, except for clocks.
    pub(super) fn calm(seed: u64) -> Self {
        let mut dice = Dice(mix(seed));
        let probers = 1 + dice.roll(5);
        let job = job(&mut dice, probers, 30);
        let mut cast = vec![casting(&mut dice, Role::Coordinator, 0)];
        for n in 0..probers {
            cast.push(casting(&mut dice, Role::Prober(label(n)), 8_000));
        }
        Scenario {
            seed,
            job,
            cast,
            faults: FaultRates {
                longest_delay: Duration::from_millis(1 + dice.roll(200)),
                ..FaultRates::default()
            },
            blackout: None,
            abort: None,
            calm: true,
        }
    }

    /// Everything goes wrong.
    pub(super) fn rough(seed: u64) -> Self {
        let mut scenario = Self::calm(seed);
        let mut dice = Dice(mix(seed ^ 0x5eed));
        scenario.calm = false;
        let extra = dice.roll(3);
        for n in 0..extra {
            // Somebody with a label that another has, or that nobody expects.
            let n = dice.roll(6) + n;
            scenario
                .cast
                .push(casting(&mut dice, Role::Prober(label(n)), 60_000));
        }
        if dice.chance(20) {
            scenario
                .cast
                .push(casting(&mut dice, Role::Coordinator, 20_000));
        }
        for _ in 0..1 + dice.roll(3) {
            scenario
                .cast
                .push(casting(&mut dice, Role::Finalizer, 150_000));
        }
        for one in &mut scenario.cast {
            if dice.chance(20) {
                one.killed = Some(dice.millis(120_000));
            }
            if dice.chance(20) {
                one.stopped = Some((dice.millis(120_000), dice.millis(150_000)));
            }
        }
        let rate = [0, 20, 100][usize::try_from(dice.roll(3)).unwrap()];
        scenario.faults = FaultRates {
            lost_request: rate,
            lost_response: rate,
            denied: 0,
            conflict: rate,
            exists: rate / 4,
            busy: rate,
            stale: rate,
            longest_delay: Duration::from_millis(1 + dice.roll(1_500)),
        };
        scenario.abort = dice.chance(15).then(|| dice.millis(120_000));
        scenario
    }

    /// The bucket falls silent for ever.
    pub(super) fn blackout(seed: u64) -> Self {
        let mut scenario = Self::calm(seed);
        let mut dice = Dice(mix(seed ^ 0xb1ac));
        scenario.calm = false;
        scenario.blackout = Some(dice.millis(90_000));
        scenario
    }

    /// Somebody pulls the kill switch in a calm world.
    pub(super) fn aborted(seed: u64) -> Self {
        let mut scenario = Self::calm(seed);
        let mut dice = Dice(mix(seed ^ 0xab04));
        scenario.calm = false;
        scenario.abort = Some(dice.millis(90_000));
        scenario
    }
}

pub(super) fn label(n: u64) -> Vantage {
    format!("v{n}").parse().unwrap()
}

fn casting(dice: &mut Dice, role: Role, begins_below_ms: u64) -> Casting {
    // A coordinator writes its clock's time into the job: it is near the bucket's.
    let error = if role == Role::Coordinator {
        200_000
    } else {
        60_000_000
    };
    Casting {
        begins: dice.millis(begins_below_ms),
        offset_us: i64::try_from(dice.roll(2 * error)).unwrap() - i64::try_from(error).unwrap(),
        drift_ppm: i64::try_from(dice.roll(400)).unwrap() - 200,
        killed: None,
        stopped: None,
        role,
    }
}

fn job(dice: &mut Dice, probers: u64, timeout_s: u64) -> Job {
    let named: BTreeSet<Vantage> = (0..probers).map(label).collect();
    let tiers: Vec<u32> = (0..1 + u32::try_from(dice.roll(3)).unwrap())
        .map(|n| 2 + n)
        .collect();
    let by_name = dice.chance(50);
    let fixed = dice.chance(25);
    let spec = JobSpec {
        url: Some("ws://sfu".into()),
        vantages: by_name.then(|| named.into_iter().collect()),
        expect: (!by_name).then(|| u32::try_from(probers).unwrap()),
        ramp: Some(Ramp::new(&tiers).unwrap()),
        duration: Some(Span::secs(5 + dice.roll(40))),
        settle: Some(Span::secs(2 + dice.roll(3))),
        timeout: Some(Span::secs(timeout_s)),
        grace: Some(Span::secs(20)),
        start_at: fixed.then(|| BEGIN + Duration::from_secs(20 + dice.roll(20))),
        ..JobSpec::default()
    };
    let origin = Origin {
        run: "sim".parse().unwrap(),
        write_id: WriteId::from_u64(1),
        now: BEGIN,
    };
    Job::resolve(spec, origin).unwrap()
}
