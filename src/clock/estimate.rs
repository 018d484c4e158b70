//! The best interval from many samples, which grows wider as it ages.

use std::time::Duration;

use super::{OffsetInterval, Sample};
use crate::job::Timestamp;

/// How fast two clocks may drift apart, in parts per million: the most that Linux's clock
/// discipline slews by (`adjtimex(2)`, MAXFREQ).
pub const MAX_DRIFT_PPM: u32 = 500;

/// What is known of another clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    best: Option<(OffsetInterval, Timestamp)>,
    steps: u32,
}

impl Estimate {
    /// Nothing yet.
    pub const fn unknown() -> Self {
        Estimate {
            best: None,
            steps: 0,
        }
    }

    /// Takes a sample in. One that contradicts the others shows that a clock was set: it replaces
    /// them, and [`Estimate::steps`] counts it.
    pub fn add(&mut self, sample: &Sample) {
        let Some(seen) = OffsetInterval::of(sample) else {
            return;
        };
        // Within the round trip the clocks drift as well.
        let trip = sample.received.saturating_since(sample.sent);
        let (seen, at) = (seen.aged(trip, MAX_DRIFT_PPM), sample.received);
        self.best = match self.best {
            None => Some((seen, at)),
            Some((best, then)) => {
                let (later, apart) = if then > at {
                    (then, then.saturating_since(at))
                } else {
                    (at, at.saturating_since(then))
                };
                let (old, new) = if then > at {
                    (best, seen.aged(apart, MAX_DRIFT_PPM))
                } else {
                    (best.aged(apart, MAX_DRIFT_PPM), seen)
                };
                match old.intersection(new) {
                    Some(both) => Some((both, later)),
                    None => {
                        self.steps = self.steps.saturating_add(1);
                        Some((seen, at))
                    }
                }
            }
        };
    }

    /// The offset as known at a local time, aged since it was measured.
    pub fn at(&self, now: Timestamp) -> Option<OffsetInterval> {
        let (best, then) = self.best?;
        let age = now.saturating_since(then).max(then.saturating_since(now));
        Some(best.aged(age, MAX_DRIFT_PPM))
    }

    /// The offset as known at a local time. Without a sample, local time stands in for the other
    /// clock: for decisions that must be taken all the same.
    pub fn assumed(&self, now: Timestamp) -> OffsetInterval {
        self.at(now)
            .unwrap_or(OffsetInterval { lo_us: 0, hi_us: 0 })
    }

    /// Whether the other clock surely shows `t` or later.
    pub fn surely_past(&self, now: Timestamp, t: Timestamp) -> bool {
        self.assumed(now).latest_local(t) <= now
    }

    /// How long ago the last sample came in.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        self.best.map(|(_, then)| now.saturating_since(then))
    }

    /// How often a clock was seen to have been set.
    pub const fn steps(&self) -> u32 {
        self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(us: i64) -> Timestamp {
        Timestamp::from_micros(us)
    }

    /// The other clock's reading at a local time, for an offset at zero and a drift.
    fn other(local: i64, offset: i64, ppm: i64) -> i64 {
        local + offset + local * ppm / 1_000_000
    }

    proptest! {
        #[test]
        fn many_coarse_samples_make_a_fine_interval_that_holds_the_truth(
            offset in -5_000_000i64..5_000_000,
            ppm in -450i64..450,
            ways in proptest::collection::vec((0i64..80_000, 0i64..80_000, 100_000i64..900_000), 40..80),
        ) {
            let mut estimate = Estimate::unknown();
            let mut t = 0;
            for (there, back, pause) in ways {
                let date_s = other(t + there, offset, ppm).div_euclid(1_000_000);
                estimate.add(&Sample::date(at(t), date_s, at(t + there + back)));
                t += there + back + pause;
                let truth = other(t, offset, ppm) - t;
                let i = estimate.at(at(t)).unwrap();
                prop_assert!(i.lo_us <= truth && truth <= i.hi_us, "{i:?} misses {truth}");
            }
            prop_assert_eq!(estimate.steps(), 0);
            prop_assert!(estimate.at(at(t)).unwrap().width_us() < 1_000_000);
        }
    }

    #[test]
    fn a_clock_that_was_set_is_noticed() {
        let mut estimate = Estimate::unknown();
        estimate.add(&Sample::pong(at(0), 1_000, at(1_000)));
        estimate.add(&Sample::pong(at(1_000_000), 3_602_000, at(1_001_000)));
        assert_eq!(estimate.steps(), 1);
        let now = estimate.at(at(1_001_000)).unwrap();
        assert!(
            (3_600_999_000..3_601_002_000).contains(&now.midpoint_us()),
            "{now:?}"
        );
    }

    #[test]
    fn it_ages() {
        let mut estimate = Estimate::unknown();
        estimate.add(&Sample::pong(at(0), 0, at(0)));
        let wide = estimate.at(at(100_000_000)).unwrap();
        assert_eq!(
            wide,
            OffsetInterval {
                lo_us: -50_001,
                hi_us: 51_001
            }
        );
    }
}
