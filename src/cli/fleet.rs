//! The prober processes of a local run.

use std::time::Duration;

use tokio::process::Command;

use crate::error::Error;
use crate::exit::Exit;
use crate::job::{RunId, Vantage};
use crate::local::Process;
use crate::rooms::Keys;
use crate::store::S3Settings;

/// How long a prober may take to end once asked to: its participants leave first.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// What a prober keeps of its owner's environment. The rest might lead it elsewhere.
const KEPT: [&str; 9] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "NO_COLOR",
    "MUSTER_LOG",
    "RUST_BACKTRACE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// One `muster probe` process for each slot. None outlives it.
#[derive(Default)]
pub struct Probers {
    probers: Vec<Process>,
    started: bool,
}

impl Probers {
    /// Starts a prober for each slot.
    pub fn start(
        slots: &[Vantage],
        run: &RunId,
        bucket: &S3Settings,
        keys: &Keys,
    ) -> Result<Probers, Error> {
        let program = std::env::current_exe()
            .map_err(|e| Error::new(Exit::Internal, format!("cannot find muster itself: {e}")))?;
        let environment = environment(bucket, keys);
        let mut probers = Vec::new();
        for label in slots {
            let mut command = Command::new(&program);
            command
                .args(["probe", "--run", run.as_str(), "--vantage", label.as_str()])
                .env_clear()
                .envs(
                    KEPT.iter()
                        .filter_map(|name| Some((*name, std::env::var_os(name)?))),
                )
                .envs(environment.iter().map(|(name, value)| (*name, value)));
            let prober = Process::start(label.to_string(), command).map_err(|e| {
                Error::new(Exit::Internal, format!("cannot start prober {label}: {e}"))
            })?;
            probers.push(prober);
        }
        Ok(Probers {
            probers,
            started: false,
        })
    }

    /// The start is decided: from here on a prober that fails is part of the result.
    pub fn started(&mut self) {
        self.started = true;
    }

    /// Waits until a prober fails before the start, and says why. Never returns otherwise.
    pub async fn first_failure(&mut self) -> Error {
        if self.started || self.probers.is_empty() {
            return std::future::pending().await;
        }
        let waits = self
            .probers
            .iter_mut()
            .map(|prober| Box::pin(async move { (prober.wait().await, prober) }));
        let ((status, prober), _, _) = futures_util::future::select_all(waits).await;
        let (name, lines) = (prober.name().to_owned(), prober.last_lines());
        self.started = true;
        let exit = status
            .as_ref()
            .ok()
            .and_then(|status| Exit::try_from(status.code()?).ok())
            .filter(|exit| *exit != Exit::Passed);
        let why = match (lines.last(), status) {
            (Some(line), _) => line.trim_start_matches("error: ").to_owned(),
            (None, Ok(status)) => status.to_string(),
            (None, Err(error)) => error.to_string(),
        };
        Error::new(
            exit.unwrap_or(Exit::Incomplete),
            format!("prober {name} ended before the start: {why}"),
        )
    }

    /// Ends all that still run, at once, and waits until they are gone.
    pub async fn stop(&mut self) {
        for prober in &self.probers {
            prober.terminate();
        }
        for prober in &mut self.probers {
            if let Err(error) = prober.stop(STOP_WITHIN).await {
                tracing::warn!("prober {}: {error}", prober.name());
            }
        }
    }
}

/// What leads a prober to this run's bucket and SFU. Secrets go by environment, which only the
/// process's own user can read.
fn environment(bucket: &S3Settings, keys: &Keys) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("MUSTER_BUCKET", bucket.url.to_string()),
        ("LIVEKIT_API_KEY", keys.api_key.clone()),
        ("LIVEKIT_API_SECRET", keys.api_secret.expose().to_owned()),
    ];
    if let Some(endpoint) = &bucket.endpoint {
        variables.push(("AWS_ENDPOINT_URL_S3", endpoint.to_string()));
    }
    if let Some(credentials) = &bucket.credentials {
        variables.push(("AWS_ACCESS_KEY_ID", credentials.access_key.clone()));
        let secret = credentials.secret_key.expose().to_owned();
        variables.push(("AWS_SECRET_ACCESS_KEY", secret));
    }
    variables
}
