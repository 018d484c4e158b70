//! What happens in a run, as log lines.

use std::collections::BTreeMap;

use crate::clock;
use crate::job::Vantage;
use crate::participant::Transport;
use crate::rendezvous::{ProberProgress, Progress};

/// Shows a coordinator's progress; a heartbeat only when it says something new.
#[derive(Default)]
pub struct Shown {
    live: BTreeMap<Vantage, (String, u32, u64)>,
}

impl Shown {
    /// Logs one event.
    pub fn show(&mut self, progress: &Progress) {
        match progress {
            Progress::JobWritten { run, tickets: true } => {
                tracing::info!("run {run} is open; its probers take part by their tickets");
            }
            Progress::JobWritten { run, .. } => {
                tracing::info!("run {run} is open; its probers: `muster probe --run {run}`");
            }
            Progress::Claimed { vantage, .. } => tracing::info!("{vantage}: took its slot"),
            Progress::Ready {
                vantage,
                transport,
                ready,
                expected,
            } => {
                if *transport == Some(Transport::Tcp) {
                    tracing::warn!("{vantage}: UDP is closed there; it measures over TCP");
                }
                tracing::info!("{vantage}: ready ({ready} of {expected})");
            }
            Progress::FunctionStarted { vantage, start } => match start.init_ms {
                Some(init_ms) => tracing::info!(
                    "{vantage}: cold start, init {init_ms} ms, ready {} ms after its event",
                    start.ready_ms
                ),
                None => tracing::info!(
                    "{vantage}: warm start, ready {} ms after its event",
                    start.ready_ms
                ),
            },
            Progress::Unfit { vantage, reason } => {
                tracing::warn!("{vantage}: can't take part: {reason}");
            }
            Progress::Builds { builds } => {
                let own = env!("CARGO_PKG_VERSION");
                if builds.keys().any(|build| build != own) {
                    let each = builds.iter().map(|(build, slots)| {
                        let labels: Vec<&str> = slots.iter().map(Vantage::as_str).collect();
                        format!("{build} at {}", labels.join(", "))
                    });
                    let each: Vec<String> = each.collect();
                    tracing::warn!("builds differ: {own} here, {}", each.join("; "));
                }
            }
            Progress::StartsWithout { unfit, absent } => {
                for vantage in unfit {
                    tracing::warn!(
                        "{vantage}: the run starts without waiting for it, which can't take part"
                    );
                }
                for vantage in absent {
                    tracing::warn!(
                        "{vantage}: the run starts without it, which was not ready in time"
                    );
                }
            }
            Progress::Started { start, local } => {
                let wait = local.saturating_since(clock::now());
                let end = start.tiers.last().map_or(start.start_at, |t| t.window.to);
                tracing::info!(
                    "start in {} s: the baseline and {} tiers, over in {} s",
                    wait.as_secs(),
                    start.tiers.len().saturating_sub(1),
                    (wait + end.saturating_since(start.start_at)).as_secs()
                );
            }
            Progress::Live { live } => {
                let now = (live.phase.clone(), live.connected, live.failures);
                if self.live.insert(live.vantage.clone(), now.clone()) != Some(now) {
                    tracing::info!(
                        "{}: {}, {} connected, {} packets received, {} failures",
                        live.vantage,
                        live.phase,
                        live.connected,
                        live.packets_received,
                        live.failures
                    );
                }
            }
            Progress::Stale { vantage, silent } => {
                tracing::warn!(
                    "{vantage}: silent for {} s; not waited for",
                    silent.as_secs()
                );
            }
            Progress::Reported { vantage } => tracing::info!("{vantage}: reported"),
            Progress::Aborted { reason } => tracing::warn!("aborted: {reason}"),
            Progress::Finalizing => tracing::info!("all is in; combining"),
            Progress::Trouble { what } => tracing::warn!("{what}"),
        }
    }
}

/// Logs one event of a prober.
pub fn show_prober(progress: &ProberProgress) {
    match progress {
        ProberProgress::Found { run } => tracing::info!("found run {run}"),
        ProberProgress::Claimed { claim } => tracing::info!("took the slot as {claim}"),
        ProberProgress::Ready => tracing::info!("the path works; waiting for the start"),
        ProberProgress::Started { local, tiers } => tracing::info!(
            "start in {} s, {tiers} tiers",
            local.saturating_since(clock::now()).as_secs()
        ),
        ProberProgress::Measured { tier: 0 } => tracing::info!("measured the baseline"),
        ProberProgress::Measured { tier } => tracing::info!("measured tier {tier}"),
        ProberProgress::Stopping { reason } => tracing::warn!("stopping: {reason}"),
        ProberProgress::Reported => tracing::info!("reported"),
        ProberProgress::Trouble { what } => tracing::warn!("{what}"),
    }
}
