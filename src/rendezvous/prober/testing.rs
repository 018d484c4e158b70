//! Waiting until the path was tried, and reading the bucket's clock meanwhile.

use std::time::Duration;

use super::Tested;
use crate::clock::Estimate;
use crate::job::{ClaimId, Digested, Job, Timestamp};
use crate::rendezvous::exchange::{Errand, Request};
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::reference::is_wider;

/// The most questions that are asked for the bucket's clock alone: each halves the interval.
const LOOKS_MAX: u32 = 5;
/// Between two of them, at least.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// A claim's path and clocks, being tried.
#[derive(Debug)]
pub(super) struct Testing {
    pub(super) job: Digested<Job>,
    pub(super) claim: ClaimId,
    result: Option<Result<Tested, String>>,
    look: Errand,
    looks: u32,
}

impl Testing {
    pub(super) fn new(job: Digested<Job>, claim: ClaimId, now: Timestamp) -> Self {
        Testing {
            job,
            claim,
            result: None,
            look: Errand::at(now),
            looks: 0,
        }
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        self.look.wake_at()
    }

    /// What to ask. What counts is the date on the answer.
    pub(super) fn act(&mut self, now: Timestamp) -> Option<Request> {
        self.look.start(now).then(|| {
            self.looks += 1;
            Request::Read(RunKey::new(&self.job.run, Item::Abort))
        })
    }

    /// The bucket answered. The next question leaves when its date tells most.
    pub(super) fn replied(&mut self, now: Timestamp, bucket: &Estimate) {
        self.look.answered();
        let width_max = self.job.limits.clock_width.0;
        let fine = bucket.at(now).is_some_and(|i| !is_wider(i, width_max));
        if !fine && self.looks < LOOKS_MAX {
            self.look.again(bucket.best_moment(now + LOOK_PAUSE));
        }
    }

    pub(super) fn tested(&mut self, result: Result<Tested, String>) {
        self.result = Some(result);
    }

    /// What trying the path showed, once the bucket's clock is known as well. Where there is no
    /// path, it need not be.
    pub(super) fn done(&mut self) -> Option<Result<Tested, String>> {
        let looking = self.look.under_way() || self.look.wake_at().is_some();
        self.result.take_if(|result| result.is_err() || !looking)
    }
}
