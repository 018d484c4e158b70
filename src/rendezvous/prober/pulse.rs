//! A prober's heartbeat. Each is written over the prober's own last one and over no other object
//! (`If-Match`): who stops the run rewrites them, so that the next is refused and the prober looks
//! for the reason at once.

use std::time::Duration;

use crate::clock::Estimate;
use crate::job::{ClaimId, RunId, SCHEMA_MAJOR, Timestamp};
use crate::prober::LiveFigures;
use crate::rendezvous::document;
use crate::rendezvous::exchange::{Errand, Request};
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::objects::Live;
use crate::store::{Put, StoreError};

/// How often a heartbeat is written while there is nothing to tell but that it lives. With the
/// look that it may lead to, an abort is noticed within ten seconds.
const WAITING_EVERY: Duration = Duration::from_secs(5);
/// How often a heartbeat is written under load.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(3);
/// After so many refusals in a row the store is taken to compare nothing, or another process to
/// write in the same place.
const REFUSED_MAX: u32 = 3;

/// A heartbeat, again and again.
#[derive(Debug)]
pub(super) struct Pulse {
    beat: Errand,
    every: Duration,
    run: RunId,
    claim: ClaimId,
    sequence: u64,
    /// When the last acknowledged one was sent.
    ok: Timestamp,
    /// The entity tag of the last one, if it was acknowledged.
    last: Option<String>,
    /// The next one that is acknowledged may have been written over what was to be noticed.
    unseen: bool,
    refused: u32,
    /// Conditions are of no use here.
    plain: bool,
}

/// What an answer to a heartbeat means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// It was placed over the last one.
    Placed,
    /// It was placed over whatever was there, which may have been worth seeing.
    PlacedBlindly,
    /// Something else was there.
    Refused,
    /// It was not placed, as far as is known.
    Failed(StoreError),
}

impl Pulse {
    pub(super) fn new(run: RunId, claim: ClaimId, now: Timestamp) -> Self {
        Pulse {
            run,
            claim,
            beat: Errand::at(now),
            every: WAITING_EVERY,
            sequence: 0,
            ok: now,
            last: None,
            unseen: true,
            refused: 0,
            plain: false,
        }
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        self.beat.wake_at()
    }

    /// When the last acknowledged heartbeat was sent.
    pub(super) fn ok(&self) -> Timestamp {
        self.ok
    }

    /// From now on there is load to tell of.
    pub(super) fn quicken(&mut self, now: Timestamp) {
        self.every = HEARTBEAT_EVERY;
        self.beat.again(now);
    }

    /// The next one is due now, unless one is on its way.
    pub(super) fn hurry(&mut self, now: Timestamp) {
        self.beat.again(now);
    }

    /// The heartbeat to write, if it is time.
    pub(super) fn act(
        &mut self,
        now: Timestamp,
        figures: impl FnOnce() -> LiveFigures,
    ) -> Option<Request> {
        if !self.beat.start(now) {
            return None;
        }
        let figures = figures();
        self.sequence += 1;
        let live = Live {
            schema: SCHEMA_MAJOR,
            run: self.run.clone(),
            vantage: self.claim.vantage(),
            claim: self.claim.clone(),
            sequence: self.sequence,
            phase: figures.phase,
            connected: figures.connected,
            packets_received: figures.packets_received,
            failures: figures.failures,
            own_at: None,
        };
        let key = RunKey::new(&self.run, Item::Live(live.vantage.clone()));
        let body = document::write(&live).ok()?;
        Some(Request::Overwrite(key, body, self.last.clone()))
    }

    /// The bucket answered.
    pub(super) fn replied(
        &mut self,
        now: Timestamp,
        answer: Result<Put, StoreError>,
        bucket: &Estimate,
    ) -> Beat {
        let asked = self.beat.answered();
        let next = bucket.best_moment(now + self.every);
        match answer {
            Ok(put) => {
                self.beat.again(next);
                self.ok = asked.unwrap_or(self.ok);
                if self.last.is_some() {
                    self.refused = 0;
                }
                self.last = put.etag.filter(|_| !self.plain);
                match std::mem::take(&mut self.unseen) {
                    true => Beat::PlacedBlindly,
                    false => Beat::Placed,
                }
            }
            // Another's object is there, or its own whose answer was lost. It is written over,
            // and then looked for again what that may have hidden.
            Err(e) if e.is_changed() => {
                self.doubt();
                self.beat.again(now);
                Beat::Refused
            }
            Err(e) => {
                self.beat.again(next);
                // A store that knows no such condition says so.
                if self.last.is_some() && !e.retryable() {
                    self.doubt();
                    self.beat.again(now);
                }
                Beat::Failed(e)
            }
        }
    }

    fn doubt(&mut self) {
        self.last = None;
        self.unseen = true;
        self.refused += 1;
        self.plain = self.plain || self.refused >= REFUSED_MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendezvous::sample::T0;
    use crate::store::sample::at;

    struct Prober {
        pulse: Pulse,
        now: Timestamp,
    }

    impl Prober {
        fn new() -> Self {
            let claim = ClaimId::new(&"iad".parse().unwrap(), 0, 1);
            Prober {
                pulse: Pulse::new("r1".parse().unwrap(), claim, T0),
                now: T0,
            }
        }

        /// Waits for the next heartbeat, says what it is written over, and answers it.
        fn beat(&mut self, answer: Result<&str, StoreError>) -> (Option<String>, Duration, Beat) {
            let due = self.pulse.wake_at().unwrap();
            let waited = due.saturating_since(self.now);
            self.now = due;
            let asked = self.pulse.act(due, LiveFigures::default);
            let Some(Request::Overwrite(_, _, over)) = asked else {
                panic!("{asked:?}");
            };
            let answer = answer.map(|etag| Put {
                etag: (!etag.is_empty()).then(|| etag.to_owned()),
            });
            let beat = self.pulse.replied(due, answer, &Estimate::unknown());
            (over, waited, beat)
        }
    }

    fn changed() -> StoreError {
        StoreError::Changed { at: at() }
    }

    fn over(etag: &str) -> Option<String> {
        Some(etag.to_owned())
    }

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn what_was_rewritten_is_noticed_and_so_is_what_came_before_the_first() {
        let mut prober = Prober::new();
        assert_eq!(prober.beat(Ok("a")), (None, NOW, Beat::PlacedBlindly));
        assert_eq!(
            prober.beat(Ok("b")),
            (over("a"), WAITING_EVERY, Beat::Placed)
        );
        let refused = prober.beat(Err(changed()));
        assert_eq!(refused, (over("b"), WAITING_EVERY, Beat::Refused));
        // What is written without a condition may hide a second rewriting.
        assert_eq!(prober.beat(Ok("c")), (None, NOW, Beat::PlacedBlindly));
        assert_eq!(
            prober.beat(Ok("d")),
            (over("c"), WAITING_EVERY, Beat::Placed)
        );
    }

    #[test]
    fn a_lost_answer_costs_one_look_and_settles() {
        let mut prober = Prober::new();
        prober.beat(Ok("a"));
        let lost = StoreError::Unreachable {
            at: at(),
            why: "lost".into(),
        };
        let answer = prober.beat(Err(lost.clone()));
        assert_eq!(answer, (over("a"), WAITING_EVERY, Beat::Failed(lost)));
        // It had been written.
        let answer = prober.beat(Err(changed()));
        assert_eq!(answer, (over("a"), WAITING_EVERY, Beat::Refused));
        prober.beat(Ok("c"));
        assert_eq!(prober.beat(Ok("d")).2, Beat::Placed);
    }

    #[test]
    fn a_store_without_conditions_is_left_alone_with_them() {
        let refuses = || StoreError::Unsupported {
            at: at(),
            why: "not implemented".into(),
        };
        for answer in [changed as fn() -> StoreError, refuses] {
            let mut prober = Prober::new();
            prober.beat(Ok("a"));
            let mut alarms = 0;
            for n in 0..100 {
                let (over, ..) = prober.beat(Ok("x"));
                assert!(over.is_none() || n < 10, "heartbeat {n} is over {over:?}");
                if prober.pulse.last.is_some() {
                    let (_, _, beat) = prober.beat(Err(answer()));
                    alarms += u32::from(beat == Beat::Refused);
                }
            }
            assert!(alarms <= REFUSED_MAX, "{alarms}");
        }
        // Without tags there is nothing to compare.
        let mut prober = Prober::new();
        prober.beat(Ok(""));
        assert_eq!(prober.beat(Ok("")), (None, WAITING_EVERY, Beat::Placed));
    }
}
