//! Memory that is asked for ahead of its use.
//!
//! Between two ticks the caches forget a peer, and a packet of each of its streams would wait for
//! memory some ten times. What a datagram will need is known once it was received: asked for all at
//! once, it comes while the first is decrypted.

/// Bytes that a processor fetches at once.
const LINE: usize = 64;

/// Has a value fetched into the caches, and doesn't wait for it.
#[inline]
pub fn prefetch<T>(value: &T) {
    let start = std::ptr::from_ref(value).cast::<u8>();
    let within = start.addr() % LINE;
    for offset in (0..within + size_of::<T>()).step_by(LINE) {
        fetch(start.wrapping_sub(within).wrapping_add(offset));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(unsafe_code, reason = "std has no portable prefetch")]
fn fetch(line: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a hint, which faults at no address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) };
}

#[cfg(target_arch = "aarch64")]
#[inline]
#[expect(unsafe_code, reason = "std has no portable prefetch")]
fn fetch(line: *const u8) {
    // SAFETY: a hint, which faults at no address.
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{line}]",
            line = in(reg) line,
            options(nostack, preserves_flags, readonly)
        );
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline]
const fn fetch(_: *const u8) {}
