//! The prober function: one event, one vantage's part in one run.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::Invocation;
use super::event::ProberEvent;
use crate::cli::{BucketArgs, edge, progress};
use crate::clock;
use crate::cost;
use crate::error::Error;
use crate::exit::Exit;
use crate::job::{IdError, Vantage};
use crate::participant::{Engine, EngineConfig, Transport};
use crate::prober::LoadContext;
use crate::rendezvous::RendezvousError;
use crate::rendezvous::drive::{ProberOptions, run_prober};
use crate::rendezvous::prober::Function;
use crate::report::part::Outcome;
use crate::rooms::Keys;
use crate::ticket::{Admission, Holder, admit};

/// Takes part in the run that an event names, as the region that the function runs in.
///
/// An event that comes twice finds its slot taken, which is no failure: the first one loads.
///
/// # Errors
/// When the event can't be read, the prober can't take part, or its report can't be stored.
pub async fn probe(event: Value, invocation: &Invocation) -> Result<Value, Error> {
    let event = ProberEvent::read(event)?;
    let admission = invocation.within(admission(event)).await?;
    let config = EngineConfig {
        threads: invocation.size.media_threads(),
        ..EngineConfig::default()
    };
    let engine = Engine::start(config).map_err(|e| {
        let text = format!("cannot start the media threads: {e}");
        Error::new(Exit::Internal, text)
    })?;
    let context = LoadContext {
        engine,
        tokens: admission.tokens,
        ca_file: None,
        transport: Transport::Udp,
    };
    let vantage = admission.vantage;
    let (tell, mut told) = mpsc::unbounded_channel();
    let (_stop, stopped) = watch::channel(false);
    let options = ProberOptions {
        run: admission.run.clone(),
        vantage: vantage.clone(),
        timeout: invocation.ends.saturating_since(clock::now()),
        must_end_by: Some(invocation.ends),
        function: Some(Function {
            arrived: invocation.arrived,
            init: invocation.init,
            participants_max: invocation.size.participants_max(),
            billed: cost::Function {
                memory_mib: invocation.size.memory_mib,
                arm64: cfg!(target_arch = "aarch64"),
            },
        }),
        build: env!("CARGO_PKG_VERSION").to_owned(),
        key: admission.key,
        job_sha256: admission.job_sha256,
        seed: edge::random(),
        progress: tell,
        stop: stopped,
    };
    let mut ended = std::pin::pin!(
        invocation.within(async { Ok(run_prober(&admission.bucket, context, options).await) })
    );
    let ended = loop {
        tokio::select! {
            biased;
            Some(progress) = told.recv() => progress::show_prober(&progress),
            ended = &mut ended => break ended?,
        }
    };
    match ended {
        Ok(ended) => {
            let outcome = match ended.outcome {
                Outcome::Complete => "complete".to_owned(),
                Outcome::Stopped { reason } => reason,
            };
            Ok(json!({
                "run": ended.run, "vantage": vantage, "tiers": ended.tiers, "outcome": outcome,
            }))
        }
        Err(e @ RendezvousError::SlotTaken { .. }) => {
            tracing::info!("{e}");
            Ok(json!({"run": admission.run, "vantage": vantage, "left": e.to_string()}))
        }
        Err(e) => Err(e.into()),
    }
}

/// What it takes part with: the ticket that the event leads to, or what the function's own
/// credentials make up for one.
async fn admission(event: ProberEvent) -> Result<Admission, Error> {
    let env = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let (vantage, bucket) = (label(env)?, BucketArgs::from_env()?);
    let url = match event {
        ProberEvent::Ticket(url) => url,
        ProberEvent::Run(run) => {
            return Ok(Admission {
                tokens: Keys::from_env(env)?.into(),
                bucket: bucket.open().await?.into(),
                run: Some(run),
                vantage,
                job_sha256: None,
                key: edge::signing_key()?,
            });
        }
    };
    let holder = Holder {
        label: Some(vantage.clone()),
        index: None,
    };
    let now = Arc::new(clock::now);
    let admission = admit(url.expose().as_bytes(), &holder, bucket.bucket_ca_file, now).await?;
    if admission.vantage.place() != vantage {
        let text = format!(
            "the ticket is for vantage `{}`, and this function is in {vantage}",
            admission.vantage
        );
        return Err(Error::new(Exit::BadConfiguration, text));
    }
    Ok(admission)
}

/// The label: the region.
fn label(env: impl Fn(&str) -> Option<String>) -> Result<Vantage, Error> {
    let bad = |why: String| Error::new(Exit::BadConfiguration, format!("AWS_REGION {why}"));
    let region = env("AWS_REGION").ok_or_else(|| bad("is not set".to_owned()))?;
    region.parse().map_err(|e: IdError| bad(e.to_string()))
}
