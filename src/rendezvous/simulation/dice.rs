//! Numbers drawn one after the other from a seed.

use std::time::Duration;

use crate::rendezvous::chance::mix;

pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// Below `below`, which may be 0.
    pub(super) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % below.max(1)
    }

    /// From `-to` up to `to`.
    pub(super) fn around(&mut self, to: i64) -> i64 {
        let drawn = self.roll(u64::try_from(2 * to + 1).unwrap());
        i64::try_from(drawn).unwrap() - to
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }

    pub(super) fn millis(&mut self, below: u64) -> Duration {
        Duration::from_millis(self.roll(below))
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let n = self.roll(from.len() as u64);
        from[usize::try_from(n).unwrap()].clone()
    }
}
