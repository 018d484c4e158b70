//! `muster probe`: take part in a run from here.

use tokio::sync::{mpsc, watch};

use super::args::{BucketArgs, KeysArgs};
use super::progress::show_prober;
use super::signals::Signals;
use super::{edge, output};
use crate::error::Error;
use crate::exit::Exit;
use crate::job::{RunId, Span, Vantage};
use crate::participant::{Engine, EngineConfig};
use crate::prober::LoadContext;
use crate::rendezvous::drive::{ProberOptions, run_prober};
use crate::report::part::Outcome;

/// Where a prober's label comes from, the first that is set.
const LABELS: [&str; 3] = ["MUSTER_VANTAGE", "FLY_REGION", "AWS_REGION"];

/// `muster probe`
#[derive(clap::Args, Debug)]
pub struct Args {
    /// This prober's label, unique within the run [default: MUSTER_VANTAGE, FLY_REGION or
    /// AWS_REGION]
    #[arg(long, value_name = "LABEL")]
    vantage: Option<Vantage>,

    /// The run to take part in [default: the newest that accepts this label]
    #[arg(long, value_name = "RUN", env = "MUSTER_RUN")]
    run: Option<RunId>,

    /// How long to look for a run and wait for its start
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10m",
        allow_hyphen_values = true
    )]
    timeout: Span,

    #[command(flatten)]
    keys: KeysArgs,
    #[command(flatten)]
    bucket: BucketArgs,
}

/// Takes part in a run.
pub async fn run(args: Args) -> Result<Exit, Error> {
    let vantage = match args.vantage.clone() {
        Some(vantage) => vantage,
        None => label(|name| std::env::var(name).ok())?,
    };
    let keys = args.keys.keys()?;
    let bucket = args.bucket.open().await?.into();
    let engine = Engine::start(EngineConfig::default()).map_err(|e| {
        Error::new(
            Exit::Internal,
            format!("cannot start the media threads: {e}"),
        )
    })?;
    let context = LoadContext {
        engine,
        tokens: keys.into(),
        ca_file: None,
    };
    let (tell, mut told) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(false);
    let options = ProberOptions {
        run: args.run,
        vantage: vantage.clone(),
        timeout: args.timeout.0,
        must_end_by: None,
        function: None,
        build: env!("CARGO_PKG_VERSION").to_owned(),
        key: edge::signing_key()?,
        job_sha256: None,
        seed: edge::random(),
        progress: tell,
        stop: stopped,
    };
    let mut ended = std::pin::pin!(run_prober(&bucket, context, options));
    let mut signals = Signals::listen()?;
    let ended = loop {
        tokio::select! {
            biased;
            Some(progress) = told.recv() => show_prober(&progress),
            ended = &mut ended => break ended?,
            signal = signals.next() => signals.ask_once(signal, &stop)?,
        }
    };
    let tiers: Vec<String> = ended.tiers.iter().map(ToString::to_string).collect();
    let (how, exit) = match &ended.outcome {
        Outcome::Complete => ("complete".to_owned(), Exit::Passed),
        Outcome::Stopped { reason } if *stop.borrow() || reason.starts_with("aborted") => {
            (reason.clone(), Exit::Aborted)
        }
        Outcome::Stopped { reason } => (reason.clone(), Exit::Incomplete),
    };
    output::print(&format!(
        "{vantage} measured tiers {} of run {}: {how}",
        tiers.join(", "),
        ended.run
    ))?;
    Ok(exit)
}

/// The label that the environment gives. `env` reads a variable, `None` when it is unset.
fn label(env: impl Fn(&str) -> Option<String>) -> Result<Vantage, Error> {
    let bad = |text: String| Error::new(Exit::BadConfiguration, text);
    LABELS
        .iter()
        .find_map(|name| {
            let value = env(name).filter(|v| !v.is_empty())?;
            Some(value.parse().map_err(|e| bad(format!("{name}: {e}"))))
        })
        .unwrap_or_else(|| {
            Err(bad(format!(
                "no vantage label; give --vantage LABEL or set {}",
                LABELS.join(", ")
            )))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled(vars: &[(&str, &str)]) -> Result<String, String> {
        label(|name| {
            let (_, value) = vars.iter().find(|(n, _)| *n == name)?;
            Some((*value).to_owned())
        })
        .map(|v| v.to_string())
        .map_err(|e| e.to_string())
    }

    #[test]
    fn the_label_has_an_order_of_sources() {
        let all = [
            ("AWS_REGION", "eu-west-1"),
            ("FLY_REGION", "iad"),
            ("MUSTER_VANTAGE", "home"),
        ];
        assert_eq!(labelled(&all), Ok("home".into()));
        assert_eq!(labelled(&all[..2]), Ok("iad".into()));
        assert_eq!(labelled(&all[..1]), Ok("eu-west-1".into()));
        assert_eq!(
            labelled(&[("MUSTER_VANTAGE", ""), ("FLY_REGION", "iad")]),
            Ok("iad".into())
        );
    }

    #[test]
    fn a_wrong_or_missing_label_says_where_it_belongs() {
        let missing = labelled(&[]).unwrap_err();
        assert!(missing.contains("--vantage") && missing.contains("MUSTER_VANTAGE"));
        let wrong = labelled(&[("FLY_REGION", "New York")]).unwrap_err();
        assert!(wrong.starts_with("FLY_REGION: `New York`"), "{wrong}");
    }
}
