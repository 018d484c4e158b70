//! Freezes as W3C webrtc-stats defines them (`freezeCount`, `totalFreezesDuration`).

use std::time::{Duration, Instant};

/// Frame intervals that the average is taken over.
const FRAMES: u32 = 30;
/// Below so many intervals there is no average to hold an interval against (as in libwebrtc).
const MIN_FRAMES: u32 = 5;
/// The least that a freeze exceeds the average by.
const MARGIN: Duration = Duration::from_millis(150);

/// Watches the intervals between the frames of one stream.
#[derive(Clone, Debug, Default)]
pub struct FreezeMeter {
    last: Option<Instant>,
    /// The last intervals, as a ring, in microseconds.
    intervals: [u32; FRAMES as usize],
    count: u32,
    /// A freeze goes on, and is accounted for up to here.
    frozen_until: Option<Instant>,
}

/// What a frame or a look at the clock added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freezes {
    /// Freezes that began.
    pub count: u64,
    /// Time spent frozen.
    pub time: Duration,
}

impl Freezes {
    /// Add others.
    pub fn add(&mut self, other: Freezes) {
        self.count += other.count;
        self.time += other.time;
    }
}

impl FreezeMeter {
    /// A frame was complete at `at`.
    pub fn frame(&mut self, at: Instant) -> Freezes {
        let freezes = self.check(at);
        if let Some(last) = self.last.replace(at) {
            let interval = at.saturating_duration_since(last).as_micros();
            let slot = usize::try_from(self.count % FRAMES).unwrap_or_default();
            if let Some(slot) = self.intervals.get_mut(slot) {
                *slot = u32::try_from(interval).unwrap_or(u32::MAX);
            }
            self.count = self.count.saturating_add(1);
        }
        self.frozen_until = None;
        freezes
    }

    /// Time has passed without a frame: a stream that never comes back is frozen too.
    pub fn check(&mut self, now: Instant) -> Freezes {
        let Some(last) = self.last else {
            return Freezes::default();
        };
        let since = now.saturating_duration_since(last);
        // No threshold is below the margin, and nearly every interval is.
        if since < MARGIN || self.threshold().is_none_or(|threshold| since < threshold) {
            return Freezes::default();
        }
        let from = self.frozen_until.replace(now);
        Freezes {
            count: u64::from(from.is_none()),
            time: now.saturating_duration_since(from.unwrap_or(last)),
        }
    }

    /// Frames are no longer expected (muted, paused), or come from elsewhere: the next interval
    /// counts for nothing.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    fn threshold(&self) -> Option<Duration> {
        let filled = self.count.min(FRAMES);
        if filled < MIN_FRAMES {
            return None;
        }
        let filled_slots = usize::try_from(filled).unwrap_or_default();
        let sum: u64 = self
            .intervals
            .iter()
            .take(filled_slots)
            .map(|i| u64::from(*i))
            .sum();
        let average = Duration::from_micros(sum / u64::from(filled));
        Some((average * 3).max(average + MARGIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    fn steady(meter: &mut FreezeMeter, start: Instant) {
        for i in 0..=10 {
            assert_eq!(meter.frame(ms(start, i * 40)), Freezes::default());
        }
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs some instant to start from"
    )]
    fn an_interval_freezes_at_the_average_and_150_ms() {
        let start = Instant::now();
        for (gap, frozen) in [(189, false), (190, true)] {
            let mut meter = FreezeMeter::default();
            steady(&mut meter, start);
            let freezes = meter.frame(ms(start, 400 + gap));
            assert_eq!(freezes.count, u64::from(frozen), "{gap} ms");
            assert_eq!(freezes.time.as_millis(), if frozen { 190 } else { 0 });
        }
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs some instant to start from"
    )]
    fn a_freeze_that_goes_on_counts_once_and_all_of_its_time() {
        let start = Instant::now();
        let mut meter = FreezeMeter::default();
        steady(&mut meter, start);
        let mut total = Freezes::default();
        for at in [500, 700, 1_400, 2_400] {
            let f = meter.check(ms(start, at));
            total.count += f.count;
            total.time += f.time;
        }
        let last = meter.frame(ms(start, 3_000));
        assert_eq!(
            (
                total.count + last.count,
                (total.time + last.time).as_millis()
            ),
            (1, 2_600)
        );
    }
}
