//! What holds of a combined report whatever came.

use proptest::prelude::*;

use super::super::sample::{any_part, healthy, lossy, replace, rolled_up};
use super::tests::json;
use super::*;
use crate::job::WriteId;

/// A run of any figures: with a bit for every part that came.
fn any_inputs() -> impl Strategy<Value = CombineInputs> {
    let seeds = prop::collection::vec(any::<u64>(), 0..4);
    (seeds, any::<[bool; 4]>(), any::<bool>()).prop_map(|(seeds, broken, together)| {
        let mut inputs = healthy();
        let more = [
            "latency_p95<150ms",
            "latency_p50<baseline*2+9ms",
            "fps_p5>=20",
            "frozen<1%",
        ];
        inputs
            .job
            .thresholds
            .extend(more.map(|t| t.parse::<crate::job::Threshold>().unwrap()));
        for (tier, broken) in (0u32..).zip(broken) {
            if broken && tier % 2 == 1 {
                replace(&mut inputs, &lossy("b", tier, 3));
            }
        }
        for seed in seeds {
            replace(&mut inputs, &any_part(seed));
        }
        if together { rolled_up(inputs) } else { inputs }
    })
}

const fn rank(verdict: RunVerdict) -> u8 {
    match verdict {
        RunVerdict::Passed => 0,
        RunVerdict::Incomplete | RunVerdict::Failed => 1,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_order_gives_the_same_bytes(inputs in any_inputs(), extra in any::<u64>(), turn in 0usize..12) {
        let mut one = inputs;
        let mut double = any_part(extra);
        double.write_id = WriteId::from_u64(0);
        one.tiers.push(double);
        let mut other = one.clone();
        other.tiers.reverse();
        let turn = turn.min(other.tiers.len());
        other.tiers.rotate_left(turn);
        other.reports.reverse();
        prop_assert!(json(&one) == json(&other));
    }

    #[test]
    fn no_part_counts_twice(inputs in any_inputs(), pick in any::<prop::sample::Index>()) {
        let mut twice = inputs.clone();
        twice.tiers.push(pick.get(&inputs.tiers).clone());
        twice.reports.push(pick.get(&inputs.reports).clone());
        prop_assert!(json(&inputs) == json(&twice));
    }

    #[test]
    fn taking_parts_away_never_makes_a_pass(
        inputs in any_inputs(),
        tiers in prop::collection::vec(any::<bool>(), 12),
        reports in any::<[bool; 3]>(),
    ) {
        let mut fewer = inputs.clone();
        let mut keep = tiers.iter().copied().chain(std::iter::repeat(true));
        fewer.tiers.retain(|_| keep.next().unwrap());
        let mut keep = reports.into_iter();
        fewer.reports.retain(|_| keep.next().unwrap());
        let (all, some) = (combine(&inputs), combine(&fewer));
        prop_assert!(rank(some.verdict) >= rank(all.verdict));
        for (all, some) in all.tiers.iter().zip(&some.tiers) {
            if some.verdict == Verdict::Held {
                prop_assert_eq!(all.verdict, Verdict::Held);
            }
            if some.verdict == Verdict::Failed {
                prop_assert_eq!(all.verdict, Verdict::Failed, "fail is final");
            }
        }
    }

    #[test]
    fn all_together_are_no_worse_than_the_worst_vantage(inputs in any_inputs()) {
        for tier in combine(&inputs).tiers {
            let all = tier.figures.unwrap();
            if let (Some(all), Some(worst)) = (all.loss_percent, tier.worst.loss_percent) {
                prop_assert!(all <= worst.value + 1e-9);
            }
            if let (Some(all), Some(worst)) = (all.rtt_ms, tier.worst.rtt_p95_ms) {
                prop_assert!(all.p95 <= worst.value);
            }
            if let (Some(all), Some(worst)) = (all.quality, tier.worst.quality) {
                prop_assert!(all >= worst.value);
            }
        }
    }

    #[test]
    fn what_is_written_is_read_back(inputs in any_inputs()) {
        let text = json(&inputs);
        let back: Combined = serde_json::from_str(&text).unwrap();
        prop_assert!(serde_json::to_string(&back).unwrap() == text);
    }
}
