//! What is run: seeds of ten probers, crashes one by one, a fleet of two thousand, ten minutes of
//! waiting.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::properties;
use super::scenario::{BEGIN, Kind, Moment, Role, Scenario, casting, job, ramp};
use super::world::World;
use crate::job::{JobSpec, Span};
use crate::planted::{Bug, plant};
use crate::rendezvous::simulation::dice::Dice;

/// How many seeds of ten probers are run.
const SEEDS: u64 = 10_000;

/// What a run of seeds came to.
#[derive(Default)]
pub(super) struct Summary {
    pub(super) seeds: u64,
    pub(super) steps: u64,
    /// The lowest seed that breaks a property, with the property and what happened.
    pub(super) broken: Option<(u64, &'static str, String)>,
}

/// What a world breaks, with what happened.
pub(super) type Judge<'a> = &'a (dyn Fn(&World) -> Option<(&'static str, String)> + Sync);

/// Runs the worlds of these seeds on all processors, with this bug planted; stops at the first
/// that is broken.
pub(super) fn run(
    seeds: &[u64],
    world: &(dyn Fn(u64) -> Scenario + Sync),
    bug: Option<Bug>,
    judge: Judge,
) -> Summary {
    let next = AtomicUsize::new(0);
    let stop = AtomicUsize::new(seeds.len());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        plant(bug);
        let mut summary = Summary::default();
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= stop.load(Ordering::Relaxed) {
                plant(None);
                return summary;
            }
            let seed = seeds[nth];
            let mut world = World::new(world(seed));
            world.run();
            summary.seeds += 1;
            summary.steps += world.steps;
            if let Some((property, what)) = judge(&world) {
                stop.fetch_min(nth, Ordering::Relaxed);
                let before = summary.broken.take();
                let both = before.into_iter().chain([(seed, property, what)]);
                summary.broken = both.min_by_key(|(seed, ..)| *seed);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = Summary::default();
        for thread in threads {
            let one = thread.join().unwrap();
            all.seeds += one.seeds;
            all.steps += one.steps;
            let both = all.broken.into_iter().chain(one.broken);
            all.broken = both.min_by_key(|(seed, ..)| *seed);
        }
        all
    })
}

/// The world of a seed as it went, line by line.
fn trace(scenario: Scenario) -> Vec<String> {
    let mut world = World::new(scenario);
    world.trace = Some(Vec::new());
    world.run();
    world.trace.unwrap_or_default()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|s| s.parse().unwrap())
}

#[expect(
    clippy::disallowed_methods,
    reason = "says how long it took, and decides nothing"
)]
pub(super) fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let result = what();
    (result, begun.elapsed())
}

#[test]
fn ten_probers_break_no_property() {
    let seeds = match number("MUSTER_SEED") {
        Some(seed) => {
            trace(Scenario::of(seed))
                .iter()
                .for_each(|line| println!("{line}"));
            seed..seed + 1
        }
        None => 0..number("MUSTER_SEEDS").unwrap_or(SEEDS),
    };
    let (summary, took) = timed(|| {
        run(
            &seeds.collect::<Vec<_>>(),
            &Scenario::of,
            None,
            &properties::broken,
        )
    });
    println!(
        "simulation: {} seeds, {} steps, {} properties in {took:.0?}",
        summary.seeds,
        summary.steps,
        properties::ALL.len()
    );
    if let Some((seed, property, what)) = summary.broken {
        panic!(
            "{property}: {what}\nreplay it alone, with its trace: MUSTER_SEED={seed} cargo test simulation"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..20 {
        let (once, again) = (trace(Scenario::of(seed)), trace(Scenario::of(seed)));
        assert!(once.len() > 100 && once == again, "seed {seed}");
    }
}

/// Two probers, a coordinator, a finalizer that waits: nothing goes wrong by itself.
fn small(seed: u64) -> Scenario {
    let mut dice = Dice(seed);
    let spec = JobSpec {
        duration: Some(Span::secs(4)),
        settle: Some(Span::secs(2)),
        ramp: Some(ramp(1)),
        timeout: Some(Span::secs(15)),
        grace: Some(Span::secs(5)),
        ..JobSpec::default()
    };
    let job = job(&mut dice, 2, BEGIN, spec);
    let mut scenario = Scenario::quiet(seed, Kind::Rough, job, 2, 2_000);
    let mut finalizer = casting(&mut dice, Role::Finalizer { waits: true }, 1);
    finalizer.clock.begins = Duration::from_secs(20);
    scenario.cast.push(finalizer);
    scenario
}

#[test]
fn a_crash_before_or_after_any_action_breaks_no_property() {
    let mut whole = World::new(small(3));
    whole.run();
    let mut crashes = 0;
    for p in 0..whole.scenario.cast.len() {
        for n in 0..whole.processes[p].acted {
            for moment in [Moment::Before, Moment::After] {
                let mut scenario = small(3);
                scenario.cast[p].crash = Some((n, moment));
                let mut world = World::new(scenario);
                world.run();
                let broken = properties::broken(&world);
                assert_eq!(broken, None, "process {p}, {moment:?} action {n}");
                crashes += 1;
            }
        }
    }
    println!("simulation: {crashes} crashes");
}

#[test]
fn two_thousand_probers_break_no_property() {
    let mut dice = Dice(2_000);
    let spec = JobSpec {
        duration: Some(Span::secs(5)),
        settle: Some(Span::secs(3)),
        ramp: Some(ramp(1)),
        timeout: Some(Span::secs(90)),
        grace: Some(Span::secs(20)),
        ..JobSpec::default()
    };
    let job = job(&mut dice, 2_000, BEGIN, spec);
    let scenario = Scenario::quiet(2_000, Kind::Calm, job, 2_000, 60_000);
    let mut world = World::new(scenario);
    let ((), took) = timed(|| world.run());
    let busiest = world.history.each_second.iter().max();
    println!(
        "simulation: 2000 probers, {} steps in {took:.0?}, at most {busiest:?} requests a second",
        world.steps
    );
    assert_eq!(properties::broken(&world), None);
}

/// A run of three tiers as they are by default, for which one of eleven never comes.
fn long_wait(seed: u64, created: Duration) -> Scenario {
    let mut dice = Dice(seed);
    let spec = JobSpec {
        ramp: Some(ramp(3)),
        timeout: Some(Span::secs(600)),
        ..JobSpec::default()
    };
    let job = job(&mut dice, 11, BEGIN + created, spec);
    let mut scenario = Scenario::quiet(seed, Kind::Waiting, job, 10, 1_000);
    scenario.cast[0].clock.begins = created;
    scenario.patience = Duration::from_secs(1_500);
    scenario
}

#[test]
fn ten_minutes_of_waiting_and_three_tiers_take_sixty_requests() {
    // A book by its URL, and the ticket that it leads to.
    const TICKET_READS: u64 = 2;
    // Who waits for the start, the same with a ticket, for the run first, for both.
    let cases = [(0, false), (0, true), (300, false), (530, false)];
    let mut most = [0; 4];
    for seed in 0..10 {
        for ((created_s, by_ticket), most) in cases.into_iter().zip(&mut most) {
            let mut scenario = long_wait(seed, Duration::from_secs(created_s));
            if by_ticket {
                scenario.hand_out_tickets(&mut Dice(seed));
            }
            if created_s > 0 {
                // Both together take ten minutes.
                let left = Duration::from_secs(600 - created_s);
                let times = &mut scenario.job.document.times;
                let sooner = Duration::from_secs(600) - left;
                times.accept_until = times.accept_until - sooner;
                times.start_by = times.start_by - sooner;
                times.hard_deadline = times.hard_deadline - sooner;
                scenario.job =
                    crate::rendezvous::document::digested(scenario.job.document).unwrap();
            }
            let mut world = World::new(scenario);
            world.run();
            assert_eq!(
                properties::broken(&world),
                None,
                "seed {seed}, {created_s} s"
            );
            assert_eq!(world.history.loads.len(), 10);
            for load in &world.history.loads {
                let p = load.process;
                if world.scenario.cast[p].ticket == by_ticket {
                    let asked = world.history.requests(p).beside_heartbeats();
                    let before = if by_ticket { TICKET_READS } else { 0 };
                    *most = (*most).max(before + asked);
                }
            }
        }
    }
    println!("simulation: at most {most:?} requests beside the heartbeats");
    assert!(most.iter().all(|most| (1..=60).contains(most)), "{most:?}");
}
