//! The absolute windows of a run's tiers.

use serde::{Deserialize, Serialize};

use crate::job::{Job, Timestamp, Workload};

/// The absolute interval [from, to) in which a tier is measured, on the run's reference clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// First instant measured.
    pub from: Timestamp,
    /// First instant no longer measured.
    pub to: Timestamp,
}

/// One tier of the run. Tier 0 is the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierPlan {
    /// 0 is the baseline, then 1, 2, …
    pub tier: u32,
    /// Subscribers per vantage, or in total when the job says so. The baseline's 1 is always
    /// per vantage.
    pub subscribers: u32,
    /// Participants may join from here on.
    pub settle_from: Timestamp,
    /// What is measured.
    pub window: Window,
}

/// Every tier's absolute times, the baseline first, one after the other without a gap.
pub fn schedule(job: &Job, start_at: Timestamp) -> Vec<TierPlan> {
    let Workload::SharedRoom { ramp, .. } = &job.workload;
    let mut settle_from = start_at;
    std::iter::once(&1)
        .chain(ramp.tiers())
        .zip(0u32..)
        .map(|(&subscribers, tier)| {
            let from = settle_from + job.times.settle.0;
            let to = from + job.times.duration.0;
            let plan = TierPlan {
                tier,
                subscribers,
                settle_from,
                window: Window { from, to },
            };
            settle_from = to;
            plan
        })
        .collect()
}
