//! What one prober is to do, on the run's reference clock.

use std::time::Duration;

use crate::job::{ClaimId, Digested, Job, Timestamp, Vantage, Workload};
use crate::load::{TierPlan, subscribers};
use crate::report::part::Headcount;

/// What one prober is to do.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// The job.
    pub job: Digested<Job>,
    /// This prober's label.
    pub vantage: Vantage,
    /// This prober's claim.
    pub claim: ClaimId,
    /// Its place among the vantages, for the division of totals.
    pub index: u32,
    /// How many vantages take part.
    pub fleet_size: u32,
    /// All tiers, in order.
    pub tiers: Vec<TierPlan>,
    /// No load after this, in local time, as far as was known at its beginning.
    pub stop_at: Timestamp,
}

impl LoadPlan {
    /// The room of this vantage's participants.
    pub fn room(&self) -> &str {
        let Workload::SharedRoom { room, .. } = &self.job.workload;
        room
    }

    /// How many participants this vantage is asked for in a tier.
    pub fn headcount(&self, tier: &TierPlan) -> Headcount {
        headcount(&self.job, tier, self.fleet_size, self.index)
    }

    /// How long a join token must live at `now`, in local time, to outlast the load and its grace.
    pub fn token_ttl(&self, now: Timestamp) -> Duration {
        self.stop_at.saturating_since(now) + self.job.times.grace.0
    }
}

/// How many participants the `index`-th of `fleet_size` vantages is asked for in a tier.
pub fn headcount(job: &Job, tier: &TierPlan, fleet_size: u32, index: u32) -> Headcount {
    Headcount {
        publishers: job.media.publishers(),
        subscribers: subscribers(job, tier, fleet_size, index),
    }
}
