//! The store over S3's API, by aws-sdk-s3: any endpoint that speaks it.

mod answer;
mod dates;
mod endpoint;
mod lifecycle;
mod presigned;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use bytes::{Bytes, BytesMut};

pub use dates::DateSamples;
pub use endpoint::{Endpoint, EndpointError};
pub use presigned::{PRESIGNED_MAX, PresignedUrls, Session, UrlSigner};
pub(crate) use settings::tls;
pub use settings::{Addressing, Patience, S3Settings, SettingsError, StaticCredentials};

use super::{
    At, ByteLimit, Entry, Key, List, Listing, Location, MAX_LISTED, Now, Object, Op, Put, Store,
    StoreError,
};
use crate::job::Timestamp;

/// The most memory, in bytes, that the length in an answer's head makes it set aside.
const ROOM_MAX: usize = 1 << 20;

/// A bucket behind an S3 endpoint.
#[derive(Clone)]
pub struct S3Store {
    client: Client,
    location: Location,
    body_timeout: Duration,
    dates: DateSamples,
    /// Signs URLs for others; `None` when there is nothing to sign with.
    credentials: Option<SharedCredentialsProvider>,
    /// All that it may do, when it has no credentials.
    urls: Option<Arc<PresignedUrls>>,
}

impl S3Store {
    /// Prepares a client. Nothing is sent yet: what is wrong with the endpoint, the bucket or the
    /// credentials shows at the first call.
    ///
    /// `now` is the clock that [`S3Store::dates`] compares the store's with.
    ///
    /// # Errors
    /// When a setting can't be used: a CA file that can't be read, no region.
    pub async fn connect(settings: S3Settings, now: Now) -> Result<Self, SettingsError> {
        let body_timeout = settings.patience.operation;
        let dates = DateSamples::new(now);
        let (client, location, credentials) = settings.client(dates.clone()).await?;
        Ok(S3Store {
            client,
            location,
            body_timeout,
            dates,
            credentials,
            urls: None,
        })
    }

    /// What the store's `Date` headers have said so far.
    pub fn dates(&self) -> &DateSamples {
        &self.dates
    }

    fn name(&self, key: &str) -> String {
        if self.location.prefix.is_empty() {
            key.to_owned()
        } else {
            format!("{}/{key}", self.location.prefix)
        }
    }

    async fn write(
        &self,
        op: Op,
        key: &Key,
        over: Option<&str>,
        body: Bytes,
    ) -> Result<Put, StoreError> {
        let mut request = self
            .put_request(key, op == Op::Create)
            .set_if_match(over.map(|etag| format!("\"{etag}\"")))
            .body(ByteStream::from(body))
            .customize();
        if let Some(url) = self.by_url(op, key)? {
            request = request.interceptor(url);
        }
        request
            .send()
            .await
            .map(|answer| Put {
                // A weak one can't be a condition (RFC 9110 section 13.1.1).
                etag: answer
                    .e_tag
                    .filter(|etag| !etag.starts_with("W/"))
                    .map(unquoted),
            })
            .map_err(|e| self.refused(answer::error(e, At::key(&self.location, key), op)))
    }

    fn put_request(&self, key: &Key, create: bool) -> PutObjectFluentBuilder {
        self.client
            .put_object()
            .bucket(&self.location.bucket)
            .key(self.name(key.as_str()))
            .content_type(key.content_type())
            .set_if_none_match(create.then(|| "*".to_owned()))
    }

    fn get_request(&self, key: &Key) -> GetObjectFluentBuilder {
        self.client
            .get_object()
            .bucket(&self.location.bucket)
            .key(self.name(key.as_str()))
    }
}

#[async_trait]
impl Store for S3Store {
    fn location(&self) -> &Location {
        &self.location
    }

    async fn create(&self, key: &Key, body: Bytes) -> Result<Put, StoreError> {
        self.write(Op::Create, key, None, body).await
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<Put, StoreError> {
        self.write(Op::Put, key, None, body).await
    }

    async fn replace(&self, key: &Key, etag: &str, body: Bytes) -> Result<Put, StoreError> {
        self.write(Op::Replace, key, Some(etag), body).await
    }

    async fn get(&self, key: &Key, limit: ByteLimit) -> Result<Object, StoreError> {
        let at = At::key(&self.location, key);
        let mut request = self.get_request(key).customize();
        if let Some(url) = self.by_url(Op::Get, key)? {
            request = request.interceptor(url);
        }
        let answer = request
            .send()
            .await
            .map_err(|e| self.refused(answer::error(e, at.clone(), Op::Get)))?;
        let size = answer.content_length.and_then(|n| u64::try_from(n).ok());
        if let Some(size) = size.filter(|size| *size > limit.0) {
            return Err(StoreError::TooLarge { at, size, limit });
        }
        let last_modified = answer.last_modified.ok_or_else(|| StoreError::Other {
            at: at.clone(),
            why: "the store sent no Last-Modified".into(),
        })?;
        let room = usize::try_from(size.unwrap_or(0)).map_or(ROOM_MAX, |size| size.min(ROOM_MAX));
        let whole = BytesMut::with_capacity(room);
        let body = within(self.body_timeout, read(answer.body, whole, limit, &at))
            .await
            .unwrap_or_else(|| {
                Err(StoreError::Unreachable {
                    at: at.clone(),
                    why: format!("the body took longer than {:?}", self.body_timeout),
                })
            })?;
        Ok(Object {
            body,
            etag: answer.e_tag.map(unquoted),
            last_modified: timestamp(last_modified),
        })
    }

    fn reads_to_list(&self, request: &List) -> Option<u64> {
        let keys = self.urls.as_ref()?.listed(request);
        Some(keys.map_or(0, |keys| keys.len() as u64))
    }

    async fn list(&self, request: &List) -> Result<Listing, StoreError> {
        if let Some(listing) = self.list_by_urls(request).await {
            return listing;
        }
        let at = At::prefix(&self.location, &request.prefix);
        let own = self.name("");
        let mut listing = Listing::default();
        let mut token: Option<String> = None;
        loop {
            let page = self
                .client
                .list_objects_v2()
                .bucket(&self.location.bucket)
                .prefix(self.name(&request.prefix))
                .set_delimiter(request.folders.then(|| "/".to_owned()))
                .set_start_after(request.start_after.as_ref().map(|key| self.name(key)))
                .set_continuation_token(token.clone())
                .send()
                .await
                .map_err(|e| answer::error(e, at.clone(), Op::List))?;
            let relative = |key: &str| key.strip_prefix(&own).map(str::to_owned);
            listing.prefixes.extend(
                page.common_prefixes()
                    .iter()
                    .filter_map(|folder| folder.prefix().and_then(relative)),
            );
            listing
                .objects
                .extend(page.contents().iter().filter_map(|object| {
                    Some(Entry {
                        key: relative(object.key()?)?,
                        size: u64::try_from(object.size()?).ok()?,
                        last_modified: timestamp(*object.last_modified()?),
                    })
                }));
            let next = page.next_continuation_token;
            if page.is_truncated != Some(true) {
                return Ok(listing);
            }
            let found = listing.objects.len() + listing.prefixes.len();
            if next.is_none() || next == token || found > MAX_LISTED {
                return Err(StoreError::Other {
                    at,
                    why: format!(
                        "the listing has no end after {found} entries; use a prefix that is muster's own"
                    ),
                });
            }
            token = next;
        }
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.by_url(Op::Delete, key)?;
        self.client
            .delete_object()
            .bucket(&self.location.bucket)
            .key(self.name(key.as_str()))
            .send()
            .await
            .map(drop)
            .map_err(|e| answer::error(e, At::key(&self.location, key), Op::Delete))
    }
}

/// Reads a body into `whole` up to `limit`, whatever length its head announced.
async fn read(
    mut body: ByteStream,
    mut whole: BytesMut,
    limit: ByteLimit,
    at: &At,
) -> Result<Bytes, StoreError> {
    loop {
        match body.try_next().await {
            Ok(None) => return Ok(whole.freeze()),
            Ok(Some(chunk)) => whole.extend_from_slice(&chunk),
            Err(e) => {
                return Err(StoreError::Unreachable {
                    at: at.clone(),
                    why: answer::chain(&e),
                });
            }
        }
        let size = whole.len() as u64;
        if size > limit.0 {
            return Err(StoreError::TooLarge {
                at: at.clone(),
                size,
                limit,
            });
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge: a body has its own timeout"
)]
async fn within<T>(limit: Duration, reading: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, reading).await.ok()
}

fn unquoted(etag: String) -> String {
    etag.trim_matches('"').to_owned()
}

fn timestamp(t: DateTime) -> Timestamp {
    let us = t.as_nanos() / 1_000;
    Timestamp::from_micros(i64::try_from(us).unwrap_or(i64::MAX))
}
