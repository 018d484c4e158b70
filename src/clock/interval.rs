//! How far another clock is ahead of the local one, as an interval that holds the truth.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::job::Timestamp;

/// The true offset (another clock minus the local one) lies in [lo, hi], in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetInterval {
    /// Lower end.
    pub lo_us: i64,
    /// Upper end.
    pub hi_us: i64,
}

/// One reading of another clock, taken at some time between two local ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Local time before the question left.
    pub sent: Timestamp,
    /// Local time after the answer came.
    pub received: Timestamp,
    /// What the other clock showed, rounded down to its grain.
    pub stamp: Timestamp,
    /// The other clock's grain: it showed at least `stamp` and less than `stamp + grain`.
    pub grain: Duration,
}

impl Sample {
    /// A stamp in whole milliseconds, as LiveKit's signalling pong carries
    /// (`Pong.timestamp`, livekit_rtc.proto).
    pub fn pong(sent: Timestamp, server_ms: i64, received: Timestamp) -> Self {
        Sample {
            sent,
            received,
            stamp: Timestamp::from_micros(server_ms.saturating_mul(1_000)),
            grain: Duration::from_millis(1),
        }
    }

    /// A stamp in whole seconds, as HTTP's `Date` carries (RFC 9110 section 6.6.1).
    pub fn date(sent: Timestamp, date_s: i64, received: Timestamp) -> Self {
        Sample {
            sent,
            received,
            stamp: Timestamp::from_micros(date_s.saturating_mul(1_000_000)),
            grain: Duration::from_secs(if planted!(DateIsExact) { 0 } else { 1 }),
        }
    }
}

impl OffsetInterval {
    /// What one sample proves; nothing when its answer came before its question.
    pub fn of(sample: &Sample) -> Option<Self> {
        let Sample {
            sent,
            received,
            stamp,
            grain,
        } = *sample;
        if received < sent {
            return None;
        }
        let stamp = stamp.as_micros();
        Some(OffsetInterval {
            lo_us: stamp.saturating_sub(received.as_micros()),
            hi_us: stamp
                .saturating_add(micros(grain))
                .saturating_sub(sent.as_micros()),
        })
    }

    /// From the lower to the upper end, in microseconds.
    pub const fn width_us(self) -> i64 {
        self.hi_us.saturating_sub(self.lo_us)
    }

    /// The best single guess, in microseconds: wrong by half the width at most.
    pub const fn midpoint_us(self) -> i64 {
        self.lo_us.midpoint(self.hi_us)
    }

    /// Whether one offset can lie in both.
    pub fn agrees(self, other: Self) -> bool {
        self.intersection(other).is_some()
    }

    /// What two true statements say together; nothing when they contradict each other.
    pub fn intersection(self, other: Self) -> Option<Self> {
        let both = OffsetInterval {
            lo_us: self.lo_us.max(other.lo_us),
            hi_us: self.hi_us.min(other.hi_us),
        };
        (both.lo_us <= both.hi_us).then_some(both)
    }

    /// The narrowest interval that holds both.
    pub fn hull(self, other: Self) -> Self {
        OffsetInterval {
            lo_us: self.lo_us.min(other.lo_us),
            hi_us: self.hi_us.max(other.hi_us),
        }
    }

    /// This interval after (or before) a while in which the clocks may have drifted apart.
    pub fn aged(self, by: Duration, drift_ppm: u32) -> Self {
        let drift = micros(by)
            .saturating_mul(i64::from(drift_ppm))
            .div_euclid(1_000_000);
        // The division rounds down; one more microsecond keeps the truth inside.
        let drift = if by.is_zero() {
            0
        } else {
            drift.saturating_add(1)
        };
        OffsetInterval {
            lo_us: self.lo_us.saturating_sub(drift),
            hi_us: self.hi_us.saturating_add(drift),
        }
    }

    /// The offset between two other clocks, both measured from here: `self`'s minus `other`'s.
    pub const fn minus(self, other: Self) -> Self {
        OffsetInterval {
            lo_us: self.lo_us.saturating_sub(other.hi_us),
            hi_us: self.hi_us.saturating_sub(other.lo_us),
        }
    }

    /// The sum of two offsets: `self` from here to a clock, `other` from there to a third.
    pub const fn plus(self, other: Self) -> Self {
        OffsetInterval {
            lo_us: self.lo_us.saturating_add(other.lo_us),
            hi_us: self.hi_us.saturating_add(other.hi_us),
        }
    }

    /// What the other clock shows at a local time, by the midpoint.
    pub const fn to_other(self, local: Timestamp) -> Timestamp {
        local.offset_micros(self.midpoint_us())
    }

    /// The local time at which the other clock shows `other`, by the midpoint.
    pub const fn to_local(self, other: Timestamp) -> Timestamp {
        other.offset_micros(self.midpoint_us().saturating_neg())
    }

    /// The first local time at which the other clock may show `other`: for what must have ended.
    pub const fn earliest_local(self, other: Timestamp) -> Timestamp {
        other.offset_micros(self.hi_us.saturating_neg())
    }

    /// The local time from which on the other clock surely shows `other`: for what must not be
    /// decided too soon.
    pub const fn latest_local(self, other: Timestamp) -> Timestamp {
        other.offset_micros(self.lo_us.saturating_neg())
    }
}

pub(super) fn micros(d: Duration) -> i64 {
    i64::try_from(d.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(us: i64) -> Timestamp {
        Timestamp::from_micros(us)
    }

    #[test]
    fn an_answer_before_its_question_proves_nothing() {
        assert_eq!(OffsetInterval::of(&Sample::pong(at(10), 0, at(9))), None);
    }

    #[test]
    fn what_contradicts_does_not_agree() {
        let a = OffsetInterval {
            lo_us: 0,
            hi_us: 10,
        };
        let b = OffsetInterval {
            lo_us: 11,
            hi_us: 20,
        };
        assert!(!a.agrees(b));
        assert!(a.aged(Duration::from_secs(1), 1).agrees(b));
    }

    proptest! {
        /// Whatever the offset, the way's length and the moment of reading: the truth is inside.
        #[test]
        fn the_truth_is_inside(
            offset in -100_000_000_000i64..100_000_000_000,
            sent in 0i64..1_000_000_000_000,
            there in 0i64..3_000_000,
            back in 0i64..3_000_000,
            date in any::<bool>(),
        ) {
            let read = sent + there + offset;
            let (sent, received) = (at(sent), at(sent + there + back));
            let sample = if date {
                Sample::date(sent, read.div_euclid(1_000_000), received)
            } else {
                Sample::pong(sent, read.div_euclid(1_000), received)
            };
            let i = OffsetInterval::of(&sample).unwrap();
            prop_assert!(i.lo_us <= offset && offset <= i.hi_us, "{i:?} misses {offset}");
            let other = at(read);
            let local = i.to_local(other);
            prop_assert!(i.earliest_local(other) <= local && local <= i.latest_local(other));
        }
    }
}
