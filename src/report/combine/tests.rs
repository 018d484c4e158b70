//! What a combined report says of whole runs.

use super::super::combined::SlotState;
use super::super::flow::Publisher;
use super::super::sample::{
    healthy, kill, latency, lossy, part, publisher, replace, silent, starve, vantage,
};
use super::*;
use crate::clock::OffsetInterval;
use crate::job::Fleet;

pub(super) fn json(inputs: &CombineInputs) -> String {
    serde_json::to_string(&combine(inputs)).unwrap()
}

fn broken_from(tier: u32) -> CombineInputs {
    let mut inputs = healthy();
    for tier in tier..4 {
        for label in ["a", "b", "c"] {
            replace(&mut inputs, &lossy(label, tier, 7));
        }
    }
    inputs
}

#[test]
fn a_healthy_run_passes_and_has_no_knee() {
    let c = combine(&healthy());
    assert_eq!(c.verdict, RunVerdict::Passed);
    assert_eq!(c.knee.knee, Knee::NoneBroke);
    assert_eq!(c.capacity.map(|l| (l.tier, l.subscribers)), Some((3, 60)));
    assert_eq!(c.recommended.map(|r| r.subscribers), Some(42));
    assert!(c.dropped.is_empty() && c.rejected.is_empty());
    let tier = &c.tiers[2];
    assert_eq!((tier.vantages, tier.expected_vantages), (3, 3));
    let connected = &tier.figures.as_ref().unwrap().connected;
    assert_eq!(connected.subscribers.unwrap().min, 30);
    assert_eq!(connected.publishers.unwrap().min, 3);
}

#[test]
fn the_knee_names_the_tier_and_the_measured_value() {
    let c = combine(&broken_from(2));
    assert_eq!(c.verdict, RunVerdict::Failed);
    assert_eq!(
        c.knee.knee,
        Knee::Broke {
            tier: 2,
            unclear: vec![]
        }
    );
    assert_eq!(
        c.knee.because,
        ["loss<1%: 7.00 % at a; 7.00 % at b; 7.00 % at c"]
    );
    assert_eq!(c.capacity.map(|l| l.tier), Some(1));
}

#[test]
fn one_vantage_that_breaks_is_a_break() {
    let mut inputs = healthy();
    replace(&mut inputs, &lossy("b", 3, 2));
    let c = combine(&inputs);
    // Over all vantages the loss is below the bound.
    assert!(c.tiers[3].figures.as_ref().unwrap().loss_percent.unwrap() < 1.0);
    assert_eq!(c.knee.because, ["loss<1%: 2.00 % at b"]);
    assert_eq!(
        c.tiers[3].worst.loss_percent.as_ref().unwrap().vantage,
        vantage("b")
    );
}

#[test]
fn a_short_prober_never_makes_a_knee() {
    let mut inputs = healthy();
    let mut starved = lossy("b", 2, 30);
    starve(&mut starved);
    replace(&mut inputs, &starved);
    let c = combine(&inputs);
    assert_eq!(c.tiers[2].suspect, [vantage("b")]);
    assert_eq!(c.tiers[2].verdict, Verdict::Unknown);
    assert_eq!(c.knee.knee, Knee::Unknown { unclear: vec![2] });
    assert_eq!(c.verdict, RunVerdict::Incomplete);
    assert!(
        c.knee.because[0].contains("tick lag p99"),
        "{:?}",
        c.knee.because
    );

    // A fit vantage that fails in the same tier still does.
    replace(&mut inputs, &lossy("c", 2, 5));
    let c = combine(&inputs);
    assert_eq!(c.knee.because, ["loss<1%: 5.00 % at c"]);
}

#[test]
fn a_short_prober_with_good_figures_is_suspect_and_holds() {
    let mut inputs = healthy();
    let mut starved = part("b", 2);
    starve(&mut starved);
    replace(&mut inputs, &starved);
    let c = combine(&inputs);
    assert_eq!(c.verdict, RunVerdict::Passed);
    assert_eq!(c.tiers[2].suspect, [vantage("b")]);

    // Unless it put on less load than the tier says.
    let mut skipping = part("b", 2);
    skipping.sent.frames_skipped = skipping.sent.packets;
    replace(&mut inputs, &skipping);
    assert_eq!(combine(&inputs).tiers[2].verdict, Verdict::Unknown);
}

#[test]
fn a_prober_killed_in_tier_2_is_dropped_and_its_tier_1_counts() {
    let mut inputs = healthy();
    kill(&mut inputs, "b", 2);
    let c = combine(&inputs);
    assert_eq!(c.dropped.len(), 1);
    assert_eq!(c.dropped[0].vantage, Some(vantage("b")));
    assert_eq!(c.dropped[0].tiers, [0, 1]);
    assert!(
        c.dropped[0]
            .reason
            .starts_with("measured tiers 0 to 1, then sent no report; last heard of at")
    );
    assert_eq!(c.tiers[1].vantages, 3);
    assert_eq!(c.tiers[1].verdict, Verdict::Held);
    assert_eq!(c.tiers[2].vantages, 2);
    assert_eq!(
        c.tiers[2].reasons,
        ["measured by 2 of 3 vantages, not by b"]
    );
    assert_eq!(c.capacity.map(|l| l.tier), Some(1));
    assert_eq!(
        c.knee.knee,
        Knee::Unknown {
            unclear: vec![2, 3]
        }
    );
}

#[test]
fn a_vantage_that_was_lost_because_the_sfu_broke_does_not_hide_that_it_did() {
    let mut inputs = broken_from(2);
    kill(&mut inputs, "a", 2);
    kill(&mut inputs, "b", 2);
    let c = combine(&inputs);
    assert_eq!(c.verdict, RunVerdict::Failed);
    assert_eq!(
        c.knee.knee,
        Knee::Broke {
            tier: 2,
            unclear: vec![]
        }
    );
}

/// The reasons of tier 2, and that it is as it should be.
fn tier_2(inputs: &CombineInputs, verdict: Verdict) -> Vec<String> {
    let tier = combine(inputs).tiers.swap_remove(2);
    assert_eq!(tier.verdict, verdict, "{:?}", tier.reasons);
    tier.reasons
}

#[test]
fn what_a_dead_prober_no_longer_publishes_is_not_the_sfus_failure() {
    let mut inputs = healthy();
    for label in ["a", "c"] {
        replace(&mut inputs, &silent(label, 2, "b"));
    }
    // While b is well, it is.
    assert_eq!(
        tier_2(&inputs, Verdict::Failed),
        ["receiving>=99%: 66.67 % at a; 66.67 % at c"]
    );
    let mut short = part("b", 2);
    starve(&mut short);
    replace(&mut inputs, &short);
    let because = "b published and its prober itself ran late (tick lag p99 381 ms)";
    assert_eq!(
        tier_2(&inputs, Verdict::Unknown),
        [format!(
            "receiving>=99%: 66.67 % at a, where {because}; 66.67 % at c, where {because}"
        )]
    );
    kill(&mut inputs, "b", 2);
    let because = "b published and did not measure the tier to its end";
    assert_eq!(
        tier_2(&inputs, Verdict::Unknown),
        [
            "measured by 2 of 3 vantages, not by b".to_owned(),
            format!("receiving>=99%: 66.67 % at a, where {because}; 66.67 % at c, where {because}")
        ]
    );

    // What the others publish still counts.
    let mut worse = silent("a", 2, "b");
    if let Some(flow) = worse.flows.get_mut(&publisher("c")) {
        worse.subscriptions_receiving -= 2;
        flow.subscriptions_receiving -= 2;
    }
    replace(&mut inputs, &worse);
    assert_eq!(
        tier_2(&inputs, Verdict::Failed),
        ["receiving>=99%: 63.33 % at a"]
    );
}

/// The part's clocks are known to plus or minus this, or weren't read.
fn know_clock(part: &mut TierPart, half_us: Option<i64>) {
    let known = half_us.map(|half| OffsetInterval {
        lo_us: -half,
        hi_us: half,
    });
    let clock = part.clock.as_mut().unwrap();
    for at in [&mut clock.opened, &mut clock.closed] {
        at.offset = known.unwrap_or(OffsetInterval { lo_us: 0, hi_us: 0 });
        at.reading.sfu = known;
    }
}

#[test]
fn a_latency_is_judged_with_what_the_clocks_leave_open() {
    let judged = |us: i64, half_us: Option<i64>| {
        let mut inputs = healthy();
        inputs.job.thresholds = vec!["latency_p95<100ms".parse().unwrap()];
        let mut far = part("c", 2);
        know_clock(&mut far, half_us);
        if let Some(flow) = far.flows.get_mut(&publisher("a")) {
            flow.latency_us = latency(&[us], 1_000);
        }
        replace(&mut inputs, &far);
        let tier = combine(&inputs).tiers.swap_remove(2);
        (tier.verdict, tier.reasons.join("; "))
    };
    let clock = Some(9_500);
    assert_eq!(judged(80_000, clock).0, Verdict::Held);
    let (verdict, reasons) = judged(95_000, clock);
    assert_eq!(verdict, Verdict::Unknown);
    assert!(
        reasons.ends_with("ms at c, where the clocks are known to ± 10.0 ms only"),
        "{reasons}"
    );
    assert_eq!(judged(105_000, clock).0, Verdict::Unknown);
    assert_eq!(judged(120_000, clock).0, Verdict::Failed);
    let (verdict, reasons) = judged(120_000, None);
    assert_eq!(verdict, Verdict::Unknown);
    assert!(reasons.ends_with("not all clocks are known"), "{reasons}");
    let (verdict, reasons) = judged(-30_000, clock);
    assert_eq!(verdict, Verdict::Unknown);
    assert!(
        reasons.ends_with("1000 frames came before they can have been sent, by the clocks"),
        "{reasons}"
    );
}

#[test]
fn flows_are_a_matrix_of_publishers_and_subscribers() {
    let mut inputs = healthy();
    let mut unclear = part("c", 1);
    know_clock(&mut unclear, None);
    replace(&mut inputs, &unclear);
    let tier = combine(&inputs).tiers.swap_remove(1);
    let cells: Vec<String> = tier
        .flows
        .iter()
        .map(|f| format!("{}{} {:?}", f.from, f.to, f.latency.plus_minus_ms))
        .collect();
    assert_eq!(
        cells,
        [
            "aa Some(0.0)",
            "ab Some(1.0)",
            "ac None",
            "ba Some(1.0)",
            "bb Some(0.0)",
            "bc None",
            "ca None",
            "cb None",
            "cc Some(0.0)"
        ]
    );
    let all = tier.figures.unwrap();
    assert_eq!(all.latency.plus_minus_ms, None);
    let count = |f: &super::super::combined::FlowReport| f.latency.ms.map_or(0, |d| d.count);
    let sum: u64 = tier.flows.iter().map(count).sum();
    assert_eq!(all.latency.ms.map(|d| d.count), Some(sum));
}

#[test]
fn frozen_video_of_a_dead_prober_is_not_the_sfu_s_doing() {
    let mut inputs = healthy();
    inputs.job.thresholds = ["frozen<1%", "fps_p5>=20"]
        .map(|t| t.parse().unwrap())
        .into();
    let mut frozen = part("a", 2);
    if let Some(flow) = frozen.flows.get_mut(&publisher("b")) {
        flow.freeze_us = 5_000_000;
        flow.frame_rate_milli = crate::measure::Histogram::new();
        flow.frame_rate_milli.record_n(0, 30);
    }
    replace(&mut inputs, &frozen);
    let reasons = tier_2(&inputs, Verdict::Failed);
    assert_eq!(
        reasons,
        ["frozen<1%: 16.67 % at a", "fps_p5>=20: 0.0 fps at a"]
    );
    kill(&mut inputs, "b", 2);
    let reasons = tier_2(&inputs, Verdict::Unknown);
    assert_eq!(reasons.len(), 3, "{reasons:?}");
}

#[test]
fn nobody_vouches_for_publishers_of_others() {
    let mut inputs = healthy();
    let mut muted = part("a", 2);
    muted.subscriptions_wanted += 20;
    let mut flow = muted.flows[&publisher("a")].clone();
    flow.subscriptions_receiving = 0;
    muted.flows.insert(Publisher::Other, flow);
    replace(&mut inputs, &muted);
    assert_eq!(
        tier_2(&inputs, Verdict::Unknown),
        ["receiving>=99%: 75.00 % at a, where others published, who are not measured"]
    );
}

#[test]
fn a_dead_prober_takes_no_quality_from_the_others() {
    let mut inputs = healthy();
    let mut poor = part("a", 2);
    poor.quality = [(crate::job::Quality::Poor, 50)].into();
    replace(&mut inputs, &poor);
    assert_eq!(
        tier_2(&inputs, Verdict::Failed),
        ["quality>=good: poor at a"]
    );
    kill(&mut inputs, "b", 2);
    let reasons = tier_2(&inputs, Verdict::Unknown);
    assert!(reasons[1].starts_with("quality>=good: poor at a, where b published"));
}

#[test]
fn loss_of_what_a_dead_prober_published_is_not_the_paths() {
    let mut inputs = healthy();
    let mut holes = lossy("a", 2, 6);
    for (from, flow) in &mut holes.flows {
        flow.lost = if *from == publisher("b") {
            holes.packets.lost
        } else {
            0
        };
    }
    replace(&mut inputs, &holes);
    assert_eq!(tier_2(&inputs, Verdict::Failed), ["loss<1%: 6.00 % at a"]);
    kill(&mut inputs, "b", 2);
    let reasons = tier_2(&inputs, Verdict::Unknown);
    assert!(reasons[1].starts_with("loss<1%: 6.00 % at a, where b published"));
    // It still is, if c's packets were lost as well.
    replace(&mut inputs, &lossy("a", 2, 6));
    tier_2(&inputs, Verdict::Failed);
}

#[test]
fn an_older_part_that_tells_no_publishers_counts_while_all_are_well() {
    let mut inputs = healthy();
    let mut old = silent("a", 2, "b");
    let mut json = serde_json::to_value(&old).unwrap();
    json.as_object_mut().unwrap().remove("flows");
    old = serde_json::from_value(json).unwrap();
    replace(&mut inputs, &old);
    tier_2(&inputs, Verdict::Failed);
    kill(&mut inputs, "c", 2);
    tier_2(&inputs, Verdict::Unknown);
}

#[test]
fn a_vantage_that_reported_less_than_all_is_partial() {
    let mut inputs = healthy();
    inputs
        .tiers
        .retain(|t| t.vantage != vantage("c") || t.tier < 3);
    let report = inputs
        .reports
        .iter_mut()
        .find(|r| r.vantage == vantage("c"))
        .unwrap();
    report.tiers.truncate(3);
    report.outcome = super::super::part::Outcome::Stopped {
        reason: "lease_lost".to_owned(),
    };
    let c = combine(&inputs);
    let slot = &c.vantages[2];
    assert_eq!(
        (slot.state, slot.reason.as_deref()),
        (SlotState::Partial, Some("stopped: lease_lost"))
    );
    assert!(c.dropped.is_empty());
}

#[test]
fn slots_that_nobody_took_are_dropped() {
    let mut inputs = healthy();
    inputs.job.fleet = Fleet::Expect(5);
    let c = combine(&inputs);
    assert_eq!(c.dropped.iter().filter(|d| d.vantage.is_none()).count(), 2);
    assert_eq!(c.verdict, RunVerdict::Incomplete);
    assert_eq!(c.tiers[1].reasons, ["measured by 3 of 5 vantages"]);
}

#[test]
fn a_run_that_never_started_says_so() {
    let mut inputs = healthy();
    inputs.start = None;
    inputs.tiers.clear();
    inputs.reports.clear();
    inputs.cancelled = Some("only 2 of 3 slots were taken".to_owned());
    let c = combine(&inputs);
    assert_eq!(c.verdict, RunVerdict::Incomplete);
    assert_eq!(c.reasons, ["cancelled: only 2 of 3 slots were taken"]);
    assert_eq!(c.dropped.len(), 3);
}

#[test]
fn an_aborted_run_is_never_passed() {
    let mut inputs = healthy();
    inputs.aborted = Some("Ctrl-C".to_owned());
    assert_eq!(combine(&inputs).verdict, RunVerdict::Incomplete);
}

#[test]
fn the_baseline_decides_by_the_distance_not_by_the_number() {
    // 300 ms from far away, in every tier: no break.
    let far = |tier| {
        let mut far = part("c", tier);
        far.rtt_us = crate::measure::Histogram::new();
        far.rtt_us.record_n(300_000, 100);
        far
    };
    let mut inputs = healthy();
    for tier in 0..4 {
        replace(&mut inputs, &far(tier));
    }
    assert_eq!(combine(&inputs).verdict, RunVerdict::Passed);

    // The same figure where the baseline was 3 ms: a break, and the bound is told.
    let mut inputs = healthy();
    replace(&mut inputs, &far(3));
    let c = combine(&inputs);
    assert!(
        c.knee.because[0].starts_with("rtt_p95<baseline*2+100ms: 301.1 ms at c (bound 105."),
        "{:?}",
        c.knee.because
    );

    // Without a baseline it can't be told.
    inputs
        .tiers
        .retain(|t| t.vantage != vantage("c") || t.tier > 0);
    inputs.reports.retain(|r| r.vantage != vantage("c"));
    assert_eq!(combine(&inputs).tiers[3].verdict, Verdict::Unknown);
}

#[test]
fn no_samples_is_neither_zero_nor_a_pass() {
    let mut inputs = healthy();
    let mut silent = part("a", 3);
    silent.rtt_us = crate::measure::Histogram::new();
    silent.quality.clear();
    replace(&mut inputs, &silent);
    let c = combine(&inputs);
    assert_eq!(c.tiers[3].verdict, Verdict::Unknown);
    assert_eq!(
        c.tiers[3].reasons,
        [
            "quality>=good: no samples at a",
            "rtt_p95<baseline*2+100ms: no samples at a"
        ]
    );
    assert_eq!(c.tiers[3].rows[0].figures.rtt_ms, None);
}

#[test]
fn half_a_window_is_not_a_tier() {
    let mut inputs = healthy();
    let mut late = part("a", 1);
    late.measured.from = late.measured.from + std::time::Duration::from_secs(5);
    replace(&mut inputs, &late);
    let c = combine(&inputs);
    assert_eq!(c.tiers[1].verdict, Verdict::Unknown);
    assert_eq!(
        c.tiers[1].reasons,
        ["only 50 % of the window was measured at a"]
    );
    assert_eq!(c.tiers[1].started_apart_ms, Some(5_000.0));
}

#[test]
fn what_does_not_belong_here_is_rejected_by_name() {
    let mut inputs = healthy();
    let mut stranger = part("a", 1);
    stranger.vantage = vantage("mars");
    let mut copied = part("a", 1);
    copied.run = "another-run".parse().unwrap();
    let mut replayed = part("a", 1);
    replayed.claim = ClaimId::new(&vantage("a"), 1, 7);
    let mut shifted = part("a", 1);
    shifted.window.from = shifted.window.to;
    let mut newer = part("a", 1);
    newer.schema = 2;
    let mut beyond = part("a", 1);
    beyond.tier = 9;
    let plain = json(&inputs);
    inputs
        .tiers
        .extend([stranger, copied, replayed, shifted, newer, beyond]);
    let mut c = combine(&inputs);
    assert_eq!(c.rejected.len(), 6, "{:?}", c.rejected);
    c.rejected.clear();
    assert_eq!(serde_json::to_string(&c).unwrap(), plain);
}
