//! `muster bench capacity`: many participants in one process for long, and whether it stays flat.

#![expect(
    clippy::disallowed_methods,
    reason = "the edge: samples by the clock until the time is over"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::child::Reading;
use super::flat::{Growth, POINTS_MIN, growth};
use super::stage::{self, Stage};
use crate::error::Error;

/// The rooms' name, each with its number behind.
const ROOM: &str = "capacity";

/// From the last join to the first reading that counts: what a participant remembers of its packets
/// has its size by then, which at 2.5 packets a second takes 100 seconds.
pub const WARM_UP: Duration = Duration::from_secs(120);

/// How long joins may take beyond their schedule: longer than a participant tries.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The livekit-server to start.
    pub livekit_server: PathBuf,
    /// Participants in the one process, publishers included.
    pub participants: u32,
    /// Rooms; each has one publisher of audio, the rest take it.
    pub rooms: u32,
    /// Joins per second.
    pub join_rate: u32,
    /// How long they stay, from the end of the warm-up.
    pub duration: Duration,
    /// Between two readings.
    pub interval: Duration,
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Capacity {
    /// Under which conditions.
    pub conditions: stage::Conditions,
    /// Participants asked for.
    pub participants: u32,
    /// Rooms.
    pub rooms: u32,
    /// Joins that failed, by cause.
    pub failures: BTreeMap<String, u64>,
    /// Readings after the warm-up, in order.
    pub moments: Vec<Moment>,
    /// What grew over them.
    pub growths: Vec<Growth>,
    /// What was not as asked for; empty when all was.
    pub findings: Vec<String>,
}

/// The process at one moment.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Moment {
    /// Since its first join was due, in seconds.
    pub at_s: f64,
    /// Participants connected.
    pub connected: u64,
    /// Participants that have failed so far.
    pub failed: u64,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Open files.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
    /// Asynchronous tasks.
    pub tasks: u64,
    /// RTP packets per second since the moment before, received and sent.
    pub packets_per_second: f64,
    /// Packets lost after retransmission, of those expected since the moment before, in percent;
    /// `None` if none was.
    pub lost_percent: Option<f64>,
    /// Datagrams that died in its own receive buffers so far.
    pub own_drops: u64,
    /// CPU time since the moment before, in percent of one processor.
    pub cpu_percent: f64,
}

/// The shortest time that has readings enough for a verdict: each falls on a whole second at best.
pub fn duration_min(interval: Duration) -> Duration {
    let begun = u64::from(interval.subsec_nanos() > 0);
    let seconds = interval.as_secs().saturating_add(begun);
    let readings = u64::try_from(POINTS_MIN).unwrap_or(u64::MAX);
    Duration::from_secs(seconds.saturating_mul(readings))
}

/// Starts a server and the process, and reads both until the time is over. `say` gets a line per
/// step, `show` each moment.
///
/// # Errors
/// When server or process can't be had, or end before their time.
pub async fn measure(
    setup: &Setup,
    say: impl Fn(&str),
    show: impl FnMut(&Moment),
) -> Result<Capacity, Error> {
    let stage = Stage::open(&setup.livekit_server).await?;
    let conditions = stage.conditions(&setup.livekit_server).await;
    let joins = u64::from(setup.participants) / u64::from(setup.join_rate.max(1));
    let limit = Duration::from_secs(joins) + PATIENCE * 2 + WARM_UP + setup.duration;
    let measured = stage::within(limit, watch(setup, &stage, say, show)).await;
    stage.close().await;
    let (failures, moments) = measured.map_err(stage::failed)?;
    let growths = growths(&moments);
    let findings = findings(setup.participants, &moments, &growths);
    Ok(Capacity {
        conditions,
        participants: setup.participants,
        rooms: setup.rooms,
        failures,
        moments,
        growths,
        findings,
    })
}

async fn watch(
    setup: &Setup,
    stage: &Stage,
    say: impl Fn(&str),
    mut show: impl FnMut(&Moment),
) -> Result<(BTreeMap<String, u64>, Vec<Moment>), String> {
    let [rooms, count, rate] =
        [setup.rooms, setup.participants, setup.join_rate].map(|n| n.to_string());
    let who = ["--room", ROOM, "--rooms", &rooms, "--load", "audio-rooms"];
    let how = ["--count", &count, "--join-rate", &rate];
    let mut child = stage.participants("capacity", &[&who[..], &how].concat())?;
    child.told().await?;
    say("joining");
    let failures = child.joined().await?.causes();
    say("warming up");
    tokio::time::sleep(WARM_UP).await;
    say("measuring");
    let begun = Instant::now();
    let mut before = child.reading().await?;
    let mut moments = Vec::new();
    while begun.elapsed() < setup.duration {
        tokio::time::sleep(
            setup
                .interval
                .saturating_sub(super::child::SAMPLE_INTERVAL / 2),
        )
        .await;
        let now = child.reading().await?;
        let moment = moment(&before, &now);
        show(&moment);
        moments.push(moment);
        before = now;
    }
    child.stop().await;
    Ok((failures, moments))
}

fn moment(before: &Reading, now: &Reading) -> Moment {
    let since = |f: fn(&Reading) -> u64| f(now).saturating_sub(f(before)) as f64;
    let seconds = since(|r| r.sample.at_us) / 1e6;
    let per_second = |n: f64| if seconds > 0.0 { n / seconds } else { 0.0 };
    let expected = Some(since(|r| r.sample.expected)).filter(|expected| *expected > 0.0);
    Moment {
        at_s: now.sample.at_us as f64 / 1e6,
        connected: now.sample.connected,
        failed: now.sample.failed,
        resident_bytes: now.usage.resident_bytes,
        descriptors: now.usage.descriptors,
        threads: now.usage.threads,
        tasks: now.sample.tasks,
        packets_per_second: per_second(since(|r| r.sample.packets)),
        lost_percent: expected.map(|expected| since(|r| r.sample.lost) * 100.0 / expected),
        own_drops: now.usage.drops,
        cpu_percent: per_second(since(|r| r.usage.cpu_ms)) / 10.0,
    }
}

/// What may grow: memory by a hundredth, for buffers that were never full before; the rest is
/// counted, and one more is one too many.
fn growths(moments: &[Moment]) -> Vec<Growth> {
    let of = |what, allowed, value: fn(&Moment) -> u64| {
        let points = moments.iter().map(|m| (m.at_s, value(m) as f64));
        growth(what, allowed, &points.collect::<Vec<_>>())
    };
    let first = moments.first().map_or(0, |m| m.resident_bytes);
    [
        of("resident kB", first as f64 / 100.0 / 1e3, |m| {
            m.resident_bytes / 1_000
        }),
        of("descriptors", 1.0, |m| m.descriptors),
        of("threads", 1.0, |m| m.threads),
        of("tasks", 1.0, |m| m.tasks),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn findings(participants: u32, moments: &[Moment], growths: &[Growth]) -> Vec<String> {
    let least = moments.iter().map(|m| m.connected).min().unwrap_or(0);
    let failed = moments.last().map_or(0, |m| m.failed);
    let lost = moments.iter().any(|m| m.lost_percent > Some(0.0));
    let silent = moments.iter().filter(|m| m.lost_percent.is_none()).count();
    let drops = moments.last().map_or(0, |m| m.own_drops);
    let mut findings = Vec::new();
    if least < u64::from(participants) {
        findings.push(format!(
            "{least} of {participants} participants were connected at the worst moment"
        ));
    }
    if failed > 0 {
        findings.push(format!("{failed} participants failed"));
    }
    if lost {
        findings.push("packets were lost".to_owned());
    }
    if silent > 0 {
        findings.push(format!(
            "no media came before {silent} of {} readings",
            moments.len()
        ));
    }
    if drops > 0 {
        findings.push(format!("{drops} datagrams died in receive buffers"));
    }
    if growths.is_empty() {
        findings.push("there are too few readings to tell whether it is flat".to_owned());
    }
    let grown = growths.iter().filter(|growth| !growth.is_flat());
    findings.extend(grown.map(|growth| format!("not flat: {}", growth.text())));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(change: impl Fn(u64, &mut Moment)) -> Vec<Moment> {
        (0..60)
            .map(|n| {
                let mut moment = Moment {
                    at_s: n as f64 * 10.0,
                    connected: 1_000,
                    resident_bytes: 100_000_000 + n % 3 * 4_096,
                    descriptors: 2_112,
                    threads: 4,
                    tasks: 1_002,
                    lost_percent: Some(0.0),
                    ..Moment::default()
                };
                change(n, &mut moment);
                moment
            })
            .collect()
    }

    fn found(change: impl Fn(u64, &mut Moment)) -> Vec<String> {
        let moments = moments(change);
        findings(1_000, &moments, &growths(&moments))
    }

    #[test]
    fn a_steady_process_is_flat() {
        assert_eq!(found(|_, _| {}), [""; 0]);
        // Noise is no growth.
        assert_eq!(found(|n, m| m.descriptors += n % 2), [""; 0]);
    }

    #[test]
    fn whatever_grows_is_found() {
        type Change = fn(u64, &mut Moment);
        let cases: [(Change, &str); 7] = [
            (|n, m| m.resident_bytes += n * 50_000, "resident kB"),
            (|n, m| m.descriptors += n / 20, "descriptors"),
            (|n, m| m.tasks += n / 20, "tasks"),
            (|n, m| m.connected -= n / 59, "999 of 1000"),
            (|n, m| m.failed = n / 59, "1 participants failed"),
            (
                |n, m| m.lost_percent = Some(if n == 30 { 0.01 } else { 0.0 }),
                "lost",
            ),
            (
                |n, m| m.lost_percent = m.lost_percent.filter(|_| n != 30),
                "no media came before 1 of 60 readings",
            ),
        ];
        for (change, what) in cases {
            let found = found(change);
            assert!(found.iter().any(|f| f.contains(what)), "{what}: {found:?}");
        }
    }

    #[test]
    fn the_shortest_duration_has_readings_enough() {
        let least = |ms| duration_min(Duration::from_millis(ms)).as_secs();
        assert_eq!((least(1_000), least(1_001), least(10_000)), (5, 10, 50));
        assert_eq!(duration_min(Duration::MAX).as_secs(), u64::MAX);
    }

    #[test]
    fn too_few_readings_are_no_verdict() {
        let moments = moments(|_, _| {});
        let short = moments.get(..2).unwrap();
        let found = findings(1_000, short, &growths(short));
        assert!(found[0].contains("too few"), "{found:?}");
    }
}
