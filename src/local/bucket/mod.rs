//! A bucket of one's own: an S3 endpoint on loopback, in this process, gone when it is dropped.

#![expect(
    clippy::disallowed_methods,
    reason = "a server reads its clock, and draws its own credentials"
)]

mod access;
mod objects;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::secret::Secret;
use crate::store::{BucketUrl, S3Settings, StaticCredentials};
use access::Keys;
use objects::Objects;

/// The name of the one bucket.
const BUCKET: &str = "muster";

/// An S3 endpoint with one bucket, `muster`, in memory. Dropping it ends it, and the objects with it.
#[derive(Debug)]
pub struct EmbeddedBucket {
    address: SocketAddr,
    keys: Arc<Keys>,
    owner: StaticCredentials,
    serving: JoinHandle<()>,
}

impl EmbeddedBucket {
    /// Serves an empty bucket on a free port of 127.0.0.1, with credentials of its own.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let keys = Arc::new(Keys::default());
        let owner = keys.add(credentials(), String::new());
        let objects = Objects::new(BUCKET, || std::time::SystemTime::now().into());
        let mut service = S3ServiceBuilder::new(objects);
        service.set_auth(access::Auth(Arc::clone(&keys)));
        service.set_access(access::Access(Arc::clone(&keys)));
        let serving = tokio::spawn(serve(listener, service.build()));
        Ok(EmbeddedBucket {
            address,
            keys,
            owner,
            serving,
        })
    }

    /// `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        BUCKET
    }

    /// The access key that may do everything.
    pub fn access_key(&self) -> &str {
        &self.owner.access_key
    }

    /// Its secret.
    pub fn secret_key(&self) -> &Secret {
        &self.owner.secret_key
    }

    /// A further key that sees and touches only keys that start with `prefix`.
    pub fn add_key(&self, prefix: impl Into<String>) -> StaticCredentials {
        self.keys.add(credentials(), prefix.into())
    }

    /// What the store needs to use this bucket with the key that may do everything.
    ///
    /// # Errors
    /// None in practice: the name and the endpoint are this bucket's own.
    pub fn settings(&self) -> io::Result<S3Settings> {
        let url: BucketUrl = format!("s3://{BUCKET}").parse().map_err(io::Error::other)?;
        let mut settings = S3Settings::new(url);
        settings.endpoint = Some(self.endpoint().parse().map_err(io::Error::other)?);
        settings.credentials = Some(self.owner.clone());
        Ok(settings)
    }
}

impl Drop for EmbeddedBucket {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Serves until it is dropped, its connections with it.
async fn serve(listener: TcpListener, service: S3Service) {
    let mut http = auto::Builder::new(TokioExecutor::new());
    // The timer lets hyper end connections whose request never comes (30 s).
    http.http1().timer(TokioTimer::new());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let connection = http
                        .serve_connection(TokioIo::new(stream), service.clone())
                        .into_owned();
                    connections.spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(%error, "a connection to the embedded bucket ended");
                        }
                    });
                }
                // Out of descriptors, most likely: some come back as connections end.
                Err(error) => {
                    tracing::warn!(%error, "the embedded bucket can't accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

fn credentials() -> StaticCredentials {
    let (key, secret): ([u8; 8], [u8; 20]) = (rand::random(), rand::random());
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    StaticCredentials {
        access_key: format!("muster{}", hex(&key)),
        secret_key: Secret::new(hex(&secret)),
        session_token: None,
    }
}
