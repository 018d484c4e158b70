//! A histogram of values that may be negative, so that none is clamped to zero.

use serde::{Deserialize, Serialize};

use super::{Distribution, Histogram};

/// Counts of signed values, with the bounds and the resolution of [`Histogram`] on either side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SignedHistogram {
    /// Negative values without their sign.
    negative: Histogram,
    /// The others.
    positive: Histogram,
}

impl SignedHistogram {
    /// Count one value.
    pub fn record(&mut self, value: i64) {
        self.record_n(value, 1);
    }

    /// Count a value `n` times.
    pub fn record_n(&mut self, value: i64, n: u64) {
        let side = if value < 0 {
            &mut self.negative
        } else {
            &mut self.positive
        };
        side.record_n(value.unsigned_abs(), n);
    }

    /// Add another's counts.
    pub fn merge(&mut self, other: &SignedHistogram) {
        self.negative.merge(&other.negative);
        self.positive.merge(&other.positive);
    }

    /// Samples.
    pub fn count(&self) -> u64 {
        self.negative.count().saturating_add(self.positive.count())
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.negative.is_empty() && self.positive.is_empty()
    }

    /// Each value with its count, ascending.
    fn values(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        let signed = |v: u64| i64::try_from(v).unwrap_or(i64::MAX);
        let mut negative: Vec<(u64, u64)> = self.negative.values().collect();
        negative.reverse();
        let negative = negative.into_iter().map(move |(v, n)| (-signed(v), n));
        negative.chain(self.positive.values().map(move |(v, n)| (signed(v), n)))
    }

    /// The same with each value replaced by another.
    pub fn map(&self, f: impl Fn(i64) -> i64) -> SignedHistogram {
        let mut mapped = SignedHistogram {
            negative: Histogram::with_room(self.negative.different()),
            positive: Histogram::with_room(self.positive.different()),
        };
        for (value, n) in self.values() {
            mapped.record_n(f(value), n);
        }
        mapped
    }

    /// Those that are at least `least`, and how many are not.
    pub fn from_least(self, least: i64) -> (SignedHistogram, u64) {
        if self.values().next().is_none_or(|(value, _)| value >= least) {
            return (self, 0);
        }
        let (mut kept, mut below) = (SignedHistogram::default(), 0u64);
        for (value, n) in self.values() {
            if value < least {
                below = below.saturating_add(n);
            } else {
                kept.record_n(value, n);
            }
        }
        (kept, below)
    }

    /// The value at a quantile from 0 to 1; `None` without samples.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count lies between 0 and the count"
    )]
    pub fn quantile(&self, q: f64) -> Option<i64> {
        let rank = (q.clamp(0.0, 1.0) * self.count() as f64).ceil() as u64;
        let mut so_far = 0u64;
        let mut values = self.values();
        let found = values.find(|(_, n)| {
            so_far = so_far.saturating_add(*n);
            so_far >= rank.max(1)
        });
        found.map(|(value, _)| value)
    }

    /// The mean; `None` without samples.
    pub fn mean(&self) -> Option<f64> {
        let part = |h: &Histogram| h.mean().map_or(0.0, |mean| mean * h.count() as f64);
        let count = self.count() as f64;
        (count > 0.0).then(|| (part(&self.positive) - part(&self.negative)) / count)
    }

    /// The largest value; `None` without samples.
    pub fn max(&self) -> Option<i64> {
        self.quantile(1.0)
    }

    /// The usual figures, each divided by `unit`; `None` without samples.
    pub fn distribution(&self, unit: f64) -> Option<Distribution> {
        let at = |q| Some(self.quantile(q)? as f64 / unit);
        Distribution::of(self.count(), self.mean()? / unit, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[i64]) -> SignedHistogram {
        let mut h = SignedHistogram::default();
        for v in values {
            h.record(*v);
        }
        h
    }

    #[test]
    fn no_samples_is_no_figure() {
        assert_eq!(of(&[]).distribution(1.0), None);
        assert_eq!((of(&[]).quantile(0.5), of(&[]).mean()), (None, None));
    }

    #[test]
    fn what_is_below_a_bound_is_counted_and_left_out() {
        let (kept, below) = of(&[-90, -20, 0, 70]).from_least(-25);
        assert_eq!((kept.count(), below), (3, 1));
        assert_eq!((kept.quantile(0.0), kept.max()), (Some(-20), Some(70)));
    }

    proptest! {
        #[test]
        fn figures_are_within_one_percent_of_their_sample(
            mut values in prop::collection::vec(-5_000_000i64..5_000_000, 1..60),
            percent in 0usize..=100,
        ) {
            let h = of(&values);
            values.sort_unstable();
            let rank = (percent * values.len()).div_ceil(100).max(1);
            let exact = values[rank - 1];
            let near = |figure: f64, exact: f64| (figure - exact).abs() <= exact.abs() / 100.0 + 1.0;
            let found = h.quantile(percent as f64 / 100.0 - 1e-9).unwrap();
            prop_assert!(near(found as f64, exact as f64), "{found} for {exact}");
            let spread = values.iter().map(|v| v.unsigned_abs()).max().unwrap() as f64 / 50.0 + 1.0;
            let mean = values.iter().sum::<i64>() as f64 / values.len() as f64;
            prop_assert!((h.mean().unwrap() - mean).abs() <= spread);
        }

        #[test]
        fn merging_is_recording_all_and_is_read_back(
            a in prop::collection::vec(-9_000i64..9_000, 0..30),
            b in prop::collection::vec(-9_000i64..9_000, 0..30),
        ) {
            let mut merged = of(&a);
            merged.merge(&of(&b));
            let all = of(&[a, b].concat());
            let text = serde_json::to_string(&merged).unwrap();
            let back: SignedHistogram = serde_json::from_str(&text).unwrap();
            for h in [&merged, &back] {
                prop_assert_eq!(h.count(), all.count());
                prop_assert_eq!(h.quantile(0.5), all.quantile(0.5));
            }
        }

        #[test]
        fn a_shift_moves_every_figure(
            values in prop::collection::vec(-2_000i64..2_000, 1..30), by in -1_000i64..1_000,
        ) {
            let (h, shifted) = (of(&values), of(&values).map(|v| v + by));
            prop_assert_eq!(h.count(), shifted.count());
            let moved = shifted.quantile(0.5).unwrap() - h.quantile(0.5).unwrap();
            prop_assert!((moved - by).abs() <= 62, "{moved} for {by}");
        }
    }
}
