//! Who may do what in the embedded bucket: a prefix per key.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::ListObjectsV2Input;
use s3s::{S3Request, S3Result, s3_error};

use crate::secret::Secret;
use crate::store::StaticCredentials;

/// The access keys, each with its secret and the prefix that it is confined to.
#[derive(Debug, Default)]
pub(super) struct Keys(RwLock<BTreeMap<String, (Secret, String)>>);

impl Keys {
    pub(super) fn add(&self, key: StaticCredentials, prefix: String) -> StaticCredentials {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key.access_key.clone(), (key.secret_key.clone(), prefix));
        key
    }

    fn get(&self, access_key: &str) -> Option<(Secret, String)> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(access_key).cloned()
    }

    /// Whether `access_key` may touch what starts with `text`.
    fn permit(&self, access_key: &str, text: &str) -> S3Result<()> {
        match self.get(access_key) {
            Some((_, prefix)) if text.starts_with(&prefix) => Ok(()),
            _ => Err(s3_error!(AccessDenied)),
        }
    }
}

/// Looks up secrets, for s3s to check signatures with.
pub(super) struct Auth(pub(super) Arc<Keys>);

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.get(access_key) {
            Some((secret, _)) => Ok(SecretKey::from(secret.expose())),
            None => Err(s3_error!(InvalidAccessKeyId)),
        }
    }
}

/// Keeps each key below its prefix.
pub(super) struct Access(pub(super) Arc<Keys>);

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, request: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = request.credentials() else {
            return Err(s3_error!(AccessDenied));
        };
        match request.s3_path().as_object() {
            Some((_, key)) => self.0.permit(&credentials.access_key, key),
            // A listing is checked below, where its prefix is known.
            None if request.s3_op().name() == "ListObjectsV2" => Ok(()),
            None => self.0.permit(&credentials.access_key, ""),
        }
    }

    async fn list_objects_v2(&self, request: &mut S3Request<ListObjectsV2Input>) -> S3Result<()> {
        let Some(credentials) = &request.credentials else {
            return Err(s3_error!(AccessDenied));
        };
        let prefix = request.input.prefix.as_deref().unwrap_or_default();
        self.0.permit(&credentials.access_key, prefix)
    }
}
