//! Reads what [`Status`] is told by.

use futures_util::future::try_join_all;

use super::report;
use crate::clock::{self, Estimate};
use crate::error::Error;
use crate::job::{RunId, Timestamp};
use crate::rendezvous::keys::{self, Item, RunKey};
use crate::rendezvous::status::{Glimpse, Status};
use crate::store::{Object, S3Store, Store};

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
        let listing = self.store.list(&keys::list_run(run)).await?;
        let mut seen = Glimpse {
            job: self.read(&RunKey::new(run, Item::Job), &listing).await?,
            start: self.read(&RunKey::new(run, Item::Start), &listing).await?,
            abort: self.read(&RunKey::new(run, Item::Abort), &listing).await?,
            ..Glimpse::default()
        };
        seen.listing = listing;
        if let Some(revision) = report::revision(&seen.listing) {
            // One that can't be read leaves the verdict unknown.
            seen.combined = report::read(&self.store, run, revision).await.ok();
        }
        Ok(Status::of(run, &seen, self.now()))
    }

    /// Where each of these runs stands.
    pub async fn look_at(&self, runs: &[RunId]) -> Result<Vec<Status>, Error> {
        let mut statuses = Vec::new();
        for some in runs.chunks(AT_ONCE) {
            let mut under_way = Vec::new();
            for run in some {
                under_way.push(self.look(run));
            }
            statuses.extend(try_join_all(under_way).await?);
        }
        Ok(statuses)
    }

    /// What a listing has of an object; one that has been deleted since is none.
    async fn read(
        &self,
        key: &RunKey,
        listing: &crate::store::Listing,
    ) -> Result<Option<Object>, Error> {
        let name = key.to_string();
        if !listing.objects.iter().any(|entry| entry.key == name) {
            return Ok(None);
        }
        match self.store.get(&key.key(), key.limit()).await {
            Ok(object) => Ok(Some(object)),
            Err(e) if e.is_absent() => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}
