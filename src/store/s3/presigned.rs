//! Requests by URLs that somebody else has signed: no credentials, and nothing but what each URL
//! allows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::presigning::PresigningConfig;
use futures_util::future::join_all;

use super::{DateSamples, Patience, S3Settings, S3Store, SettingsError, answer};
use crate::job::Timestamp;
use crate::secret::Secret;
use crate::store::{
    At, ByteLimit, Entry, Key, List, Listing, Location, MAX_LISTED, Now, Op, Store as _, StoreError,
};

/// How long a URL can live (SigV4's `X-Amz-Expires`).
pub const PRESIGNED_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The most bytes of an object that is looked at to see whether it is there.
const LOOKED_AT: ByteLimit = ByteLimit::mib(1);

/// What may be done, by key: each URL allows one kind of request to one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresignedUrls {
    /// To read.
    pub get: BTreeMap<Key, Secret>,
    /// To create, never to overwrite: `If-None-Match: *` is part of the signature.
    pub create: BTreeMap<Key, Secret>,
    /// To write whether it exists or not.
    pub put: BTreeMap<Key, Secret>,
    /// The prefixes below which `get` has all keys that there can be: these can be listed, by
    /// looking at each.
    pub whole: BTreeSet<String>,
}

impl PresignedUrls {
    pub(super) fn url(&self, op: Op, key: &Key) -> Option<&Secret> {
        match op {
            Op::Get => self.get.get(key),
            Op::Create => self.create.get(key),
            // The condition is a header that no signature covers.
            Op::Put | Op::Replace => self.put.get(key),
            Op::List | Op::Delete => None,
        }
    }

    /// The keys that a listing may have, if there are URLs for all of them.
    pub(super) fn listed(&self, request: &List) -> Option<Vec<&Key>> {
        let selected = |key: &&Key| {
            let key = key.as_str();
            key.starts_with(&request.prefix)
                && request
                    .start_after
                    .as_deref()
                    .is_none_or(|after| key > after)
        };
        let is_whole = !request.folders && self.whole.contains(&request.prefix);
        is_whole.then(|| self.get.keys().filter(selected).take(MAX_LISTED).collect())
    }
}

/// Sends one request to a URL, as it was signed: without headers that the signature must cover
/// and doesn't.
#[derive(Clone, Debug)]
pub(super) struct ToUrl(pub(super) Secret);

impl Intercept for ToUrl {
    fn name(&self) -> &'static str {
        "ToUrl"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        request.set_uri(self.0.expose())?;
        let unsigned: Vec<String> = request
            .headers()
            .iter()
            .map(|(name, _)| name.to_owned())
            .filter(|name| name.starts_with("x-amz-") || name == "authorization")
            .collect();
        for name in unsigned {
            request.headers_mut().remove(name);
        }
        Ok(())
    }
}

impl S3Store {
    /// A store that does what `urls` allow. `location` is for messages.
    ///
    /// # Errors
    /// When `ca_file` can't be used.
    pub fn by_urls(
        urls: PresignedUrls,
        location: Location,
        ca_file: Option<PathBuf>,
        patience: Patience,
        now: Now,
    ) -> Result<Self, SettingsError> {
        let dates = DateSamples::new(now);
        let client = S3Settings::anonymous_client(ca_file, patience, dates.clone())?;
        Ok(S3Store {
            client,
            location,
            body_timeout: patience.operation,
            dates,
            credentials: None,
            urls: Some(urls.into()),
        })
    }

    /// The URL of a request, when this store has but URLs.
    pub(super) fn by_url(&self, op: Op, key: &Key) -> Result<Option<ToUrl>, StoreError> {
        let Some(urls) = &self.urls else {
            return Ok(None);
        };
        match urls.url(op, key) {
            Some(url) => Ok(Some(ToUrl(url.clone()))),
            None => Err(StoreError::NoTicketFor {
                at: At::key(&self.location, key),
                why: "it has no URL for this".into(),
            }),
        }
    }

    /// What a refusal means when nothing but a URL was sent.
    pub(super) fn refused(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Denied { at, why, .. } | StoreError::BadCredentials { at, why }
                if self.urls.is_some() =>
            {
                StoreError::NoTicketFor { at, why }
            }
            error => error,
        }
    }

    /// A listing by looking at each key that it may have.
    pub(super) async fn list_by_urls(&self, request: &List) -> Option<Result<Listing, StoreError>> {
        let Some(keys) = self.urls.as_ref()?.listed(request) else {
            let at = At::prefix(&self.location, &request.prefix);
            let why = "it has not the URLs that make up this listing".into();
            return Some(Err(StoreError::NoTicketFor { at, why }));
        };
        let looks = keys.iter().map(|key| self.get(key, LOOKED_AT));
        let mut listing = Listing::default();
        for (key, look) in keys.iter().zip(join_all(looks).await) {
            match look {
                Ok(object) => listing.objects.push(Entry {
                    key: key.to_string(),
                    size: object.body.len() as u64,
                    last_modified: object.last_modified,
                }),
                Err(e) if e.is_absent() => {}
                Err(e) => return Some(Err(e)),
            }
        }
        Some(Ok(listing))
    }

    /// What signs URLs with this store's credentials as they are now.
    ///
    /// # Errors
    /// [`StoreError::NoCredentials`] when there are none, [`StoreError::BadCredentials`] when they
    /// can't be loaded.
    pub async fn signer(&self) -> Result<UrlSigner, StoreError> {
        let at = || At::store(&self.location);
        let provider = self.credentials.clone();
        let provider = provider.ok_or_else(|| StoreError::NoCredentials {
            at: at(),
            why: "were found nowhere".into(),
        })?;
        let credentials = provider
            .provide_credentials()
            .await
            .map_err(|e| answer::bad_credentials(&e, at()))?;
        let session = match (credentials.session_token(), credentials.expiry()) {
            (None, None) => Session::Endless,
            (_, Some(end)) => Session::Ends(timestamp(end)),
            (Some(_), None) => Session::Unknown,
        };
        // Pinned: a session that is renewed while URLs are signed would end at several times.
        let config = self
            .client
            .config()
            .to_builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        Ok(UrlSigner {
            store: S3Store {
                client: Client::from_conf(config),
                location: self.location.clone(),
                body_timeout: self.body_timeout,
                dates: self.dates.clone(),
                credentials: None,
                urls: None,
            },
            session,
        })
    }
}

/// How long the credentials that sign URLs are good for: no URL outlives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// They are no session's.
    Endless,
    /// Until then.
    Ends(Timestamp),
    /// They are a session's, and nobody says until when.
    Unknown,
}

/// Signs URLs.
pub struct UrlSigner {
    store: S3Store,
    session: Session,
}

impl UrlSigner {
    /// Tells it when its credentials' session ends, for when they don't say so themselves.
    #[must_use]
    pub fn session_until(mut self, ends: Option<Timestamp>) -> Self {
        if let (Session::Unknown, Some(ends)) = (self.session, ends) {
            self.session = Session::Ends(ends);
        }
        self
    }

    /// How long its credentials are good for.
    pub fn session(&self) -> Session {
        self.session
    }

    /// A URL for one kind of request to one object, good from `from` (the store's clock) on for
    /// at most [`PRESIGNED_MAX`].
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] for a life that can't be signed or an operation without URLs.
    pub async fn sign(
        &self,
        op: Op,
        key: &Key,
        from: Timestamp,
        life: Duration,
    ) -> Result<Secret, StoreError> {
        let location = &self.store.location;
        let unsupported = |why: String| StoreError::Unsupported {
            at: At::key(location, key),
            why,
        };
        let from = u64::try_from(from.as_micros()).unwrap_or_default();
        let config = PresigningConfig::builder()
            .start_time(UNIX_EPOCH + Duration::from_micros(from))
            .expires_in(life)
            .build()
            .map_err(|e| unsupported(answer::chain(&e)))?;
        let at = || At::key(location, key);
        let signed = match op {
            Op::Get => self
                .store
                .get_request(key)
                .presigned(config)
                .await
                .map_err(|e| answer::error(e, at(), op))?,
            Op::Create | Op::Put => self
                .store
                .put_request(key, op == Op::Create)
                .presigned(config)
                .await
                .map_err(|e| answer::error(e, at(), op))?,
            Op::Replace | Op::List | Op::Delete => {
                return Err(unsupported(
                    "a ticket signs no condition, and neither lists nor deletes".into(),
                ));
            }
        };
        Ok(Secret::new(signed.uri()))
    }
}

fn timestamp(t: SystemTime) -> Timestamp {
    let us = t.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    Timestamp::from_micros(i64::try_from(us).unwrap_or(i64::MAX))
}
