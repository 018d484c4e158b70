//! What a user sees, held against files.

use std::path::Path;

use super::super::table::WIDTH;
use super::*;
use crate::report::combine::{CombineInputs, combine};
use crate::report::sample::{fleet, healthy, job, kill, lossy, part, replace, rolled_up, starve};

/// Compares with `golden/{name}.txt`; with `UPDATE_GOLDEN` set, writes it.
fn golden(name: &str, inputs: &CombineInputs) {
    let shown = text(&combine(inputs));
    for line in shown.lines() {
        assert!(line.chars().count() <= WIDTH, "too wide: {line}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/render/golden")
        .join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &shown).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        shown == wanted,
        "{name} is shown as below; UPDATE_GOLDEN=1 accepts it\n{shown}"
    );
}

#[test]
fn a_healthy_run() {
    golden("healthy", &healthy());
}

#[test]
fn a_large_fleet() {
    let mut inputs = fleet(300);
    for n in 10..30 {
        kill(&mut inputs, &format!("v{n:05}"), 2);
    }
    golden("large_fleet", &inputs);
    let lines = |inputs| text(&combine(inputs)).lines().count();
    assert!(
        lines(&fleet(500)) <= lines(&fleet(300)),
        "it stays readable"
    );
}

#[test]
fn a_knee_at_tier_2() {
    let mut inputs = healthy();
    for tier in [2, 3] {
        for label in ["a", "b", "c"] {
            let mut broken = lossy(label, tier, 7);
            broken.failures.insert("ice_timeout".to_owned(), 2);
            replace(&mut inputs, &broken);
        }
    }
    golden("knee_at_2", &inputs);
}

#[test]
fn the_first_tier_already_broke() {
    let mut inputs = healthy();
    for tier in 1..4 {
        replace(&mut inputs, &lossy("b", tier, 12));
    }
    golden("first_broke", &inputs);
}

#[test]
fn a_dropped_vantage() {
    let mut inputs = healthy();
    kill(&mut inputs, "b", 2);
    golden("dropped", &inputs);
}

#[test]
fn a_vantage_that_lost_one_of_its_two_probers() {
    let mut inputs = healthy();
    kill(&mut inputs, "b", 2);
    golden("several_probers", &rolled_up(inputs));
}

#[test]
fn probers_of_two_builds() {
    let mut inputs = healthy();
    inputs.reports[1].build = "0.2.0".to_owned();
    let shown = text(&combine(&inputs));
    assert!(
        shown.contains("Builds       0.1.0 at a, c; 0.2.0 at b\n"),
        "{shown}"
    );
    assert!(!text(&combine(&healthy())).contains("Builds"));
}

#[test]
fn a_suspect_prober() {
    let mut inputs = healthy();
    let mut starved = lossy("c", 2, 9);
    starve(&mut starved);
    starved.generator.receive_drops = 300;
    replace(&mut inputs, &starved);
    golden("suspect", &inputs);
}

#[test]
fn figures_that_are_unknown() {
    let mut inputs = healthy();
    let mut silent = part("a", 3);
    silent.rtt_us = crate::measure::Histogram::new();
    silent.quality.clear();
    silent.packets = crate::report::part::PacketCounts::default();
    silent.connected.publishers.clear();
    silent.generator = crate::report::part::GeneratorHealth::default();
    replace(&mut inputs, &silent);
    golden("unknown", &inputs);
}

#[test]
fn a_run_that_never_started() {
    let mut inputs = healthy();
    inputs.start = None;
    inputs.tiers.clear();
    inputs.reports.clear();
    inputs.vantages.pop_last();
    inputs.cancelled = Some("2 of 3 slots were taken in 10m".to_owned());
    golden("never_started", &inputs);
}

#[test]
fn one_vantage_and_no_ramp() {
    let mut inputs = healthy();
    let crate::job::Workload::SharedRoom { ramp, .. } = &mut inputs.job.workload;
    *ramp = crate::job::Ramp::default();
    let one = crate::report::sample::vantage("a");
    inputs.job.fleet = crate::job::Fleet::Vantages([one.clone()].into());
    assert_ne!(inputs.job, job());
    if let Some(start) = &mut inputs.start {
        start.tiers.truncate(1);
        start.roster.retain(|v, _| *v == one);
    }
    inputs.tiers.retain(|t| t.vantage == one && t.tier == 0);
    inputs.reports.retain(|r| r.vantage == one);
    for report in &mut inputs.reports {
        report.tiers.truncate(1);
    }
    inputs.vantages.retain(|v, _| *v == one);
    golden("baseline_alone", &inputs);
}

#[test]
fn a_little_is_not_nothing() {
    for (value, shown) in [
        (None, "-"),
        (Some(0.0), "0.00"),
        (Some(0.001), "<0.01"),
        (Some(1.0), "1.00"),
    ] {
        assert_eq!(decimal(value, 2), shown);
    }
}

#[test]
fn tiers_are_listed_in_ranges() {
    assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2, 5, 7-8");
}
