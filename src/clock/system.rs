//! The one place that reads clocks for decisions, and waits on them.
#![expect(
    clippy::disallowed_methods,
    reason = "the edge: everything else takes `now` as an argument"
)]

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use crate::job::Timestamp;

/// A suspended machine's timers stand still, so no wait is longer than this before the clock is
/// read again.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Local time: the wall clock as this process first read it, moved on by a clock that never steps
/// and counts suspends. The wall clock may be set meanwhile; this one doesn't follow.
pub fn now() -> Timestamp {
    static ANCHOR: OnceLock<(Timestamp, Duration)> = OnceLock::new();
    let (wall, then) = *ANCHOR.get_or_init(|| (wall(), since_boot()));
    wall + since_boot().saturating_sub(then)
}

/// Waits until a local time, suspends included. Returns early once, after a second, so that the
/// caller looks at the clock again.
pub async fn sleep_until(t: Timestamp) {
    let wait = t.saturating_since(now()).min(LONGEST_SLEEP);
    tokio::time::sleep(wait).await;
}

fn wall() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_micros(0) + since_epoch
}

/// Time since the machine started, suspends included.
#[expect(unsafe_code, reason = "std reads no clock that counts suspends")]
fn since_boot() -> Duration {
    // Elsewhere than on Linux and Android, CLOCK_MONOTONIC counts suspends or nothing does.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;

    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `t` is a valid timespec to write to, for the duration of the call. The call can't
    // fail for a clock that the platform defines.
    unsafe { libc::clock_gettime(CLOCK, &raw mut t) };
    Duration::new(
        u64::try_from(t.tv_sec).unwrap_or(0),
        u32::try_from(t.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_reads_like_the_wall_clock_and_moves_on() {
        let first = now();
        assert!(wall().saturating_since(first) < Duration::from_secs(60));
        assert!(now() >= first);
    }
}
