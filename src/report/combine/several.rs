//! Vantages of several probers, and of one role alone.

use super::super::combined::SlotState;
use super::super::sample::{
    asked_for, healthy, kill, lossy, part, replace, rolled_up, starve, vantage,
};
use super::*;
use crate::job::VantageRole;

/// a and b are iad/0 and iad/1, c is sjc.
fn run(change: impl FnOnce(&mut CombineInputs)) -> Combined {
    let mut inputs = healthy();
    change(&mut inputs);
    combine(&rolled_up(inputs))
}

#[test]
fn the_probers_of_a_vantage_are_put_together() {
    let c = run(|_| {});
    assert_eq!(c.verdict, RunVerdict::Passed);
    let tier = &c.tiers[2];
    assert_eq!((tier.vantages, tier.expected_vantages), (2, 2));
    assert_eq!((tier.probers, tier.expected_probers), (Some(3), Some(3)));
    let [iad, sjc] = &tier.rows[..] else {
        panic!("{:?}", tier.rows)
    };
    assert_eq!((iad.vantage.as_str(), sjc.vantage.as_str()), ("iad", "sjc"));
    assert_eq!(iad.figures.requested.subscribers, 20);
    assert_eq!(iad.figures.connected.subscribers.unwrap().min, 20);
    // Every sample of both counts: a histogram, not a mean of percentiles.
    let count = |row: &super::super::combined::VantageRow| row.figures.rtt_ms.unwrap().count;
    assert_eq!(count(iad), 2 * count(sjc));
    let labels: Vec<&str> = iad.probers.iter().map(|p| p.vantage.as_str()).collect();
    assert_eq!(labels, ["iad/0", "iad/1"]);
    assert_eq!(count(&iad.probers[0]), count(sjc));
    assert!(sjc.probers.is_empty() && iad.missing.is_empty());
    let matrix: Vec<String> = tier
        .flows
        .iter()
        .map(|f| format!("{} to {}", f.from, f.to))
        .collect();
    assert_eq!(
        matrix,
        ["iad to iad", "iad to sjc", "sjc to iad", "sjc to sjc"]
    );
    let frames = |i: usize| tier.flows[i].latency.ms.unwrap().count;
    assert_eq!(
        (frames(0), frames(1), frames(2)),
        (4 * frames(3), 2 * frames(3), 2 * frames(3))
    );
    let capacity = c.capacity.unwrap();
    assert_eq!(
        (capacity.subscribers_per_vantage, capacity.subscribers),
        (20, 60)
    );
    let slots: Vec<_> = c
        .vantages
        .iter()
        .map(|s| (s.vantage.clone().unwrap(), s.state))
        .collect();
    let complete = |label| (vantage(label), SlotState::Complete);
    assert_eq!(slots, ["iad/0", "iad/1", "sjc"].map(complete));
}

#[test]
fn a_vantage_that_lost_one_of_its_probers_says_so() {
    let c = run(|inputs| kill(inputs, "b", 2));
    let tier = &c.tiers[2];
    assert_eq!(tier.reasons[0], "measured by 2 of 3 probers, not by iad/1");
    assert_eq!((tier.vantages, tier.probers), (1, Some(2)));
    assert_eq!(tier.rows[0].missing, [vantage("iad/1")]);
    assert_eq!(tier.rows[0].figures.requested.subscribers, 10);
    assert_eq!(
        c.tiers[1].rows[0].probers.len(),
        2,
        "what it measured before counts"
    );
    assert_eq!(c.dropped[0].vantage, Some(vantage("iad/1")));
    assert_eq!((c.dropped.len(), c.verdict), (1, RunVerdict::Incomplete));
}

#[test]
fn a_prober_that_breaks_is_not_hidden_by_the_others_of_its_vantage() {
    let c = run(|inputs| {
        let mut broken = lossy("b", 3, 2);
        broken.packets.expected /= 2;
        broken.packets.lost /= 2;
        replace(inputs, &broken);
    });
    assert!(c.tiers[3].rows[0].figures.loss_percent.unwrap() < 1.0);
    assert_eq!(c.knee.because, ["loss<1%: 2.00 % at iad/1"]);
    assert_eq!(
        c.tiers[3].worst.loss_percent.as_ref().unwrap().vantage,
        vantage("iad")
    );
    let c = run(|inputs| {
        let mut starved = lossy("b", 3, 9);
        starve(&mut starved);
        replace(inputs, &starved);
    });
    assert_eq!(
        (c.tiers[3].verdict, &c.tiers[3].suspect[..]),
        (Verdict::Unknown, &[vantage("iad/1")][..])
    );
    assert!(c.tiers[3].rows[0].suspect[0].starts_with("iad/1: ran late"));
}

#[test]
fn who_was_asked_for_nothing_is_no_gap() {
    let c = run(|inputs| {
        let mut idle = part("b", 0);
        asked_for(&mut idle, 0, 0);
        replace(inputs, &idle);
        for tier in 0..4 {
            let mut publishing = part("c", tier);
            asked_for(&mut publishing, 1, 0);
            if tier > 0 {
                publishing.join_us = crate::measure::Histogram::new();
            }
            replace(inputs, &publishing);
        }
        inputs.job.thresholds.push("join_p95<1s".parse().unwrap());
        inputs
            .job
            .roles
            .insert(vantage("sjc"), VantageRole::Publish);
    });
    assert_eq!(c.verdict, RunVerdict::Passed, "{:?}", c.reasons);
    let judged = |tier: usize, i: usize| {
        let labels = c.tiers[tier].thresholds[i].vantages.keys();
        labels
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    // connected, receiving, loss, quality, rtt against the baseline, join.
    assert_eq!(judged(0, 0), "iad/0 sjc");
    assert_eq!(judged(1, 0), "iad/0 iad/1 sjc");
    assert_eq!(judged(1, 2), "iad/0 iad/1");
    assert_eq!(judged(1, 5), "iad/0 iad/1");
    assert_eq!(c.capacity.unwrap().subscribers_per_vantage, 40);
    assert_eq!(c.tiers[1].rows[1].figures.loss_percent, None);
}

#[test]
fn a_part_of_a_baseline_is_none() {
    let c = run(|inputs| {
        kill(inputs, "b", 0);
        inputs.tiers.push(part("b", 1));
    });
    let rtt = &c.tiers[1].thresholds[4];
    let unknown = rtt.vantages[&vantage("iad/0")].unknown_because.as_deref();
    assert_eq!(unknown, Some("its baseline is unknown"));
    assert_eq!(rtt.vantages[&vantage("sjc")].verdict, Verdict::Held);
}
