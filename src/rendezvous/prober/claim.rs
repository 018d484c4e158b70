//! Claiming the slot, before anything else is done. A claim that is dead is taken over.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Estimate;
use crate::job::{ClaimId, RunId, SCHEMA_MAJOR, Timestamp, Vantage, WriteId};
use crate::rendezvous::exchange::{Errand, Reply, Request};
use crate::rendezvous::keys::{Folder, Item, RunKey};
use crate::rendezvous::objects::Slot;
use crate::rendezvous::{LEASE, RendezvousError, document};
use crate::signature::PublicKey;
use crate::store::{Listing, Settled, StoreError};

/// How long after a failed request the next try comes.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An attempt to get the slot.
#[derive(Debug)]
pub(super) struct Claim {
    run: RunId,
    vantage: Vantage,
    public_key: PublicKey,
    build: String,
    write_id: WriteId,
    step: Errand,
    want: Want,
    claims: BTreeMap<u32, Timestamp>,
    /// Of the claim that holds the slot: the last sign of life, by the bucket's clock.
    life: Option<Timestamp>,
    trouble: Option<StoreError>,
}

/// What is to be found out next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Claims,
    Ready,
    Live,
    Create(u32),
}

/// What an attempt wants next.
#[derive(Debug)]
pub(super) enum Step {
    /// To ask.
    Ask(Request),
    /// Nothing, until it hears or wakes.
    Wait,
    /// To end.
    Done(Box<Result<ClaimId, RendezvousError>>),
}

fn done(result: Result<ClaimId, RendezvousError>) -> Step {
    Step::Done(Box::new(result))
}

impl Claim {
    pub(super) fn new(
        run: RunId,
        vantage: Vantage,
        public_key: PublicKey,
        build: String,
        write_id: WriteId,
        now: Timestamp,
    ) -> Self {
        Claim {
            run,
            vantage,
            public_key,
            build,
            write_id,
            step: Errand::at(now),
            want: Want::Claims,
            claims: BTreeMap::new(),
            life: None,
            trouble: None,
        }
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        self.step.wake_at()
    }

    /// What the bucket said when it last failed.
    pub(super) fn trouble(&self) -> Option<StoreError> {
        self.trouble.clone()
    }

    pub(super) fn wake(&mut self, now: Timestamp) -> Step {
        if !self.step.start(now) {
            return Step::Wait;
        }
        let list =
            |folder: Folder| Step::Ask(Request::List(folder.list_of(&self.run, &self.vantage)));
        match self.want {
            Want::Claims => list(Folder::Slots),
            Want::Ready => list(Folder::Ready),
            Want::Live => list(Folder::Live),
            Want::Create(k) => {
                let slot = Slot {
                    schema: SCHEMA_MAJOR,
                    write_id: self.write_id.clone(),
                    run: self.run.clone(),
                    vantage: self.vantage.clone(),
                    claim: self.claim(k),
                    public_key: self.public_key,
                    build: self.build.clone(),
                };
                let key = RunKey::new(&self.run, Item::Slot(self.vantage.clone(), k));
                match document::write(&slot) {
                    Ok(body) => Step::Ask(Request::Create(key, body)),
                    Err(e) => done(Err(e)),
                }
            }
        }
    }

    pub(super) fn replied(&mut self, now: Timestamp, reply: Reply, bucket: &Estimate) -> Step {
        self.step.answered();
        match reply {
            Reply::Listed(_, Ok(listing)) => self.listed(now, &listing, bucket),
            Reply::Created(key, Ok(Settled::Mine)) => match key.item {
                Item::Slot(_, k) => done(Ok(self.claim(k))),
                _ => Step::Wait,
            },
            Reply::Created(_, Ok(Settled::Theirs(_))) => self.taken(),
            Reply::Listed(_, Err(e)) | Reply::Created(_, Err(e)) => self.failed(now, e),
            Reply::Read(..) | Reply::Overwritten(..) => Step::Wait,
        }
    }

    fn listed(&mut self, now: Timestamp, listing: &Listing, bucket: &Estimate) -> Step {
        let items = listing
            .objects
            .iter()
            .filter_map(|e| Some((e.key.parse::<RunKey>().ok()?.item, e.last_modified)));
        match self.want {
            Want::Claims => {
                self.claims = items
                    .filter_map(|(item, at)| match item {
                        Item::Slot(v, k) if v == self.vantage => Some((k, at)),
                        _ => None,
                    })
                    .collect();
                match self.claims.last_key_value() {
                    None => self.then(now, Want::Create(0)),
                    Some((_, at)) => {
                        self.life = Some(*at);
                        self.then(now, Want::Ready)
                    }
                }
            }
            Want::Ready => {
                let holder = self.holder();
                for (item, at) in items {
                    if let Item::Ready(claim) = item
                        && claim.vantage() == self.vantage
                        && claim.k() == holder
                    {
                        self.life = self.life.max(Some(at));
                    }
                }
                self.then(now, Want::Live)
            }
            Want::Live => {
                for (item, at) in items {
                    if item == Item::Live(self.vantage.clone()) {
                        self.life = self.life.max(Some(at));
                    }
                }
                let dead = self
                    .life
                    .is_some_and(|last| bucket.surely_past(now, last + LEASE));
                if dead {
                    let next = self.holder().saturating_add(1);
                    self.then(now, Want::Create(next))
                } else {
                    self.taken()
                }
            }
            Want::Create(_) => Step::Wait,
        }
    }

    /// The key makes it unique: each prober has its own, and of those that share a ticket one
    /// alone can create the slot.
    fn claim(&self, k: u32) -> ClaimId {
        ClaimId::new(&self.vantage, k, self.public_key.nonce())
    }

    fn holder(&self) -> u32 {
        self.claims.last_key_value().map_or(0, |(k, _)| *k)
    }

    fn then(&mut self, now: Timestamp, want: Want) -> Step {
        self.want = want;
        self.step.again(now);
        self.wake(now)
    }

    fn failed(&mut self, now: Timestamp, e: StoreError) -> Step {
        if !e.retryable() {
            return done(Err(e.into()));
        }
        self.step.again(now + RETRY_AFTER);
        self.trouble = Some(e);
        Step::Wait
    }

    fn taken(&self) -> Step {
        done(Err(RendezvousError::SlotTaken {
            run: self.run.clone(),
            vantage: self.vantage.clone(),
        }))
    }
}
