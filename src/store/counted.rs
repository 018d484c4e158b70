//! A store that counts what is asked of it.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{ByteLimit, Key, List, Listing, Location, Object, Op, Put, Store, StoreError};

/// Requests to a store, by kind. A listing's further pages (1,000 keys each) and what a client
/// library tries again by itself are not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCounts {
    /// Objects read, or found absent.
    pub reads: u64,
    /// Listings.
    pub lists: u64,
    /// Objects created, each try.
    pub creates: u64,
    /// Heartbeats: the one object that is overwritten.
    pub heartbeats: u64,
    /// Objects deleted.
    pub deletes: u64,
}

impl RequestCounts {
    /// All but the heartbeats.
    pub fn beside_heartbeats(&self) -> u64 {
        [self.reads, self.lists, self.creates, self.deletes]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// What has been added since an earlier count.
    #[must_use]
    pub fn since(&self, earlier: &RequestCounts) -> RequestCounts {
        RequestCounts {
            reads: self.reads.saturating_sub(earlier.reads),
            lists: self.lists.saturating_sub(earlier.lists),
            creates: self.creates.saturating_sub(earlier.creates),
            heartbeats: self.heartbeats.saturating_sub(earlier.heartbeats),
            deletes: self.deletes.saturating_sub(earlier.deletes),
        }
    }

    /// Adds one.
    pub fn count(&mut self, op: Op) {
        let kind = match op {
            Op::Get => &mut self.reads,
            Op::List => &mut self.lists,
            Op::Create => &mut self.creates,
            Op::Put | Op::Replace => &mut self.heartbeats,
            Op::Delete => &mut self.deletes,
        };
        *kind = kind.saturating_add(1);
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &RequestCounts) {
        let sum = |a: &mut u64, b: u64| *a = a.saturating_add(b);
        sum(&mut self.reads, other.reads);
        sum(&mut self.lists, other.lists);
        sum(&mut self.creates, other.creates);
        sum(&mut self.heartbeats, other.heartbeats);
        sum(&mut self.deletes, other.deletes);
    }
}

/// A store around another one. Clones count together.
#[derive(Clone)]
pub struct CountedStore {
    inner: Arc<dyn Store>,
    counts: Arc<Mutex<RequestCounts>>,
}

impl CountedStore {
    /// Counts what `inner` is asked.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        CountedStore {
            inner,
            counts: Arc::default(),
        }
    }

    /// What was asked so far.
    pub fn counts(&self) -> RequestCounts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts objects that were read in another way.
    pub fn add_reads(&self, reads: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.merge(&RequestCounts {
            reads,
            ..RequestCounts::default()
        });
    }

    fn count(&self, op: Op) -> &dyn Store {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.count(op);
        self.inner.as_ref()
    }
}

#[async_trait]
impl Store for CountedStore {
    fn location(&self) -> &Location {
        self.inner.location()
    }

    async fn create(&self, key: &Key, body: Bytes) -> Result<Put, StoreError> {
        self.count(Op::Create).create(key, body).await
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<Put, StoreError> {
        self.count(Op::Put).put(key, body).await
    }

    async fn replace(&self, key: &Key, etag: &str, body: Bytes) -> Result<Put, StoreError> {
        self.count(Op::Replace).replace(key, etag, body).await
    }

    async fn get(&self, key: &Key, limit: ByteLimit) -> Result<Object, StoreError> {
        self.count(Op::Get).get(key, limit).await
    }

    async fn list(&self, request: &List) -> Result<Listing, StoreError> {
        if let Some(reads) = self.inner.reads_to_list(request) {
            self.add_reads(reads);
            return self.inner.list(request).await;
        }
        self.count(Op::List).list(request).await
    }

    fn reads_to_list(&self, request: &List) -> Option<u64> {
        self.inner.reads_to_list(request)
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.count(Op::Delete).delete(key).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Timestamp;
    use crate::store::MemoryStore;

    #[tokio::test]
    async fn each_kind_is_counted_whatever_its_answer() {
        let store = MemoryStore::new(Arc::new(|| Timestamp::from_micros(0)));
        let store = CountedStore::new(Arc::new(store));
        let key: Key = "a".parse().unwrap();
        for _ in 0..2 {
            let _ = store.create(&key, Bytes::new()).await;
        }
        let _ = store.get(&key, ByteLimit::kib(1)).await;
        let _ = store.put(&key, Bytes::new()).await;
        let _ = store.replace(&key, "none", Bytes::new()).await;
        let _ = store.list(&List::all("")).await;
        let _ = store.clone().delete(&key).await;
        let want = RequestCounts {
            reads: 1,
            lists: 1,
            creates: 2,
            heartbeats: 2,
            deletes: 1,
        };
        assert_eq!(store.counts(), want);
        assert_eq!(want.beside_heartbeats(), 5);
    }
}
