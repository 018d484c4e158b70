//! Thresholds as k6 users know them: `loss<1%`, `rtt_p95<200ms`, `quality>=good`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// LiveKit's connection quality, worst first.
///
/// Source: `livekit.ConnectionQuality` in LiveKit's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// The server considers the connection lost.
    Lost,
    /// Poor.
    Poor,
    /// Good.
    Good,
    /// Excellent.
    Excellent,
}

impl Quality {
    /// All values, worst first.
    pub const ALL: [Quality; 4] = [
        Quality::Lost,
        Quality::Poor,
        Quality::Good,
        Quality::Excellent,
    ];

    /// The name that thresholds and reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Quality::Lost => "lost",
            Quality::Poor => "poor",
            Quality::Good => "good",
            Quality::Excellent => "excellent",
        }
    }
}

/// Which figure of a distribution a threshold looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// A percentile, 1 to 100.
    Percentile(u8),
    /// The mean.
    Mean,
    /// The largest value.
    Max,
}

/// What a threshold looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Share of requested participants that were connected, over the whole window, in percent.
    Connected,
    /// Share of expected packets that never arrived, after retransmission, in percent. The
    /// prober's own receive-buffer drops are not in it.
    Loss,
    /// The worst LiveKit connection quality that at least 5 % of the samples had.
    Quality,
    /// Media-path round trip, in milliseconds.
    Rtt(Statistic),
    /// Dial to JoinResponse, in milliseconds.
    Join(Statistic),
    /// Dial to ICE and DTLS up, in milliseconds.
    Connect(Statistic),
    /// Subscription to first RTP packet, in milliseconds.
    TrackSubscribe(Statistic),
    /// Interarrival jitter (RFC 3550), in milliseconds.
    Jitter(Statistic),
    /// Share of wanted subscriptions that brought packets, second by second over the whole
    /// window, in percent.
    Receiving,
    /// End-to-end latency from publisher to subscriber, in milliseconds.
    Latency(Statistic),
    /// Frames per second of each video subscription (W3C webrtc-stats).
    Fps(Statistic),
    /// Share of the time of video subscriptions that was frozen (W3C webrtc-stats), in percent.
    Frozen,
}

/// How a metric is compared with a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// What a metric is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Percent of a whole.
    Percent(f64),
    /// Milliseconds.
    Millis(f64),
    /// Frames per second.
    FramesPerSecond(f64),
    /// A connection quality.
    Quality(Quality),
    /// The baseline's figure of the same metric times `factor`, plus `plus_ms` milliseconds.
    Baseline {
        /// Multiplies the baseline's figure.
        factor: f64,
        /// Added after it, in milliseconds.
        plus_ms: f64,
    },
}

/// One condition that a tier must meet to hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// What is looked at.
    pub metric: Metric,
    /// How.
    pub comparison: Comparison,
    /// Against what.
    pub bound: Bound,
}

/// Why a text is no [`Threshold`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// No `<`, `<=`, `>`, `>=`.
    #[error("threshold `{0}` has no comparison; write it like loss<1% or rtt_p95<200ms")]
    NoComparison(String),
    /// Not a metric that muster measures.
    #[error(
        "threshold `{text}` names `{metric}`; use connected, receiving, loss, frozen, quality, or one of rtt, latency, jitter, join, connect, track_subscribe, fps with _p1 to _p100, _mean or _max, like rtt_p95"
    )]
    Metric {
        /// The threshold as written.
        text: String,
        /// The metric as written.
        metric: String,
    },
    /// A bound that doesn't fit the metric.
    #[error("threshold `{text}` compares with `{bound}`; {expected}")]
    Bound {
        /// The threshold as written.
        text: String,
        /// The bound as written.
        bound: String,
        /// What fits there.
        expected: &'static str,
    },
}

impl FromStr for Statistic {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        match s {
            "mean" => Ok(Statistic::Mean),
            "max" => Ok(Statistic::Max),
            _ => s
                .strip_prefix('p')
                .and_then(|p| p.parse::<u8>().ok())
                .filter(|p| (1..=100).contains(p))
                .map(Statistic::Percentile)
                .ok_or(()),
        }
    }
}

impl fmt::Display for Statistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Statistic::Percentile(p) => write!(f, "p{p}"),
            Statistic::Mean => f.write_str("mean"),
            Statistic::Max => f.write_str("max"),
        }
    }
}

impl FromStr for Metric {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        match s {
            "connected" => return Ok(Metric::Connected),
            "receiving" => return Ok(Metric::Receiving),
            "loss" => return Ok(Metric::Loss),
            "frozen" => return Ok(Metric::Frozen),
            "quality" => return Ok(Metric::Quality),
            _ => {}
        }
        let (name, statistic) = s.rsplit_once('_').ok_or(())?;
        let statistic = statistic.parse()?;
        match name {
            "rtt" => Ok(Metric::Rtt(statistic)),
            "latency" => Ok(Metric::Latency(statistic)),
            "fps" => Ok(Metric::Fps(statistic)),
            "join" => Ok(Metric::Join(statistic)),
            "connect" => Ok(Metric::Connect(statistic)),
            "track_subscribe" => Ok(Metric::TrackSubscribe(statistic)),
            "jitter" => Ok(Metric::Jitter(statistic)),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Metric::Connected => f.write_str("connected"),
            Metric::Receiving => f.write_str("receiving"),
            Metric::Loss => f.write_str("loss"),
            Metric::Frozen => f.write_str("frozen"),
            Metric::Quality => f.write_str("quality"),
            Metric::Rtt(s) => write!(f, "rtt_{s}"),
            Metric::Latency(s) => write!(f, "latency_{s}"),
            Metric::Fps(s) => write!(f, "fps_{s}"),
            Metric::Join(s) => write!(f, "join_{s}"),
            Metric::Connect(s) => write!(f, "connect_{s}"),
            Metric::TrackSubscribe(s) => write!(f, "track_subscribe_{s}"),
            Metric::Jitter(s) => write!(f, "jitter_{s}"),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        })
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Percent(p) => write!(f, "{p}%"),
            Bound::Millis(ms) => write!(f, "{ms}ms"),
            Bound::FramesPerSecond(n) => write!(f, "{n}"),
            Bound::Quality(q) => f.write_str(q.name()),
            Bound::Baseline { factor, plus_ms } => write!(f, "baseline*{factor}+{plus_ms}ms"),
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.metric, self.comparison, self.bound)
    }
}

fn number(s: &str) -> Option<f64> {
    s.parse::<f64>().ok().filter(|v| v.is_finite() && *v >= 0.0)
}

fn millis(s: &str) -> Option<f64> {
    if let Some(v) = s.strip_suffix("ms") {
        number(v)
    } else if let Some(v) = s.strip_suffix("us") {
        number(v).map(|v| v / 1e3)
    } else if let Some(v) = s.strip_suffix('s') {
        number(v).map(|v| v * 1e3)
    } else {
        None
    }
}

fn baseline(s: &str) -> Option<Bound> {
    let rest = s.strip_prefix("baseline")?;
    let (factor, plus) = match rest.split_once('+') {
        Some((f, p)) => (f, millis(p)?),
        None => (rest, 0.0),
    };
    let factor = match factor.strip_prefix('*') {
        Some(f) => number(f)?,
        None if factor.is_empty() => 1.0,
        None => return None,
    };
    Some(Bound::Baseline {
        factor,
        plus_ms: plus,
    })
}

fn bound(metric: Metric, s: &str) -> Result<Bound, &'static str> {
    match metric {
        Metric::Connected | Metric::Receiving | Metric::Loss | Metric::Frozen => s
            .strip_suffix('%')
            .and_then(number)
            .filter(|p| *p <= 100.0)
            .map(Bound::Percent)
            .ok_or("write a percentage from 0% to 100%"),
        Metric::Quality => Quality::ALL
            .into_iter()
            .find(|q| q.name() == s)
            .map(Bound::Quality)
            .ok_or("use lost, poor, good or excellent"),
        Metric::Fps(_) => number(s)
            .map(Bound::FramesPerSecond)
            .ok_or("write a number of frames per second like 24"),
        _ => millis(s).map(Bound::Millis).or_else(|| baseline(s)).ok_or(
            "write a time like 200ms or 1.5s, or relative to the baseline like baseline*2+50ms",
        ),
    }
}

impl FromStr for Threshold {
    type Err = ThresholdError;
    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let at = compact
            .find(['<', '>'])
            .ok_or_else(|| ThresholdError::NoComparison(text.to_owned()))?;
        let (name, rest) = compact.split_at(at);
        let (comparison, value) = if let Some(v) = rest.strip_prefix("<=") {
            (Comparison::LessOrEqual, v)
        } else if let Some(v) = rest.strip_prefix(">=") {
            (Comparison::GreaterOrEqual, v)
        } else if let Some(v) = rest.strip_prefix('<') {
            (Comparison::Less, v)
        } else {
            (Comparison::Greater, rest.trim_start_matches('>'))
        };
        let metric = name.parse().map_err(|()| ThresholdError::Metric {
            text: text.to_owned(),
            metric: name.to_owned(),
        })?;
        let bound = bound(metric, value).map_err(|expected| ThresholdError::Bound {
            text: text.to_owned(),
            bound: value.to_owned(),
            expected,
        })?;
        Ok(Threshold {
            metric,
            comparison,
            bound,
        })
    }
}

/// What holds when a job names no thresholds.
///
/// Loss and connected follow what users of LiveKit's load tester take for healthy; the round
/// trip is relative to the baseline, because distance is not the SFU's doing.
pub fn defaults() -> Vec<Threshold> {
    let t = |metric, comparison, bound| Threshold {
        metric,
        comparison,
        bound,
    };
    vec![
        t(
            Metric::Connected,
            Comparison::GreaterOrEqual,
            Bound::Percent(99.0),
        ),
        t(
            Metric::Receiving,
            Comparison::GreaterOrEqual,
            Bound::Percent(99.0),
        ),
        t(Metric::Loss, Comparison::Less, Bound::Percent(1.0)),
        t(
            Metric::Quality,
            Comparison::GreaterOrEqual,
            Bound::Quality(Quality::Good),
        ),
        t(
            Metric::Rtt(Statistic::Percentile(95)),
            Comparison::Less,
            Bound::Baseline {
                factor: 2.0,
                plus_ms: 100.0,
            },
        ),
    ]
}

impl Serialize for Threshold {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in [
            "loss<1%",
            "connected>=99%",
            "receiving>=99%",
            "quality>=good",
            "rtt_p95<200ms",
            "rtt_p95<baseline*2+100ms",
            "join_mean<=1500ms",
            "jitter_max<30ms",
            "latency_p95<200ms",
            "latency_p95<baseline*2+50ms",
            "fps_p5>=20",
            "frozen<0.5%",
        ] {
            assert_eq!(
                text.parse::<Threshold>().map(|t| t.to_string()),
                Ok(text.to_owned())
            );
        }
        assert_eq!(
            "rtt_p95 < 1.5s".parse::<Threshold>().map(|t| t.bound),
            Ok(Bound::Millis(1500.0))
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        for (text, part) in [
            ("loss", "no comparison"),
            ("los<1%", "`los`"),
            ("loss<1", "`1`"),
            ("loss<101%", "`101%`"),
            ("rtt_p95<200", "`200`"),
            ("rtt_p101<1s", "`rtt_p101`"),
            ("rtt<1s", "`rtt`"),
            ("quality>=fine", "`fine`"),
            ("fps_p5>=20ms", "`20ms`"),
            ("fps>=20", "`fps`"),
            ("loss<NaN%", "`NaN%`"),
        ] {
            let e = text.parse::<Threshold>().map_err(|e| e.to_string());
            assert!(e.as_ref().is_err_and(|e| e.contains(part)), "{text}: {e:?}");
        }
    }
}
