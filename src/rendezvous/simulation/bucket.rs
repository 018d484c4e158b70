//! The simulated bucket: a request goes through its ways, what befalls it is drawn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::scenario::Scenario;
use crate::job::Timestamp;
use crate::store::{
    At, ByteLimit, Fault, FaultRates, Key, List, Listing, MemoryStore, Object, Op, Put, Store,
    StoreError,
};

/// One call of the store.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Create(Key, Bytes),
    Put(Key, Bytes),
    Get(Key, ByteLimit),
    List(List),
}

/// Its result.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Put(Result<(), StoreError>),
    Got(Result<Object, StoreError>),
    Listed(Result<Listing, StoreError>),
}

/// What will become of a call, drawn when it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) before: Duration,
    pub(super) after: Duration,
    pub(super) fault: Option<Fault>,
}

/// How long a client waits for an answer that doesn't come.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct SimBucket {
    store: MemoryStore,
    now: Arc<AtomicI64>,
    faults: FaultRates,
    seed: u64,
    calls: AtomicU64,
    stale: BTreeMap<List, Listing>,
}

impl SimBucket {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let now = Arc::new(AtomicI64::new(0));
        let clock = now.clone();
        SimBucket {
            store: MemoryStore::new(Arc::new(move || {
                Timestamp::from_micros(clock.load(Ordering::Relaxed))
            })),
            now,
            faults: scenario.faults,
            seed: scenario.seed,
            calls: AtomicU64::new(0),
            stale: BTreeMap::new(),
        }
    }

    /// The bucket's clock is true time.
    pub(super) fn set_time(&self, now: Timestamp) {
        self.now.store(now.as_micros(), Ordering::Relaxed);
    }

    /// Draws what becomes of a call.
    pub(super) fn send(&self, call: &Call, dark: bool) -> Way {
        let op = match call {
            Call::Create(..) => Op::Create,
            Call::Put(..) => Op::Put,
            Call::Get(..) => Op::Get,
            Call::List(..) => Op::List,
        };
        let n = self.calls.fetch_add(1, Ordering::Relaxed);
        let fate = self.faults.fate(self.seed, n, op);
        let fault = if dark {
            Some(Fault::LostRequest)
        } else {
            fate.fault
        };
        let lost = matches!(fault, Some(Fault::LostRequest | Fault::LostResponse));
        Way {
            before: fate.before,
            after: if lost { PATIENCE } else { fate.after },
            fault,
        }
    }

    /// Carries a call out, as far as its way lets it.
    pub(super) fn arrive(&mut self, call: Call, way: Way) -> Answer {
        let location = self.store.location().clone();
        let at = || At::store(&location);
        let error = match way.fault {
            None | Some(Fault::LostResponse | Fault::Stale) => None,
            Some(Fault::LostRequest) => Some(lost(at())),
            Some(Fault::Denied) => Some(StoreError::Denied {
                at: at(),
                op: Op::Get,
                why: "drawn".into(),
            }),
            Some(Fault::Conflict) => Some(StoreError::Conflict { at: at() }),
            Some(Fault::Exists) => Some(StoreError::Exists { at: at() }),
            Some(Fault::Busy) => Some(StoreError::Busy {
                at: at(),
                why: "drawn".into(),
            }),
        };
        if let Some(e) = error {
            return match call {
                Call::Create(..) | Call::Put(..) => Answer::Put(Err(e)),
                Call::Get(..) => Answer::Got(Err(e)),
                Call::List(..) => Answer::Listed(Err(e)),
            };
        }
        let gone = way.fault == Some(Fault::LostResponse);
        let or_lost = |e: Option<StoreError>| if gone { Some(lost(at())) } else { e };
        match call {
            Call::Create(key, body) => {
                let result: Result<Put, _> = now(self.store.create(&key, body));
                Answer::Put(or_lost(result.err()).map_or(Ok(()), Err))
            }
            Call::Put(key, body) => {
                let result = now(self.store.put(&key, body));
                Answer::Put(or_lost(result.err()).map_or(Ok(()), Err))
            }
            Call::Get(key, limit) => {
                let result = now(self.store.get(&key, limit));
                Answer::Got(if gone { Err(lost(at())) } else { result })
            }
            Call::List(list) => {
                let fresh = now(self.store.list(&list));
                if gone {
                    return Answer::Listed(Err(lost(at())));
                }
                let old = self.stale.get(&list).cloned();
                if let Ok(listing) = &fresh {
                    self.stale.insert(list, listing.clone());
                }
                match (way.fault, old) {
                    (Some(Fault::Stale), old) => Answer::Listed(Ok(old.unwrap_or_default())),
                    _ => Answer::Listed(fresh),
                }
            }
        }
    }

    /// Looks at an object without anybody noticing.
    pub(super) fn peek(&self, key: &Key) -> Option<Object> {
        now(self.store.get(key, ByteLimit::mib(1_000))).ok()
    }

    /// Lists without anybody noticing.
    pub(super) fn look(&self, list: &List) -> Listing {
        now(self.store.list(list)).unwrap_or_default()
    }

    /// Writes an object from outside the world.
    pub(super) fn poke(&self, key: &Key, body: Bytes) {
        let _ = now(self.store.create(key, body));
    }
}

fn lost(at: At) -> StoreError {
    StoreError::Unreachable {
        at,
        why: "drawn".into(),
    }
}

/// The memory store never waits.
fn now<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never().unwrap()
}
