//! The run's time for a load: what its rendezvous knows of the clocks, as soon as it knows it.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::sync::watch;

use crate::clock::{self, RunClock};
use crate::job::Timestamp;

/// The run's reference clock, as it is known here.
#[derive(Clone, Debug)]
pub struct RunTime {
    known: watch::Receiver<RunClock>,
}

impl RunTime {
    /// The time that the holder of the other end keeps true.
    pub const fn new(known: watch::Receiver<RunClock>) -> Self {
        RunTime { known }
    }

    /// Now, on the run's reference clock, by the best guess.
    pub fn now(&self) -> Timestamp {
        let local = clock::now();
        self.known.borrow().offset.to_other(local)
    }

    /// What is known of the clocks now.
    pub fn clock(&self) -> RunClock {
        self.known.borrow().seen_at(clock::now())
    }

    /// Waits until a time of the reference clock, suspends included.
    pub async fn until(&self, t: Timestamp) {
        loop {
            let local = self.known.borrow().offset.to_local(t);
            if clock::now() >= local {
                return;
            }
            clock::sleep_until(local).await;
        }
    }
}

/// Ends when a right to act has ended, in local time; until then its holder may extend it.
///
/// Whenever its task wakes it looks at the clock before anything else does, if it is polled first:
/// after a gap, nothing is done without the right to it.
pub async fn right_ends(until: watch::Receiver<Timestamp>) {
    let mut nap = pin!(clock::sleep_until(*until.borrow()));
    poll_fn(|task| {
        loop {
            let until = *until.borrow();
            if clock::now() >= until {
                return Poll::Ready(());
            }
            if nap.as_mut().poll(task).is_pending() {
                return Poll::Pending;
            }
            nap.set(clock::sleep_until(until));
        }
    })
    .await;
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a wait that should end is bounded"
)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::{OffsetInterval, Reading, ReferenceClock};

    fn ahead_by(us: i64) -> RunClock {
        RunClock {
            at: clock::now(),
            by: ReferenceClock::Sfu,
            offset: OffsetInterval {
                lo_us: us - 10,
                hi_us: us + 10,
            },
            reading: Reading::default(),
        }
    }

    #[tokio::test]
    async fn a_wait_follows_what_is_learned_meanwhile() {
        let hour = 3_600_000_000;
        let (learn, known) = watch::channel(ahead_by(0));
        let time = RunTime::new(known);
        let waiting = tokio::spawn({
            let time = time.clone();
            let then = time.now().offset_micros(hour);
            async move { time.until(then).await }
        });
        learn.send_replace(ahead_by(hour));
        let waited = tokio::time::timeout(Duration::from_secs(10), waiting).await;
        assert!(waited.is_ok(), "the reference clock shows it");
        assert!(time.clock().offset.width_us() >= 20);
    }

    #[tokio::test]
    async fn a_right_can_be_extended_until_it_ends() {
        let (extend, until) = watch::channel(clock::now() + Duration::from_millis(50));
        let mut ends = pin!(right_ends(until));
        extend.send_replace(clock::now() + Duration::from_millis(400));
        let begun = clock::now();
        let early = tokio::time::timeout(Duration::from_millis(200), &mut ends).await;
        assert!(
            early.is_err(),
            "ended after {:?}",
            clock::now().saturating_since(begun)
        );
        ends.await;
        assert!(clock::now().saturating_since(begun) >= Duration::from_millis(390));
    }
}
