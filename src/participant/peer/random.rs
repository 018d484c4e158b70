//! Numbers that need to differ, not to be secret: SSRCs, sequence numbers, timestamps.

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    /// The next 32 bits.
    pub const fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) >> 32) as u32
    }

    #[expect(clippy::cast_possible_truncation, reason = "any half will do")]
    /// The next 16 bits.
    pub const fn next_u16(&mut self) -> u16 {
        self.next() as u16
    }
}
