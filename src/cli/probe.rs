//! `muster probe`: take part in a run from here.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::args::{BucketArgs, KeysArgs, TicketArgs};
use super::progress::show_prober;
use super::signals::Signals;
use super::{edge, output, whoami};
use crate::clock;
use crate::error::Error;
use crate::exit::Exit;
use crate::job::{RunId, Span, Vantage};
use crate::participant::{Engine, EngineConfig, Transport};
use crate::prober::LoadContext;
use crate::rendezvous::drive::{ProberOptions, run_prober};
use crate::report::part::Outcome;
use crate::ticket::{Admission, admit};

/// `muster probe`
#[derive(clap::Args, Debug)]
pub struct Args {
    /// This prober's label: its vantage's, or its slot's like iad/1; by a vantage's label it takes
    /// the next of its slots that is free [default: MUSTER_VANTAGE, FLY_REGION or AWS_REGION]
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
    ticket: TicketArgs,
    #[command(flatten)]
    keys: KeysArgs,
    #[command(flatten)]
    bucket: BucketArgs,
}

/// Takes part in a run.
pub async fn run(args: Args) -> Result<Exit, Error> {
    let Admission {
        bucket,
        tokens,
        run,
        vantage,
        job_sha256,
        key,
    } = admission(&args).await?;
    if run.is_none() {
        let place = bucket.place();
        tracing::info!("looking for a run in {place} that accepts `{vantage}`");
    }
    let engine = Engine::start(EngineConfig::default()).map_err(|e| {
        Error::new(
            Exit::Internal,
            format!("cannot start the media threads: {e}"),
        )
    })?;
    let context = LoadContext {
        engine,
        tokens,
        ca_file: None,
        transport: Transport::Udp,
    };
    let (tell, mut told) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(false);
    let options = ProberOptions {
        run,
        vantage,
        timeout: args.timeout.0,
        must_end_by: None,
        function: None,
        build: env!("CARGO_PKG_VERSION").to_owned(),
        key,
        job_sha256,
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
    let measured = match tiers.is_empty() {
        true => "nothing".to_owned(),
        false => format!("tiers {}", tiers.join(", ")),
    };
    let (how, exit) = match &ended.outcome {
        Outcome::Complete => ("complete".to_owned(), Exit::Passed),
        Outcome::Stopped { reason } if *stop.borrow() || reason.starts_with("aborted") => {
            (reason.clone(), Exit::Aborted)
        }
        Outcome::Stopped { reason } => (reason.clone(), Exit::Incomplete),
    };
    output::print(&format!(
        "{} measured {measured} of run {}: {how}",
        ended.claim.vantage(),
        ended.run
    ))?;
    Ok(exit)
}

/// What it takes part with: its ticket if it was handed one, else its own credentials.
async fn admission(args: &Args) -> Result<Admission, Error> {
    let env = |name: &str| std::env::var(name).ok();
    let flag = args.vantage.as_ref();
    let Some(handed) = args.ticket.handed()? else {
        return Ok(Admission {
            vantage: whoami::label(flag, env)?,
            tokens: args.keys.keys()?.into(),
            bucket: args.bucket.open().await?.into(),
            run: args.run.clone(),
            job_sha256: None,
            key: edge::signing_key()?,
        });
    };
    let holder = whoami::holder(flag, env)?;
    let ca_file = args.bucket.bucket_ca_file.clone();
    let now = Arc::new(clock::now);
    let admission = admit(handed.expose().as_bytes(), &holder, ca_file, now).await?;
    let contradicts = |what: String, of: String| {
        let text = format!("the ticket is for {of}, and this prober was told to take part {what}");
        Err(Error::new(Exit::BadConfiguration, text))
    };
    match (whoami::chosen(flag, env)?, &args.run, &admission.run) {
        (Some(label), ..) if label != admission.vantage && label != admission.vantage.place() => {
            contradicts(
                format!("as `{label}`"),
                format!("vantage `{}`", admission.vantage),
            )
        }
        (_, Some(run), Some(of)) if run != of => {
            contradicts(format!("in run `{run}`"), format!("run `{of}`"))
        }
        _ => Ok(admission),
    }
}
