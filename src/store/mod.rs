//! The bucket as the rest of muster sees it. Only a definite answer is an answer; the rest is
//! unknown.
//!
//! [`Store`] is narrow on purpose: create, overwrite, read, list, delete. Whatever goes wrong is
//! one of [`StoreError`]'s closed set, which knows whether a retry makes sense
//! ([`StoreError::retryable`]) and what the user should do (its text).

mod backoff;
mod bucket_url;
mod counted;
mod error;
mod faulty;
mod key;
mod memory;
mod probe;
mod s3;
#[cfg(test)]
pub mod sample;
mod settle;

use async_trait::async_trait;
use bytes::Bytes;

pub use backoff::Backoff;
pub use bucket_url::{BucketUrl, BucketUrlError};
pub use counted::{CountedStore, RequestCounts};
pub use error::{At, Location, Op, StoreError};
pub use faulty::{Fate, Fault, FaultRates, FaultyStore};
pub use key::{Key, KeyError};
pub use memory::{MemoryStore, Now};
pub use probe::{Capabilities, Finding, clear_probe, probe};
pub(crate) use s3::tls;
pub use s3::{
    Addressing, DateSamples, Endpoint, EndpointError, PRESIGNED_MAX, Patience, PresignedUrls,
    S3Settings, S3Store, Session, SettingsError, StaticCredentials, UrlSigner,
};
pub use settle::{Next, Settled, Settling, create_settled};

use crate::job::Timestamp;

/// A bucket, or the part of one below a prefix. Keys are relative to that prefix.
#[async_trait]
pub trait Store: Send + Sync {
    /// Where this store is, for messages.
    fn location(&self) -> &Location;

    /// Creates `key`; never overwrites (`If-None-Match: *`).
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the key is there already, perhaps by an earlier attempt of this
    /// very call: [`create_settled`] tells which.
    async fn create(&self, key: &Key, body: Bytes) -> Result<Put, StoreError>;

    /// Writes `key` whether it exists or not. Only heartbeats may use this.
    async fn put(&self, key: &Key, body: Bytes) -> Result<Put, StoreError>;

    /// Writes `key` over the object that has this entity tag, and over no other (`If-Match`).
    ///
    /// # Errors
    /// [`StoreError::Changed`] when another object is there, or none: perhaps one's own, by an
    /// earlier attempt of this very call. A store that ignores the condition writes all the same.
    async fn replace(&self, key: &Key, etag: &str, body: Bytes) -> Result<Put, StoreError>;

    /// Reads `key`, if it holds at most `limit`. The size is checked before the body is read.
    ///
    /// # Errors
    /// [`StoreError::Absent`] for a definite "no such key" alone.
    async fn get(&self, key: &Key, limit: ByteLimit) -> Result<Object, StoreError>;

    /// Lists what `request` selects, in the order of the keys' bytes, through as many pages as it
    /// takes.
    async fn list(&self, request: &List) -> Result<Listing, StoreError>;

    /// How many objects a listing reads, where it is made of that instead of a request of its own.
    fn reads_to_list(&self, _request: &List) -> Option<u64> {
        None
    }

    /// Deletes `key`. A key that is absent already is no error.
    async fn delete(&self, key: &Key) -> Result<(), StoreError>;
}

/// The most bytes a reader is ready to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteLimit(pub u64);

impl ByteLimit {
    /// 2^10 bytes each.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// 2^20 bytes each.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }
}

/// An acknowledged write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The entity tag, if the store sent a strong one. It is a hash of the body for most stores: equal
    /// bodies of two writers have equal tags.
    pub etag: Option<String>,
}

/// An object that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// All of its bytes. Untrusted, like everything in a bucket.
    pub body: Bytes,
    /// Its entity tag, if the store sent one.
    pub etag: Option<String>,
    /// When it was written, on the store's clock, rounded down to a whole second
    /// (`Last-Modified` is an HTTP date, RFC 9110 section 8.8.2).
    pub last_modified: Timestamp,
}

/// What to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct List {
    /// Keys that start with this text; a folder's prefix ends with `/`.
    pub prefix: String,
    /// Whether keys with a further `/` are rolled up into [`Listing::prefixes`].
    pub folders: bool,
    /// Only keys after this one, whether it exists or not. It must start with `prefix`.
    pub start_after: Option<String>,
}

impl List {
    /// Everything whose key starts with `prefix`.
    pub fn all(prefix: impl Into<String>) -> Self {
        List {
            prefix: prefix.into(),
            ..List::default()
        }
    }

    /// What is directly in the folder `prefix`, its folders rolled up.
    pub fn folder(prefix: impl Into<String>) -> Self {
        List {
            prefix: prefix.into(),
            folders: true,
            ..List::default()
        }
    }

    /// Only what comes after `key`.
    #[must_use]
    pub fn after(mut self, key: impl Into<String>) -> Self {
        self.start_after = Some(key.into());
        self
    }
}

/// What a listing found, in the order of the keys' bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The objects.
    pub objects: Vec<Entry>,
    /// The folders below the prefix, each with its closing `/`.
    pub prefixes: Vec<String>,
}

/// One object of a [`Listing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key. Text, as anybody may have written it: parse it before use.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written, on the store's clock. Some stores give milliseconds here.
    pub last_modified: Timestamp,
}

/// The most entries one listing may have: a bound, not a page size. A run of 10,000 vantages with
/// 20 tiers has about 250,000 objects.
pub const MAX_LISTED: usize = 1_000_000;
