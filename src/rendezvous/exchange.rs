//! What a machine asks of the bucket, and what it hears back.

use std::time::Duration;

use bytes::Bytes;

use super::keys::RunKey;
use crate::job::Timestamp;
use crate::store::{List, Listing, Object, Put, Settled, StoreError};

/// A question to the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Read an object.
    Read(RunKey),
    /// Create an object and find out whose it is ([`crate::store::create_settled`]).
    Create(RunKey, Bytes),
    /// Write a heartbeat over the one with this entity tag, or over whatever is there.
    Overwrite(RunKey, Bytes, Option<String>),
    /// List.
    List(List),
}

/// The answer, with what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`Request::Read`].
    Read(RunKey, Result<Object, StoreError>),
    /// To [`Request::Create`].
    Created(RunKey, Result<Settled, StoreError>),
    /// To [`Request::Overwrite`].
    Overwritten(RunKey, Result<Put, StoreError>),
    /// To [`Request::List`].
    Listed(List, Result<Listing, StoreError>),
}

/// Something asked now and again: never while an answer is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errand {
    due: Option<Timestamp>,
    asked: Option<Timestamp>,
    /// It is due whatever the answer that is still to come will say.
    hurried: bool,
}

impl Errand {
    /// Not to be asked until [`Errand::again`] says so.
    pub const IDLE: Errand = Errand {
        due: None,
        asked: None,
        hurried: false,
    };

    /// Due at a time.
    pub const fn at(t: Timestamp) -> Self {
        Errand {
            due: Some(t),
            ..Errand::IDLE
        }
    }

    /// Whether to ask now; if so, it counts as asked.
    pub fn start(&mut self, now: Timestamp) -> bool {
        let start = self.asked.is_none() && self.due.is_some_and(|due| due <= now);
        if start {
            *self = Errand {
                asked: Some(now),
                ..Errand::IDLE
            };
        }
        start
    }

    /// The answer has come; says when it was asked for.
    pub fn answered(&mut self) -> Option<Timestamp> {
        self.asked.take()
    }

    /// To be asked (again) at a time.
    pub fn again(&mut self, t: Timestamp) {
        if !self.hurried {
            self.due = Some(t);
        }
    }

    /// To be asked now: if an answer is still to come, once more when it has.
    pub fn hurry(&mut self, now: Timestamp) {
        self.due = Some(now);
        self.hurried = self.under_way();
    }

    /// Not to be asked again.
    pub fn done(&mut self) {
        self.due = None;
        self.hurried = false;
    }

    /// Whether an answer is still to come.
    pub fn under_way(&self) -> bool {
        self.asked.is_some()
    }

    /// When it is due, unless an answer is still to come.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.due.filter(|_| self.asked.is_none())
    }
}

/// The sooner of two times that may not come.
pub(super) fn sooner(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        _ => a.or(b),
    }
}

/// How long to wait before asking the same again, `waited` after it was first asked: two thirds of that,
/// from a second and a half up to `longest`. `spread` in 0..=255 takes up to an eighth off, so that a fleet
/// doesn't ask in step.
pub fn pause(waited: Duration, longest: Duration, spread: u8) -> Duration {
    let nominal = (waited * 2 / 3).clamp(PAUSE_MIN, longest);
    nominal - nominal / 8 * u32::from(spread) / 255
}

/// How long a prober waits before it looks for the start again, `waited` after it became ready:
/// ten minutes take under thirty questions.
pub fn start_poll(waited: Duration, spread: u8) -> Duration {
    if planted!(EagerPolling) {
        return PAUSE_MIN / 2;
    }
    pause(waited, START_POLL_MAX, spread)
}

/// From a start's decision to its first joins, so that all have read it who became ready up to
/// `waited` ago: their longest pause, and time for slow answers.
pub fn start_lead(waited: Duration) -> Duration {
    START_READ_ALLOWANCE + start_poll(waited + START_READ_ALLOWANCE, 0)
}

/// The shortest pause between two questions.
const PAUSE_MIN: Duration = Duration::from_millis(1_500);
/// The longest pause between two looks for the start.
const START_POLL_MAX: Duration = Duration::from_secs(40);
/// For the request itself, and one that is lost.
const START_READ_ALLOWANCE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errand_is_never_asked_twice_at_once() {
        let at = Timestamp::from_micros;
        let mut errand = Errand::at(at(5));
        assert!(!errand.start(at(4)));
        assert!(errand.start(at(5)));
        errand.again(at(6));
        assert!(!errand.start(at(7)), "an answer is still to come");
        assert_eq!(errand.answered(), Some(at(5)));
        assert!(errand.start(at(7)));
    }

    #[test]
    fn what_is_hurried_is_asked_again_though_an_answer_is_to_come() {
        let at = Timestamp::from_micros;
        let mut errand = Errand::at(at(5));
        assert!(errand.start(at(5)));
        errand.hurry(at(6));
        errand.answered();
        errand.again(at(90));
        assert!(errand.start(at(6)));
        errand.answered();
        errand.again(at(90));
        assert!(!errand.start(at(89)));
        errand.hurry(at(89));
        assert!(errand.start(at(89)));
    }

    #[test]
    fn ten_minutes_of_waiting_are_cheap_and_no_start_is_missed() {
        for spread in [0, 128, 255] {
            let (mut waited, mut asked) = (Duration::ZERO, 0);
            while waited < Duration::from_secs(600) {
                let pause = start_poll(waited, spread);
                assert!(pause < start_lead(waited), "a start could be missed");
                waited += pause;
                asked += 1;
            }
            assert!(asked < 30, "{asked} questions");
        }
    }
}
