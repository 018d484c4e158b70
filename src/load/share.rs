//! Dividing a total over vantages so that the shares sum to the whole.

use super::TierPlan;
use crate::job::{Job, Workload};

/// The share of the `i`-th of `n` when `total` is divided as evenly as whole numbers allow;
/// the first ones get one more. Zero when `i` is not below `n`.
pub fn share(total: u32, n: u32, i: u32) -> u32 {
    if i >= n {
        return 0;
    }
    total / n + u32::from(i < total % n)
}

/// How many subscribers the `i`-th of `n` vantages is asked for in a tier. The baseline's are per
/// vantage, also when the ramp's numbers are totals.
pub fn subscribers(job: &Job, tier: &TierPlan, n: u32, i: u32) -> u32 {
    let Workload::SharedRoom { ramp_total, .. } = &job.workload;
    if *ramp_total && tier.tier > 0 {
        share(tier.subscribers, n, i)
    } else {
        tier.subscribers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_sum_to_the_whole(total in 0u32..100_000, n in 1u32..2_000) {
            let sum: u32 = (0..n).map(|i| share(total, n, i)).sum();
            prop_assert_eq!(sum, total);
            prop_assert!(share(total, n, 0) - share(total, n, n - 1) <= 1);
        }
    }
}
