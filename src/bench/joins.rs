//! `muster bench joins`: many joins in a short time, and whether all came when they were due.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::child::{Child, Joined};
use super::stage::{self, Stage};
use crate::error::Error;
use crate::measure::Histogram;

/// The rooms' name, each with its number behind.
const ROOM: &str = "joins";

/// How long joins may take beyond their schedule: longer than a participant tries.
const PATIENCE: Duration = Duration::from_secs(60);

/// A join that begins later than this after it was due was not done when it was asked for.
const LATE_MAX: Duration = Duration::from_millis(250);

/// The share of the rate asked for that must be reached.
const RATE_SHARE: f64 = 0.95;

/// What a join may cost, in milliseconds of the prober's CPU time.
const CPU_MS_MAX: f64 = 4.0;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The livekit-server to start.
    pub livekit_server: PathBuf,
    /// Subscribers.
    pub subscribers: u32,
    /// Rooms that they join in turn. Each has one publisher of audio, there before.
    pub rooms: u32,
    /// Joins per second.
    pub join_rate: u32,
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Joins {
    /// Under which conditions.
    pub conditions: stage::Conditions,
    /// Joins.
    pub joins: u64,
    /// Rooms.
    pub rooms: u32,
    /// Joins per second that were asked for.
    pub asked_per_second: f64,
    /// Joins per second by the dials, from the first to the last; `None` of fewer than two.
    pub achieved_per_second: Option<f64>,
    /// From when the first was due until the last was connected or had failed, in seconds.
    pub seconds: f64,
    /// From when each was due to its dial, in milliseconds.
    pub late_ms: Times,
    /// From dial to connected, in milliseconds.
    pub connected_ms: Times,
    /// Joins that failed, by cause.
    pub failures: BTreeMap<String, u64>,
    /// CPU time of the prober's process from before the first join until all were over, divided by
    /// the joins, in milliseconds.
    pub cpu_ms_per_join: f64,
    /// What was not as asked for; empty when all was.
    pub findings: Vec<String>,
}

/// How a time is distributed; `None` without samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Times {
    /// Median.
    pub p50: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
}

impl Times {
    fn of(us: impl Iterator<Item = u64>) -> Times {
        let mut histogram = Histogram::new();
        us.for_each(|us| histogram.record(us));
        let figures = histogram.distribution(1e3);
        Times {
            p50: figures.map(|f| f.p50),
            p99: figures.map(|f| f.p99),
            max: figures.map(|f| f.max),
        }
    }
}

/// Starts a server and publishers, and lets the subscribers join. `say` gets a line per step.
///
/// # Errors
/// When server, publishers or the prober's process can't be had, or don't come to an end.
pub async fn measure(setup: &Setup, say: impl Fn(&str)) -> Result<Joins, Error> {
    let stage = Stage::open(&setup.livekit_server).await?;
    let conditions = stage.conditions(&setup.livekit_server).await;
    let limit = PATIENCE * 2
        + Duration::from_secs(u64::from(setup.subscribers) / u64::from(setup.join_rate.max(1)));
    let measured = stage::within(limit, join(setup, &stage, say)).await;
    stage.close().await;
    let (joined, cpu_ms) = measured.map_err(stage::failed)?;
    Ok(result(setup, conditions, &joined, cpu_ms))
}

/// How the joins went, and the CPU time that they took, in milliseconds.
async fn join(setup: &Setup, stage: &Stage, say: impl Fn(&str)) -> Result<(Joined, u64), String> {
    let rooms = setup.rooms.to_string();
    let start = async |name, load, count: u32, join_rate: u32| -> Result<Child, String> {
        let (count, join_rate) = (count.to_string(), join_rate.to_string());
        let who = ["--room", ROOM, "--rooms", &rooms, "--load", load];
        let how = ["--count", &count, "--join-rate", &join_rate];
        let mut child = stage.participants(name, &[&who[..], &how].concat())?;
        child.told().await?;
        Ok(child)
    };
    say("publishers");
    let mut publishers = start("publishers", "voices", setup.rooms, 20).await?;
    match publishers.joined().await?.causes() {
        causes if causes.is_empty() => {}
        causes => return Err(format!("publishers failed: {causes:?}")),
    }
    say("joins");
    let mut prober = start("joins", "subscribers", setup.subscribers, setup.join_rate).await?;
    let before = prober.usage()?;
    let joined = prober.joined().await?;
    let after = prober.usage()?;
    prober.stop().await;
    publishers.stop().await;
    Ok((joined, after.cpu_ms.saturating_sub(before.cpu_ms)))
}

fn result(setup: &Setup, conditions: stage::Conditions, joined: &Joined, cpu_ms: u64) -> Joins {
    let all = &joined.joins;
    let dials = || all.iter().map(|join| join.due_us + join.late_us);
    let span = dials().max().zip(dials().min());
    let span_us = span.map_or(0, |(last, first)| last - first);
    let gaps = all.len().saturating_sub(1);
    let mut joins = Joins {
        conditions,
        joins: u64::try_from(all.len()).unwrap_or(u64::MAX),
        rooms: setup.rooms,
        asked_per_second: f64::from(setup.join_rate),
        achieved_per_second: (span_us > 0).then(|| gaps as f64 * 1e6 / span_us as f64),
        seconds: joined.after_ms as f64 / 1e3,
        late_ms: Times::of(all.iter().map(|join| join.late_us)),
        connected_ms: Times::of(all.iter().filter_map(|join| join.connected_us)),
        failures: joined.causes(),
        cpu_ms_per_join: cpu_ms as f64 / all.len().max(1) as f64,
        findings: Vec::new(),
    };
    joins.findings = findings(&joins);
    joins
}

/// What was not as asked for.
fn findings(joins: &Joins) -> Vec<String> {
    let failed: u64 = joins.failures.values().sum();
    let late_max = LATE_MAX.as_secs_f64() * 1e3;
    let late = joins.late_ms.max.filter(|late| *late > late_max);
    let asked = joins.asked_per_second;
    let slow = joins
        .achieved_per_second
        .filter(|achieved| *achieved < asked * RATE_SHARE);
    let dear = Some(joins.cpu_ms_per_join)
        .filter(|cost| *cost > CPU_MS_MAX && joins.conditions.is_release());
    [
        (failed > 0).then(|| format!("{failed} of {} joins failed", joins.joins)),
        slow.map(|achieved| {
            format!("joins were begun at {achieved:.1} a second, and {asked:.0} were asked for")
        }),
        late.map(|late| {
            format!(
                "a join was begun {late:.0} ms after it was due, and {late_max:.0} ms is the most"
            )
        }),
        dear.map(|cost| {
            format!("a join cost {cost:.1} ms of CPU time, and {CPU_MS_MAX:.0} ms is the most")
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::child::Join;

    fn setup() -> Setup {
        Setup {
            livekit_server: PathBuf::new(),
            subscribers: 100,
            rooms: 10,
            join_rate: 100,
        }
    }

    /// A hundred joins, the `n`-th begun `late_us(n)` after it was due.
    fn joins(late_us: impl Fn(u64) -> u64, cpu_ms: u64) -> Joins {
        let joined = Joined {
            after_ms: 1_040,
            joins: (0..100)
                .map(|n| Join {
                    due_us: n * 10_000,
                    late_us: late_us(n),
                    connected_us: Some(40_000),
                    failure: (n == 7 && cpu_ms == 0).then(|| "dtls".to_owned()),
                })
                .collect(),
        };
        let conditions = stage::Conditions {
            release: true,
            ..stage::Conditions::default()
        };
        result(&setup(), conditions, &joined, cpu_ms)
    }

    #[test]
    fn what_was_asked_for_and_done_is_no_finding() {
        let joins = joins(|_| 900, 310);
        assert_eq!(joins.findings, [""; 0]);
        assert_eq!(joins.achieved_per_second, Some(100.0));
        assert_eq!((joins.cpu_ms_per_join, joins.seconds), (3.1, 1.04));
    }

    #[test]
    fn whatever_was_not_done_is_found() {
        let failed = joins(|_| 0, 0);
        assert_eq!(failed.findings, ["1 of 100 joins failed"]);
        assert_eq!(failed.failures["dtls"], 1);
        // One late join, and a rate that can't be kept.
        let late = joins(|n| if n == 50 { 300_000 } else { 0 }, 100);
        assert!(late.findings[0].contains("after it was due"), "{late:?}");
        assert_eq!(late.findings.len(), 1);
        let slow = joins(|n| n * 2_000, 100);
        assert!(slow.findings[0].contains("at 83.3 a second"), "{slow:?}");
        let dear = joins(|_| 0, 500);
        assert!(dear.findings[0].contains("5.0 ms of CPU"), "{dear:?}");
    }
}
