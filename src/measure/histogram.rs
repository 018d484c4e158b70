//! A histogram with fixed bounds, so that any two merge.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::hdr::{self, Bucket};

/// Largest value: an hour in microseconds.
const HIGH: u64 = 3_600_000_000;
/// The largest serialized histogram that is read, in bytes of hex.
const HEX_MAX: usize = 64 * 1024;

/// Counts of unsigned values from 0 to 3.6e9, each within 1 %; the field's name gives the unit
/// (`_us`, `_ppm`, `_kbps`).
///
/// A value over the bound is counted as the bound, and in `over`, so that nothing is lost in
/// silence. It takes as much memory as it has different values, which are few. Serialized as
/// HdrHistogram's V2 encoding in hex.
#[derive(Clone, Default, PartialEq)]
pub struct Histogram {
    /// Ascending, none of them zero.
    counts: Vec<(Bucket, u64)>,
    total: u64,
    over: u64,
}

/// What a histogram says, in the unit that its reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// Samples.
    pub count: u64,
    /// Smallest.
    pub min: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

impl Distribution {
    /// Of so many samples with this mean, by the value at each quantile; `None` without samples.
    pub(super) fn of(count: u64, mean: f64, at: impl Fn(f64) -> Option<f64>) -> Option<Self> {
        Some(Self {
            count,
            min: at(0.0)?,
            mean,
            p50: at(0.50)?,
            p90: at(0.90)?,
            p95: at(0.95)?,
            p99: at(0.99)?,
            max: at(1.0)?,
        })
    }
}

impl Histogram {
    /// The largest value that is told from larger ones.
    pub const HIGH: u64 = HIGH;

    /// An empty one.
    pub const fn new() -> Self {
        Self {
            counts: Vec::new(),
            total: 0,
            over: 0,
        }
    }

    /// An empty one, with room for so many different values.
    pub(super) fn with_room(values: usize) -> Self {
        Self {
            counts: Vec::with_capacity(values),
            ..Self::new()
        }
    }

    /// How many different values it has.
    pub(super) fn different(&self) -> usize {
        self.counts.len()
    }

    /// Count one value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Count a value `n` times.
    pub fn record_n(&mut self, value: u64, n: u64) {
        if value > HIGH {
            self.over = self.over.saturating_add(n);
        }
        self.add(Bucket::of(value.min(HIGH)), n);
    }

    /// Count a length of time in microseconds.
    pub fn record_duration(&mut self, d: Duration) {
        self.record(u64::try_from(d.as_micros()).unwrap_or(u64::MAX));
    }

    fn add(&mut self, bucket: Bucket, n: u64) {
        if n == 0 {
            return;
        }
        self.total = self.total.saturating_add(n);
        if self.counts.last().is_none_or(|(b, _)| *b < bucket) {
            return self.counts.push((bucket, n));
        }
        match self.counts.binary_search_by_key(&bucket, |(b, _)| *b) {
            Ok(at) => {
                if let Some((_, count)) = self.counts.get_mut(at) {
                    *count = count.saturating_add(n);
                }
            }
            Err(at) => self.counts.insert(at, (bucket, n)),
        }
    }

    /// Add another's counts.
    pub fn merge(&mut self, other: &Histogram) {
        self.total = self.total.saturating_add(other.total);
        self.over = self.over.saturating_add(other.over);
        if self.counts.is_empty() {
            self.counts.clone_from(&other.counts);
            return;
        }
        // Once many have been merged, hardly any is new.
        let mut new: Vec<(Bucket, u64)> = Vec::new();
        let mut at = 0;
        for (bucket, n) in &other.counts {
            let rest = self.counts.get_mut(at..).unwrap_or_default();
            // No further on than by the buckets between, and there if none of them is missing.
            let apart = |(first, _): &(Bucket, u64)| bucket.0.saturating_sub(first.0).into();
            let most: usize = rest.first().map_or(0, apart);
            let found = match rest.get(most) {
                Some((b, _)) if b == bucket => Ok(most),
                _ => {
                    let (near, _) = rest.split_at(rest.len().min(most + 1));
                    near.binary_search_by_key(bucket, |(b, _)| *b)
                }
            };
            match found {
                Ok(here) => {
                    if let Some((_, count)) = rest.get_mut(here) {
                        *count = count.saturating_add(*n);
                    }
                    at += here + 1;
                }
                Err(here) => {
                    new.push((*bucket, *n));
                    at += here;
                }
            }
        }
        if new.is_empty() {
            return;
        }
        let mut merged = Vec::with_capacity(self.counts.len() + new.len());
        let mut mine = self.counts.iter().copied().peekable();
        for (bucket, n) in new {
            while let Some(before) = mine.next_if(|(b, _)| *b < bucket) {
                merged.push(before);
            }
            merged.push((bucket, n));
        }
        merged.extend(mine);
        self.counts = merged;
    }

    /// Each value, within the resolution, with its count; ascending.
    pub fn values(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let counts = self.counts.iter();
        counts.map(|(bucket, n)| (bucket.highest().min(HIGH), *n))
    }

    /// Samples.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Samples that were larger than the bound.
    pub fn over(&self) -> u64 {
        self.over
    }

    /// The value at a quantile from 0 to 1; `None` without samples.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count lies between 0 and the count"
    )]
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let rank = (q.clamp(0.0, 1.0) * self.total as f64).ceil() as u64;
        let mut so_far = 0u64;
        let found = self.counts.iter().find(|(_, n)| {
            so_far = so_far.saturating_add(*n);
            so_far >= rank.max(1)
        });
        // A count beyond 2^53 is rounded up to more than there are.
        let (bucket, _) = found.or(self.counts.last())?;
        Some(if q <= 0.0 {
            bucket.lowest()
        } else {
            bucket.highest()
        })
    }

    /// The mean; `None` without samples.
    pub fn mean(&self) -> Option<f64> {
        let share = |(bucket, n): &(Bucket, u64)| bucket.middle() as f64 * *n as f64;
        let total = self.total as f64;
        let shares = self.counts.iter().map(|count| share(count) / total);
        (!self.is_empty()).then(|| shares.sum())
    }

    /// The largest value (within the resolution); `None` without samples.
    pub fn max(&self) -> Option<u64> {
        self.counts.last().map(|(bucket, _)| bucket.highest())
    }

    /// The usual figures, each divided by `unit` (1,000 turns µs into ms); `None` without samples.
    pub fn distribution(&self, unit: f64) -> Option<Distribution> {
        let at = |q| Some(self.quantile(q)? as f64 / unit);
        Distribution::of(self.total, self.mean()? / unit, at)
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count())
            .field("p50", &self.quantile(0.5))
            .field("max", &self.max())
            .finish()
    }
}

#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    count: u64,
    #[serde(default)]
    over: u64,
    #[serde(borrow)]
    hdr: Cow<'a, str>,
}

/// In memory, where nobody reads it: each count with the step from the bucket before.
#[derive(Serialize, Deserialize)]
struct Packed<S> {
    over: u64,
    steps: S,
}

/// The steps of counts, written one by one.
struct Steps<'a>(&'a [(Bucket, u64)]);

impl Serialize for Steps<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut before = 0;
        s.collect_seq(self.0.iter().map(|(bucket, n)| {
            let step = bucket.0 - std::mem::replace(&mut before, bucket.0);
            (step, *n)
        }))
    }
}

impl Packed<Vec<(u16, u64)>> {
    fn open(self) -> Histogram {
        let mut histogram = Histogram {
            over: self.over,
            ..Histogram::with_room(self.steps.len())
        };
        let mut at = 0u16;
        for (step, n) in self.steps {
            at = at.saturating_add(step);
            histogram.total = histogram.total.saturating_add(n);
            histogram.counts.push((Bucket(at), n));
        }
        histogram
    }
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if !s.is_human_readable() {
            let (over, steps) = (self.over, Steps(&self.counts));
            return Packed { over, steps }.serialize(s);
        }
        let bytes = if self.is_empty() {
            Vec::new()
        } else {
            let bytes = hdr::encode(&self.counts);
            bytes.ok_or_else(|| serde::ser::Error::custom("a count is beyond 2^63"))?
        };
        Wire {
            count: self.count(),
            over: self.over,
            hdr: hex(&bytes).into(),
        }
        .serialize(s)
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if !d.is_human_readable() {
            return Packed::<Vec<_>>::deserialize(d).map(Packed::open);
        }
        let wire = Wire::deserialize(d)?;
        if wire.hdr.len() > HEX_MAX {
            return Err(de::Error::custom("histogram is too large"));
        }
        let bytes = unhex(&wire.hdr).ok_or_else(|| de::Error::custom("histogram is not hex"))?;
        let counts = if bytes.is_empty() {
            Vec::new()
        } else {
            hdr::decode(&bytes, HIGH).ok_or_else(|| {
                de::Error::custom("histogram is not in HdrHistogram's V2 encoding of these bounds")
            })?
        };
        let sum = |a: u64, (_, n): &(Bucket, u64)| a.saturating_add(*n);
        let total = counts.iter().fold(0, sum);
        if total != wire.count || wire.over > wire.count {
            return Err(de::Error::custom(
                "histogram's counts contradict each other",
            ));
        }
        Ok(Histogram {
            counts,
            total,
            over: wire.over,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from(if n < 10 { b'0' + n } else { b'a' + n - 10 });
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    // What is none has a fifth bit.
    let digit = |b: u8| match b {
        b'0'..=b'9' => b - b'0',
        b'a'..=b'f' => b - b'a' + 10,
        b'A'..=b'F' => b - b'A' + 10,
        _ => 0x10,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = Vec::with_capacity(pairs.len());
    let mut seen = 0;
    for [high, low] in pairs {
        let (high, low) = (digit(*high), digit(*low));
        seen |= high | low;
        bytes.push(high << 4 | low);
    }
    (rest.is_empty() && seen < 0x10).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Histogram {
        let mut h = Histogram::new();
        for v in values {
            h.record(*v);
        }
        h
    }

    #[test]
    fn no_samples_is_no_figure() {
        assert_eq!(Histogram::new().distribution(1.0), None);
        assert_eq!(Histogram::new().quantile(0.5), None);
    }

    #[test]
    fn what_is_over_the_bound_is_counted_as_such() {
        let h = of(&[1, HIGH + 1]);
        assert_eq!((h.count(), h.over()), (2, 1));
    }

    proptest! {
        #[test]
        fn a_figure_is_within_one_percent_of_its_sample(v in 0..HIGH) {
            let h = of(&[v]);
            let max = h.max().unwrap_or(0);
            prop_assert!(max >= v && (max - v) as f64 <= v as f64 / 100.0, "{} for {}", max, v);
        }

        #[test]
        fn merging_in_any_order_is_recording_all(a in prop::collection::vec(0..HIGH, 0..40), b in prop::collection::vec(0..HIGH, 0..40)) {
            let (ha, hb) = (of(&a), of(&b));
            let (mut ab, mut ba) = (ha.clone(), hb.clone());
            ab.merge(&hb);
            ba.merge(&ha);
            let all = of(&[a, b].concat());
            prop_assert_eq!(ab.count(), all.count());
            for q in [0.0, 0.5, 0.9, 1.0] {
                prop_assert_eq!(ab.quantile(q), ba.quantile(q));
                prop_assert_eq!(ab.quantile(q), all.quantile(q));
            }
        }

        #[test]
        fn what_is_written_is_read_back(a in prop::collection::vec(0..HIGH, 0..40)) {
            let h = of(&a);
            let text = serde_json::to_string(&h).unwrap();
            let back: Histogram = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(back.count(), h.count());
            for q in [0.0, 0.5, 0.9, 1.0] {
                prop_assert_eq!(back.quantile(q), h.quantile(q));
            }
        }

        #[test]
        fn garbage_is_refused_without_a_panic(count in 0u64..9, hdr in "[0-9a-fx]{0,120}") {
            let text = serde_json::json!({ "count": count, "hdr": hdr }).to_string();
            let _ = serde_json::from_str::<Histogram>(&text);
        }
    }
}
