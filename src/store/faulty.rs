//! A store that goes wrong on purpose, the same way for the same seed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::backoff::mix;
use super::{At, ByteLimit, Key, List, Listing, Location, Object, Op, Put, Store, StoreError};

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Never carried out, and answered [`StoreError::Unreachable`].
    LostRequest,
    /// Carried out, and answered [`StoreError::Unreachable`].
    LostResponse,
    /// Never carried out, and answered [`StoreError::Denied`] (403).
    Denied,
    /// Never carried out, and answered [`StoreError::Conflict`] (409).
    Conflict,
    /// Never carried out, and answered [`StoreError::Exists`] (412), whether it does or not.
    Exists,
    /// Never carried out, and answered [`StoreError::Changed`] (412), whether it was or not.
    Changed,
    /// Never carried out, and answered [`StoreError::Busy`] (500, 503).
    Busy,
    /// A listing as it was when it was last asked for; empty at first.
    Stale,
}

/// How often each fault befalls a call that it can befall, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultRates {
    /// [`Fault::LostRequest`], any call.
    pub lost_request: u16,
    /// [`Fault::LostResponse`], any call.
    pub lost_response: u16,
    /// [`Fault::Denied`], any call.
    pub denied: u16,
    /// [`Fault::Conflict`], creates and conditional overwrites.
    pub conflict: u16,
    /// [`Fault::Exists`], creates.
    pub exists: u16,
    /// [`Fault::Changed`], conditional overwrites.
    pub changed: u16,
    /// [`Fault::Busy`], any call.
    pub busy: u16,
    /// [`Fault::Stale`], listings.
    pub stale: u16,
    /// Each call takes up to this, before and again after it is carried out.
    pub longest_delay: Duration,
}

/// What befalls one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// How long the request is under way.
    pub before: Duration,
    /// How long the answer is under way.
    pub after: Duration,
    /// What goes wrong, if anything.
    pub fault: Option<Fault>,
}

impl FaultRates {
    /// What befalls the `n`-th call under `seed`.
    pub fn fate(&self, seed: u64, n: u64, op: Op) -> Fate {
        let draw = |salt: u64| mix(seed ^ mix(n ^ mix(salt)));
        let delay = |salt| {
            self.longest_delay
                .mul_f64(draw(salt) as f64 / u64::MAX as f64)
        };
        let (create, list) = (op == Op::Create, op == Op::List);
        let replace = op == Op::Replace;
        let table = [
            (self.lost_request, true, Fault::LostRequest),
            (self.lost_response, true, Fault::LostResponse),
            (self.denied, true, Fault::Denied),
            (self.busy, true, Fault::Busy),
            (self.conflict, create || replace, Fault::Conflict),
            (self.exists, create, Fault::Exists),
            (self.changed, replace, Fault::Changed),
            (self.stale, list, Fault::Stale),
        ];
        let mut drawn = draw(0) % 1000;
        let mut fault = None;
        for (rate, applies, candidate) in table {
            if !applies {
                continue;
            }
            if drawn < u64::from(rate) {
                fault = Some(candidate);
                break;
            }
            drawn -= u64::from(rate);
        }
        Fate {
            before: delay(1),
            after: delay(2),
            fault,
        }
    }
}

/// A store around another one, with faults: drawn by rate, and scripted.
pub struct FaultyStore<S> {
    inner: S,
    rates: FaultRates,
    seed: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: u64,
    script: VecDeque<(Op, String, Fault)>,
    listed: BTreeMap<List, Listing>,
}

impl<S: Store> FaultyStore<S> {
    /// Faults at `rates`, drawn from `seed`.
    pub fn new(inner: S, rates: FaultRates, seed: u64) -> Self {
        FaultyStore {
            inner,
            rates,
            seed,
            state: Mutex::default(),
        }
    }

    /// Has `fault` befall the next `op` on a key (or a prefix, for listings) that contains `part`.
    /// Faults that are scripted alike befall one call each, in order.
    pub fn script(&self, op: Op, part: impl Into<String>, fault: Fault) {
        self.state().script.push_back((op, part.into(), fault));
    }

    /// How many calls there have been.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fate(&self, op: Op, key: &str) -> Fate {
        let mut state = self.state();
        let mut fate = self.rates.fate(self.seed, state.calls, op);
        state.calls += 1;
        let scripted = state
            .script
            .iter()
            .position(|(of, part, _)| *of == op && key.contains(part.as_str()))
            .and_then(|at| state.script.remove(at));
        if let Some((_, _, fault)) = scripted {
            fate.fault = Some(fault);
        }
        fate
    }

    /// Carries `call` out, or not, as fate has it.
    async fn befall<T>(
        &self,
        fate: Fate,
        at: At,
        op: Op,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let why = |what: &str| format!("{what} by a fault of the test");
        pause(fate.before).await;
        let answer = match fate.fault {
            Some(Fault::LostRequest) => Err(StoreError::Unreachable {
                at,
                why: why("request lost"),
            }),
            Some(Fault::LostResponse) => {
                // Whatever the answer was, nobody hears it.
                drop(call.await);
                Err(StoreError::Unreachable {
                    at,
                    why: why("answer lost"),
                })
            }
            Some(Fault::Denied) => Err(StoreError::Denied {
                at,
                op,
                why: why("denied"),
            }),
            Some(Fault::Conflict) => Err(StoreError::Conflict { at }),
            Some(Fault::Exists) => Err(StoreError::Exists { at }),
            Some(Fault::Changed) => Err(StoreError::Changed { at }),
            Some(Fault::Busy) => Err(StoreError::Busy {
                at,
                why: why("busy"),
            }),
            Some(Fault::Stale) | None => call.await,
        };
        pause(fate.after).await;
        answer
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge: delays are decided elsewhere"
)]
async fn pause(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

#[async_trait]
impl<S: Store> Store for FaultyStore<S> {
    fn location(&self) -> &Location {
        self.inner.location()
    }

    async fn create(&self, key: &Key, body: Bytes) -> Result<Put, StoreError> {
        let fate = self.fate(Op::Create, key.as_str());
        let at = At::key(self.location(), key);
        self.befall(fate, at, Op::Create, self.inner.create(key, body))
            .await
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<Put, StoreError> {
        let fate = self.fate(Op::Put, key.as_str());
        let at = At::key(self.location(), key);
        self.befall(fate, at, Op::Put, self.inner.put(key, body))
            .await
    }

    async fn replace(&self, key: &Key, etag: &str, body: Bytes) -> Result<Put, StoreError> {
        let fate = self.fate(Op::Replace, key.as_str());
        let at = At::key(self.location(), key);
        self.befall(fate, at, Op::Replace, self.inner.replace(key, etag, body))
            .await
    }

    async fn get(&self, key: &Key, limit: ByteLimit) -> Result<Object, StoreError> {
        let fate = self.fate(Op::Get, key.as_str());
        let at = At::key(self.location(), key);
        self.befall(fate, at, Op::Get, self.inner.get(key, limit))
            .await
    }

    async fn list(&self, request: &List) -> Result<Listing, StoreError> {
        let fate = self.fate(Op::List, &request.prefix);
        let at = At::prefix(self.location(), &request.prefix);
        let fresh = self
            .befall(fate, at, Op::List, self.inner.list(request))
            .await?;
        let listed = &mut self.state().listed;
        if fate.fault == Some(Fault::Stale) {
            Ok(listed.get(request).cloned().unwrap_or_default())
        } else {
            listed.insert(request.clone(), fresh.clone());
            Ok(fresh)
        }
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let fate = self.fate(Op::Delete, key.as_str());
        let at = At::key(self.location(), key);
        self.befall(fate, at, Op::Delete, self.inner.delete(key))
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::job::Timestamp;
    use crate::store::{Backoff, MemoryStore, Settled, create_settled};

    const KIB: ByteLimit = ByteLimit::kib(1);
    const QUICK: Backoff = Backoff {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(1),
        tries: 6,
    };

    fn memory() -> MemoryStore {
        MemoryStore::new(Arc::new(|| Timestamp::from_micros(0)))
    }

    fn calm() -> FaultyStore<MemoryStore> {
        FaultyStore::new(memory(), FaultRates::default(), 0)
    }

    fn key(text: &str) -> Key {
        text.parse().expect("a key")
    }

    #[test]
    fn fates_are_decided_by_seed_and_happen_as_often_as_asked() {
        let rates = FaultRates {
            lost_request: 100,
            lost_response: 50,
            stale: 200,
            ..FaultRates::default()
        };
        let fates = |seed| (0..20_000).map(move |n| rates.fate(seed, n, Op::List));
        assert!(fates(7).eq(fates(7)));
        assert!(!fates(7).eq(fates(8)));
        for (fault, expected) in [
            (Some(Fault::LostRequest), 0.1),
            (Some(Fault::LostResponse), 0.05),
            (Some(Fault::Stale), 0.2),
            (Some(Fault::Busy), 0.0),
            (None, 0.65),
        ] {
            let share = fates(7).filter(|f| f.fault == fault).count() as f64 / 20_000.0;
            assert!((share - expected).abs() < 0.02, "{fault:?}: {share}");
        }
        let creates = (0..1000).map(|n| rates.fate(7, n, Op::Create));
        assert!(creates.into_iter().all(|f| f.fault != Some(Fault::Stale)));
    }

    #[tokio::test]
    async fn a_create_settles_whatever_is_lost() {
        let store = calm();
        let at = key("a/b");
        store.script(Op::Create, "a/b", Fault::LostResponse);
        store.script(Op::Get, "a/b", Fault::Busy);
        store.script(Op::Get, "a/b", Fault::LostRequest);
        let mine = create_settled(&store, &at, "mine".into(), KIB, QUICK).await;
        assert_eq!(mine, Ok(Settled::Mine));
        store.script(Op::Create, "a/b", Fault::Conflict);
        let other = create_settled(&store, &at, "other".into(), KIB, QUICK).await;
        assert!(matches!(other, Ok(Settled::Theirs(o)) if o.body == "mine"));
    }

    #[tokio::test]
    async fn a_spurious_412_does_not_lose_the_write() {
        let store = calm();
        store.script(Op::Create, "a", Fault::Exists);
        let mine = create_settled(&store, &key("a"), "mine".into(), KIB, QUICK).await;
        assert_eq!(mine, Ok(Settled::Mine));
    }

    #[tokio::test]
    async fn a_stale_listing_is_an_earlier_one() {
        let store = calm();
        let all = List::all("");
        store.create(&key("a"), "1".into()).await.expect("created");
        store.script(Op::List, "", Fault::Stale);
        assert_eq!(store.list(&all).await, Ok(Listing::default()));
        let one = store.list(&all).await.expect("listed");
        store.create(&key("b"), "2".into()).await.expect("created");
        store.script(Op::List, "", Fault::Stale);
        assert_eq!(store.list(&all).await, Ok(one));
        assert_eq!(store.list(&all).await.map(|l| l.objects.len()), Ok(2));
    }
}
