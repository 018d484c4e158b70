//! Numbers that differ from process to process and from write to write, all drawn from one seed.

use crate::job::WriteId;

/// Spreads the bits of `x` over all of the result (SplitMix64's finalizer, Steele et al. 2014).
pub(super) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The `n`-th byte drawn from `seed`.
pub(super) fn byte(seed: u64, n: u64) -> u8 {
    (mix(seed ^ mix(n)) >> 56) as u8
}

/// The `n`-th write id of the process that drew `seed`.
pub(super) fn write_id(seed: u64, n: u64) -> WriteId {
    WriteId::from_u64(mix(seed ^ mix(n)))
}
