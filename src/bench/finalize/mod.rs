//! `muster bench finalize`: what it costs to combine runs of many vantages from a real MinIO.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`run`] | a run that never was, with signed parts |
//! | [`server`] | the MinIO that it lies in |

#![expect(
    clippy::disallowed_methods,
    reason = "the edge: it measures how long a process takes"
)]

pub mod run;
pub mod server;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::task::JoinSet;

use self::run::{MadeUp, Object};
use self::server::Minio;
use super::child::Child;
use super::stage;
use crate::clock;
use crate::error::Error;
use crate::job::RunId;
use crate::prober::host::{cpu_ms, peak_bytes, processors};
use crate::rendezvous::drive::{Bucket, run_finalizer};
use crate::store::{RequestCounts, S3Store, Store};

/// The number of vantages that the bounds are for.
pub const BOUND_AT: u32 = 1_000;
/// With 20 tiers each, on two processors: at most so long.
const SECONDS_MAX: f64 = 5.0;
/// At most so much memory, in bytes.
const PEAK_MAX: u64 = 200_000_000;
/// How much more a vantage may cost among more of them, for growth to be called linear.
const GROWTH_MAX: f64 = 1.5;
/// Below so many vantages, what every run costs outweighs what they do.
const LINEAR_FROM: u32 = 100;
/// The most writes under way at once.
const WRITES_MAX: usize = 32;
/// After how many vantages it says how far the writing is.
const SAY_EVERY: u32 = 1_000;
/// The longest that a finalizer may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The MinIO to start.
    pub minio: PathBuf,
    /// How many vantages, one run after the other.
    pub vantages: Vec<u32>,
    /// Tiers of each, beside the baseline.
    pub tiers: u32,
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Finalized {
    /// Under which conditions.
    pub conditions: Conditions,
    /// Tiers of each vantage, beside the baseline.
    pub tiers: u32,
    /// One for each number of vantages.
    pub runs: Vec<Run>,
    /// What was not as it must be; empty when all was.
    pub findings: Vec<String>,
}

/// What the figures depend on.
#[derive(Clone, Debug, Serialize)]
pub struct Conditions {
    /// muster's version.
    pub muster: String,
    /// Whether muster was built for release; otherwise its figures mean nothing.
    pub release: bool,
    /// MinIO's version.
    pub minio: Option<String>,
    /// Processors, shared by finalizer and MinIO.
    pub processors: f64,
    /// Runnable processes on the machine, averaged over the minute before.
    pub load_before: Option<f64>,
}

/// One run that was finalized.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Vantages.
    pub vantages: u32,
    /// Of these, without a report: their tiers are read.
    pub lost: u32,
    /// Objects of the run.
    pub objects: u64,
    /// Bytes of the parts that were read.
    pub bytes: u64,
    /// What its process said.
    #[serde(flatten)]
    pub told: Told,
}

/// What a finalizer's process tells when it is done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// From connecting to the bucket until the combined report was stored.
    pub seconds: f64,
    /// CPU time of the process, in seconds.
    pub cpu_seconds: f64,
    /// The most memory that was resident.
    pub peak_bytes: u64,
    /// What it asked of the bucket.
    pub requests: RequestCounts,
    /// The size of the combined report.
    pub combined_bytes: u64,
    /// Vantages in it, by its last tier.
    pub measured: u32,
}

impl Run {
    /// What a vantage took, in microseconds.
    pub fn us_per_vantage(&self) -> f64 {
        self.told.seconds * 1e6 / f64::from(self.vantages.max(1))
    }
}

/// Writes the runs and finalizes each in a process of its own. `say` gets a line per step.
///
/// # Errors
/// When server or process can't be had, or don't come to an end.
pub async fn measure(setup: &Setup, say: impl Fn(&str)) -> Result<Finalized, Error> {
    let conditions = Conditions {
        muster: env!("CARGO_PKG_VERSION").to_owned(),
        release: !cfg!(debug_assertions),
        minio: stage::version(&setup.minio).await,
        processors: processors(),
        load_before: stage::load_average(),
    };
    let mut runs = Vec::new();
    for vantages in &setup.vantages {
        let run = one(setup, *vantages, &say).await.map_err(stage::failed)?;
        runs.push(run);
    }
    Ok(Finalized {
        findings: findings(&runs, setup.tiers),
        conditions,
        tiers: setup.tiers,
        runs,
    })
}

async fn one(setup: &Setup, vantages: u32, say: &impl Fn(&str)) -> Result<Run, String> {
    let server = Minio::start(&setup.minio).await?;
    let measured = in_bucket(&server, setup.tiers, vantages, say).await;
    server.stop().await;
    measured
}

async fn in_bucket(
    server: &Minio,
    tiers: u32,
    vantages: u32,
    say: &impl Fn(&str),
) -> Result<Run, String> {
    let run = Arc::new(MadeUp::new(vantages, tiers, clock::now())?);
    let settings = server.settings()?;
    let store = S3Store::connect(settings, Arc::new(clock::now)).await;
    let store: Arc<dyn Store> = Arc::new(store.map_err(|e| e.to_string())?);
    say(&format!("writing a run of {vantages} vantages"));
    let written = write(&run, vantages, &store, say).await?;
    // Else the disk is still busy with it.
    server.settle().await?;
    say(&format!("finalizing a run of {vantages} vantages"));
    let told = finalize(server, run.id()).await?;
    if told.measured != vantages {
        return Err(format!("{} of {vantages} vantages counted", told.measured));
    }
    Ok(Run {
        vantages,
        lost: run.lost(),
        objects: written.objects,
        bytes: written.to_read,
        told,
    })
}

#[derive(Clone, Copy, Default)]
struct Written {
    objects: u64,
    /// Bytes of the parts that a finalizer must read.
    to_read: u64,
}

async fn write(
    run: &Arc<MadeUp>,
    vantages: u32,
    store: &Arc<dyn Store>,
    say: &impl Fn(&str),
) -> Result<Written, String> {
    let mut sum = put(run.head()?, store).await?;
    let mut done = 0;
    let mut under_way: JoinSet<Result<Written, String>> = JoinSet::new();
    let mut next = 0..vantages;
    loop {
        while under_way.len() < WRITES_MAX
            && let Some(index) = next.next()
        {
            let (run, store) = (Arc::clone(run), Arc::clone(store));
            under_way.spawn(async move { put(run.of_vantage(index)?, &store).await });
        }
        let Some(ended) = under_way.join_next().await else {
            return Ok(sum);
        };
        let written = ended.map_err(|e| e.to_string())??;
        sum.objects += written.objects;
        sum.to_read += written.to_read;
        done += 1;
        if done % SAY_EVERY == 0 && done < vantages {
            say(&format!("{done} of {vantages} vantages are written"));
        }
    }
}

async fn put(objects: Vec<Object>, store: &Arc<dyn Store>) -> Result<Written, String> {
    use crate::rendezvous::keys::Item;
    let mut written = Written::default();
    let has_report = objects
        .iter()
        .any(|o| matches!(o.key.item, Item::Report(_)));
    for object in objects {
        let is_read = match object.key.item {
            Item::Report(_) => true,
            Item::Tier(..) => !has_report,
            _ => false,
        };
        written.objects += 1;
        written.to_read += if is_read { object.body.len() as u64 } else { 0 };
        let put = store.put(&object.key.key(), object.body).await;
        put.map_err(|e| e.to_string())?;
    }
    Ok(written)
}

/// Finalizes in a process of its own.
async fn finalize(server: &Minio, run: &RunId) -> Result<Told, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(program);
    command
        .args(["bench", "finalizer", run.as_str()])
        .envs(server.environment());
    let mut child = Child::start("finalizer", command).map_err(|e| e.to_string())?;
    let line = match tokio::time::timeout(PATIENCE, child.line()).await {
        Ok(line) => line?,
        Err(_) => return Err(format!("not done within {} s", PATIENCE.as_secs())),
    };
    serde_json::from_str(&line).map_err(|e| format!("{e}: {line}"))
}

/// What the process does: finalizes a run that is over, and says what that took.
///
/// # Errors
/// When the bucket or the run is not what it must be.
pub async fn finalizer(store: S3Store, run: RunId, seed: u64) -> Result<Told, Error> {
    let began = Instant::now();
    let bucket = Bucket::from(store);
    let finished = run_finalizer(&bucket, run, false, seed).await?;
    let seconds = began.elapsed().as_secs_f64();
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).ok();
    let unreadable = || stage::failed("/proc/self can't be read".to_owned());
    let cpu = read("stat").and_then(|stat| cpu_ms(&stat));
    let peak = read("status").and_then(|status| peak_bytes(&status));
    Ok(Told {
        seconds,
        cpu_seconds: cpu.ok_or_else(unreadable)? as f64 / 1e3,
        peak_bytes: peak.ok_or_else(unreadable)?,
        requests: bucket.requests(),
        combined_bytes: finished.body.len() as u64,
        measured: finished.combined.tiers.last().map_or(0, |t| t.vantages),
    })
}

/// Runs that show how it grows: each with the next one, from `LINEAR_FROM` vantages on.
pub fn compared(runs: &[Run]) -> impl Iterator<Item = (&Run, &Run)> {
    let large = runs.iter().filter(|run| run.vantages >= LINEAR_FROM);
    large.clone().zip(large.skip(1))
}

/// What is not as it must be. The bounds are for runs of [`BOUND_AT`] vantages and 20 tiers.
fn findings(runs: &[Run], tiers: u32) -> Vec<String> {
    let mut findings = Vec::new();
    let bound = |run: &&Run| run.vantages == BOUND_AT && tiers >= 20;
    for run in runs.iter().filter(bound) {
        if run.told.seconds > SECONDS_MAX {
            findings.push(format!(
                "{} vantages took {:.1} s, at most {SECONDS_MAX:.0} s are allowed",
                run.vantages, run.told.seconds
            ));
        }
        if run.told.peak_bytes > PEAK_MAX {
            findings.push(format!(
                "{} vantages took {} MB, at most {} MB are allowed",
                run.vantages,
                run.told.peak_bytes / 1_000_000,
                PEAK_MAX / 1_000_000
            ));
        }
    }
    for (few, many) in compared(runs) {
        let more = many.us_per_vantage() / few.us_per_vantage();
        if more > GROWTH_MAX {
            findings.push(format!(
                "a vantage took {more:.1} times as long among {} as among {}: not linear",
                many.vantages, few.vantages
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(vantages: u32, seconds: f64, peak_mb: u64) -> Run {
        Run {
            vantages,
            lost: 0,
            objects: 0,
            bytes: 0,
            told: Told {
                seconds,
                peak_bytes: peak_mb * 1_000_000,
                ..Told::default()
            },
        }
    }

    #[test]
    fn each_bound_that_is_not_kept_is_found() {
        let found = |runs: &[Run]| findings(runs, 20).join("\n");
        let good = [run(10, 0.5, 20), run(100, 0.5, 40), run(1_000, 4.9, 199)];
        assert_eq!(found(&good), "");
        assert!(found(&[run(1_000, 5.1, 1)]).contains("took 5.1 s"));
        assert!(found(&[run(1_000, 1.0, 201)]).contains("took 201 MB"));
        let grows = found(&[run(100, 0.5, 1), run(10_000, 80.0, 1)]);
        assert!(grows.contains("1.6 times"), "{grows}");
        // A single run shows nothing of growth.
        assert_eq!(compared(&[run(10, 1.0, 1), run(100, 1.0, 1)]).count(), 0);
        // With fewer tiers there is no bound.
        assert!(findings(&[run(1_000, 9.0, 900)], 3).is_empty());
    }
}
