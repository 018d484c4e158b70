//! What the benches share: a server of their own, processes beside it, and the conditions.

#![expect(
    clippy::disallowed_methods,
    reason = "the edge: nothing is waited for without a limit"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use tokio::process::Command;

use super::child::Child;
use crate::error::Error;
use crate::exit::Exit;
use crate::local::LivekitServer;
use crate::prober::host::processors;
use crate::rooms::Keys;

/// A livekit-server on loopback, with its keys.
pub struct Stage {
    server: LivekitServer,
    keys: Keys,
}

/// What a figure depends on.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Conditions {
    /// muster's version.
    pub muster: String,
    /// Whether muster was built for release; otherwise its figures mean nothing.
    pub release: bool,
    /// livekit-server's version.
    pub livekit_server: Option<String>,
    /// Processors that may be used, shared by all.
    pub processors: f64,
    /// Runnable processes on the machine, averaged over the minute before.
    pub load_before: Option<f64>,
}

impl Conditions {
    /// Whether figures mean something.
    pub const fn is_release(&self) -> bool {
        self.release
    }

    /// In words.
    pub fn text(&self) -> String {
        let build = if self.release {
            "release build"
        } else {
            "debug build: figures of CPU and memory mean nothing"
        };
        let server = match &self.livekit_server {
            Some(version) => version.clone(),
            None => "livekit-server of unknown version".to_owned(),
        };
        let load = self.load_before.map_or_else(String::new, |load| {
            format!(", load average {load:.1} before it began")
        });
        format!(
            "muster {} ({build}), {server}; {} processors for all together, on loopback{load}.",
            self.muster, self.processors
        )
    }
}

impl Stage {
    /// Starts the server.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn open(binary: &Path) -> Result<Stage, Error> {
        let server = LivekitServer::start(binary).await?;
        let keys = Keys {
            api_key: server.key().to_owned(),
            api_secret: server.secret().clone(),
        };
        Ok(Stage { server, keys })
    }

    /// A process of muster's participants at this server.
    ///
    /// # Errors
    /// When the system can't.
    pub fn participants(&self, name: &str, arguments: &[&str]) -> Result<Child, String> {
        let base = ["participants", "--url", self.server.url()];
        Child::own(name, &[&base[..], arguments].concat(), &self.keys)
    }

    /// The server's URL for clients.
    pub fn url(&self) -> &str {
        self.server.url()
    }

    /// Where the server tells its metrics.
    pub fn metrics(&self) -> SocketAddr {
        self.server.metrics()
    }

    /// The server's keys.
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The conditions now.
    pub async fn conditions(&self, binary: &Path) -> Conditions {
        Conditions {
            muster: env!("CARGO_PKG_VERSION").to_owned(),
            release: !cfg!(debug_assertions),
            livekit_server: version(binary).await,
            processors: processors(),
            load_before: load_average(),
        }
    }

    /// Stops the server.
    pub async fn close(self) {
        self.server.stop().await;
    }
}

/// The load average of the last minute.
pub fn load_average() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}

/// The first line that a program prints about its version.
pub async fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().await.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_owned)
}

/// A measurement that came to nothing.
pub fn failed(why: String) -> Error {
    Error::new(Exit::Incomplete, why)
}

/// Waits for `work` at most so long.
///
/// # Errors
/// The work's own, or that it took too long.
pub async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(format!("not done within {} s", limit.as_secs())),
    }
}
