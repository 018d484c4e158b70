//! Stopping a run from outside: the kill switch, then all who should look at it.

use std::time::Duration;

use super::chance::write_id;
use super::exchange::{Errand, Reply, Request};
use super::keys::{Item, RunKey};
use super::objects::Abort;
use super::rouse::Rouse;
use super::{RendezvousError, document};
use crate::job::{RunId, SCHEMA_MAJOR, Timestamp};
use crate::store::{Settled, StoreError};

/// How long after a failed request the next try comes.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Who stops a run.
#[derive(Debug)]
pub struct Aborter {
    key: RunKey,
    body: bytes::Bytes,
    pull: Errand,
    look: Errand,
    rouse: Option<Rouse>,
    /// Whose the kill switch is that was pulled, once that is known.
    mine: Option<bool>,
    end: Option<Result<bool, StoreError>>,
}

impl Aborter {
    /// Of `run`, for a reason in words.
    ///
    /// # Errors
    /// When the document can't be written.
    pub fn new(
        run: &RunId,
        reason: &str,
        seed: u64,
        now: Timestamp,
    ) -> Result<Self, RendezvousError> {
        let abort = Abort {
            schema: SCHEMA_MAJOR,
            write_id: write_id(seed, 0),
            run: run.clone(),
            reason: reason.to_owned(),
        };
        Ok(Aborter {
            key: RunKey::new(run, Item::Abort),
            body: document::write(&abort)?,
            pull: Errand::at(now),
            look: Errand::IDLE,
            rouse: None,
            mine: None,
            end: None,
        })
    }

    /// How it ended: whether the kill switch was pulled by this one, not by somebody before.
    pub fn end(&self) -> Option<&Result<bool, StoreError>> {
        self.end.as_ref()
    }

    /// When to wake it, if no answer comes before.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let rouse = self.rouse.as_ref().and_then(Rouse::wake_at);
        let errands = [self.pull.wake_at(), self.look.wake_at(), rouse];
        errands.into_iter().flatten().min()
    }

    /// What to ask now.
    pub fn act(&mut self, now: Timestamp) -> Vec<Request> {
        let mut out = Vec::new();
        if self.pull.start(now) {
            out.push(Request::Create(self.key.clone(), self.body.clone()));
        }
        if self.look.start(now) {
            out.push(Request::Read(self.key.clone()));
        }
        if let Some(rouse) = &mut self.rouse {
            out.extend(rouse.act(now));
            if rouse.is_done() {
                self.end = self.mine.map(Ok);
            }
        }
        out
    }

    /// Hears the bucket.
    pub fn replied(&mut self, now: Timestamp, reply: &Reply) {
        match reply {
            Reply::Created(_, answer) => {
                self.pull.answered();
                match answer {
                    Ok(settled) => {
                        self.mine = Some(*settled == Settled::Mine);
                        // When it was stored says who has been silent for long.
                        self.look = Errand::at(now);
                    }
                    Err(e) => self.end = Some(Err(e.clone())),
                }
            }
            Reply::Read(key, answer) if *key == self.key => {
                self.look.answered();
                match answer {
                    Ok(object) => {
                        let run = self.key.run.clone();
                        self.rouse = Some(Rouse::new(run, object.last_modified, now));
                    }
                    Err(e) if e.retryable() => self.look.again(now + RETRY_AFTER),
                    Err(e) => self.end = Some(Err(e.clone())),
                }
            }
            reply => {
                if let Some(rouse) = &mut self.rouse {
                    rouse.replied(now, reply);
                }
            }
        }
    }
}
