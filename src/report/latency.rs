//! End-to-end latency, with what the clocks leave open.
//!
//! A frame is stamped on the run's reference clock as its publisher's prober knew it before the
//! window, and read by the same clock as the subscriber's did. What both know of their clocks in the
//! window says by how much that was wrong, as an interval; within one prober nothing is, as the
//! clock is the same. A latency below zero by more than the interval allows contradicts what is
//! known of the clocks, and is counted apart.

use super::flow::{Flow, Publisher};
use super::publishers::Publishers;
use crate::clock::OffsetInterval;
use crate::job::Vantage;
use crate::measure::SignedHistogram;

/// What is known of the latency of one or many flows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latency {
    /// As measured, in microseconds.
    pub us: SignedHistogram,
    /// The most that one of them may be off by, in microseconds; `None` when that isn't known.
    pub plus_minus_us: Option<u64>,
    /// Frames that came before they can have been sent.
    pub contradictory: u64,
    /// What it is at least, which no clock makes less than nothing, and at most if that is known.
    pub least_us: SignedHistogram,
    /// See `least_us`.
    pub most_us: Option<SignedHistogram>,
}

impl Latency {
    /// No sample yet.
    pub fn none() -> Self {
        Latency {
            plus_minus_us: Some(0),
            most_us: Some(SignedHistogram::default()),
            ..Latency::default()
        }
    }

    /// What a flow's stamps say, which are too long by `error`.
    fn of(flow: &Flow, error: Option<OffsetInterval>, sound: bool) -> Self {
        let Some(error) = error else {
            return Latency {
                least_us: nothing_at_all(&flow.latency_us),
                us: flow.latency_us.clone(),
                ..Latency::default()
            };
        };
        let (mid, half) = (error.midpoint_us(), error.width_us().saturating_add(1) / 2);
        let guess = match mid {
            0 => flow.latency_us.clone(),
            mid => flow.latency_us.map(|us| us.saturating_sub(mid)),
        };
        let (us, contradictory) = guess.from_least(-half);
        let least_us = if sound {
            us.map(|us| us.saturating_sub(half).max(0))
        } else {
            nothing_at_all(&us)
        };
        Latency {
            most_us: Some(us.map(|us| us.saturating_add(half))),
            us,
            plus_minus_us: Some(half.unsigned_abs()),
            contradictory,
            least_us,
        }
    }

    /// Add another's.
    pub fn merge(&mut self, other: &Latency) {
        if other.us.is_empty() && other.contradictory == 0 {
            return;
        }
        self.us.merge(&other.us);
        self.least_us.merge(&other.least_us);
        let both = self.plus_minus_us.zip(other.plus_minus_us);
        self.plus_minus_us = both.map(|(a, b)| a.max(b));
        self.contradictory = self.contradictory.saturating_add(other.contradictory);
        match (&mut self.most_us, &other.most_us) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine, _) => *mine = None,
        }
    }
}

/// As many samples that took no time: the least that they can have taken, whatever is true.
fn nothing_at_all(of: &SignedHistogram) -> SignedHistogram {
    let mut nothing = SignedHistogram::default();
    nothing.record_n(0, of.count());
    nothing
}

/// The latency from one vantage's publishers to another's subscribers.
pub fn between(from: &Publisher, to: &Vantage, flow: &Flow, publishers: &Publishers) -> Latency {
    let error = publishers.clock_error(from, to);
    Latency::of(flow, error, publishers.are_sound(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(us: &[i64]) -> Flow {
        let mut flow = Flow::default();
        for us in us {
            flow.latency_us.record(*us);
        }
        flow
    }

    /// An error of 2 ms in the middle.
    fn within(half: i64) -> Option<OffsetInterval> {
        Some(OffsetInterval {
            lo_us: 2_000 - half,
            hi_us: 2_000 + half,
        })
    }

    fn median_ms(h: &SignedHistogram) -> Option<i64> {
        Some((h.quantile(0.5)? + 50) / 1_000)
    }

    #[test]
    fn the_clocks_leave_an_interval() {
        let l = Latency::of(&flow(&[42_000, 52_000, 62_000]), within(8_000), true);
        let bounds = [Some(&l.us), Some(&l.least_us), l.most_us.as_ref()];
        assert_eq!(
            bounds.map(|h| median_ms(h.unwrap())),
            [Some(50), Some(42), Some(58)]
        );
    }

    #[test]
    fn below_zero_within_the_interval_is_a_figure_and_beyond_a_contradiction() {
        let l = Latency::of(&flow(&[500, 1_100, 2_300]), within(1_000), true);
        assert_eq!((l.us.count(), l.contradictory), (2, 1));
        assert!(l.us.quantile(0.0).unwrap() < -850);
        let same = Latency::of(&flow(&[1_900]), within(0), true);
        assert_eq!((same.us.count(), same.contradictory), (0, 1));
    }

    #[test]
    fn what_is_unknown_bounds_nothing() {
        let unknown_clock = Latency::of(&flow(&[40_000]), None, true);
        assert_eq!(unknown_clock.most_us, None);
        assert_eq!(median_ms(&unknown_clock.least_us), Some(0));
        let in_doubt = Latency::of(&flow(&[42_000]), within(1), false);
        assert_eq!(median_ms(&in_doubt.least_us), Some(0));
        let mut both = Latency::none();
        both.merge(&in_doubt);
        both.merge(&unknown_clock);
        assert_eq!((both.plus_minus_us, both.most_us), (None, None));
        assert_eq!(both.us.count(), 2);
    }
}
