//! When joins are due, and how long so many take: pure.

use std::time::Duration;

/// From a tier's last dial to the opening of its window: what TCP, TLS, the WebSocket, ICE and
/// DTLS may take over a long way (a dozen round trips of 80 ms).
pub const CONNECT_ALLOWANCE: Duration = Duration::from_secs(1);

/// When the `n`-th join is due after the first: evenly, `join_rate` a second.
pub fn join_after(join_rate: u32, n: u32) -> Duration {
    Duration::from_micros(u64::from(n) * 1_000_000 / u64::from(join_rate.max(1)))
}

/// From the first of so many joins to the window that measures them. No joins take no time.
pub fn join_time(join_rate: u32, joins: u32) -> Duration {
    match joins.checked_sub(1) {
        Some(last) => join_after(join_rate, last) + CONNECT_ALLOWANCE,
        None => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_are_even_and_the_last_one_has_time_to_connect() {
        assert_eq!(join_after(100, 499), Duration::from_millis(4_990));
        assert_eq!(join_after(3, 1), Duration::from_micros(333_333));
        assert_eq!(join_time(100, 500), Duration::from_millis(5_990));
        assert_eq!(join_time(20, 1), CONNECT_ALLOWANCE);
        assert_eq!(join_time(20, 0), Duration::ZERO);
    }
}
