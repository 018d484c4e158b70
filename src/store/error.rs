//! What can go wrong with a bucket, as a closed set.

use std::fmt;
use std::sync::Arc;

use super::{ByteLimit, Key};

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The bucket's name.
    pub bucket: String,
    /// The prefix within the bucket, without slashes at its ends; may be empty.
    pub prefix: String,
    /// The endpoint's URL, or the words that stand for it (`AWS S3 in eu-west-1`, `memory`).
    pub endpoint: String,
}

/// Where an error happened: a store and, if one was concerned, a key.
#[derive(Clone, PartialEq, Eq)]
pub struct At {
    location: Arc<Location>,
    key: Option<Arc<str>>,
}

impl At {
    /// The store as a whole.
    pub fn store(location: &Location) -> Self {
        At {
            location: Arc::new(location.clone()),
            key: None,
        }
    }

    /// One key of the store.
    pub fn key(location: &Location, key: &Key) -> Self {
        At {
            location: Arc::new(location.clone()),
            key: Some(key.as_str().into()),
        }
    }

    /// A listing below `prefix`.
    pub fn prefix(location: &Location, prefix: &str) -> Self {
        At {
            location: Arc::new(location.clone()),
            key: Some(format!("{prefix}*").into()),
        }
    }

    /// The store.
    pub fn location(&self) -> &Location {
        &self.location
    }
}

/// `s3://name/prefix/key at endpoint`.
impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Location {
            bucket,
            prefix,
            endpoint,
        } = self.location();
        write!(f, "s3://{bucket}")?;
        if !prefix.is_empty() {
            write!(f, "/{prefix}")?;
        }
        if let Some(key) = &self.key {
            write!(f, "/{key}")?;
        }
        write!(f, " at {endpoint}")
    }
}

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A call of a [`Store`](super::Store).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// [`Store::create`](super::Store::create).
    Create,
    /// [`Store::put`](super::Store::put).
    Put,
    /// [`Store::replace`](super::Store::replace).
    Replace,
    /// [`Store::get`](super::Store::get).
    Get,
    /// [`Store::list`](super::Store::list).
    List,
    /// [`Store::delete`](super::Store::delete).
    Delete,
}

impl Op {
    /// The permission that the call needs, as IAM calls it.
    pub fn permission(self) -> &'static str {
        match self {
            Op::Create | Op::Put => "s3:PutObject",
            // S3 has a tag compared by who may read alone.
            Op::Replace => "s3:PutObject and s3:GetObject",
            // Who may not list isn't told that a key is missing.
            Op::Get => "s3:GetObject and s3:ListBucket",
            Op::List => "s3:ListBucket",
            Op::Delete => "s3:DeleteObject",
        }
    }
}

/// Why a store did not do what it was asked. Each text says what, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A definite "no such key".
    #[error("{at} does not exist")]
    Absent {
        /// The key.
        at: At,
    },

    /// The key of a create is there already (412).
    #[error("{at} exists already, and is never overwritten")]
    Exists {
        /// The key.
        at: At,
    },

    /// What was to be overwritten is not there any more (412).
    #[error("{at} was changed by another, and is left as it is")]
    Changed {
        /// The key.
        at: At,
    },

    /// Two conditional writes met, and the store decided neither (409).
    #[error("{at}: a concurrent write was in the way; try again")]
    Conflict {
        /// The key.
        at: At,
    },

    /// There is no such bucket.
    #[error(
        "bucket `{}` does not exist at {}: create it, or correct --bucket, --endpoint or the region",
        at.location().bucket, at.location().endpoint
    )]
    NoBucket {
        /// The store.
        at: At,
    },

    /// The credentials are known, but may not do this (403). A missing key is answered like this
    /// too where they may not list.
    #[error("{at}: access denied ({why}): allow these credentials {}", op.permission())]
    Denied {
        /// The key or prefix.
        at: At,
        /// What was tried.
        op: Op,
        /// The store's own words.
        why: String,
    },

    /// A ticket allows something else, or no more.
    #[error(
        "{at}: the ticket does not allow this ({why}); ask whoever started the run for a new one"
    )]
    NoTicketFor {
        /// The key or prefix.
        at: At,
        /// The store's own words, or that there is no URL.
        why: String,
    },

    /// There are no credentials here, or what should say them is wrong.
    #[error(
        "{at}: credentials {why}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    )]
    NoCredentials {
        /// The store.
        at: At,
        /// What is wrong with them.
        why: String,
    },

    /// The credentials could not be fetched, or the store doesn't accept them.
    #[error(
        "{at}: credentials {why}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, to credentials of this store"
    )]
    BadCredentials {
        /// The store.
        at: At,
        /// What is wrong with them.
        why: String,
    },

    /// The object is bigger than its reader takes. It was not read.
    #[error("{at} has {size} bytes where at most {} are expected: it is none of muster's", limit.0)]
    TooLarge {
        /// The key.
        at: At,
        /// Its size in bytes, or as much of it as was seen.
        size: u64,
        /// The reader's limit.
        limit: ByteLimit,
    },

    /// No answer: DNS, TCP, TLS or time ran out. The request may have been carried out all the same.
    #[error("no answer from {}: {why}: check --endpoint, the network and, for a private CA, --bucket-ca-file", at.location().endpoint)]
    Unreachable {
        /// The store.
        at: At,
        /// The chain of causes.
        why: String,
    },

    /// The store is overloaded or broken for now (429, 5xx, SlowDown). The request may have been
    /// carried out all the same.
    #[error("{at}: the store is busy or failing ({why}); try again later")]
    Busy {
        /// The key or prefix.
        at: At,
        /// The store's own words.
        why: String,
    },

    /// The store can't do what muster needs.
    #[error("{at}: this store can't be used: {why}")]
    Unsupported {
        /// The store.
        at: At,
        /// What it can't do, and what to do instead.
        why: String,
    },

    /// Anything else that a store says.
    #[error("{at}: {why}")]
    Other {
        /// The key or prefix.
        at: At,
        /// The store's own words.
        why: String,
    },
}

impl StoreError {
    /// Whether the same call may succeed later. After [`StoreError::Unreachable`] and
    /// [`StoreError::Busy`] it is unknown whether the call was carried out.
    pub fn retryable(&self) -> bool {
        matches!(
            self,
            StoreError::Conflict { .. } | StoreError::Unreachable { .. } | StoreError::Busy { .. }
        )
    }

    /// Whether this says for sure that there is no such object.
    pub fn is_absent(&self) -> bool {
        matches!(self, StoreError::Absent { .. })
    }

    /// Whether a create failed because the key is there already.
    pub fn is_exists(&self) -> bool {
        matches!(self, StoreError::Exists { .. })
    }

    /// Whether a write was refused because another object stands there, or none.
    pub fn is_changed(&self) -> bool {
        matches!(self, StoreError::Changed { .. })
    }

    /// Where it happened.
    pub fn at(&self) -> &At {
        match self {
            StoreError::Absent { at }
            | StoreError::Exists { at }
            | StoreError::Changed { at }
            | StoreError::Conflict { at }
            | StoreError::NoBucket { at }
            | StoreError::Denied { at, .. }
            | StoreError::NoTicketFor { at, .. }
            | StoreError::NoCredentials { at, .. }
            | StoreError::BadCredentials { at, .. }
            | StoreError::TooLarge { at, .. }
            | StoreError::Unreachable { at, .. }
            | StoreError::Busy { at, .. }
            | StoreError::Unsupported { at, .. }
            | StoreError::Other { at, .. } => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> At {
        let location = Location {
            bucket: "probes".into(),
            prefix: "team".into(),
            endpoint: "http://127.0.0.1:9000".into(),
        };
        At::key(&location, &"runs/r/job.json".parse().expect("a key"))
    }

    #[test]
    fn messages_name_the_place_and_the_remedy() {
        let text = StoreError::NoBucket { at: at() }.to_string();
        assert!(
            text.contains("`probes`") && text.contains("http://127.0.0.1:9000"),
            "{text}"
        );
        assert!(text.contains("--bucket"), "{text}");
        let text = StoreError::Exists { at: at() }.to_string();
        assert!(
            text.starts_with("s3://probes/team/runs/r/job.json at "),
            "{text}"
        );
    }

    #[test]
    fn only_what_may_pass_by_itself_is_retryable() {
        let why = String::new;
        assert!(StoreError::Conflict { at: at() }.retryable());
        assert!(
            StoreError::Busy {
                at: at(),
                why: why()
            }
            .retryable()
        );
        assert!(
            StoreError::Unreachable {
                at: at(),
                why: why()
            }
            .retryable()
        );
        assert!(!StoreError::Absent { at: at() }.retryable());
        assert!(!StoreError::Exists { at: at() }.retryable());
        assert!(
            !StoreError::Other {
                at: at(),
                why: why()
            }
            .retryable()
        );
    }
}
