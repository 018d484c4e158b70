//! The best interval from many samples, which grows wider as it ages.

use std::time::Duration;

use super::{OffsetInterval, Sample};
use crate::job::Timestamp;

/// How fast two clocks may drift apart, in parts per million: the most that Linux's clock
/// discipline slews by (`adjtimex(2)`, MAXFREQ).
pub const MAX_DRIFT_PPM: u32 = 500;

/// An interval that needs no second's beginning to be read, in microseconds: about what a round
/// trip to a store in another region leaves of it.
const FINE_US: i64 = 50_000;

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

    /// The first local time at which the other clock may show `t`: for what must have ended. The
    /// clocks may drift apart until then.
    pub fn first_local(&self, now: Timestamp, t: Timestamp) -> Timestamp {
        let soonest = self.assumed(now).earliest_local(t);
        self.assumed(soonest.max(now)).earliest_local(t)
    }

    /// The best time from `from` on to read a clock that shows whole seconds: when it is thought to
    /// begin one, so that either answer halves the interval. `from` itself when the interval is
    /// fine enough, or nothing is known.
    pub fn best_moment(&self, from: Timestamp) -> Timestamp {
        const SECOND: i64 = 1_000_000;
        match self.at(from) {
            Some(known) if known.width_us() > FINE_US => {
                let shows = known.to_other(from).as_micros();
                from.offset_micros((SECOND - shows.rem_euclid(SECOND)) % SECOND)
            }
            _ => from,
        }
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
    fn read_at_the_right_moments_whole_seconds_tell_milliseconds() {
        for offset in [-30_123_456, 0, 777_777, 60_500_000] {
            let mut estimate = Estimate::unknown();
            let (mut now, trip) = (at(5_000_000), 20_000);
            for _ in 0..8 {
                now = estimate.best_moment(now + Duration::from_millis(300));
                let shows = other(now.as_micros() + trip / 2, offset, 0);
                let received = now.offset_micros(trip);
                estimate.add(&Sample::date(now, shows.div_euclid(1_000_000), received));
                now = received;
            }
            let i = estimate.at(now).unwrap();
            assert!(i.lo_us <= offset && offset <= i.hi_us, "{i:?}");
            assert!(i.width_us() < 60_000, "{i:?}");
            assert_eq!(estimate.best_moment(now), now, "it is fine enough");
        }
    }

    #[test]
    fn a_deadline_counts_on_the_drift_until_then() {
        let mut estimate = Estimate::unknown();
        estimate.add(&Sample::pong(at(0), 0, at(0)));
        let first = estimate.first_local(at(0), at(1_000_000_000));
        // 500 ppm of 1,000 s, and the pong's grain.
        assert_eq!(first.as_micros(), 1_000_000_000 - 500_000 - 1_000);
        assert_eq!(Estimate::unknown().first_local(at(0), at(7)), at(7));
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
