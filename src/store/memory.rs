//! A bucket in memory, for simulations.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use md5::{Digest, Md5};

use super::{At, ByteLimit, Entry, Key, List, Listing, Location, Object, Put, Store, StoreError};
use crate::job::Timestamp;

/// A clock to read, as a handle: what it says may be simulated.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A bucket in memory. Clones share their objects.
///
/// It rounds times as real stores do: whole seconds for a read, milliseconds in a listing.
#[derive(Clone)]
pub struct MemoryStore {
    location: Location,
    now: Now,
    objects: Arc<Mutex<BTreeMap<String, Stored>>>,
}

#[derive(Clone)]
struct Stored {
    body: Bytes,
    etag: String,
    written: Timestamp,
}

impl MemoryStore {
    /// An empty bucket whose clock is `now`.
    pub fn new(now: Now) -> Self {
        MemoryStore {
            location: Location {
                bucket: "memory".into(),
                prefix: String::new(),
                endpoint: "memory".into(),
            },
            now,
            objects: Arc::default(),
        }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Stored>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stored(&self, body: Bytes) -> Stored {
        let digest = Md5::digest(&body);
        Stored {
            etag: digest.iter().map(|b| format!("{b:02x}")).collect(),
            written: (self.now)(),
            body,
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn location(&self) -> &Location {
        &self.location
    }

    async fn create(&self, key: &Key, body: Bytes) -> Result<Put, StoreError> {
        let stored = self.stored(body);
        let etag = Some(stored.etag.clone());
        let mut objects = self.objects();
        if objects.contains_key(key.as_str()) {
            return Err(StoreError::Exists {
                at: At::key(&self.location, key),
            });
        }
        objects.insert(key.as_str().to_owned(), stored);
        Ok(Put { etag })
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<Put, StoreError> {
        let stored = self.stored(body);
        let etag = Some(stored.etag.clone());
        self.objects().insert(key.as_str().to_owned(), stored);
        Ok(Put { etag })
    }

    async fn replace(&self, key: &Key, etag: &str, body: Bytes) -> Result<Put, StoreError> {
        let stored = self.stored(body);
        let mut objects = self.objects();
        match objects.get_mut(key.as_str()) {
            Some(there) if there.etag == etag => {
                let etag = Some(stored.etag.clone());
                *there = stored;
                Ok(Put { etag })
            }
            _ => Err(StoreError::Changed {
                at: At::key(&self.location, key),
            }),
        }
    }

    async fn get(&self, key: &Key, limit: ByteLimit) -> Result<Object, StoreError> {
        let at = || At::key(&self.location, key);
        let objects = self.objects();
        let stored = objects
            .get(key.as_str())
            .ok_or_else(|| StoreError::Absent { at: at() })?;
        let size = stored.body.len() as u64;
        if size > limit.0 {
            return Err(StoreError::TooLarge {
                at: at(),
                size,
                limit,
            });
        }
        Ok(Object {
            body: stored.body.clone(),
            etag: Some(stored.etag.clone()),
            last_modified: floor(stored.written, 1_000_000),
        })
    }

    async fn list(&self, request: &List) -> Result<Listing, StoreError> {
        let prefix = request.prefix.as_str();
        let mut listing = Listing::default();
        for (key, stored) in self.objects().range(prefix.to_owned()..) {
            let Some(rest) = key.strip_prefix(prefix) else {
                break;
            };
            if request
                .start_after
                .as_ref()
                .is_some_and(|after| key <= after)
            {
                continue;
            }
            let folder = rest.split_once('/').filter(|_| request.folders);
            if let Some((name, _)) = folder {
                let folder = format!("{prefix}{name}/");
                if listing.prefixes.last() != Some(&folder) {
                    listing.prefixes.push(folder);
                }
            } else {
                listing.objects.push(Entry {
                    key: key.clone(),
                    size: stored.body.len() as u64,
                    last_modified: floor(stored.written, 1_000),
                });
            }
        }
        Ok(listing)
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.objects().remove(key.as_str());
        Ok(())
    }
}

/// `t` rounded down to a multiple of `grain_us` microseconds.
fn floor(t: Timestamp, grain_us: i64) -> Timestamp {
    Timestamp::from_micros(t.as_micros() - t.as_micros().rem_euclid(grain_us))
}
