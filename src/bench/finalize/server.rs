//! A MinIO of its own on loopback, with one empty bucket.

#![expect(
    clippy::disallowed_methods,
    reason = "the edge: waiting for a server to come up"
)]

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use crate::local::cache::{is_executable, on_path};
use crate::local::{GoTool, Process};
use crate::secret::Secret;
use crate::store::{S3Settings, StaticCredentials};

/// Built into the cache, where no other is named or on PATH.
pub const MINIO: GoTool = GoTool {
    name: "minio",
    package: "github.com/minio/minio",
    version: "v0.0.0-20260212201848-7aac2a2c5b7c",
};

const ACCESS_KEY: &str = "loopback-root";
/// MinIO asks for 8 characters or more. Whoever can reach loopback may read what is made up.
const SECRET_KEY: &str = "loopback-only-secret";
const BUCKET: &str = "muster";
/// How long it may take to answer.
const READY_WITHIN: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(50);

/// A running MinIO; it ends with its owner, and takes what is in it along.
pub struct Minio {
    process: Process,
    port: u16,
    dir: TempDir,
}

/// The server's program: `named`, else the one on PATH, else built below `cache`. `say` gets a
/// line every so often.
///
/// # Errors
/// When it is no program, or can't be built.
pub async fn find(
    named: Option<&Path>,
    cache: &Path,
    say: impl FnMut(String),
) -> Result<PathBuf, String> {
    if let Some(named) = named {
        return if is_executable(named) {
            Ok(named.to_owned())
        } else {
            Err(format!("--minio {}: no program", named.display()))
        };
    }
    match on_path(MINIO.name, std::env::var_os("PATH").as_ref()) {
        Some(found) => Ok(found),
        None => MINIO.ensure(cache, say).await.map_err(|e| e.to_string()),
    }
}

impl Minio {
    /// Starts the server at `binary`, and waits until it answers.
    ///
    /// # Errors
    /// Why it did not come up.
    pub async fn start(binary: &Path) -> Result<Minio, String> {
        let words = |e: std::io::Error| e.to_string();
        let dir = TempDir::new().map_err(words)?;
        let data = dir.path().join("data");
        // A folder that is there at the start is a bucket.
        std::fs::create_dir_all(data.join(BUCKET)).map_err(words)?;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(words)?;
        let port = free.local_addr().map_err(words)?.port();
        drop(free);
        let mut command = Command::new(binary);
        command
            .args(["server", "--address", &format!("127.0.0.1:{port}")])
            .arg(&data)
            .env("HOME", dir.path())
            .env("MINIO_ROOT_USER", ACCESS_KEY)
            .env("MINIO_ROOT_PASSWORD", SECRET_KEY)
            .env("MINIO_BROWSER", "off");
        let process = Process::start("minio", command).map_err(words)?;
        let mut server = Minio { process, port, dir };
        let answers = async {
            while !server.answers().await {
                if let Ok(Some(status)) = server.process.ended() {
                    let lines = server.process.last_lines();
                    let last = lines.last().map_or("", String::as_str);
                    return Err(format!("minio ended: {status}: {last}"));
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
            Ok(())
        };
        match tokio::time::timeout(READY_WITHIN, answers).await {
            Ok(result) => result.map(|()| server),
            Err(_) => Err(format!(
                "minio did not answer within {} s",
                READY_WITHIN.as_secs()
            )),
        }
    }

    async fn answers(&self) -> bool {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let ask = async {
            let to = (Ipv4Addr::LOCALHOST, self.port);
            let mut stream = tokio::net::TcpStream::connect(to).await?;
            let request = b"GET /minio/health/cluster HTTP/1.0\r\nHost: localhost\r\n\r\n";
            stream.write_all(request).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        ask.await.is_ok_and(|answer| answer.contains(" 200 "))
    }

    /// Waits until all that was written to it is on its disk.
    ///
    /// # Errors
    /// Why that can't be known.
    pub async fn settle(&self) -> Result<(), String> {
        let mut sync = Command::new("sync");
        sync.arg("--file-system").arg(self.dir.path());
        match sync.status().await {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("sync: {status}")),
            Err(e) => Err(format!("sync: {e}")),
        }
    }

    /// How to reach its bucket.
    ///
    /// # Errors
    /// Never: what is said of it here is well-formed.
    pub fn settings(&self) -> Result<S3Settings, String> {
        let url = format!("s3://{BUCKET}").parse();
        let endpoint = format!("http://127.0.0.1:{}", self.port).parse();
        let mut settings = S3Settings::new(url.map_err(|e| format!("{e}"))?);
        settings.endpoint = Some(endpoint.map_err(|e| format!("{e}"))?);
        settings.credentials = Some(StaticCredentials {
            access_key: ACCESS_KEY.to_owned(),
            secret_key: Secret::new(SECRET_KEY),
            session_token: None,
        });
        Ok(settings)
    }

    /// The same as the environment of a process.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("MUSTER_BUCKET", format!("s3://{BUCKET}")),
            (
                "AWS_ENDPOINT_URL_S3",
                format!("http://127.0.0.1:{}", self.port),
            ),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ]
    }

    /// Stops it.
    pub async fn stop(mut self) {
        if let Err(error) = self.process.stop(Duration::from_secs(10)).await {
            tracing::warn!("minio: {error}");
        }
    }
}
