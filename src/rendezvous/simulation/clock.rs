//! A process' clock: local time as [`crate::clock::now`] makes it of a wall clock that is wrong and
//! is set, and of a clock that counts suspends and drifts.

use std::time::Duration;

use super::scenario::BEGIN;
use crate::job::Timestamp;

#[derive(Clone, Debug, Default)]
pub(super) struct SimClock {
    /// When the process reads the wall clock, for the only time.
    pub(super) begins: Duration,
    /// What the wall clock is ahead of the true time when the world begins, and how fast that grows.
    pub(super) offset_us: i64,
    pub(super) drift_ppm: i64,
    /// The wall clock is set by so much then.
    pub(super) step: Option<(Duration, i64)>,
    /// The process is stopped, or its machine is suspended, from when to when.
    pub(super) stopped: Option<(Duration, Duration)>,
}

impl SimClock {
    /// What it shows at a true time.
    pub(super) fn local(&self, t: Timestamp) -> Timestamp {
        let since = t.as_micros() - BEGIN.as_micros();
        let wrong = self.wrong_by(t);
        t.offset_micros(self.ahead() + wrong + (since + wrong) * self.drift_ppm / 1_000_000)
    }

    /// The first true time from `now` on at which it shows at least `t`.
    pub(super) fn truly(&self, t: Timestamp, now: Timestamp) -> Timestamp {
        let since = t.as_micros() - BEGIN.as_micros() - self.ahead();
        let right = BEGIN.offset_micros(since * 1_000_000 / (1_000_000 + self.drift_ppm) - 2);
        let mut truth = right.offset_micros(-self.wrong_by(right)).max(now);
        truth = truth.max(right.offset_micros(-self.wrong_by(truth)));
        while self.local(truth) < t {
            let short = t.as_micros() - self.local(truth).as_micros();
            truth = truth.offset_micros((short - short / 1_000).max(1));
        }
        truth
    }

    /// The end of a stop that it is in.
    pub(super) fn stopped_until(&self, t: Timestamp) -> Option<Timestamp> {
        let (from, to) = self.stopped?;
        (BEGIN + from <= t && t < BEGIN + to).then_some(BEGIN + to)
    }

    /// The wall clock's error when the process read it.
    fn ahead(&self) -> i64 {
        match self.step {
            Some((at, by)) if at <= self.begins => self.offset_us + by,
            _ => self.offset_us,
        }
    }

    /// What a clock that is not made as it should be has wrong on top.
    fn wrong_by(&self, t: Timestamp) -> i64 {
        if let Some((at, by)) = self.step
            && at > self.begins
            && BEGIN + at <= t
            && planted!(FollowsTheWallClock)
        {
            return by;
        }
        if let Some((from, to)) = self.stopped
            && planted!(StandsStillInSuspends)
        {
            let slept = t.min(BEGIN + to).saturating_since(BEGIN + from);
            return -i64::try_from(slept.as_micros()).unwrap();
        }
        0
    }
}
