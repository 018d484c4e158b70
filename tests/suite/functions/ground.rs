//! What a run of functions stands on: the programs, a bucket, an SFU, and no other test's load.

use std::net::Ipv4Addr;

use muster::local::LivekitServer;
use muster::store::{S3Settings, S3Store};
use tokio::sync::MutexGuard;

use super::built;
use crate::fixtures::alone::alone;
use crate::fixtures::livekit;
use crate::fixtures::minio::Minio;

/// A real bucket and a real SFU, as long as it lives.
pub struct Ground {
    pub minio: Minio,
    pub server: LivekitServer,
    /// The bucket, by its root user.
    pub settings: S3Settings,
    _alone: MutexGuard<'static, ()>,
}

impl Ground {
    /// One whose runs are below `prefix`; an error is what this machine lacks:
    ///
    /// ```ignore
    /// let ground = match Ground::start("").await {
    ///     Ok(ground) => ground,
    ///     Err(lacks) => skip!("{lacks}"),
    /// };
    /// ```
    pub async fn start(prefix: &str) -> Result<Ground, &'static str> {
        Ground::start_with(prefix, Ipv4Addr::LOCALHOST, None).await
    }

    /// The same, with media announced at `media`, and each report told to the URL `tell`.
    pub async fn start_with(
        prefix: &str,
        media: Ipv4Addr,
        tell: Option<&str>,
    ) -> Result<Ground, &'static str> {
        let _alone = alone().await;
        if !built() {
            return Err("the functions, which the feature `lambda` builds");
        }
        let binary = Minio::binary().await.ok_or("minio or Go")?;
        let server = livekit::start_announcing(media).await;
        let server = server.ok_or("livekit-server or Go")?;
        let minio = match tell {
            Some(url) => Minio::start_notifying(&binary, url).await,
            None => Minio::start(&binary),
        };
        Ok(Ground {
            settings: minio.settings(prefix),
            minio,
            server,
            _alone,
        })
    }

    /// The bucket itself.
    pub async fn store(&self) -> S3Store {
        let clock = std::sync::Arc::new(muster::clock::now);
        let store = S3Store::connect(self.settings.clone(), clock).await;
        store.expect("a store")
    }
}
