//! When the packets of a track are due.
//!
//! Due times are absolute, from the track's start: a late call delays nothing that follows.

use std::time::{Duration, Instant};

use crate::participant::beat::BEAT;

/// A frame of at most so many packets leaves at once, as libwebrtc's pacer lets it: a burst of 40 ms
/// (`PacingController::kDefaultBurstInterval`) at two and a half times the bitrate
/// (`kDefaultPaceMultiplier`) is 21 kB of the highest layer alone.
pub const SMALL_FRAME: usize = 16;

/// The least that leaves at once of a larger one.
const SMALL_BURST: usize = 4;

/// From one instant at which a frame may be captured to the next: every other beat, on which a
/// packet of sound is due as well, so that a publisher sends its frames and its sound at once. Which
/// beats these are depends on when it began: those of many publishers are both.
const CAPTURE: Duration = BEAT.saturating_mul(2);

const CAPTURES_PER_SECOND: u32 = 1_000 / CAPTURE.subsec_millis();

/// A frame that is later than this is skipped, not sent: a client's encoder drops frames too
/// when it falls behind.
pub const MAX_LATE: Duration = Duration::from_millis(250);

/// A constant frame rate, of what is captured at a constant rate that is as high or higher. Frames
/// are captured 20 ms apart or a multiple of it ([`CAPTURE`]), the first time when a frame's time has
/// come: at 30 a second after 0, 40 and 80 ms.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start: Instant,
    per_second: u32,
    captured_per_second: u32,
}

impl Schedule {
    /// Frame 0 is due at `start`; `per_second` is at least 1, and at most 50.
    pub fn new(start: Instant, per_second: u32) -> Self {
        Schedule::of_captured(start, per_second, per_second)
    }

    /// The same, of frames that are captured at a rate of their own: each is the first that was
    /// captured when its time had come, as an encoder of fewer frames leaves the others out.
    pub fn of_captured(start: Instant, per_second: u32, captured_per_second: u32) -> Self {
        let per_second = per_second.max(1);
        Schedule {
            start,
            per_second,
            captured_per_second: captured_per_second.max(per_second),
        }
    }

    /// When a frame is due, to the nanosecond below.
    pub fn due(&self, frame: u64) -> Instant {
        self.captured_at(self.captured(frame))
    }

    /// A frame's time on a clock of `rate` ticks a second, to the tick below.
    pub fn ticks(&self, frame: u64, rate: u32) -> u64 {
        let since = self.captured_at(self.captured(frame)) - self.start;
        let ticks = since.as_nanos() * u128::from(rate) / 1_000_000_000;
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// The first frame that is due at `now` or later.
    pub fn first_from(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.start).as_nanos();
        let captures = narrow(since.div_ceil(CAPTURE.as_nanos()));
        let captured = first_reaching(captures, CAPTURES_PER_SECOND, self.captured_per_second);
        first_reaching(captured, self.captured_per_second, self.per_second)
    }

    /// Which of the captured frames a frame is.
    fn captured(&self, frame: u64) -> u64 {
        reached(frame, self.captured_per_second, self.per_second)
    }

    fn captured_at(&self, captured: u64) -> Instant {
        let captures = reached(captured, CAPTURES_PER_SECOND, self.captured_per_second);
        self.start + CAPTURE * u32::try_from(captures).unwrap_or(u32::MAX)
    }

    /// How many packets of a frame leave with each burst, if it has `packets`: all of a small frame,
    /// of a large one so many that it is out before four fifths of its shortest interval are over.
    pub fn burst(&self, packets: usize) -> usize {
        if packets <= SMALL_FRAME {
            return packets.max(1);
        }
        let interval_ms = CAPTURES_PER_SECOND / self.captured_per_second * CAPTURE.subsec_millis();
        let bursts = interval_ms * 4 / 5 / BEAT.subsec_millis() + 1;
        packets
            .div_ceil(usize::try_from(bursts).unwrap_or(usize::MAX))
            .max(SMALL_BURST)
    }
}

/// Which of `fast` a second is the first that is not before the `n`th of `slow` a second.
fn reached(n: u64, fast: u32, slow: u32) -> u64 {
    narrow((u128::from(n) * u128::from(fast)).div_ceil(u128::from(slow)))
}

/// The first of `slow` a second for which [`reached`] is `n` or more.
fn first_reaching(n: u64, fast: u32, slow: u32) -> u64 {
    n.checked_sub(1).map_or(0, |before| {
        narrow(u128::from(before) * u128::from(slow) / u128::from(fast) + 1)
    })
}

fn narrow(n: u128) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
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
        let ms: Vec<_> = (0..5)
            .map(|n| (schedule.due(n) - start).as_millis())
            .collect();
        assert_eq!(ms, [0, 40, 80, 100, 140]);
    }

    #[test]
    fn large_frames_are_out_within_their_interval() {
        for per_second in [20, 30] {
            let schedule = Schedule::new(start(), per_second);
            for packets in 1_usize..100 {
                let bursts = packets.div_ceil(schedule.burst(packets));
                let last = BEAT * u32::try_from(bursts - 1).unwrap();
                assert!(last < CAPTURE * (50 / per_second), "{packets}");
                assert_eq!(packets <= SMALL_FRAME, bursts == 1, "{packets}");
            }
        }
    }

    #[test]
    fn fewer_frames_are_some_of_those_captured() {
        let schedule = Schedule::of_captured(start(), 20, 30);
        let ticks: Vec<_> = (0..5).map(|n| schedule.ticks(n, 90_000)).collect();
        assert_eq!(ticks, [0, 7_200, 9_000, 16_200, 18_000]);
        let all = Schedule::new(schedule.start, 30);
        for (frame, captured) in [(0, 0), (1, 2), (2, 3), (60, 90)] {
            assert_eq!(schedule.due(frame), all.due(captured));
        }
    }

    proptest! {
        #[test]
        fn first_from_is_the_first(
            per_second in 1_u32..=30,
            more in 0_u32..=20,
            frame in 0_u64..1_000_000,
        ) {
            let schedule = Schedule::of_captured(start(), per_second, per_second + more);
            let due = schedule.due(frame);
            prop_assert_eq!(schedule.first_from(due), frame);
            prop_assert_eq!(schedule.first_from(due + Duration::from_nanos(1)), frame + 1);
        }
    }
}
