//! What happened in a world, as far as the properties ask.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytes::Bytes;

use super::scenario::BEGIN;
use crate::clock::OffsetInterval;
use crate::job::Timestamp;
use crate::rendezvous::RendezvousError;
use crate::rendezvous::finalizer::Finished;
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::prober::Orders;
use crate::store::{Op, RequestCounts};

#[derive(Default)]
pub(super) struct History {
    pub(super) loads: Vec<Load>,
    pub(super) readings: Vec<Reading>,
    pub(super) creates: Vec<Create>,
    /// How each finalizer ended that did.
    pub(super) finalized: Vec<Finalized>,
    /// Rooms that were deleted: by whom, and when.
    pub(super) deleted: Vec<(usize, Timestamp, String)>,
    pub(super) aborted_at: Option<Timestamp>,
    /// When each process took its slot, and when it ended by itself.
    pub(super) claimed: BTreeMap<usize, Timestamp>,
    pub(super) ended: BTreeMap<usize, Timestamp>,
    /// By process, as far as they asked anything.
    requests: Vec<RequestCounts>,
    /// Of the probers and coordinators, by second since the beginning.
    pub(super) each_second: Vec<u32>,
    /// Objects but heartbeats that somebody wrote over.
    pub(super) overwritten: BTreeSet<String>,
    /// What nobody of the run wrote.
    pub(super) forged: BTreeSet<String>,
}

/// A load that was put on.
pub(super) struct Load {
    pub(super) process: usize,
    pub(super) orders: Rc<Orders>,
    /// When it was ordered.
    pub(super) ordered: Timestamp,
    /// When its first participant may have joined, in true time, and when the last had left.
    pub(super) from: Timestamp,
    pub(super) to: Option<Timestamp>,
    /// The reference clock's offset, as it was known then; the width tells how well.
    pub(super) reference: Option<OffsetInterval>,
    /// That clock minus the true time.
    pub(super) reference_us: i64,
    /// In true time, when each tier's window opens.
    pub(super) opens: Vec<(u32, Timestamp)>,
}

/// What a process said of another clock.
pub(super) struct Reading {
    pub(super) process: usize,
    pub(super) clock: &'static str,
    pub(super) said: Option<OffsetInterval>,
    pub(super) truth_us: i64,
}

/// A create that was settled.
pub(super) struct Create {
    pub(super) process: usize,
    pub(super) key: RunKey,
    pub(super) body: Bytes,
    pub(super) mine: bool,
}

pub(super) struct Finalized {
    pub(super) process: usize,
    pub(super) result: Result<Finished, RendezvousError>,
}

impl History {
    pub(super) fn asked(&mut self, p: usize, op: Op, key: &str) {
        if self.requests.len() <= p {
            self.requests.resize(p + 1, RequestCounts::default());
        }
        self.requests[p].count(op);
        if matches!(op, Op::Put | Op::Replace) && !key.contains("/live/") {
            self.overwritten.insert(key.to_owned());
        }
    }

    /// What a process asked so far.
    pub(super) fn requests(&self, p: usize) -> RequestCounts {
        self.requests.get(p).copied().unwrap_or_default()
    }

    /// The fleet asked something.
    pub(super) fn asked_at(&mut self, now: Timestamp) {
        let second = usize::try_from(now.saturating_since(BEGIN).as_secs()).unwrap();
        if self.each_second.len() <= second {
            self.each_second.resize(second + 1, 0);
        }
        self.each_second[second] += 1;
    }

    pub(super) fn settled(
        &mut self,
        now: Timestamp,
        process: usize,
        key: &RunKey,
        body: Bytes,
        mine: bool,
    ) {
        if mine && matches!(key.item, Item::Slot(..)) {
            self.claimed.insert(process, now);
        }
        if matches!(key.item, Item::Ready(_)) {
            return;
        }
        self.creates.push(Create {
            process,
            key: key.clone(),
            body,
            mine,
        });
    }
}
