//! A histogram with fixed bounds, so that any two merge.

use std::fmt;
use std::time::Duration;

use hdrhistogram::serialization::{Deserializer as HdrDeserializer, Serializer as _, V2Serializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Largest value: an hour in microseconds.
const HIGH: u64 = 3_600_000_000;
/// Significant decimal digits: every figure is within 1 % of the sample.
const DIGITS: u8 = 2;
/// The largest serialized histogram that is read, in bytes of hex.
const HEX_MAX: usize = 64 * 1024;

/// Counts of unsigned values from 0 to 3.6e9; the field's name gives the unit (`_us`, `_ppm`,
/// `_kbps`).
///
/// A value over the bound is counted as the bound, and in `over`, so that nothing is lost in
/// silence. Serialized as HdrHistogram's V2 encoding in hex.
#[derive(Clone, PartialEq)]
pub struct Histogram {
    /// Absent while there are no samples: most histograms of a part have none.
    counts: Option<Box<hdrhistogram::Histogram<u64>>>,
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

impl Histogram {
    /// The largest value that is told from larger ones.
    pub const HIGH: u64 = HIGH;

    /// An empty one.
    pub const fn new() -> Self {
        Self {
            counts: None,
            over: 0,
        }
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
        self.add(value.min(HIGH), n);
    }

    /// Count a length of time in microseconds.
    pub fn record_duration(&mut self, d: Duration) {
        self.record(u64::try_from(d.as_micros()).unwrap_or(u64::MAX));
    }

    fn add(&mut self, value: u64, n: u64) {
        if n == 0 {
            return;
        }
        let counts = self.counts.get_or_insert_with(|| {
            let mut counts = hdrhistogram::Histogram::new(DIGITS).unwrap_or_else(|_| {
                unreachable!("{DIGITS} digits are within HdrHistogram's 0 to 5")
            });
            counts.auto(true);
            Box::new(counts)
        });
        // An auto-resizing histogram refuses only what doesn't fit in memory, and HIGH does.
        if counts.record_n(value, n).is_err() {
            self.over = self.over.saturating_add(n);
        }
    }

    /// Add another's counts.
    pub fn merge(&mut self, other: &Histogram) {
        for (value, n) in other.values() {
            self.add(value, n);
        }
        self.over = self.over.saturating_add(other.over);
    }

    /// Each value, within the resolution, with its count; ascending.
    pub fn values(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let recorded = self.counts.iter().flat_map(|counts| counts.iter_recorded());
        recorded.map(|v| (v.value_iterated_to().min(HIGH), v.count_at_value()))
    }

    /// Samples.
    pub fn count(&self) -> u64 {
        self.counts.as_ref().map_or(0, |counts| counts.len())
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Samples that were larger than the bound.
    pub fn over(&self) -> u64 {
        self.over
    }

    /// The value at a quantile from 0 to 1; `None` without samples.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        Some(self.counts.as_ref()?.value_at_quantile(q))
    }

    /// The mean; `None` without samples.
    pub fn mean(&self) -> Option<f64> {
        Some(self.counts.as_ref()?.mean())
    }

    /// The largest value (within the resolution); `None` without samples.
    pub fn max(&self) -> Option<u64> {
        Some(self.counts.as_ref()?.max())
    }

    /// The usual figures, each divided by `unit` (1,000 turns µs into ms); `None` without samples.
    pub fn distribution(&self, unit: f64) -> Option<Distribution> {
        let c = self.counts.as_ref()?;
        let at = |q| c.value_at_quantile(q) as f64 / unit;
        Some(Distribution {
            count: c.len(),
            min: c.min() as f64 / unit,
            mean: c.mean() / unit,
            p50: at(0.50),
            p90: at(0.90),
            p95: at(0.95),
            p99: at(0.99),
            max: c.max() as f64 / unit,
        })
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
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
struct Wire {
    count: u64,
    #[serde(default)]
    over: u64,
    hdr: String,
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        if let Some(counts) = &self.counts {
            V2Serializer::new()
                .serialize(counts, &mut bytes)
                .map_err(serde::ser::Error::custom)?;
        }
        Wire {
            count: self.count(),
            over: self.over,
            hdr: bytes.iter().map(|b| format!("{b:02x}")).collect(),
        }
        .serialize(s)
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(d)?;
        let mut h = Histogram::new();
        if wire.hdr.len() > HEX_MAX {
            return Err(de::Error::custom("histogram is too large"));
        }
        let bytes = unhex(&wire.hdr).ok_or_else(|| de::Error::custom("histogram is not hex"))?;
        if !bytes.is_empty() {
            let read: hdrhistogram::Histogram<u64> = HdrDeserializer::new()
                .deserialize(&mut bytes.as_slice())
                .map_err(|_| de::Error::custom("histogram is not in HdrHistogram's V2 encoding"))?;
            if read.sigfig() != DIGITS || read.max() > HIGH + HIGH / 64 {
                return Err(de::Error::custom("histogram has other bounds"));
            }
            for v in read.iter_recorded() {
                h.add(v.value_iterated_to().min(HIGH), v.count_at_value());
            }
        }
        if h.count() != wire.count || wire.over > wire.count {
            return Err(de::Error::custom(
                "histogram's counts contradict each other",
            ));
        }
        h.over = wire.over;
        Ok(h)
    }
}

fn unhex(s: &str) -> Option<Vec<u8>> {
    if !s.len().is_multiple_of(2) {
        return None;
    }
    s.as_bytes()
        .chunks(2)
        .map(|pair| {
            let text = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(text, 16).ok()
        })
        .collect()
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
