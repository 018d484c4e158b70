//! Interarrival jitter (RFC 3550, 6.4.1 and A.8).
//!
//! Measured over the first packet of each timestamp, as libwebrtc and LiveKit do: a frame's later
//! packets are spread by the sender's pacing, not by the network.

use std::time::Instant;

/// A difference beyond this is a pause, or another clock after a switch of layers.
const MAX_DIFFERENCE_US: f64 = 2e6;

/// Measures one stream.
#[derive(Clone, Debug)]
pub struct JitterMeter {
    clock_rate: u32,
    us: f64,
    /// Arrival and timestamp of the latest frame's first packet.
    last: Option<(Instant, u32)>,
}

impl JitterMeter {
    /// For a stream with so many timestamp units per second.
    pub const fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            us: 0.0,
            last: None,
        }
    }

    /// A packet came that is ahead of all others.
    pub fn packet(&mut self, timestamp: u32, at: Instant) {
        if let Some((last_at, last_timestamp)) = self.last {
            let ticks = timestamp.wrapping_sub(last_timestamp).cast_signed();
            if ticks == 0 {
                return;
            }
            let sent_us = f64::from(ticks) * 1e6 / f64::from(self.clock_rate.max(1));
            let came = at.saturating_duration_since(last_at).as_secs_f64()
                - last_at.saturating_duration_since(at).as_secs_f64();
            let difference = (came * 1e6 - sent_us).abs();
            if difference < MAX_DIFFERENCE_US {
                self.us += (difference - self.us) / 16.0;
            }
        }
        self.last = Some((at, timestamp));
    }

    /// Packets stop for a while: the next interval says nothing.
    pub const fn pause(&mut self) {
        self.last = None;
    }

    /// In microseconds.
    #[expect(clippy::cast_possible_truncation, reason = "at most two seconds")]
    #[expect(clippy::cast_sign_loss, reason = "it is not negative")]
    pub const fn us(&self) -> u32 {
        self.us.round() as u32
    }

    /// In timestamp units, as reports tell it.
    #[expect(clippy::cast_possible_truncation, reason = "at most two seconds")]
    #[expect(clippy::cast_sign_loss, reason = "it is not negative")]
    pub fn ticks(&self) -> u32 {
        (self.us * f64::from(self.clock_rate) / 1e6).round() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs some instant to start from"
    )]
    fn jitter_settles_at_the_mean_difference_of_transit_times() {
        let start = Instant::now();
        let mut meter = JitterMeter::new(90_000);
        for i in 0..2_000_u32 {
            // 3,600 ticks are 40 ms; every other frame comes 8 ms late, so |D| is 8 ms each time.
            let late = u64::from(i % 2) * 8;
            let at = start + Duration::from_millis(u64::from(i) * 40 + late);
            meter.packet(i * 3_600, at);
            // The rest of the frame, paced.
            meter.packet(i * 3_600, at + Duration::from_millis(20));
        }
        assert_eq!((meter.us(), meter.ticks()), (8_000, 720));
    }
}
