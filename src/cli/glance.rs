//! Reads what [`Status`] is told by.

use futures_util::future::try_join_all;

use super::report;
use crate::clock::{self, Estimate};
use crate::error::Error;
use crate::job::{RunId, Timestamp};
use crate::rendezvous::keys::{self, Item, RunKey};
use crate::rendezvous::status::{Glimpse, Status};
use crate::store::{Listing, Object, S3Store, Store};

/// How many runs are looked at at a time.
const AT_ONCE: usize = 8;

/// A bucket to look into, with what is known of its clock.
pub struct Onlooker {
    /// The bucket.
    pub store: S3Store,
    bucket: std::sync::Mutex<Estimate>,
}

impl Onlooker {
    /// At `store`.
    pub fn new(store: S3Store) -> Self {
        Onlooker {
            store,
            bucket: std::sync::Mutex::default(),
        }
    }

    /// Now, by the bucket's clock as its answers have told it so far.
    pub fn now(&self) -> Timestamp {
        let local = clock::now();
        let mut bucket = self
            .bucket
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for sample in self.store.dates().take() {
            bucket.add(&sample);
        }
        bucket.assumed(local).to_other(local)
    }

    /// Where `run` stands.
    ///
    /// # Errors
    /// When the bucket doesn't answer. A run that isn't there has no objects.
    pub async fn look(&self, run: &RunId) -> Result<Status, Error> {
        let seen = glimpse(&self.store, run).await?;
        Ok(Status::of(run, &seen, self.now()))
    }

    /// Where each of these runs stands.
    pub async fn look_at(&self, runs: &[RunId]) -> Result<Vec<Status>, Error> {
        let seen = glimpses(&self.store, runs).await?;
        let now = self.now();
        let seen = runs.iter().zip(&seen);
        Ok(seen.map(|(run, seen)| Status::of(run, seen, now)).collect())
    }
}

/// What there is to see of each of these runs.
pub async fn glimpses(store: &dyn Store, runs: &[RunId]) -> Result<Vec<Glimpse>, Error> {
    let mut seen = Vec::new();
    for some in runs.chunks(AT_ONCE) {
        let mut under_way = Vec::new();
        for run in some {
            under_way.push(glimpse(store, run));
        }
        seen.extend(try_join_all(under_way).await?);
    }
    Ok(seen)
}

async fn glimpse(store: &dyn Store, run: &RunId) -> Result<Glimpse, Error> {
    let listing = store.list(&keys::list_run(run)).await?;
    let item = async |item| read(store, &RunKey::new(run, item), &listing).await;
    let (job, start, abort) = (
        item(Item::Job).await?,
        item(Item::Start).await?,
        item(Item::Abort).await?,
    );
    let combined = match report::revision(&listing) {
        // One that can't be read leaves the verdict unknown.
        Some(revision) => report::read(store, run, revision).await.ok(),
        None => None,
    };
    Ok(Glimpse {
        listing,
        job,
        start,
        abort,
        combined,
    })
}

/// What a listing has of an object; one that has been deleted since is none.
async fn read(store: &dyn Store, key: &RunKey, listing: &Listing) -> Result<Option<Object>, Error> {
    let name = key.to_string();
    if !listing.objects.iter().any(|entry| entry.key == name) {
        return Ok(None);
    }
    match store.get(&key.key(), key.limit()).await {
        Ok(object) => Ok(Some(object)),
        Err(e) if e.is_absent() => Ok(None),
        Err(e) => Err(e.into()),
    }
}
