//! Pings, and what their pongs tell of the server's clock.

use std::time::{Duration, Instant};

use crate::participant::moment::Moment;
use crate::participant::snapshot::ClockSample;

/// Pings that follow each other quickly when the server's clock is to be read at once.
const QUICK: u32 = 10;
/// Between quick pings.
const QUICK_INTERVAL: Duration = Duration::from_millis(50);

/// When to ping, and for how long to hope for a pong.
#[derive(Debug)]
pub struct Pinger {
    interval: Duration,
    timeout: Duration,
    quick: u32,
    sent: u32,
    next: Instant,
    waiting: Option<(i64, Moment)>,
    last_pong: Instant,
}

impl Pinger {
    /// With the server's interval and timeout in seconds; LiveKit's clients fall back to 5 and 15.
    /// The first pings follow each other quickly if `probe_clock`.
    pub fn new(interval: i32, timeout: i32, probe_clock: bool, now: Instant) -> Self {
        let seconds = |s: i32, default| match u64::try_from(s) {
            Ok(s) if s > 0 => Duration::from_secs(s),
            _ => Duration::from_secs(default),
        };
        Self {
            interval: seconds(interval, 5),
            timeout: seconds(timeout, 15),
            quick: if probe_clock { QUICK } else { 1 },
            sent: 0,
            next: now,
            waiting: None,
            last_pong: now,
        }
    }

    /// When something is due.
    pub fn deadline(&self) -> Instant {
        self.next.min(self.last_pong + self.timeout)
    }

    /// The server has been silent for too long.
    pub fn is_dead(&self, now: Instant) -> bool {
        now >= self.last_pong + self.timeout
    }

    /// The timestamp of a ping to send now, if one is due.
    pub fn due(&mut self, now: Moment) -> Option<i64> {
        if now.at < self.next {
            return None;
        }
        self.sent = self.sent.saturating_add(1);
        let quick = self.sent < self.quick;
        self.next = now.at + if quick { QUICK_INTERVAL } else { self.interval };
        let timestamp = now.wall.as_micros() / 1_000;
        self.waiting = Some((timestamp, now));
        Some(timestamp)
    }

    /// A pong came. `None` when it answers no ping that waits.
    pub fn pong(
        &mut self,
        pinged: i64,
        server_ms: i64,
        now: Moment,
    ) -> Option<(Duration, ClockSample)> {
        self.last_pong = now.at;
        let (timestamp, sent) = self.waiting?;
        if timestamp != pinged {
            return None;
        }
        self.waiting = None;
        let rtt = now.at.saturating_duration_since(sent.at);
        let sample = ClockSample {
            sent: sent.wall,
            received: sent.wall + rtt,
            server_ms,
        };
        Some((rtt, sample))
    }

    /// The connection is a new one: nothing is overdue on it.
    pub fn restart(&mut self, now: Instant) {
        (self.next, self.last_pong, self.waiting) = (now, now, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Timestamp;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs some instant to start from"
    )]
    fn pings_are_quick_then_regular_and_pongs_tell_the_clock() {
        let start = Instant::now();
        let moment = |ms| Moment {
            at: start + Duration::from_millis(ms),
            wall: Timestamp::from_micros(5_000_000 + i64::try_from(ms).unwrap() * 1_000),
            shared: Timestamp::from_micros(0),
        };
        let mut pinger = Pinger::new(10, 0, true, start);
        let pinged = pinger.due(moment(0)).unwrap();
        assert_eq!(pinged, 5_000);
        assert_eq!(pinger.due(moment(49)), None);
        let (rtt, sample) = pinger.pong(pinged, 77, moment(30)).unwrap();
        assert_eq!(rtt.as_millis(), 30);
        assert_eq!(
            sample.received.as_micros() - sample.sent.as_micros(),
            30_000
        );
        assert_eq!(pinger.pong(pinged, 77, moment(31)), None, "once");
        let times: Vec<u64> = (50..40_000)
            .filter(|ms| pinger.due(moment(*ms)).is_some())
            .collect();
        assert_eq!(
            times,
            [
                50, 100, 150, 200, 250, 300, 350, 400, 450, 10_450, 20_450, 30_450
            ]
        );
        assert!(!pinger.is_dead(moment(15_030).at));
        assert!(pinger.is_dead(moment(15_031).at));
    }
}
