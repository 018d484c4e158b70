//! What one prober is to do, on the run's reference clock.

use std::time::Duration;

use crate::job::{ClaimId, Digested, Job, Media, Timestamp, Vantage, Workload};
use crate::load::{Place, TierPlan};
use crate::report::part::Headcount;

/// What one prober is to do.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// The job.
    pub job: Digested<Job>,
    /// This prober's slot.
    pub vantage: Vantage,
    /// This prober's claim.
    pub claim: ClaimId,
    /// Its place in the division of the load.
    pub place: Place,
    /// All tiers, in order.
    pub tiers: Vec<TierPlan>,
    /// No load after this, in local time, as far as was known at its beginning.
    pub stop_at: Timestamp,
}

impl LoadPlan {
    /// The room of this prober's participants.
    pub fn room(&self) -> &str {
        let Workload::SharedRoom { room, .. } = &self.job.workload;
        room
    }

    /// How many participants this prober is asked for in a tier.
    pub fn headcount(&self, tier: &TierPlan) -> Headcount {
        headcount(&self.job, tier, self.place)
    }

    /// What its publishers send.
    pub fn media(&self) -> Media {
        self.place.media(&self.job.media)
    }

    /// How long a join token must live at `now`, in local time, to outlast the load and its grace.
    pub fn token_ttl(&self, now: Timestamp) -> Duration {
        self.stop_at.saturating_since(now) + self.job.times.grace.0
    }
}

/// How many participants the prober at `place` is asked for in a tier.
pub fn headcount(job: &Job, tier: &TierPlan, place: Place) -> Headcount {
    Headcount {
        publishers: place.media(&job.media).publishers(),
        subscribers: place.subscribers(job, tier.tier, tier.subscribers),
    }
}
