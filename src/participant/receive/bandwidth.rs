//! The bandwidth that a receiver tells the server (REMB): how much could come, by how long
//! packets queue on the way.
//!
//! After libwebrtc's receive-side estimator (`AimdRateControl`): no estimate for the first
//! seconds, then additive-multiplicative growth up to one and a half times what comes, and a cut
//! below what comes once packets queue up. The delay gradient is simpler here: the queue is how
//! much longer even the quickest packet of an interval travels than the quickest of late, so that
//! a burst or a stall is none.

use std::time::{Duration, Instant};

/// Without so much traffic there is no estimate (`kInitializationTime`).
const START: Duration = Duration::from_secs(5);
/// Growth per second (`MultiplicativeRateIncrease`).
const GROWTH: f64 = 1.08;
/// Cut on congestion (`kDefaultBackoffFactor`).
const BACKOFF: f64 = 0.85;
/// A queue of this many microseconds is congestion.
const CONGESTED_US: f64 = 50_000.0;
/// How fast the baseline forgets its quickest packet, in microseconds per second: clocks drift
/// and routes change.
const FORGET_US: f64 = 1_000.0;

/// Estimates one peer connection's incoming bandwidth.
#[derive(Debug)]
pub struct Estimator {
    started: Option<Instant>,
    counted_from: Instant,
    bytes: u64,
    /// Send time (24 bits, 2⁻¹⁸ s) and arrival of the last packet.
    last: Option<(u32, Instant)>,
    /// How much longer packets travel than the first did, in microseconds.
    delay_us: f64,
    baseline_us: f64,
    /// The least queue of this interval.
    queue_us: Option<f64>,
    estimate: Option<f64>,
}

impl Estimator {
    /// Estimates nothing yet.
    pub const fn new(now: Instant) -> Self {
        Self {
            started: None,
            counted_from: now,
            bytes: 0,
            last: None,
            delay_us: 0.0,
            baseline_us: 0.0,
            queue_us: None,
            estimate: None,
        }
    }

    /// A packet of `bytes` came, with its `abs-send-time` if it had one.
    pub fn packet(&mut self, at: Instant, bytes: u64, send_time: Option<[u8; 3]>) {
        self.started.get_or_insert(at);
        self.bytes += bytes;
        let Some([a, b, c]) = send_time else { return };
        let sent = u32::from_be_bytes([0, a, b, c]);
        if let Some((last_sent, last_at)) = self.last.replace((sent, at)) {
            // Around the wrap of 64 s, signed: the shift up puts bit 23 where the sign is.
            let ticks = sent.wrapping_sub(last_sent).wrapping_shl(8).cast_signed() >> 8;
            let travelled = at.saturating_duration_since(last_at).as_secs_f64()
                - last_at.saturating_duration_since(at).as_secs_f64();
            self.delay_us += travelled * 1e6 - f64::from(ticks) * 1e6 / f64::from(1 << 18);
            self.baseline_us = self.baseline_us.min(self.delay_us);
            let queue = self.delay_us - self.baseline_us;
            self.queue_us = Some(self.queue_us.map_or(queue, |least| least.min(queue)));
        }
    }

    /// The estimate in bits per second, about once a second; `None` while there is none.
    pub fn update(&mut self, now: Instant) -> Option<u64> {
        let elapsed = now
            .saturating_duration_since(self.counted_from)
            .as_secs_f64();
        if elapsed < 0.1 {
            return self.estimate.map(whole);
        }
        #[expect(clippy::cast_precision_loss, reason = "bytes of a second")]
        let rate = std::mem::take(&mut self.bytes) as f64 * 8.0 / elapsed;
        self.counted_from = now;
        self.baseline_us += FORGET_US * elapsed;
        let queue_us = self.queue_us.take().unwrap_or_default();
        if now.saturating_duration_since(self.started?) < START {
            return None;
        }
        let ceiling = 1.5 * rate + 10_000.0;
        let estimate = self.estimate.unwrap_or(ceiling);
        let estimate = if queue_us > CONGESTED_US {
            estimate.min(rate * BACKOFF)
        } else {
            (estimate * GROWTH.powf(elapsed)).min(ceiling.max(estimate))
        };
        self.estimate = Some(estimate);
        Some(whole(estimate))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a bit rate")]
#[expect(clippy::cast_sign_loss, reason = "a bit rate")]
fn whole(bps: f64) -> u64 {
    bps as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand packets a second of 125 bytes (1 Mbit/s), the one of millisecond `ms` `queue(ms)` microseconds late.
    fn run(seconds: u64, queue: impl Fn(u64) -> u64) -> Vec<Option<u64>> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test needs some instant to start from"
        )]
        let start = Instant::now();
        let mut estimator = Estimator::new(start);
        let mut estimates = Vec::new();
        for second in 0..seconds {
            for ms in second * 1_000..second * 1_000 + 1_000 {
                let ticks = u32::try_from(ms * (1 << 18) / 1_000 % (1 << 24)).unwrap();
                let [_, a, b, c] = ticks.to_be_bytes();
                let at = start + Duration::from_millis(ms) + Duration::from_micros(queue(ms));
                estimator.packet(at, 125, Some([a, b, c]));
            }
            estimates.push(estimator.update(start + Duration::from_secs(second + 1)));
        }
        estimates
    }

    #[test]
    fn a_free_path_is_estimated_above_what_comes_and_never_falls() {
        let estimates = run(120, |_| 0);
        assert!(estimates[..4].iter().all(Option::is_none));
        let known: Vec<u64> = estimates.into_iter().flatten().collect();
        assert!(known.is_sorted(), "{known:?}");
        assert!(
            known.iter().all(|bps| (1_400_000..1_600_000).contains(bps)),
            "{known:?}"
        );
    }

    #[test]
    fn a_stall_within_a_second_is_no_queue() {
        let estimates = run(20, |ms| if ms % 1_000 > 600 { 300_000 } else { 0 });
        assert!(estimates[19].unwrap() > 1_300_000, "{estimates:?}");
    }

    #[test]
    fn a_queue_cuts_the_estimate_below_what_comes() {
        let estimates = run(20, |ms| if ms < 10_000 { 0 } else { 200_000 });
        assert!(estimates[9].unwrap() > 1_400_000);
        assert!(estimates[19].unwrap() < 900_000, "{estimates:?}");
    }
}
