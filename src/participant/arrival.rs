//! When a datagram came: the kernel's timestamp, on the clocks of a [`Moment`].
#![expect(
    clippy::disallowed_methods,
    reason = "the edge: reads the kernel's clock beside the process' own"
)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::moment::Moment;

/// A kernel's timestamp that lies further away than this is of another clock.
const FAR: Duration = Duration::from_secs(10);
/// Two clocks were read together if nothing came between them for so long.
const TOGETHER: Duration = Duration::from_micros(20);
/// How often they are read for that.
const TRIES: u32 = 3;

/// A moment with what the kernel's clock, which stamps datagrams, showed then.
#[derive(Clone, Copy, Debug)]
pub struct KernelClock {
    now: Moment,
    /// Since the Unix epoch.
    kernel: Duration,
}

impl KernelClock {
    /// Reads the kernel's clock, which may be a little after `now`.
    pub fn read(now: Moment) -> Self {
        let mut kernel = Duration::ZERO;
        for _ in 0..TRIES {
            let before = Instant::now();
            let shown = SystemTime::now().duration_since(UNIX_EPOCH);
            let since = before.saturating_duration_since(now.at);
            kernel = shown.unwrap_or_default().saturating_sub(since);
            if before.elapsed() < TOGETHER {
                break;
            }
        }
        Self { now, kernel }
    }

    /// The moment of a kernel's timestamp; that of the reading without one.
    pub fn moment(&self, came: Option<Duration>) -> Moment {
        let now = self.now;
        let Some(came) = came.filter(|came| came.abs_diff(self.kernel) <= FAR) else {
            return now;
        };
        let (waited, ahead) = (
            self.kernel.saturating_sub(came),
            came.saturating_sub(self.kernel),
        );
        Moment {
            at: now.at.checked_sub(waited).unwrap_or(now.at) + ahead,
            wall: now.wall - waited + ahead,
            shared: now.shared - waited + ahead,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Timestamp;

    #[test]
    fn a_datagram_may_have_waited_or_come_meanwhile() {
        let now = Moment {
            at: Instant::now(),
            wall: Timestamp::from_micros(5_000_000),
            shared: Timestamp::from_micros(9_000_000),
        };
        let kernel = Duration::from_secs(1_800_000_000);
        let clock = KernelClock { now, kernel };
        let ms = Duration::from_millis;
        for (came, wall_us) in [
            (Some(kernel - ms(3)), 4_997_000),
            (Some(kernel + ms(2)), 5_002_000),
            (Some(kernel + ms(20_000)), 5_000_000),
            (None, 5_000_000),
        ] {
            let moment = clock.moment(came);
            assert_eq!(moment.wall.as_micros(), wall_us);
            assert_eq!(moment.shared.as_micros(), wall_us + 4_000_000);
            let before = now.at.saturating_duration_since(moment.at);
            assert_eq!(before > Duration::ZERO, wall_us < 5_000_000);
        }
        let read = KernelClock::read(now).kernel.as_secs();
        assert!(read > 1_700_000_000, "{read}");
    }
}
