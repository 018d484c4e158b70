//! How much load a job asks for: of whom, at most, and whether that can be.

use std::collections::BTreeSet;

use super::{Fleet, Job, JobError, Span, Vantage, VantageRole, Workload};
use crate::load::{Place, join_time};

/// How many vantages do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vantages {
    /// All that take part.
    pub all: u32,
    /// Those that have publishers.
    pub publishing: u32,
    /// Those that have subscribers.
    pub subscribing: u32,
}

impl Job {
    /// What the vantage of a slot is there for.
    pub fn role(&self, slot: &Vantage) -> VantageRole {
        match self.roles.is_empty() {
            true => VantageRole::Both,
            false => self.roles.get(&slot.place()).copied().unwrap_or_default(),
        }
    }

    /// How many vantages take part, and of these publish and subscribe.
    pub fn vantages(&self) -> Vantages {
        let all = match &self.fleet {
            Fleet::Vantages(slots) => {
                let places: BTreeSet<&str> = slots.iter().map(Vantage::place_str).collect();
                u32::try_from(places.len()).unwrap_or(u32::MAX)
            }
            Fleet::Expect(n) => *n,
        };
        let without = |does: fn(VantageRole) -> bool| {
            let idle = self.roles.values().filter(|role| !does(**role)).count();
            all.saturating_sub(u32::try_from(idle).unwrap_or(u32::MAX))
        };
        Vantages {
            all,
            publishing: without(VantageRole::publishes),
            subscribing: without(VantageRole::subscribes),
        }
    }

    /// Publishers of the whole fleet.
    pub fn publishers(&self) -> u64 {
        u64::from(self.media.publishers()) * u64::from(self.vantages().publishing)
    }

    /// The most participants of the whole fleet at once.
    pub fn peak_participants(&self) -> u64 {
        let Workload::SharedRoom {
            ramp, ramp_total, ..
        } = &self.workload;
        let n = u64::from(self.vantages().subscribing);
        let peak = u64::from(ramp.peak());
        // The baseline is one subscriber per vantage.
        let subscribers = if *ramp_total {
            peak.max(n)
        } else {
            peak.max(1) * n
        };
        subscribers + self.publishers()
    }

    /// The most participants of any one prober at once.
    pub fn peak_participants_per_prober(&self) -> u64 {
        let peaks = Place::all(self).into_iter().map(|place| self.peak(place));
        peaks
            .map(|(subscribers, publishers)| u64::from(subscribers) + u64::from(publishers))
            .max()
            .unwrap_or(0)
    }

    /// The most subscribers at one place at once, and its publishers.
    pub fn peak(&self, place: Place) -> (u32, u32) {
        let Workload::SharedRoom { ramp, .. } = &self.workload;
        let tiers = (1..).zip(ramp.tiers().iter().copied());
        let loads = std::iter::once((0, 1)).chain(tiers);
        let most = loads
            .map(|(tier, n)| place.subscribers(self, tier, n))
            .max();
        (most.unwrap_or(0), place.media(&self.media).publishers())
    }

    pub(super) fn check_roles(&self) -> Result<(), JobError> {
        let Workload::SharedRoom {
            ramp,
            ramp_total,
            existing_room,
            ..
        } = &self.workload;
        let Vantages {
            publishing,
            subscribing,
            ..
        } = self.vantages();
        // In a room that exists others may publish.
        if publishing == 0 && !existing_room {
            return Err(JobError::NobodyPublishes);
        }
        if subscribing == 0 {
            return Err(JobError::NobodySubscribes);
        }
        match ramp.tiers().iter().find(|total| **total < subscribing) {
            Some(total) if *ramp_total => Err(JobError::TotalTooSmall {
                total: *total,
                vantages: subscribing,
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn check_size(&self) -> Result<(), JobError> {
        let (wanted, max) = (self.peak_participants(), self.limits.max_participants);
        if wanted > u64::from(max) {
            return Err(JobError::TooMany { wanted, max });
        }
        Ok(())
    }

    pub(super) fn check_settle(&self) -> Result<(), JobError> {
        let joins = Place::all(self).into_iter().map(|place| self.joins(place));
        let joins = joins.max().unwrap_or(0);
        let rate = self.limits.join_rate;
        let needed = join_time(rate, joins);
        if needed > self.times.settle.0 {
            return Err(JobError::SettleTooShort {
                joins,
                needed: Span(needed),
                rate,
                settle: self.times.settle,
            });
        }
        Ok(())
    }

    /// The most participants that join for any one tier at one place.
    fn joins(&self, place: Place) -> u32 {
        let Workload::SharedRoom { ramp, .. } = &self.workload;
        let baseline = place.subscribers(self, 0, 1);
        let publishers = place.media(&self.media).publishers();
        let (mut had, mut joins) = (baseline, publishers.saturating_add(baseline));
        for (tier, n) in (1..).zip(ramp.tiers()) {
            let here = place.subscribers(self, tier, *n);
            joins = joins.max(here.saturating_sub(had));
            had = here;
        }
        joins
    }
}
