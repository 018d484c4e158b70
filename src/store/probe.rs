//! What a store can do, found out by trying.

use bytes::Bytes;
use futures_util::future::join_all;

use super::{At, ByteLimit, Key, List, Put, Store, StoreError};

/// How many creates race for one key.
const RACERS: usize = 8;

/// What is read back is a few bytes.
const SMALL: ByteLimit = ByteLimit::kib(1);

/// What a store was seen to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// A second create of a key is refused, and the first body stays.
    pub create_only: Finding,
    /// Of creates that race for one key, exactly one wins.
    pub one_winner: Finding,
    /// What was written is read back at once.
    pub read_after_write: Finding,
    /// A put overwrites.
    pub overwrite: Finding,
    /// A put that names the object to overwrite overwrites no other. Without it, a prober that waits
    /// notices an abort when it looks for one, and not at once.
    pub replace: Finding,
    /// A key that is missing reads as missing, not as forbidden.
    pub absent: Finding,
    /// A listing has what was written. Without it, a prober must be told its run's id, and a
    /// finalizer its vantages.
    pub list: Finding,
    /// What was written can be deleted. Nothing but cleaning up needs it.
    pub delete: Finding,
}

/// Whether a store does what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It was seen to.
    Yes,
    /// It was seen not to; the text says what happened instead.
    No(String),
}

impl Finding {
    fn when(holds: bool, otherwise: impl Into<String>) -> Self {
        if holds {
            Finding::Yes
        } else {
            Finding::No(otherwise.into())
        }
    }

    /// Whether it was seen to.
    pub fn is_yes(&self) -> bool {
        *self == Finding::Yes
    }
}

impl Capabilities {
    /// Each finding with its name, in the order of a report.
    pub fn findings(&self) -> [(&'static str, &Finding); 8] {
        [
            ("conditional creates", &self.create_only),
            ("one winner of racing creates", &self.one_winner),
            ("read after write", &self.read_after_write),
            ("overwrite", &self.overwrite),
            ("conditional overwrite", &self.replace),
            ("missing keys read as missing", &self.absent),
            ("list", &self.list),
            ("delete", &self.delete),
        ]
    }

    /// Refuses a store that a run can't be trusted to. All is needed but deleting and
    /// conditional overwrites.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`], with everything that is missing.
    pub fn require(&self, store: &dyn Store) -> Result<(), StoreError> {
        let missing: Vec<String> = self
            .findings()
            .into_iter()
            .filter(|(name, _)| !["delete", "conditional overwrite"].contains(name))
            .filter_map(|(name, finding)| match finding {
                Finding::Yes => None,
                Finding::No(why) => Some(format!("{name}: {why}")),
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(StoreError::Unsupported {
            at: At::store(store.location()),
            why: missing.join("; "),
        })
    }
}

/// Tries what muster needs of `store`, in about 25 requests below `probe/{nonce}/`, and deletes
/// what it wrote. `nonce` must be random.
///
/// # Errors
/// When the store can't be used at all, as far as the first write tells: no such bucket, wrong
/// credentials, not allowed, no answer.
pub async fn probe(store: &dyn Store, nonce: u64) -> Result<Capabilities, StoreError> {
    let key = |name| key(store, nonce, name);
    let (once, race, missing) = (key("once")?, key("race")?, key("missing")?);
    match store.create(&once, body(nonce, 0)).await {
        // Its own, by a first attempt whose answer was lost: nobody else draws this nonce.
        Err(e) if e.is_exists() => {}
        written => drop(written?),
    }
    let found = try_all(store, nonce, [&once, &race, &missing]).await;
    let delete = clear_probe(store, nonce).await;
    found.map(|found| Capabilities { delete, ..found })
}

/// Deletes what [`probe`] wrote with this nonce. It does so itself, unless it is dropped before
/// its end.
pub async fn clear_probe(store: &dyn Store, nonce: u64) -> Finding {
    let deleted = join_all(["once", "race"].map(|name| async move {
        let key = key(store, nonce, name)?;
        store.delete(&key).await
    }));
    let left: Vec<String> = deleted
        .await
        .into_iter()
        .filter_map(|deleted| Some(deleted.err()?.to_string()))
        .collect();
    Finding::when(left.is_empty(), left.join("; "))
}

/// What the keys of one probe begin with.
fn folder(nonce: u64) -> String {
    format!("probe/{nonce:016x}/")
}

fn key(store: &dyn Store, nonce: u64, name: &str) -> Result<Key, StoreError> {
    format!("{}{name}", folder(nonce))
        .parse::<Key>()
        .map_err(|e| StoreError::Other {
            at: At::store(store.location()),
            why: e.to_string(),
        })
}

/// A body that no other writer has.
fn body(nonce: u64, writer: usize) -> Bytes {
    format!("{nonce:016x} {writer}\n").into()
}

async fn try_all(
    store: &dyn Store,
    nonce: u64,
    [once, race, missing]: [&Key; 3],
) -> Result<Capabilities, StoreError> {
    let read = store.get(once, SMALL).await;
    let read_after_write = match &read {
        Ok(object) => Finding::when(object.body == body(nonce, 0), "another body was read"),
        Err(e) => Finding::No(e.to_string()),
    };

    let again = store.create(once, body(nonce, 1)).await;
    let create_only = match again {
        Err(e) if e.is_exists() => Finding::Yes,
        Err(e) if e.retryable() => return Err(e),
        Err(e) => Finding::No(e.to_string()),
        Ok(_) => Finding::No(
            "If-None-Match is ignored, a second create overwrote the first; use a store that \
             has conditional writes"
                .into(),
        ),
    };

    let overwrite = match store.put(once, body(nonce, 2)).await {
        Ok(_) => match store.get(once, SMALL).await {
            Ok(object) => Finding::when(object.body == body(nonce, 2), "the old body was read"),
            Err(e) => Finding::No(e.to_string()),
        },
        Err(e) => Finding::No(e.to_string()),
    };

    let replace = replaces(store, once, nonce).await;

    let one_winner = race_creates(store, race, nonce).await;

    let absent = match store.get(missing, SMALL).await {
        Err(e) if e.is_absent() => Finding::Yes,
        Err(e) => Finding::No(e.to_string()),
        Ok(_) => Finding::No("a key was read that nobody wrote".into()),
    };

    let list = match store.list(&List::all(folder(nonce))).await {
        Ok(listing) => Finding::when(
            listing
                .objects
                .iter()
                .any(|entry| entry.key == once.as_str()),
            "a listing lacks an object that was written before",
        ),
        Err(e) => Finding::No(e.to_string()),
    };

    Ok(Capabilities {
        create_only,
        one_winner,
        read_after_write,
        overwrite,
        replace,
        absent,
        list,
        delete: Finding::Yes,
    })
}

/// Whether a put over an object that is there no more is refused, and one over what is there not.
async fn replaces(store: &dyn Store, key: &Key, nonce: u64) -> Finding {
    let written = match store.put(key, body(nonce, 3)).await {
        Ok(Put { etag: Some(etag) }) => etag,
        Ok(Put { etag: None }) => return Finding::No("a put is answered without an ETag".into()),
        Err(e) => return Finding::No(e.to_string()),
    };
    match store.replace(key, &written, body(nonce, 4)).await {
        Ok(_) => {}
        Err(e) => return Finding::No(e.to_string()),
    }
    match store.replace(key, &written, body(nonce, 5)).await {
        Err(e) if e.is_changed() => Finding::Yes,
        Err(e) => Finding::No(e.to_string()),
        Ok(_) => Finding::No("If-Match is ignored".into()),
    }
}

async fn race_creates(store: &dyn Store, key: &Key, nonce: u64) -> Finding {
    let answers = join_all((0..RACERS).map(|i| store.create(key, body(nonce, i)))).await;
    let winners: Vec<usize> = (0..RACERS)
        .zip(&answers)
        .filter_map(|(i, answer)| answer.is_ok().then_some(i))
        .collect();
    let stored = match store.get(key, SMALL).await {
        Ok(object) => object.body,
        Err(e) => return Finding::No(e.to_string()),
    };
    match winners.as_slice() {
        [winner] => Finding::when(
            stored == body(nonce, *winner),
            "the body that was stored is not the winner's",
        ),
        // The winner's answer was lost, and its retry met its own object.
        [] => Finding::when(
            (0..RACERS).any(|i| stored == body(nonce, i)),
            "no create won, and yet there is an object",
        ),
        several => Finding::No(format!(
            "{} of {RACERS} racing creates won; use a store whose conditional writes are atomic",
            several.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;

    use super::*;
    use crate::job::Timestamp;
    use crate::store::{
        Fault, FaultRates, FaultyStore, Listing, Location, MemoryStore, Object, Op,
    };

    fn memory() -> MemoryStore {
        MemoryStore::new(Arc::new(|| Timestamp::from_micros(0)))
    }

    #[tokio::test]
    async fn a_good_store_has_it_all_and_is_left_clean() {
        let store = memory();
        let found = probe(&store, 1).await.expect("probed");
        assert!(
            found.findings().iter().all(|(_, f)| f.is_yes()),
            "{found:?}"
        );
        assert_eq!(found.require(&store), Ok(()));
        assert_eq!(store.list(&List::all("")).await, Ok(Listing::default()));
    }

    /// Ignores `If-None-Match` and `If-Match`, as some stores do.
    struct Careless(MemoryStore);

    #[async_trait]
    impl Store for Careless {
        fn location(&self) -> &Location {
            self.0.location()
        }
        async fn create(&self, key: &Key, body: Bytes) -> Result<Put, StoreError> {
            self.0.put(key, body).await
        }
        async fn put(&self, key: &Key, body: Bytes) -> Result<Put, StoreError> {
            self.0.put(key, body).await
        }
        async fn replace(&self, key: &Key, _: &str, body: Bytes) -> Result<Put, StoreError> {
            self.0.put(key, body).await
        }
        async fn get(&self, key: &Key, limit: ByteLimit) -> Result<Object, StoreError> {
            self.0.get(key, limit).await
        }
        async fn list(&self, request: &List) -> Result<Listing, StoreError> {
            self.0.list(request).await
        }
        async fn delete(&self, key: &Key) -> Result<(), StoreError> {
            self.0.delete(key).await
        }
    }

    #[tokio::test]
    async fn ignored_conditions_are_found_and_refused() {
        let store = Careless(memory());
        let found = probe(&store, 1).await.expect("probed");
        assert!(!found.create_only.is_yes() && !found.one_winner.is_yes());
        assert_eq!(found.replace, Finding::No("If-Match is ignored".into()));
        let refusal = found.require(&store).expect_err("refused").to_string();
        assert!(refusal.contains("If-None-Match is ignored"), "{refusal}");
        assert!(refusal.contains("8 of 8 racing creates won"), "{refusal}");
    }

    #[tokio::test]
    async fn missing_rights_are_found() {
        let store = FaultyStore::new(memory(), FaultRates::default(), 0);
        store.script(Op::List, "probe/", Fault::Denied);
        store.script(Op::Get, "missing", Fault::Denied);
        store.script(Op::Delete, "once", Fault::Denied);
        let found = probe(&store, 1).await.expect("probed");
        assert!(!found.list.is_yes() && !found.absent.is_yes() && !found.delete.is_yes());
        assert!(found.create_only.is_yes() && found.one_winner.is_yes());
        let refusal = found.require(&store).expect_err("refused").to_string();
        assert!(
            refusal.contains("missing keys") && !refusal.contains("delete:"),
            "{refusal}"
        );
    }

    #[tokio::test]
    async fn a_store_that_can_not_be_used_is_an_error() {
        let store = FaultyStore::new(memory(), FaultRates::default(), 0);
        store.script(Op::Create, "once", Fault::Denied);
        let denied = probe(&store, 1).await;
        assert!(
            matches!(denied, Err(StoreError::Denied { .. })),
            "{denied:?}"
        );
    }
}
