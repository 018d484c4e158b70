//! A real livekit-server that listens on loopback alone.

#![expect(
    clippy::disallowed_methods,
    reason = "polling until the server answers, and drawing its secret, are this edge's work"
)]

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::cache::{is_executable, on_path};
use super::go_tool::{GoTool, GoToolError};
use super::process::Process;
use crate::secret::Secret;

/// The server that is built when none is installed.
pub const LIVEKIT_SERVER: GoTool = GoTool {
    name: "livekit-server",
    package: "github.com/livekit/livekit-server/cmd/server",
    version: "v1.11.0",
};

/// How long a started server may take to answer.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// From the first time that it is asked to end to the second.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// How long it may take to end once asked to.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// A port that was free a moment ago may be taken: how often to try with others.
const TRIES: usize = 3;

/// Why there is no local server.
#[derive(Debug, thiserror::Error)]
pub enum LivekitServerError {
    /// `--livekit-server` names no program.
    #[error("--livekit-server {}: no such executable file", .0.display())]
    NotExecutable(PathBuf),
    /// Neither found nor buildable.
    #[error(
        "there is no livekit-server to start: {0}; or install the server itself (Linux: curl -sSL https://get.livekit.io | bash; macOS: brew install livekit), name one with --livekit-server PATH, or test one that runs already with --url ws://HOST:7880"
    )]
    Missing(#[from] GoToolError),
    /// The system refused something that the server needs.
    #[error("cannot start {}: {source}", binary.display())]
    Start {
        /// The server's program.
        binary: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It ran, and never answered.
    #[error("{} did not become ready: {reason}", binary.display())]
    NotReady {
        /// The server's program.
        binary: PathBuf,
        /// What happened instead, with the server's last lines.
        reason: String,
    },
}

/// A running server. Dropped, it is killed.
pub struct LivekitServer {
    process: Process,
    url: String,
    udp_port: u16,
    tcp_port: u16,
    metrics: SocketAddr,
    key: String,
    secret: Secret,
    /// Holds its configuration; removed with it.
    _dir: TempDir,
}

/// The loopback ports of one server.
#[derive(Clone, Copy, Debug)]
struct Ports {
    signal: u16,
    metrics: u16,
    rtc_tcp: u16,
    rtc_udp: u16,
}

/// The server's program: the one named, else the one on PATH, else the cached one, which is
/// built first if need be. `progress` gets a line every so often during a build.
pub async fn find(
    named: Option<&Path>,
    cache: &Path,
    progress: impl FnMut(String),
) -> Result<PathBuf, LivekitServerError> {
    if let Some(named) = named {
        return if is_executable(named) {
            Ok(named.to_owned())
        } else {
            Err(LivekitServerError::NotExecutable(named.to_owned()))
        };
    }
    if let Some(found) = on_path(LIVEKIT_SERVER.name, std::env::var_os("PATH").as_ref()) {
        return Ok(found);
    }
    Ok(LIVEKIT_SERVER.ensure(cache, progress).await?)
}

impl LivekitServer {
    /// Starts `binary` on free loopback ports with a key of its own, and waits until it answers.
    pub async fn start(binary: &Path) -> Result<LivekitServer, LivekitServerError> {
        Self::start_announcing(binary, Ipv4Addr::LOCALHOST).await
    }

    /// [`start`](Self::start), with media announced at another address than the one it listens
    /// at: whoever answers there, at [`udp_port`](Self::udp_port), stands between.
    pub async fn start_announcing(
        binary: &Path,
        media: Ipv4Addr,
    ) -> Result<LivekitServer, LivekitServerError> {
        let mut tries = 1;
        loop {
            match Self::try_start(binary, media).await {
                Err(LivekitServerError::NotReady { reason, .. })
                    if tries < TRIES && reason.contains("address already in use") =>
                {
                    tries += 1;
                }
                result => return result,
            }
        }
    }

    async fn try_start(
        binary: &Path,
        media: Ipv4Addr,
    ) -> Result<LivekitServer, LivekitServerError> {
        let failed = |source| LivekitServerError::Start {
            binary: binary.to_owned(),
            source,
        };
        let ports = free_ports().map_err(failed)?;
        let key = format!("muster{:08x}", rand::random::<u32>());
        let secret = Secret::new(format!(
            "{:032x}{:032x}",
            rand::random::<u128>(),
            rand::random::<u128>()
        ));
        let dir = tempfile::Builder::new()
            .prefix("muster-livekit-")
            .tempdir()
            .map_err(failed)?;
        let config = dir.path().join("livekit.yaml");
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&config)
            .and_then(|mut f| f.write_all(config_yaml(ports, media, &key, &secret).as_bytes()))
            .map_err(failed)?;

        let mut command = Command::new(binary);
        command.arg("--config").arg(&config);
        // The server reads these too, and they would override the file.
        for var in [
            "LIVEKIT_CONFIG",
            "LIVEKIT_KEYS",
            "LIVEKIT_REGION",
            "NODE_IP",
            "REDIS_HOST",
            "UDP_PORT",
        ] {
            command.env_remove(var);
        }
        let mut process = Process::start("livekit-server", command).map_err(failed)?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.signal));
        if let Err(reason) = ready(&mut process, addr).await {
            let lines = process.last_lines().join("\n");
            return Err(LivekitServerError::NotReady {
                binary: binary.to_owned(),
                reason: format!("{reason}\n{lines}"),
            });
        }
        Ok(LivekitServer {
            process,
            url: format!("ws://{addr}"),
            udp_port: ports.rtc_udp,
            tcp_port: ports.rtc_tcp,
            metrics: SocketAddr::from((Ipv4Addr::LOCALHOST, ports.metrics)),
            key,
            secret,
            _dir: dir,
        })
    }

    /// Where it is reached (`ws://127.0.0.1:PORT`).
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The UDP port of its media.
    pub fn udp_port(&self) -> u16 {
        self.udp_port
    }

    /// The TCP port of its media, at which it listens at every address.
    pub fn tcp_port(&self) -> u16 {
        self.tcp_port
    }

    /// Where it serves its Prometheus metrics, at `/metrics`.
    pub fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    /// Its API key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The secret of [`LivekitServer::key`].
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// Stops it, and returns once it is gone. Asked once, it waits until all rooms are empty; asked
    /// again, it ends.
    pub async fn stop(mut self) {
        self.process.terminate();
        if let Ok(Ok(_)) = tokio::time::timeout(ASK_AGAIN, self.process.wait()).await {
            return;
        }
        if let Err(error) = self.process.stop(STOP_WITHIN).await {
            tracing::warn!("livekit-server: {error}");
        }
    }
}

/// Three ports that were free at the time of asking.
fn free_ports() -> io::Result<Ports> {
    let loopback = (Ipv4Addr::LOCALHOST, 0);
    // All are held until all are known, so that they differ.
    let (signal, rtc_tcp) = (TcpListener::bind(loopback)?, TcpListener::bind(loopback)?);
    let metrics = TcpListener::bind(loopback)?;
    let rtc_udp = UdpSocket::bind(loopback)?;
    Ok(Ports {
        signal: signal.local_addr()?.port(),
        metrics: metrics.local_addr()?.port(),
        rtc_tcp: rtc_tcp.local_addr()?.port(),
        rtc_udp: rtc_udp.local_addr()?.port(),
    })
}

/// The configuration of a server that nobody outside this machine can reach.
fn config_yaml(ports: Ports, media: Ipv4Addr, key: &str, secret: &Secret) -> String {
    let Ports {
        signal,
        metrics,
        rtc_tcp,
        rtc_udp,
    } = ports;
    let secret = secret.expose();
    // A full ICE agent checks clients from the address it listens on, past what stands between.
    let lite = media != Ipv4Addr::LOCALHOST;
    format!(
        r#"port: {signal}
prometheus_port: {metrics}
bind_addresses: ["127.0.0.1"]
rtc:
  udp_port: {rtc_udp}
  tcp_port: {rtc_tcp}
  use_external_ip: false
  node_ip: {media}
  use_ice_lite: {lite}
  enable_loopback_candidate: true
  interfaces:
    includes: [lo]
keys:
  {key}: {secret}
logging:
  level: info
"#
    )
}

/// Waits until the server answers its health check, or says why it never will.
async fn ready(process: &mut Process, addr: SocketAddr) -> Result<(), String> {
    let poll = async {
        loop {
            match process.ended() {
                Ok(None) => {}
                Ok(Some(status)) => return Err(format!("it ended: {status}")),
                Err(error) => return Err(error.to_string()),
            }
            if healthy(addr).await.unwrap_or(false) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(READY_WITHIN, poll)
        .await
        .unwrap_or_else(|_| Err(format!("no answer on {addr} in {READY_WITHIN:?}")))
}

/// One `GET /`: livekit-server answers 200 once it serves.
async fn healthy(addr: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(addr).await?;
    stream
        .write_all(format!("GET / HTTP/1.0\r\nHost: {addr}\r\n\r\n").as_bytes())
        .await?;
    let mut answer = [0u8; 12];
    stream.read_exact(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.") && answer.ends_with(b" 200"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_stays_on_loopback() {
        let ports = Ports {
            signal: 1,
            metrics: 4,
            rtc_tcp: 2,
            rtc_udp: 3,
        };
        let yaml = config_yaml(
            ports,
            Ipv4Addr::LOCALHOST,
            "key",
            &Secret::new("s".repeat(64)),
        );
        assert!(yaml.contains("bind_addresses: [\"127.0.0.1\"]"));
        assert!(yaml.contains("node_ip: 127.0.0.1"));
        assert!(yaml.contains(&format!("\n  key: {}\n", "s".repeat(64))));
    }

    #[tokio::test]
    async fn a_named_server_must_be_a_program() {
        let named = Path::new("/nonexistent/server");
        let error = find(Some(named), Path::new("/nonexistent"), |_| {})
            .await
            .unwrap_err();
        assert!(error.to_string().contains("/nonexistent/server"), "{error}");
    }

    #[test]
    fn without_a_server_and_without_go_it_says_how_to_get_one() {
        let text = LivekitServerError::Missing(GoToolError::NoGo {
            name: LIVEKIT_SERVER.name,
            version: LIVEKIT_SERVER.version,
            path: "/cache/livekit-server".into(),
        })
        .to_string();
        for part in [
            "/cache/livekit-server",
            "install Go",
            "get.livekit.io",
            "--url",
        ] {
            assert!(text.contains(part), "no `{part}` in: {text}");
        }
    }

    #[tokio::test]
    async fn a_server_that_ends_at_once_says_so() {
        let error = LivekitServer::start(Path::new("/bin/false"))
            .await
            .err()
            .unwrap();
        assert!(error.to_string().contains("it ended"), "{error}");
    }
}
