//! The beat that media leave on.

use std::time::{Duration, Instant};

/// From one beat to the next. A packet of Opus is two long. libwebrtc's pacer gathers what is due
/// within up to 40 ms (`PacingController::kDefaultBurstInterval`).
pub const BEAT: Duration = Duration::from_millis(10);

/// Instants that are a [`BEAT`] apart. What shares them is due at once, so that a thread wakes for
/// all of it, and none of it waits for the wakeup.
#[derive(Clone, Copy, Debug)]
pub struct Beats {
    first: Instant,
}

impl Beats {
    /// The first beat is at `first`.
    pub const fn new(first: Instant) -> Self {
        Self { first }
    }

    /// The first beat that is not before `at`.
    pub fn from(&self, at: Instant) -> Instant {
        let since = at.saturating_duration_since(self.first);
        let beats = since.as_nanos().div_ceil(BEAT.as_nanos());
        self.first + BEAT * u32::try_from(beats).unwrap_or(u32::MAX)
    }

    /// The first beat after `at`.
    pub fn after(&self, at: Instant) -> Instant {
        self.from(at + Duration::from_nanos(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "some instant to count from")]
    fn beats_are_at_or_after() {
        let first = Instant::now();
        let beats = Beats::new(first);
        let ms = |ms| first + Duration::from_millis(ms);
        for (at, from, after) in [
            (0, 0, 10),
            (1, 10, 10),
            (10, 10, 20),
            (3_600_001, 3_600_010, 3_600_010),
        ] {
            assert_eq!(beats.from(ms(at)), ms(from), "{at}");
            assert_eq!(beats.after(ms(at)), ms(after), "{at}");
        }
        assert_eq!(beats.from(first - BEAT), first);
    }
}
