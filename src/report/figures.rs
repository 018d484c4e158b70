//! From a tier's sums to the figures of the report.

use std::collections::BTreeMap;

use super::combined::{
    At, Connected, Figures, Generator, LatencyFigures, Range, Spread, VideoFigures, Worst,
};
use super::flow::Flow;
use super::latency::Latency;
use super::merge::TierMerge;
use super::part::GeneratorHealth;
use crate::job::{Quality, Vantage};
use crate::measure::{Distribution, Histogram};

/// The share of quality samples that makes a quality count, in percent: a single bad second of
/// one participant is not the tier's quality, the twentieth part of all is.
pub const QUALITY_SHARE_PERCENT: f64 = 5.0;

const US_PER_MS: f64 = 1_000.0;
const PPM_PER_PERCENT: f64 = 10_000.0;
const KBPS_PER_MBPS: f64 = 1_000.0;

/// A figure as it is reported, to six decimals: short to read, and any JSON reader gets the same
/// number back. Judged is the unrounded one.
pub fn rounded(x: f64) -> f64 {
    (x * 1e6).round() / 1e6
}

fn distribution(h: &Histogram, unit: f64) -> Option<Distribution> {
    h.distribution(unit).map(shown)
}

fn shown(d: Distribution) -> Distribution {
    Distribution {
        count: d.count,
        min: rounded(d.min),
        mean: rounded(d.mean),
        p50: rounded(d.p50),
        p90: rounded(d.p90),
        p95: rounded(d.p95),
        p99: rounded(d.p99),
        max: rounded(d.max),
    }
}

/// All figures of a tier's sums.
pub fn figures(m: &TierMerge, latency: &Latency) -> Figures {
    let flow = m.flow_but_latency();
    let ms = |h: &Histogram| distribution(h, US_PER_MS);
    let share = |p: Option<f64>| p.map(rounded);
    let named_ms = |named: &BTreeMap<String, Histogram>| {
        let known = named
            .iter()
            .filter_map(|(name, h)| Some((name.clone(), ms(h)?)));
        known.collect()
    };
    let rate = |bps: u64| (m.vantages > 0).then(|| rounded(bps as f64 / 1e6));
    Figures {
        requested: m.requested,
        connected: connected(m),
        connected_percent: share(connected_percent(m)),
        subscriptions_wanted: m.subscriptions_wanted,
        subscriptions_receiving: m.subscriptions_receiving,
        receiving_percent: share(receiving_percent(m)),
        loss_percent: share(loss_percent(m)),
        loss_before_rtx_percent: share(percent(m.missing_on_path, m.packets.expected)),
        own_drops_percent: share(percent(m.packets.missing_own, m.packets.expected)),
        subscriber_loss_percent: distribution(&m.loss_ppm, PPM_PER_PERCENT),
        rtt_ms: ms(&m.rtt_us),
        rtt_by_ms: named_ms(&m.rtt_by_us),
        latency: latency_figures(latency),
        jitter_ms: ms(&m.jitter_us),
        join_ms: ms(&m.join_us),
        connect_ms: ms(&m.connect_us),
        phases_ms: named_ms(&m.phases_us),
        track_subscribe_ms: ms(&m.track_subscribe_us),
        video: video(&flow),
        layers: m.layers.clone(),
        quality: quality(m),
        quality_samples: m.quality.clone(),
        bitrate_in_mbps: rate(m.bps_in),
        subscriber_bitrate_in_mbps: distribution(&m.bitrate_in_kbps, KBPS_PER_MBPS),
        bitrate_out_mbps: rate(m.bps_out),
        packets: m.packets,
        sent: m.sent,
        failures: m.failures.clone(),
        bad_input: m.bad_input,
        reconnects: m.reconnects,
        transports: m.transports.clone(),
    }
}

/// What is known of a latency.
pub fn latency_figures(l: &Latency) -> LatencyFigures {
    LatencyFigures {
        ms: l.us.distribution(US_PER_MS).map(shown),
        plus_minus_ms: l
            .plus_minus_us
            .filter(|_| !l.us.is_empty())
            .map(|us| rounded(us as f64 / US_PER_MS)),
        contradictory: l.contradictory,
    }
}

/// What video subscribers saw of a flow; `None` when it had no video.
pub fn video(flow: &Flow) -> Option<VideoFigures> {
    Some(VideoFigures {
        frozen_percent: rounded(percent(flow.freeze_us, video_us(flow))?),
        freezes: flow.freezes,
        freeze_seconds: rounded(flow.freeze_us as f64 / 1e6),
        frames_per_second: distribution(&flow.frame_rate_milli, 1e3),
    })
}

/// Time of wanted video subscriptions.
fn video_us(flow: &Flow) -> u64 {
    flow.video_wanted.saturating_mul(1_000_000)
}

/// Time that video was frozen, of `frozen_us`, in percent.
pub fn frozen_percent(m: &TierMerge, frozen_us: u64) -> Option<f64> {
    let wanted = |all: u64, flow: &Flow| all.saturating_add(video_us(flow));
    percent(frozen_us, m.flows.values().fold(0, wanted))
}

/// A part of a whole in percent; `None` of nothing.
pub fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 * 100.0 / whole as f64)
}

/// Packets that never came, own drops left out, in percent of those expected.
pub fn loss_percent(m: &TierMerge) -> Option<f64> {
    percent(m.lost_on_path, m.packets.expected)
}

/// Subscriptions with packets, in percent of those wanted.
pub fn receiving_percent(m: &TierMerge) -> Option<f64> {
    percent(m.subscriptions_receiving, m.subscriptions_wanted)
}

/// The mean over the window of connected participants of both roles, in percent of those
/// requested. `None` unless all probers have sampled them.
pub fn connected_percent(m: &TierMerge) -> Option<f64> {
    let requested = f64::from(m.requested.publishers) + f64::from(m.requested.subscribers);
    let c = connected(m);
    let (p, s) = (c.publishers?, c.subscribers?);
    let whole = c.vantages == m.vantages && requested > 0.0;
    whole.then(|| (p.mean + s.mean) * 100.0 / requested)
}

/// The worst quality that at least [`QUALITY_SHARE_PERCENT`] of the samples had, or worse.
pub fn quality(m: &TierMerge) -> Option<Quality> {
    let total = m.quality.values().fold(0u64, |a, n| a.saturating_add(*n));
    let mut so_far = 0u64;
    m.quality
        .iter()
        .find(|(_, n)| {
            so_far = so_far.saturating_add(**n);
            percent(so_far, total).is_some_and(|p| p >= QUALITY_SHARE_PERCENT)
        })
        .map(|(quality, _)| *quality)
}

/// Sums are exact over the seconds that the most probers sampled; the others are left out
/// rather than guessed.
fn connected(m: &TierMerge) -> Connected {
    let vantages = m.connected.iter().map(|s| s.vantages).max().unwrap_or(0);
    let seconds: Vec<_> = m
        .connected
        .iter()
        .filter(|s| vantages > 0 && s.vantages == vantages)
        .collect();
    let range = |values: Vec<u64>| {
        let sum = values.iter().fold(0u64, |a, n| a.saturating_add(*n));
        Some(Range {
            min: *values.iter().min()?,
            mean: rounded(sum as f64 / values.len() as f64),
        })
    };
    Connected {
        publishers: range(seconds.iter().map(|s| s.publishers).collect()),
        subscribers: range(seconds.iter().map(|s| s.subscribers).collect()),
        seconds: u32::try_from(seconds.len()).unwrap_or(u32::MAX),
        vantages,
        series: m
            .connected
            .iter()
            .map(|s| {
                let all = vantages > 0 && s.vantages == vantages;
                all.then(|| s.publishers.saturating_add(s.subscribers))
            })
            .collect(),
    }
}

/// A prober's own health.
pub fn generator(g: &GeneratorHealth) -> Generator {
    Generator {
        cpu_percent: g
            .cpu_ms
            .and_then(|ms| percent(ms, g.cpu_available_ms))
            .map(rounded),
        run_delay_percent: g
            .run_delay_ms
            .and_then(|ms| percent(ms, g.cpu_available_ms))
            .map(rounded),
        machine_busy_percent: g
            .machine_busy_percent
            .filter(|p| p.is_finite())
            .map(rounded),
        resident_bytes: g.resident_bytes,
        receive_drops: g.receive_drops,
        tick_lag_ms: distribution(&g.tick_lag_us, US_PER_MS),
        pacing_lag_ms: distribution(&g.pacing_lag_us, US_PER_MS),
        join_lag_ms: distribution(&g.join_lag_us, US_PER_MS),
    }
}

/// The vantages' figures beside each other, added one after the other in the order of their labels.
#[derive(Debug, Default)]
pub struct Beside {
    worst: Worst,
    columns: [Vec<f64>; COLUMNS.len()],
}

type Column = (&'static str, fn(&Figures) -> Option<f64>);

/// Means and shares only: a mean of percentiles says nothing.
const COLUMNS: [Column; 6] = [
    ("connected_percent", |f| f.connected_percent),
    ("loss_percent", |f| f.loss_percent),
    ("rtt_mean_ms", |f| Some(f.rtt_ms?.mean)),
    ("latency_mean_ms", |f| Some(f.latency.ms?.mean)),
    ("jitter_mean_ms", |f| Some(f.jitter_ms?.mean)),
    ("bitrate_in_mbps", |f| {
        f.bitrate_in_mbps.filter(|_| f.requested.subscribers > 0)
    }),
];

impl Beside {
    /// Adds a vantage's.
    pub fn add(&mut self, vantage: &Vantage, f: &Figures) {
        for (values, (_, value)) in self.columns.iter_mut().zip(COLUMNS) {
            values.extend(value(f));
        }
        let larger = |worst: &mut Option<At<f64>>, value: Option<f64>| {
            if let Some(value) = value
                && worst.as_ref().is_none_or(|w| value > w.value)
            {
                let vantage = vantage.clone();
                *worst = Some(At { value, vantage });
            }
        };
        let worst = &mut self.worst;
        larger(&mut worst.rtt_p95_ms, f.rtt_ms.map(|d| d.p95));
        larger(&mut worst.loss_percent, f.loss_percent);
        larger(&mut worst.latency_p95_ms, f.latency.ms.map(|d| d.p95));
        if let Some(value) = f.quality
            && worst.quality.as_ref().is_none_or(|w| value < w.value)
        {
            let vantage = vantage.clone();
            worst.quality = Some(At { value, vantage });
        }
    }

    /// The worst of each so far, and whose: the first by label of several.
    pub fn worst(&self) -> &Worst {
        &self.worst
    }

    /// Smallest, mean and largest.
    pub fn across(&self) -> BTreeMap<String, Spread> {
        let columns = COLUMNS.iter().zip(&self.columns);
        columns
            .filter_map(|((name, _), values)| {
                let spread = Spread {
                    min: values.iter().copied().reduce(f64::min)?,
                    mean: rounded(values.iter().sum::<f64>() / values.len() as f64),
                    max: values.iter().copied().reduce(f64::max)?,
                };
                Some(((*name).to_owned(), spread))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn with_quality(samples: &[(Quality, u64)]) -> TierMerge {
        TierMerge {
            quality: samples.iter().copied().collect(),
            ..TierMerge::default()
        }
    }

    #[test]
    fn the_worst_quality_that_a_twentieth_had() {
        use Quality::{Excellent, Good, Lost, Poor};
        for (samples, expected) in [
            (&[][..], None),
            (&[(Excellent, 0)], None),
            (&[(Poor, 4), (Excellent, 96)], Some(Excellent)),
            (&[(Poor, 5), (Excellent, 95)], Some(Poor)),
            // Lost is worse than poor, so that both together count as poor.
            (&[(Lost, 3), (Poor, 2), (Good, 95)], Some(Poor)),
        ] {
            assert_eq!(quality(&with_quality(samples)), expected, "{samples:?}");
        }
    }

    #[test]
    fn nothing_measured_is_no_figure() {
        let f = figures(&TierMerge::default(), &Latency::none());
        assert_eq!((f.latency.ms, f.latency.plus_minus_ms), (None, None));
        assert_eq!(f.video, None);
        assert_eq!(f.loss_percent, None);
        assert_eq!(f.connected_percent, None);
        assert_eq!(f.receiving_percent, None);
        assert_eq!(f.rtt_ms, None);
        assert_eq!(f.quality, None);
        assert_eq!(f.bitrate_in_mbps, None);
    }

    #[test]
    fn connected_is_summed_over_the_seconds_that_all_sampled() {
        let mut total = TierMerge::default();
        let mut short = sample::part("a", 1);
        short.connected.publishers = vec![Some(1), None, Some(1)];
        short.connected.subscribers = vec![Some(5), None, Some(3)];
        let mut long = sample::part("b", 1);
        long.connected.publishers = vec![Some(1); 4];
        long.connected.subscribers = [5, 4, 5, 1].map(Some).to_vec();
        total.merge(&TierMerge::of(short));
        total.merge(&TierMerge::of(long));
        let c = connected(&total);
        assert_eq!((c.seconds, c.vantages), (2, 2));
        assert_eq!(c.series, [Some(12), None, Some(10), None]);
        assert_eq!(c.subscribers, Some(Range { min: 8, mean: 9.0 }));
        assert_eq!(c.publishers, Some(Range { min: 2, mean: 2.0 }));
    }

    #[test]
    fn own_drops_are_not_the_paths_loss() {
        let mut part = sample::part("a", 1);
        part.packets.expected = 1_000;
        part.packets.lost = 30;
        part.packets.own_drops = 20;
        part.packets.missing_own = 50;
        part.packets.missing_before_rtx = 70;
        let f = figures(&TierMerge::of(part), &Latency::none());
        assert_eq!(f.loss_percent, Some(1.0));
        assert_eq!(f.loss_before_rtx_percent, Some(2.0));
        assert_eq!(f.own_drops_percent, Some(5.0));
    }
}
