//! Reads the SFU's clock for a coordinator, as its probers do.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::job::{Job, Vantage, Workload};
use crate::participant::snapshot::ClockSample;
use crate::participant::{Engine, EngineConfig, Transport};
use crate::prober::{LoadContext, Pongs, self_test};
use crate::rooms::Keys;

/// The label that the coordinator's hidden participant has, with a number that no vantage's has.
const LABEL: &str = "coordinator";
/// See [`LABEL`].
const NUMBER: u32 = u32::MAX;
/// How long it may take to connect. What it reads is wanted before the start is decided.
const WITHIN: Duration = Duration::from_secs(10);

/// Reads the clock by a hidden participant that leaves at once, and hands on what it read. A
/// coordinator that can't do that goes without.
pub async fn read(job: Job, keys: Keys, pongs: mpsc::Sender<Pongs>) {
    match try_read(&job, keys).await {
        // A coordinator that has ended needs no clock.
        Ok(read) => drop(pongs.send(read).await),
        Err(why) => tracing::debug!("the SFU's clock was not read from here: {why}"),
    }
}

async fn try_read(job: &Job, keys: Keys) -> Result<Pongs, String> {
    let Workload::SharedRoom { room, .. } = &job.workload;
    let label: Vantage = LABEL.parse().map_err(|e| format!("{e}"))?;
    let context = LoadContext {
        engine: Engine::start(EngineConfig::default()).map_err(|e| e.to_string())?,
        tokens: keys.into(),
        ca_file: None,
        transport: Transport::Udp,
    };
    let tested = self_test(&context, &job.url, room, &job.run, &label, NUMBER, WITHIN).await;
    let tested = tested.map_err(|e| e.to_string())?;
    Ok(Pongs {
        samples: tested.clock.iter().map(ClockSample::sample).collect(),
        node: tested.sfu.node,
    })
}
