//! Whether a tier held: the job's thresholds on each vantage's own figures.
//!
//! Every prober is judged by its own figures and against its vantage's baseline, for a round trip
//! from far away isn't the SFU's doing, and a region that breaks is a break, however many others
//! hold. The figure over a vantage's probers, or over all vantages, needs no judgement of its own: a share, a percentile or
//! the worst quality of all together is never worse than the worst prober's.
//!
//! - *failed*: at least one prober that was fit to measure is over a threshold, even if all that
//!   its publishers may have failed to send had come. Final, whatever else is missing.
//! - *held*: every expected prober measured the whole window under the whole load, and meets
//!   every threshold.
//! - *unknown*: everything else.

use std::fmt;

use super::combined::Judgement;
use super::figures;
use super::latency::Latency;
use super::merge::TierMerge;
use super::publishers::Publishers;
use super::suspect::Shortage;
use crate::job::threshold::{Bound, Comparison, Metric, Statistic};
use crate::job::{Quality, Threshold};
use crate::load::Verdict;
use crate::measure::{Histogram, SignedHistogram};

/// Whether a threshold on `metric` looks at a prober at all: at what it was asked for, of which
/// `own` are the sums. A vantage that only publishes has no loss; in the baseline one of a
/// vantage's probers alone has the subscriber; those who were all there before join no more.
/// `together` are the sums of all probers of its vantage.
pub fn concerns(metric: Metric, tier: u32, own: &TierMerge, together: &TierMerge) -> bool {
    let asked = own.requested;
    let some = asked.publishers > 0 || asked.subscribers > 0;
    // For joins of a later tier another prober of the vantage may have been asked alone.
    let joined = measure(metric, own).is_some() || measure(metric, together).is_none();
    match metric {
        Metric::Connected | Metric::Rtt(_) | Metric::Quality => some,
        Metric::Join(_) | Metric::Connect(_) if tier == 0 => some,
        Metric::Join(_) | Metric::Connect(_) | Metric::TrackSubscribe(_) => {
            asked.subscribers > 0 && joined
        }
        Metric::Receiving
        | Metric::Loss
        | Metric::Latency(_)
        | Metric::Fps(_)
        | Metric::Frozen
        | Metric::Jitter(_) => asked.subscribers > 0,
    }
}

/// A measured figure with its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Percent.
    Percent(f64),
    /// Milliseconds.
    Millis(f64),
    /// Frames per second.
    FramesPerSecond(f64),
    /// LiveKit's connection quality.
    Quality(Quality),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Two decimals, unless that would turn a little into nothing.
            Value::Percent(p) if *p > 0.0 && *p < 0.01 => write!(f, "{p:.4} %"),
            Value::Percent(p) => write!(f, "{p:.2} %"),
            Value::Millis(ms) => write!(f, "{ms:.1} ms"),
            Value::FramesPerSecond(n) => write!(f, "{n:.1} fps"),
            Value::Quality(q) => f.write_str(q.name()),
        }
    }
}

/// What a text says when nothing was measured.
pub const UNKNOWN: &str = "unknown";

/// A value's text, or [`UNKNOWN`].
pub fn text(value: Option<Value>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |v| v.to_string())
}

/// The figure that a threshold looks at; `None` without samples.
pub fn measure(metric: Metric, m: &TierMerge) -> Option<Value> {
    let percent = |p: Option<f64>| p.map(Value::Percent);
    let time = |h: &Histogram, statistic| Some(Value::Millis(statistic_us(h, statistic)? / 1e3));
    match metric {
        Metric::Connected => percent(figures::connected_percent(m)),
        Metric::Receiving => percent(figures::receiving_percent(m)),
        Metric::Loss => percent(figures::loss_percent(m)),
        Metric::Quality => figures::quality(m).map(Value::Quality),
        Metric::Rtt(s) => time(&m.rtt_us, s),
        Metric::Latency(s) => signed(&m.latency_us(), s),
        Metric::Fps(s) => frame_rate(&m.flow_but_latency().frame_rate_milli, s),
        Metric::Frozen => percent(figures::frozen_percent(m, m.flow_but_latency().freeze_us)),
        Metric::Join(s) => time(&m.join_us, s),
        Metric::Connect(s) => time(&m.connect_us, s),
        Metric::TrackSubscribe(s) => time(&m.track_subscribe_us, s),
        Metric::Jitter(s) => time(&m.jitter_us, s),
    }
}

fn signed(us: &SignedHistogram, statistic: Statistic) -> Option<Value> {
    let us = match statistic {
        Statistic::Percentile(p) => us.quantile(f64::from(p) / 100.0)? as f64,
        Statistic::Mean => us.mean()?,
        Statistic::Max => us.max()? as f64,
    };
    Some(Value::Millis(us / 1e3))
}

fn frame_rate(milli: &Histogram, statistic: Statistic) -> Option<Value> {
    Some(Value::FramesPerSecond(
        statistic_us(milli, statistic)? / 1e3,
    ))
}

fn statistic_us(h: &Histogram, statistic: Statistic) -> Option<f64> {
    match statistic {
        Statistic::Percentile(p) => h.quantile(f64::from(p) / 100.0).map(|us| us as f64),
        Statistic::Mean => h.mean(),
        Statistic::Max => h.max().map(|us| us as f64),
    }
}

/// What a prober is judged by in one tier.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Its own sums.
    pub own: &'a TierMerge,
    /// The latency of what came from all publishers.
    pub latency: Option<&'a Latency>,
    /// What its prober was short of.
    pub shortages: &'a [Shortage],
    /// Whose publishers are known to have sent.
    pub publishers: &'a Publishers,
    /// What bounds are relative to.
    pub baseline: Baseline,
}

/// What a vantage's relative bounds on a metric are relative to; without a value where tier 0 had no
/// samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Baseline {
    /// This tier is the baseline itself: relative bounds hold once they are measured.
    Itself,
    /// The vantage's tier 0, measured by a prober that was fit to.
    Fit(Option<Value>),
    /// The vantage's tier 0, and its prober was short in it: its times may be overstated, so
    /// that a bound derived from them can be broken, but not be kept.
    Suspect(Option<Value>),
    /// None was measured.
    Missing,
}

/// Judge one threshold at one prober.
pub fn judge(threshold: &Threshold, evidence: Evidence) -> Judgement {
    let value = measure(threshold.metric, evidence.own);
    let bound = resolve(threshold, evidence.baseline);
    let judged = |verdict, because: Option<String>| Judgement {
        verdict,
        measured: text(value),
        bound: text(bound),
        unknown_because: because,
    };
    let unknown = |because: &str| judged(Verdict::Unknown, Some(because.to_owned()));

    let Some(measured) = value else {
        return unknown("no samples");
    };
    let relative = matches!(threshold.bound, Bound::Baseline { .. });
    let meets = match (bound, evidence.baseline) {
        (_, Baseline::Itself) if relative => true,
        (Some(bound), _) => match compare(measured, threshold.comparison, bound) {
            Some(meets) => meets,
            None => return unknown("value and bound have different units"),
        },
        (None, _) => return unknown("its baseline is unknown"),
    };
    let short: Vec<String> = evidence.shortages.iter().map(ToString::to_string).collect();
    if !meets && !short.is_empty() {
        return unknown(&format!("the prober itself {}", short.join(", ")));
    }
    if !meets {
        return match at_best(threshold.metric, evidence) {
            AtBest::Value(best)
                if bound.and_then(|b| compare(best, threshold.comparison, b)) != Some(true) =>
            {
                judged(Verdict::Failed, None)
            }
            AtBest::Measured => judged(Verdict::Failed, None),
            AtBest::Value(_) | AtBest::Anything => {
                let clocks = clock_doubt(threshold, bound, evidence);
                let doubt = clocks.or_else(|| evidence.publishers.lasting_doubt(evidence.own));
                unknown(doubt.as_deref().unwrap_or("not all publishers are known"))
            }
        };
    }
    if relative && matches!(evidence.baseline, Baseline::Suspect(_)) {
        return unknown("the prober itself was short during its baseline");
    }
    match clock_doubt(threshold, bound, evidence) {
        Some(doubt) => unknown(&doubt),
        None => judged(Verdict::Held, None),
    }
}

/// Why the clocks leave open whether a latency meets its threshold, in words.
fn clock_doubt(threshold: &Threshold, bound: Option<Value>, evidence: Evidence) -> Option<String> {
    let (Metric::Latency(statistic), Some(latency)) = (threshold.metric, evidence.latency) else {
        return None;
    };
    if latency.contradictory > 0 {
        return Some(format!(
            "{} frames came before they can have been sent, by the clocks",
            latency.contradictory
        ));
    }
    let Some((most_us, error_us)) = latency.most_us.as_ref().zip(latency.plus_minus_us) else {
        return Some("not all clocks are known".to_owned());
    };
    let meets = |us| compare(signed(us, statistic)?, threshold.comparison, bound?);
    let decided = bound.is_none() || meets(&latency.least_us) == meets(most_us);
    let error_ms = error_us as f64 / 1e3;
    (!decided).then(|| format!("the clocks are known to ± {error_ms:.1} ms only"))
}

/// What a figure would be at best, if publishers that can't be relied on had sent all.
enum AtBest {
    /// What was measured: it doesn't depend on them.
    Measured,
    /// This.
    Value(Value),
    /// That can't be told.
    Anything,
}

fn at_best(metric: Metric, evidence: Evidence) -> AtBest {
    let Evidence {
        own, publishers, ..
    } = evidence;
    let percent = |p: Option<f64>| p.map_or(AtBest::Measured, |p| AtBest::Value(Value::Percent(p)));
    let unless = |doubt: Option<String>| match doubt {
        Some(_) => AtBest::Anything,
        None => AtBest::Measured,
    };
    match metric {
        Metric::Connected | Metric::Rtt(_) | Metric::Join(_) | Metric::Connect(_) => {
            AtBest::Measured
        }
        Metric::Receiving => {
            let wanted = own.subscriptions_wanted;
            let missing = publishers.surely_missing(own);
            percent(figures::percent(wanted.saturating_sub(missing), wanted))
        }
        Metric::Loss => percent(figures::percent(
            publishers.surely_lost(own),
            own.packets.expected,
        )),
        Metric::Latency(s) => evidence
            .latency
            .filter(|latency| latency.contradictory == 0)
            .and_then(|latency| signed(&latency.least_us, s))
            .map_or(AtBest::Anything, AtBest::Value),
        Metric::Fps(s) => frame_rate(&publishers.frame_rates_at_best(own), s)
            .map_or(AtBest::Measured, AtBest::Value),
        Metric::Frozen => percent(figures::frozen_percent(
            own,
            publishers.surely_frozen_us(own),
        )),
        Metric::TrackSubscribe(_) | Metric::Jitter(_) => unless(publishers.doubt(own)),
        Metric::Quality => unless(publishers.lasting_doubt(own)),
    }
}

/// What a threshold compares with at a vantage.
fn resolve(threshold: &Threshold, baseline: Baseline) -> Option<Value> {
    match threshold.bound {
        Bound::Percent(p) => Some(Value::Percent(p)),
        Bound::Millis(ms) => Some(Value::Millis(ms)),
        Bound::FramesPerSecond(n) => Some(Value::FramesPerSecond(n)),
        Bound::Quality(q) => Some(Value::Quality(q)),
        Bound::Baseline { factor, plus_ms } => match baseline {
            Baseline::Fit(value) | Baseline::Suspect(value) => match value? {
                Value::Millis(ms) => Some(Value::Millis(ms * factor + plus_ms)),
                _ => None,
            },
            Baseline::Itself | Baseline::Missing => None,
        },
    }
}

/// `None` when the two can't be compared.
fn compare(value: Value, comparison: Comparison, bound: Value) -> Option<bool> {
    let order = match (value, bound) {
        (Value::Percent(a), Value::Percent(b)) | (Value::Millis(a), Value::Millis(b)) => {
            a.partial_cmp(&b)?
        }
        (Value::FramesPerSecond(a), Value::FramesPerSecond(b)) => a.partial_cmp(&b)?,
        (Value::Quality(a), Value::Quality(b)) => a.cmp(&b),
        _ => return None,
    };
    Some(match comparison {
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    })
}
