//! One event that a function serves: when it came, and when the function is stopped.
#![expect(
    clippy::disallowed_methods,
    reason = "the edge: Lambda's deadline is on the wall clock, and a late function is stopped"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::size::DESCRIPTORS;
use super::{LONGEST, Size};
use crate::clock;
use crate::error::Error;
use crate::exit::Exit;
use crate::job::{Span, Timestamp};
use crate::prober::{descriptors, host};

/// Kept free at the end of an invocation, to say what came of it.
const RESERVE: Duration = Duration::from_secs(2);
/// The clocks of Lambda and of its machines may differ by so much.
const CLOCKS_DIFFER: Duration = Duration::from_secs(5);

/// What Lambda says of an invocation.
#[derive(Clone, Debug)]
pub struct Context {
    /// When the function is stopped, in milliseconds since the Unix epoch.
    pub deadline_ms: u64,
    /// The function's memory, in MiB.
    pub memory_mib: u32,
}

/// One event that is being served.
#[derive(Clone, Copy, Debug)]
pub struct Invocation {
    /// When the event came, in local time.
    pub arrived: Timestamp,
    /// When all must be done, in local time.
    pub ends: Timestamp,
    /// From the start of the process until it could take events, for its first one.
    pub init: Option<Duration>,
    /// What the function has.
    pub size: Size,
}

/// How long the process took to become able to take events, in microseconds; its first event
/// takes it away.
static INIT_US: AtomicU64 = AtomicU64::new(0);

/// To be called when the process is about to take its first event.
pub fn starting() {
    let age = host::process_age().unwrap_or_default();
    // Even a start that was too fast to measure was one.
    let us = u64::try_from(age.as_micros()).unwrap_or(0).max(1);
    INIT_US.store(us, Ordering::Relaxed);
}

impl Invocation {
    /// An event that has just come.
    pub fn begin(context: &Context) -> Invocation {
        let (wall, arrived) = (SystemTime::now(), clock::now());
        let wall = wall.duration_since(SystemTime::UNIX_EPOCH);
        let left = remaining(context.deadline_ms, wall.unwrap_or_default()).unwrap_or_else(|| {
            tracing::warn!(
                "the deadline {} ms is no time within the next {}; counting on {} in all",
                context.deadline_ms,
                Span(LONGEST),
                Span(LONGEST)
            );
            LONGEST
        });
        let init = INIT_US.swap(0, Ordering::Relaxed);
        Invocation {
            arrived,
            ends: arrived + left.saturating_sub(RESERVE),
            init: (init > 0).then(|| Duration::from_micros(init)),
            size: Size {
                memory_mib: context.memory_mib,
                descriptors: descriptors::allowed()
                    .ok()
                    .and_then(|n| u32::try_from(n).ok())
                    .unwrap_or(DESCRIPTORS),
            },
        }
    }

    /// What came of `work`, or an error when the function is about to be stopped.
    ///
    /// # Errors
    /// Those of the work, and [`Exit::TimedOut`].
    pub async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let left = self.ends.saturating_since(clock::now());
        tokio::time::timeout(left, work).await.unwrap_or_else(|_| {
            let text = "the function's time is over; give it more";
            Err(Error::new(Exit::TimedOut, text))
        })
    }
}

/// How long is left until a deadline that can be one: ahead, and no further than Lambda's longest.
/// An emulator may say a constant instead.
fn remaining(deadline_ms: u64, wall: Duration) -> Option<Duration> {
    Duration::from_millis(deadline_ms)
        .checked_sub(wall)
        .filter(|left| *left <= LONGEST + CLOCKS_DIFFER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_must_be_plausible() {
        let wall = Duration::from_secs(1_795_000_000);
        let ms = |s: u64| (1_795_000_000 + s) * 1_000;
        assert_eq!(remaining(ms(60), wall), Some(Duration::from_secs(60)));
        assert_eq!(remaining(ms(900), wall), Some(LONGEST));
        // cargo-lambda's emulator says 600000; another may say seconds, or nothing.
        for strange in [600_000, 0, 1_795_000_060, ms(0) - 1, ms(1_000), u64::MAX] {
            assert_eq!(remaining(strange, wall), None, "{strange}");
        }
    }
}
