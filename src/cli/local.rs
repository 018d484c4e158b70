//! `muster local`: a whole run on this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use tokio::sync::{mpsc, watch};

use super::args::{JobArgs, KeysArgs, OutputArgs, StartArgs, open};
use super::coordinate::{Coordination, Outcome, coordinate};
use super::fleet::Probers;
use super::progress::Shown;
use super::signals::Signals;
use super::{edge, guards, output, viewer};
use crate::error::Error;
use crate::exit::Exit;
use crate::job::{Job, JobSpec, Origin, Ramp, Span, Vantage, VantageSpec, VantageSpecError};
use crate::local::cache::cache_dir;
use crate::local::{EmbeddedBucket, LivekitServer, livekit_server};
use crate::rendezvous::Progress;
use crate::rooms::{Keys, Rooms};
use crate::secret::Secret;
use crate::store::S3Settings;

/// Stands for the URL of a server that is not started before the job is known to be right.
const NOT_YET: &str = "ws://127.0.0.1";

/// Subscribers per vantage of each tier, when nobody says otherwise.
const DEFAULT_RAMP: [u32; 3] = [5, 10, 20];

/// The most vantages that one machine is asked for by number.
const VANTAGES_MAX: u32 = 100;

/// `muster local`
#[derive(clap::Args, Debug)]
pub struct Args {
    /// How many vantages, or which, with commas, like iad:2=subscribe,fra=publish (two probers that
    /// subscribe, one that publishes) [default: the job file's, else 3]
    #[arg(long, value_name = "N|VANTAGES")]
    vantages: Option<Vantages>,
    #[command(flatten)]
    job: JobArgs,
    #[command(flatten)]
    start: StartArgs,

    /// The livekit-server to start [default: the one on PATH, else one that is built into the
    /// cache]
    #[arg(long, value_name = "PATH", conflicts_with_all = ["url", "use_env"], help_heading = "SFU")]
    livekit_server: Option<PathBuf>,

    /// Test the server that LIVEKIT_URL names, instead of starting one
    #[arg(long, conflicts_with = "url", help_heading = "SFU")]
    use_env: bool,
    #[command(flatten)]
    keys: KeysArgs,

    /// Print a link that shows the room in a browser; whoever has it may watch
    #[arg(long, help_heading = "Output")]
    viewer: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// What flags that it shares with `run` default to here.
pub const DEFAULTS: [(&str, &str); 5] = [
    ("url", "the job file's, else a server of its own"),
    (
        "ramp",
        "5,10,20; with --url and one vantage the baseline alone",
    ),
    ("duration", "10s"),
    ("timeout", "2m"),
    ("grace", "15s"),
];

/// How many vantages there are, when nobody says otherwise.
const DEFAULT_VANTAGES: u32 = 3;

/// The vantages of a local run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Vantages(Vec<VantageSpec>);

impl FromStr for Vantages {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<u32>() {
            Ok(n) => numbered(n).map(Vantages),
            Err(_) => {
                let named: Result<Vec<VantageSpec>, VantageSpecError> =
                    text.split(',').map(str::parse).collect();
                named.map(Vantages).map_err(|e| e.to_string())
            }
        }
    }
}

/// Labels for `n` vantages.
fn numbered(n: u32) -> Result<Vec<VantageSpec>, String> {
    if !(1..=VANTAGES_MAX).contains(&n) {
        return Err(format!(
            "{n} vantages on one machine; use 1 to {VANTAGES_MAX}"
        ));
    }
    (1..=n)
        .map(|i| {
            format!("local-{i}")
                .parse()
                .map_err(|e: VantageSpecError| e.to_string())
        })
        .collect()
}

/// The SFU of a local run.
enum Sfu {
    /// A server that runs already.
    Running { url: String, keys: Keys },
    /// A server that was started for this run.
    Own(Box<LivekitServer>),
}

impl Sfu {
    fn url(&self) -> String {
        match self {
            Sfu::Running { url, .. } => url.clone(),
            Sfu::Own(server) => server.url().to_owned(),
        }
    }

    fn keys(&self) -> Keys {
        match self {
            Sfu::Running { keys, .. } => keys.clone(),
            Sfu::Own(server) => Keys {
                api_key: server.key().to_owned(),
                api_secret: server.secret().clone(),
            },
        }
    }
}

/// Starts everything, runs it, prints the result, stops everything.
pub async fn run(args: Args) -> Result<Exit, Error> {
    let mut signals = Signals::listen()?;
    output::check_writable(&args.output)?;
    let named = args.named_sfu()?;
    // What is wrong with the job shows before anything is started.
    let origin = edge::origin(None);
    let spec = args.spec(named.clone())?;
    let by = |origin: &Origin| args.start.over(spec.clone(), origin.now);
    let job = resolve(by(&origin), named.as_deref().unwrap_or(NOT_YET), &origin)?;
    guards::cloud(&job, args.job.cloud_agreement)?;

    let work = async {
        let bucket = EmbeddedBucket::start()
            .await
            .and_then(|bucket| bucket.settings().map(|settings| (bucket, settings)))
            .map_err(|e| {
                Error::new(
                    Exit::Internal,
                    format!("cannot serve a bucket on loopback: {e}"),
                )
            });
        (bucket, args.sfu(named).await)
    };
    let (bucket, sfu) = tokio::select! {
        started = work => started,
        signal = signals.next() => return Err(stopped(signal)),
    };
    let ((_bucket, settings), sfu) = (bucket?, sfu?);
    // Anew, for building a server takes minutes, and the wait for the probers begins now.
    let origin = edge::origin(None);
    let job = resolve(by(&origin), &sfu.url(), &origin)?;
    let slots = job.fleet.named();
    let keys = sfu.keys();
    let link = args
        .viewer
        .then(|| viewer::link_to(&job, &keys))
        .transpose()?;
    let outcome = Local {
        slots,
        settings,
        keys,
        link,
        beside_others: args.job.beside_others,
    }
    .run(job, &mut signals)
    .await;
    if let Sfu::Own(server) = sfu {
        server.stop().await;
    }
    match outcome? {
        Outcome::Over(combined) => output::report(&combined, &args.output),
        Outcome::Detached(run) => Err(Error::new(
            Exit::Internal,
            format!("run {run} was detached, which a local run never asks for"),
        )),
    }
}

fn stopped(signal: &str) -> Error {
    Error::new(Exit::Aborted, format!("{signal}: stopped before the start"))
}

fn resolve(spec: JobSpec, url: &str, origin: &Origin) -> Result<Job, Error> {
    let spec = JobSpec {
        url: Some(url.to_owned()),
        ..spec
    };
    Ok(Job::resolve(spec, origin.clone())?)
}

/// A run whose servers are up.
struct Local {
    slots: Vec<Vantage>,
    settings: S3Settings,
    keys: Keys,
    /// What `--viewer` asks for.
    link: Option<Secret>,
    /// Whether other runs at the SFU are put up with.
    beside_others: bool,
}

impl Local {
    /// Starts the probers once the job is there, and coordinates. On return none is left.
    async fn run(&self, job: Job, signals: &mut Signals) -> Result<Outcome, Error> {
        let store = open(self.settings.clone()).await?;
        let rooms = Rooms::new(&job.url, &self.keys);
        let (tell, mut told) = mpsc::unbounded_channel();
        let (abort, aborted) = watch::channel(false);
        let coordination = Coordination {
            job,
            tickets: BTreeMap::new(),
            bucket: store.into(),
            rooms,
            keys: self.keys.clone(),
            detach: false,
            beside_others: self.beside_others,
        };
        let mut ended = std::pin::pin!(coordinate(coordination, tell, aborted));
        let mut shown = Shown::default();
        let mut fleet = Probers::default();
        let mut failed = None;
        let outcome = loop {
            tokio::select! {
                biased;
                Some(progress) = told.recv() => {
                    shown.show(&progress);
                    match &progress {
                        Progress::JobWritten { run, .. } => {
                            if let Some(link) = &self.link {
                                viewer::show(link);
                            }
                            match Probers::start(&self.slots, run, &self.settings, &self.keys) {
                                Ok(started) => fleet = started,
                                // The coordinator still has a room to delete.
                                Err(error) => {
                                    abort.send_replace(true);
                                    failed = Some(error);
                                }
                            }
                        }
                        Progress::Started { .. } => fleet.started(),
                        _ => {}
                    }
                }
                outcome = &mut ended => break outcome,
                error = fleet.first_failure() => {
                    abort.send_replace(true);
                    failed = Some(error);
                }
                signal = signals.next() => signals.ask_once(signal, &abort)?,
            }
        };
        fleet.stop().await;
        match failed {
            Some(error) => Err(error),
            None => outcome,
        }
    }
}

impl Args {
    /// The URL of a server that runs already, if one was named on purpose: `LIVEKIT_URL` alone,
    /// which many have set to their production, is not.
    fn named_sfu(&self) -> Result<Option<String>, Error> {
        if !self.use_env {
            return Ok(self.job.spec(JobSpec::default())?.url);
        }
        match std::env::var("LIVEKIT_URL") {
            Ok(url) if !url.is_empty() => Ok(Some(url)),
            _ => Err(Error::new(
                Exit::BadConfiguration,
                "--use-env: LIVEKIT_URL is not set; set it, or give --url",
            )),
        }
    }

    /// The SFU to test, started if none was named.
    async fn sfu(&self, named: Option<String>) -> Result<Sfu, Error> {
        if let Some(url) = named {
            let keys = self.keys.keys()?;
            return Ok(Sfu::Running { url, keys });
        }
        let cache = cache_dir(|name| std::env::var_os(name)).ok_or_else(|| {
            Error::new(
                Exit::BadConfiguration,
                "no cache directory; set HOME or MUSTER_CACHE_DIR",
            )
        })?;
        let say = |line: String| tracing::info!("{line}");
        let binary = livekit_server::find(self.livekit_server.as_deref(), &cache, say).await?;
        tracing::info!("starting {}", binary.display());
        Ok(Sfu::Own(Box::new(LivekitServer::start(&binary).await?)))
    }

    /// The job's spec, for the server at `named` or one of its own.
    fn spec(&self, named: Option<String>) -> Result<JobSpec, Error> {
        let runs_already = named.is_some();
        let defaults = JobSpec {
            url: named,
            duration: Some(Span::secs(10)),
            timeout: Some(Span::secs(120)),
            grace: Some(Span::secs(15)),
            ..JobSpec::default()
        };
        let mut spec = self.over(self.job.spec(defaults)?)?;
        let alone = spec.vantages.as_ref().is_some_and(|v| v.len() == 1);
        if spec.ramp.is_none() && !(runs_already && alone) {
            spec.ramp = Ramp::new(&DEFAULT_RAMP).ok();
        }
        Ok(spec)
    }

    /// `spec` with the vantages of the flag, else the file's, else as many as the file expects.
    fn over(&self, spec: JobSpec) -> Result<JobSpec, Error> {
        if let Some(Vantages(labels)) = &self.vantages {
            return Ok(JobSpec {
                vantages: Some(labels.clone()),
                expect: None,
                ..spec
            });
        }
        if spec.vantages.as_ref().is_some_and(|v| !v.is_empty()) {
            return Ok(spec);
        }
        let labels = numbered(spec.expect.unwrap_or(DEFAULT_VANTAGES))
            .map_err(|why| Error::new(Exit::BadConfiguration, why))?;
        Ok(JobSpec {
            vantages: Some(labels),
            ..spec
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Typed {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_flag_is_over_the_files_vantages_over_its_number() {
        let job = tempfile::NamedTempFile::new().unwrap();
        let sizes = |file: &str, flag: &[&str]| {
            std::fs::write(job.path(), file).unwrap();
            let path = job.path().to_str().unwrap();
            let typed = [&["muster", "--job", path], flag].concat();
            let args = Typed::try_parse_from(typed).unwrap().args;
            args.spec(None).map(|spec| {
                let labels = spec.vantages.unwrap();
                let names: Vec<String> = labels.iter().map(ToString::to_string).collect();
                names.join(",")
            })
        };
        for (file, flag, expected) in [
            ("{}", &[][..], "local-1,local-2,local-3"),
            (r#"{"expect": 2}"#, &[], "local-1,local-2"),
            (r#"{"vantages": ["iad", "sjc"]}"#, &[], "iad,sjc"),
            (
                r#"{"vantages": ["iad:2", "sjc=publish"]}"#,
                &[],
                "iad:2,sjc=publish",
            ),
            (r#"{"vantages": ["iad"], "expect": 1}"#, &[], "iad"),
            (r#"{"expect": 2}"#, &["--vantages", "a"], "a"),
            (r#"{"vantages": ["iad"]}"#, &["--vantages", "1"], "local-1"),
        ] {
            assert_eq!(sizes(file, flag).unwrap(), expected, "{file} {flag:?}");
        }
        let error = sizes(r#"{"expect": 101}"#, &[]).unwrap_err();
        assert!(error.to_string().contains("1 to 100"), "{error}");
    }

    #[test]
    fn vantages_are_a_number_or_labels() {
        let labels = |text: &str| {
            text.parse::<Vantages>()
                .map(|v| v.0.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(labels("2"), Ok(vec!["local-1".into(), "local-2".into()]));
        assert_eq!(labels("iad:2,sjc"), Ok(vec!["iad:2".into(), "sjc".into()]));
        for bad in ["0", "101", "", "a,,b", "A"] {
            assert!(labels(bad).is_err(), "{bad:?}");
        }
    }
}
