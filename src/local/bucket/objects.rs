//! The embedded bucket's objects: an ordered map behind a lock, so that each request is atomic.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use md5::{Digest, Md5};
use s3s::dto::{
    CommonPrefix, DeleteObjectInput, DeleteObjectOutput, ETag, ETagCondition, GetObjectInput,
    GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
    ListObjectsV2Input, ListObjectsV2Output, Object, PutObjectInput, PutObjectOutput,
    StreamingBlob, Timestamp,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

/// The most bytes an object may have: far beyond any report.
const MAX_OBJECT_BYTES: usize = 64 << 20;

/// The most entries on a page of a listing, as at S3.
const MAX_PAGE: i32 = 1000;

/// One bucket's objects.
pub(super) struct Objects {
    bucket: &'static str,
    now: fn() -> Timestamp,
    objects: Mutex<BTreeMap<String, Stored>>,
}

#[derive(Clone)]
struct Stored {
    body: Bytes,
    etag: String,
    content_type: Option<String>,
    written: Timestamp,
}

impl Stored {
    fn tag(&self) -> ETag {
        ETag::Strong(self.etag.clone())
    }

    fn size(&self) -> Option<i64> {
        i64::try_from(self.body.len()).ok()
    }

    fn matches(&self, condition: &ETagCondition) -> bool {
        match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(tag) => tag.as_strong() == Some(&self.etag),
        }
    }
}

impl Objects {
    /// An empty bucket whose clock is `now`.
    pub(super) fn new(bucket: &'static str, now: fn() -> Timestamp) -> Self {
        Objects {
            bucket,
            now,
            objects: Mutex::default(),
        }
    }

    /// The objects, if `bucket` is this one. Held for a whole request, which makes it atomic.
    fn lock(&self, bucket: &str) -> S3Result<MutexGuard<'_, BTreeMap<String, Stored>>> {
        if bucket == self.bucket {
            Ok(self.objects.lock().unwrap_or_else(PoisonError::into_inner))
        } else {
            Err(s3_error!(NoSuchBucket))
        }
    }

    /// The object at `key`, if the request's conditions let it be read (RFC 9110 section 13.2.2).
    fn read(
        &self,
        bucket: &str,
        key: &str,
        if_match: Option<&ETagCondition>,
        if_none_match: Option<&ETagCondition>,
    ) -> S3Result<Stored> {
        let objects = self.lock(bucket)?;
        let stored = objects.get(key).ok_or_else(|| s3_error!(NoSuchKey))?;
        if if_match.is_some_and(|condition| !stored.matches(condition)) {
            return Err(s3_error!(PreconditionFailed));
        }
        if if_none_match.is_some_and(|condition| stored.matches(condition)) {
            return Err(s3_error!(NotModified));
        }
        Ok(stored.clone())
    }
}

#[async_trait::async_trait]
impl S3 for Objects {
    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        drop(self.lock(&request.input.bucket)?);
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let body = collect(input.body).await?;
        let digest = Md5::digest(&body);
        let stored = Stored {
            body,
            etag: digest.iter().map(|b| format!("{b:02x}")).collect(),
            content_type: input.content_type.map(|t| t.to_string()),
            written: (self.now)(),
        };
        let tag = stored.tag();
        let mut objects = self.lock(&input.bucket)?;
        let there = objects.get(&input.key);
        if let (Some(there), Some(condition)) = (there, &input.if_none_match)
            && there.matches(condition)
        {
            return Err(s3_error!(PreconditionFailed));
        }
        match (there, &input.if_match) {
            (None, Some(_)) => return Err(s3_error!(NoSuchKey)),
            (Some(there), Some(condition)) if !there.matches(condition) => {
                return Err(s3_error!(PreconditionFailed));
            }
            _ => {}
        }
        objects.insert(input.key, stored);
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(tag),
            ..Default::default()
        }))
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let stored = self.read(
            &input.bucket,
            &input.key,
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
        )?;
        let full = stored.body.len() as u64;
        let (body, content_range) = match input.range {
            Some(range) => {
                let part = range.check(full)?;
                let index = |n| usize::try_from(n).map_err(|_| s3_error!(InvalidRange));
                let body = stored.body.slice(index(part.start)?..index(part.end)?);
                let header = format!("bytes {}-{}/{full}", part.start, part.end - 1);
                (body, Some(header))
            }
            None => (stored.body.clone(), None),
        };
        Ok(S3Response::new(GetObjectOutput {
            content_length: i64::try_from(body.len()).ok(),
            content_range,
            content_type: stored.content_type.as_ref().and_then(|t| t.parse().ok()),
            e_tag: Some(stored.tag()),
            last_modified: Some(stored.written.clone()),
            body: Some(StreamingBlob::wrap(stream::iter([
                Ok::<_, std::io::Error>(body),
            ]))),
            ..Default::default()
        }))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        let stored = self.read(
            &input.bucket,
            &input.key,
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
        )?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: stored.size(),
            content_type: stored.content_type.as_ref().and_then(|t| t.parse().ok()),
            e_tag: Some(stored.tag()),
            last_modified: Some(stored.written),
            ..Default::default()
        }))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        let mut objects = self.lock(&input.bucket)?;
        if let (Some(there), Some(condition)) = (objects.get(&input.key), &input.if_match)
            && !there.matches(condition)
        {
            return Err(s3_error!(PreconditionFailed));
        }
        objects.remove(&input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let max = input.max_keys.unwrap_or(MAX_PAGE).clamp(0, MAX_PAGE);
        let after = match (&input.continuation_token, &input.start_after) {
            (Some(entry), _) => After::Entry(entry),
            (None, Some(key)) => After::Key(key),
            (None, None) => After::Key(""),
        };
        let page = Page::of(
            &*self.lock(&input.bucket)?,
            prefix,
            input.delimiter.as_deref().filter(|d| !d.is_empty()),
            after,
            usize::try_from(max).unwrap_or(0),
        );
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            key_count: i32::try_from(page.objects.len() + page.folders.len()).ok(),
            max_keys: Some(max),
            contents: Some(page.objects),
            common_prefixes: Some(
                page.folders
                    .into_iter()
                    .map(|folder| CommonPrefix {
                        prefix: Some(folder),
                    })
                    .collect(),
            ),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next,
            prefix: input.prefix,
            delimiter: input.delimiter,
            start_after: input.start_after,
            continuation_token: input.continuation_token,
            ..Default::default()
        }))
    }
}

/// What a page starts after.
#[derive(Clone, Copy)]
enum After<'a> {
    /// The previous page's last entry: a folder there isn't listed again for the keys in it.
    Entry(&'a str),
    /// A key that the client names; a folder with keys after it is listed.
    Key(&'a str),
}

/// One page of a listing.
#[derive(Default)]
struct Page {
    objects: Vec<Object>,
    folders: Vec<String>,
    /// The last entry of this page, if there are more: the next page starts after it.
    next: Option<String>,
}

impl Page {
    fn of(
        stored: &BTreeMap<String, Stored>,
        prefix: &str,
        delimiter: Option<&str>,
        after: After<'_>,
        max: usize,
    ) -> Page {
        let mut page = Page::default();
        let mut last = String::new();
        for (key, object) in stored.range(prefix.to_owned()..) {
            let Some(rest) = key.strip_prefix(prefix) else {
                break;
            };
            let folder = delimiter
                .and_then(|d| rest.split_once(d))
                .map(|(name, _)| format!("{prefix}{name}{}", delimiter.unwrap_or_default()));
            let entry = folder.as_ref().unwrap_or(key);
            let seen = match after {
                After::Entry(after) => entry.as_str() <= after,
                After::Key(after) => key.as_str() <= after,
            };
            if seen || page.folders.last() == Some(entry) {
                continue;
            }
            if page.objects.len() + page.folders.len() == max {
                // S3 says that a page without room isn't truncated.
                page.next = Some(last).filter(|last| !last.is_empty());
                break;
            }
            last.clone_from(entry);
            match folder {
                Some(folder) => page.folders.push(folder),
                None => page.objects.push(Object {
                    key: Some(key.clone()),
                    size: object.size(),
                    e_tag: Some(object.tag()),
                    last_modified: Some(object.written.clone()),
                    ..Default::default()
                }),
            }
        }
        page
    }
}

/// Reads a request's body, up to the limit.
async fn collect(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let mut whole = BytesMut::new();
    let Some(mut body) = body else {
        return Ok(Bytes::new());
    };
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| s3_error!(IncompleteBody))?;
        if whole.len() + chunk.len() > MAX_OBJECT_BYTES {
            return Err(s3_error!(EntityTooLarge));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}
