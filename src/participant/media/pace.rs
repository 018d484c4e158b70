//! When the packets of a track are due.
//!
//! Due times are absolute, from the track's start: a late call delays nothing that follows.

use std::time::{Duration, Instant};

/// Time between two bursts of one frame; libwebrtc's pacer sends at least so often
/// (`PacingController::kMinSleepTime` and its process interval, 5 ms).
pub const BURST_INTERVAL: Duration = Duration::from_millis(5);

/// A frame of at most so many packets leaves at once, as libwebrtc's pacer lets it: a burst of 40 ms
/// (`PacingController::kDefaultBurstInterval`) at two and a half times the bitrate
/// (`kDefaultPaceMultiplier`) is 21 kB of the highest layer alone.
pub const SMALL_FRAME: usize = 16;

/// The least that leaves at once of a larger one.
const SMALL_BURST: usize = 4;

/// A frame that is later than this is skipped, not sent: a client's encoder drops frames too
/// when it falls behind.
pub const MAX_LATE: Duration = Duration::from_millis(250);

/// A constant frame rate.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start: Instant,
    per_second: u32,
}

impl Schedule {
    /// Frame 0 is due at `start`; `per_second` is at least 1.
    pub fn new(start: Instant, per_second: u32) -> Self {
        Schedule {
            start,
            per_second: per_second.max(1),
        }
    }

    /// When a frame is due, to the nanosecond below.
    pub fn due(&self, frame: u64) -> Instant {
        let nanos = u128::from(frame) * 1_000_000_000 / u128::from(self.per_second);
        self.start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The first frame that is due at `now` or later.
    pub fn first_from(&self, now: Instant) -> u64 {
        let nanos = now.saturating_duration_since(self.start).as_nanos();
        let frame =
            u64::try_from(nanos * u128::from(self.per_second) / 1_000_000_000).unwrap_or(u64::MAX);
        if self.due(frame) < now {
            frame + 1
        } else {
            frame
        }
    }

    /// How many packets of a frame leave with each burst, if it has `packets`: all of a small frame,
    /// of a large one so many that it is out before four fifths of its interval are over.
    pub fn burst(&self, packets: usize) -> usize {
        if packets <= SMALL_FRAME {
            return packets.max(1);
        }
        let interval_ms = 1_000 / self.per_second;
        let bursts = interval_ms * 4 / 5 / 5 + 1;
        packets
            .div_ceil(usize::try_from(bursts).unwrap_or(usize::MAX))
            .max(SMALL_BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[expect(clippy::disallowed_methods, reason = "some instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn frames_do_not_drift() {
        let start = start();
        let schedule = Schedule::new(start, 30);
        assert_eq!(schedule.due(0), start);
        assert_eq!(schedule.due(30 * 3_600), start + Duration::from_secs(3_600));
        assert_eq!(schedule.due(1) - start, Duration::from_nanos(33_333_333));
    }

    #[test]
    fn large_frames_are_out_within_their_interval() {
        for per_second in [20, 30] {
            let schedule = Schedule::new(start(), per_second);
            for packets in 1_usize..100 {
                let bursts = packets.div_ceil(schedule.burst(packets));
                let last = BURST_INTERVAL * u32::try_from(bursts - 1).unwrap();
                assert!(last < Duration::from_secs(1) / per_second, "{packets}");
                assert_eq!(packets <= SMALL_FRAME, bursts == 1, "{packets}");
            }
        }
    }

    proptest! {
        #[test]
        fn first_from_is_the_first(per_second in 1_u32..120, frame in 0_u64..1_000_000) {
            let schedule = Schedule::new(start(), per_second);
            let due = schedule.due(frame);
            prop_assert_eq!(schedule.first_from(due), frame);
            prop_assert_eq!(schedule.first_from(due + Duration::from_nanos(1)), frame + 1);
        }
    }
}
