//! How long to wait before the next try.

use std::time::Duration;

/// Delays that double from `first` up to `longest`, with a spread that keeps writers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first delay, before its spread.
    pub first: Duration,
    /// No delay is longer.
    pub longest: Duration,
    /// How many tries there are in all, the first included.
    pub tries: u32,
}

impl Default for Backoff {
    /// Six tries within about six seconds: longer than a store's own hiccups, shorter than any of a
    /// run's deadlines.
    fn default() -> Self {
        Backoff {
            first: Duration::from_millis(200),
            longest: Duration::from_secs(3),
            tries: 6,
        }
    }
}

impl Backoff {
    /// How long to wait after `failed` tries, or `None` when that was the last one.
    ///
    /// The delay is between half of its nominal value and all of it; `seed` decides where.
    pub fn delay(&self, failed: u32, seed: u64) -> Option<Duration> {
        if failed == 0 || failed >= self.tries {
            return None;
        }
        let doubled = 1u32.checked_shl(failed - 1).unwrap_or(u32::MAX);
        let nominal = self.first.saturating_mul(doubled).min(self.longest);
        let share = mix(seed ^ u64::from(failed)) as f64 / u64::MAX as f64;
        let spread = nominal / 2;
        Some(spread + spread.mul_f64(share))
    }
}

/// Spreads the bits of `x` over all of the result (SplitMix64's finalizer, Steele et al. 2014).
pub(super) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_stay_bounded_then_end() {
        let backoff = Backoff {
            first: Duration::from_millis(100),
            longest: Duration::from_millis(300),
            tries: 5,
        };
        let nominal_ms = [100, 200, 300, 300];
        for seed in 0..100 {
            for (failed, nominal) in (1..).zip(nominal_ms) {
                let delay = backoff.delay(failed, seed).expect("a delay");
                let nominal = Duration::from_millis(nominal);
                assert!(
                    nominal / 2 <= delay && delay <= nominal,
                    "{delay:?} {nominal:?}"
                );
            }
            assert_eq!(backoff.delay(5, seed), None);
        }
        let spread: std::collections::BTreeSet<_> =
            (0..100).map(|seed| backoff.delay(1, seed)).collect();
        assert!(spread.len() > 90, "seeds must spread the delays");
    }
}
