//! Which of the missing packets died in the participant's own receive buffer.

use std::time::{Duration, Instant};

/// A drop explains a gap that shows so much later at most: the next packet of the slowest stream
/// that matters here, muted or paused ones aside.
const KEPT: Duration = Duration::from_millis(500);

/// Datagrams that the kernel dropped, and that no gap has been put down to.
///
/// The kernel tells how many it dropped, not which. A packet behind a drop comes with the count,
/// so that the gap that it reveals is met after its cause.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnDrops {
    unexplained: u64,
    latest: Option<Instant>,
}

impl OwnDrops {
    /// The kernel has dropped so many more.
    pub const fn dropped(&mut self, datagrams: u64, at: Instant) {
        self.unexplained = self.unexplained.saturating_add(datagrams);
        self.latest = Some(at);
    }

    /// So many packets turn out to be missing: how many of them it was that dropped.
    pub fn explain(&mut self, missing: u64, now: Instant) -> u64 {
        let Some(latest) = self.latest else { return 0 };
        if now.saturating_duration_since(latest) > KEPT {
            *self = Self::default();
            return 0;
        }
        let own = missing.min(self.unexplained);
        self.unexplained -= own;
        own
    }

    /// A packet that was put down to a drop came by itself: it was another that was dropped.
    pub const fn mistaken(&mut self) {
        self.unexplained = self.unexplained.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_explains_one_missing_packet_for_half_a_second() {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test needs some instant to start from"
        )]
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut own = OwnDrops::default();
        assert_eq!(own.explain(5, at(0)), 0);
        own.dropped(3, at(10));
        assert_eq!(own.explain(2, at(20)), 2);
        own.mistaken();
        assert_eq!(own.explain(5, at(510)), 2);
        assert_eq!(own.explain(1, at(510)), 0);
        own.dropped(1, at(600));
        assert_eq!(own.explain(1, at(1_101)), 0);
        own.dropped(1, at(1_200));
        assert_eq!(
            own.explain(9, at(1_200)),
            1,
            "those of long ago are forgotten"
        );
    }
}
