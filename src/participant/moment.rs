//! A point in time on all clocks: the monotonic one for intervals, local time for the world, the
//! run's for what others are told.

use std::time::Instant;

use crate::job::Timestamp;

/// Seconds from NTP's era (1900) to Unix's (1970).
const NTP_UNIX_SECONDS: u64 = 2_208_988_800;

/// When something happened, as read together.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// On the monotonic clock.
    pub at: Instant,
    /// Local time ([`crate::clock::now`]), as schedules and clock offsets are measured in.
    pub wall: Timestamp,
    /// On the clock that all participants of a run share, as well as it is known here
    /// ([`super::Engine::set_shared_clock`]).
    pub shared: Timestamp,
}

impl Moment {
    /// NTP time (RFC 3550, 4): seconds since 1900 in the upper half, their fraction in the lower.
    pub fn ntp(&self) -> u64 {
        let us = u64::try_from(self.wall.as_micros()).unwrap_or(0);
        let seconds = us / 1_000_000 + NTP_UNIX_SECONDS;
        let fraction = ((us % 1_000_000) << 32) / 1_000_000;
        seconds << 32 | fraction
    }

    /// The middle 32 bits of NTP time: units of 2⁻¹⁶ s.
    #[expect(clippy::cast_possible_truncation, reason = "the middle of 64 bits")]
    pub fn ntp_middle(&self) -> u32 {
        (self.ntp() >> 16) as u32
    }

    /// `abs-send-time`: units of 2⁻¹⁸ s, 24 bits.
    pub fn abs_send_time(&self) -> [u8; 3] {
        let [.., a, b, c] = (self.ntp() >> 14).to_be_bytes();
        [a, b, c]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    fn ntp_time_counts_from_1900_in_fixed_point() {
        let moment = Moment {
            at: Instant::now(),
            wall: Timestamp::from_micros(1_500_000),
            shared: Timestamp::from_micros(0),
        };
        assert_eq!(moment.ntp(), (2_208_988_801 << 32) | 0x8000_0000);
        assert_eq!(moment.ntp_middle(), 0x7e81_8000);
        assert_eq!(moment.abs_send_time(), [0x06, 0, 0].map(|b| b));
    }
}
