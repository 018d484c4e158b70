//! Writing the tickets: right after the job that they are for.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Action, RETRY_AFTER};
use crate::job::{RunId, Timestamp, Vantage};
use crate::rendezvous::RendezvousError;
use crate::rendezvous::exchange::{Errand, Reply, Request};
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::progress::Progress;
use crate::store::Settled;

/// The most writes under way at once.
const WRITES_MAX: usize = 32;

/// Tickets that are still to be written.
#[derive(Debug)]
pub(super) struct HandOut {
    run: RunId,
    left: BTreeMap<Vantage, (Bytes, Errand)>,
}

impl HandOut {
    pub(super) fn new(run: RunId, tickets: BTreeMap<Vantage, Bytes>, now: Timestamp) -> Self {
        let due = |(vantage, body)| (vantage, (body, Errand::at(now)));
        HandOut {
            run,
            left: tickets.into_iter().map(due).collect(),
        }
    }

    /// Whether all are written.
    pub(super) fn done(&self) -> bool {
        self.left.is_empty()
    }

    /// Whether an answer is still to come.
    pub(super) fn under_way(&self) -> bool {
        self.left.values().any(|(_, errand)| errand.under_way())
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        let errands = self.left.values().take(WRITES_MAX);
        errands.filter_map(|(_, errand)| errand.wake_at()).min()
    }

    pub(super) fn act(&mut self, now: Timestamp) -> Vec<Action> {
        let mut out = Vec::new();
        for (vantage, (body, errand)) in self.left.iter_mut().take(WRITES_MAX) {
            if errand.start(now) {
                let key = RunKey::new(&self.run, Item::Ticket(vantage.clone()));
                out.push(Action::Ask(Request::Create(key, body.clone())));
            }
        }
        out
    }

    pub(super) fn replied(
        &mut self,
        now: Timestamp,
        reply: Reply,
    ) -> Result<Option<Action>, RendezvousError> {
        let Reply::Created(key, answer) = reply else {
            return Ok(None);
        };
        let Item::Ticket(vantage) = &key.item else {
            return Ok(None);
        };
        match answer {
            Ok(Settled::Mine) => {
                self.left.remove(vantage);
                Ok(None)
            }
            Ok(Settled::Theirs(_)) => Err(RendezvousError::Malformed {
                key: key.to_string(),
                why: "it was there before its job".to_owned(),
            }),
            Err(e) if e.retryable() => {
                if let Some((_, errand)) = self.left.get_mut(vantage) {
                    errand.answered();
                    errand.again(now + RETRY_AFTER);
                }
                let what = e.to_string();
                Ok(Some(Action::Tell(Progress::Trouble { what })))
            }
            Err(e) => Err(e.into()),
        }
    }
}
