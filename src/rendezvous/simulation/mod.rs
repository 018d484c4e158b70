//! The machines in a simulated world: many seeds, and what must hold in each.
//!
//! A world draws everything from one seed: who takes part, whose clock is how wrong, what befalls
//! each request, who is killed or stopped and when. A seed that fails is printed;
//! `MUSTER_SEED=n cargo test simulation` replays it alone, with its trace.

mod bucket;
mod process;
mod properties;
mod scenario;
mod world;

use scenario::Scenario;
use world::World;

/// How many seeds each test runs, unless `MUSTER_SEEDS` says otherwise.
const SEEDS: u64 = 100;

fn run(scenario: fn(u64) -> Scenario) {
    let number = |name| std::env::var(name).ok().map(|s| s.parse::<u64>().unwrap());
    let alone = number("MUSTER_SEED");
    let all = number("MUSTER_SEEDS").unwrap_or(SEEDS);
    let seeds = alone.map_or(0..all, |seed| seed..seed + 1);
    let (mut steps, mut count) = (0, 0);
    for seed in seeds {
        let mut world = World::new(scenario(seed));
        let findings = world.run();
        if alone.is_some() || !findings.is_empty() {
            // The same seed gives the same run: once more, with its trace.
            let mut again = World::new(scenario(seed));
            again.trace = Some(Vec::new());
            again.run();
            for line in again.trace.iter().flatten() {
                println!("{line}");
            }
        }
        assert!(findings.is_empty(), "MUSTER_SEED={seed}: {findings:#?}");
        steps += world.steps;
        count += 1;
    }
    println!("{count} seeds, {steps} steps");
}

#[test]
fn a_calm_world_measures_everything() {
    run(Scenario::calm);
}

#[test]
fn a_rough_world_breaks_no_rule() {
    run(Scenario::rough);
}

#[test]
fn a_silent_bucket_stops_the_load() {
    run(Scenario::blackout);
}

#[test]
fn an_abort_stops_the_load() {
    run(Scenario::aborted);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..20 {
        let traces = [(), ()].map(|()| {
            let mut world = World::new(Scenario::rough(seed));
            world.trace = Some(Vec::new());
            world.run();
            world.trace
        });
        assert_eq!(traces[0], traces[1]);
    }
}
