//! Which packets the injected faults hit: the same for the same seed.

/// Draws by a seed.
pub struct Chance(u64);

impl Chance {
    /// By this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Xorshift64.
    pub const fn hits(&mut self, per_million: u32) -> bool {
        if per_million == 0 {
            return false;
        }
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % 1_000_000 < per_million as u64
    }
}
