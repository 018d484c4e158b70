//! The bucket of a run: requests out, replies and readings of its clock back.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::clock::Sample;
use crate::rendezvous::exchange::{Reply, Request};
use crate::rendezvous::keys::RunKey;
use crate::store::{
    Backoff, CountedStore, DateSamples, RequestCounts, S3Store, Store, create_settled,
};

/// A store, with what its answers say of its clock and how much it was asked.
#[derive(Clone)]
pub struct Bucket {
    store: CountedStore,
    dates: Option<DateSamples>,
}

impl From<S3Store> for Bucket {
    /// The store's clock to compare with must be [`crate::clock::now`].
    fn from(store: S3Store) -> Self {
        Bucket {
            dates: Some(store.dates().clone()),
            store: CountedStore::new(Arc::new(store)),
        }
    }
}

impl Bucket {
    /// A store whose clock is local time.
    pub fn on_local_time(store: Arc<dyn Store>) -> Self {
        Bucket {
            store: CountedStore::new(store),
            dates: None,
        }
    }

    /// The same, after so many objects of it were read in another way.
    #[must_use]
    pub fn after_reading(self, objects: u64) -> Self {
        self.store.add_reads(objects);
        self
    }

    /// The store.
    pub fn store(&self) -> &dyn Store {
        &self.store
    }

    /// Where it is, for messages (`s3://name/prefix at https://…`).
    pub fn place(&self) -> String {
        crate::store::At::store(self.store.location()).to_string()
    }

    /// What this and its clones were asked so far.
    pub fn requests(&self) -> RequestCounts {
        self.store.counts()
    }

    /// Readings of its clock since the last call.
    pub(super) fn clock(&self) -> Vec<Sample> {
        self.dates
            .as_ref()
            .map(DateSamples::take)
            .unwrap_or_default()
    }

    /// Sends a request; its reply comes out of `under_way`.
    pub(super) fn ask(&self, request: Request, under_way: &mut JoinSet<Reply>) {
        let store = self.store.clone();
        under_way.spawn(async move { answer(&store, request).await });
    }
}

pub(super) async fn answer(store: &dyn Store, request: Request) -> Reply {
    match request {
        Request::Read(key) => {
            let answer = store.get(&key.key(), key.limit()).await;
            Reply::Read(key, answer)
        }
        Request::Create(key, body) => {
            let answer = create(store, &key, body).await;
            Reply::Created(key, answer)
        }
        Request::Overwrite(key, body, over) => {
            let answer = match over {
                Some(etag) => store.replace(&key.key(), &etag, body).await,
                None => store.put(&key.key(), body).await,
            };
            Reply::Overwritten(key, answer)
        }
        Request::List(list) => {
            let answer = store.list(&list).await;
            Reply::Listed(list, answer)
        }
    }
}

async fn create(
    store: &dyn Store,
    key: &RunKey,
    body: bytes::Bytes,
) -> Result<crate::store::Settled, crate::store::StoreError> {
    create_settled(store, &key.key(), body, key.limit(), Backoff::default()).await
}
