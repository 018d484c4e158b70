//! `muster bench density`: each contender in turn, with the same subscriptions, at the same server.

#![expect(
    clippy::disallowed_methods,
    reason = "the edge: lets contenders warm up and run by the clock"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::process::Command;

use super::child::{Child, Reading, SAMPLE_INTERVAL, Told};
use super::lk::{self, Line};
use super::sfu::packets_sent;
use crate::error::Error;
use crate::exit::Exit;
use crate::local::LivekitServer;
use crate::prober::host::processors;
use crate::rooms::Keys;

/// From the last join to the measurement: keyframes and estimates have settled by then, and the
/// server's own counters, which lag by five seconds.
const WARM_UP: Duration = Duration::from_secs(7);

/// How long a step may take beyond what it waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The one room.
const ROOM: &str = "density";

/// What is compared.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The livekit-server to start.
    pub livekit_server: PathBuf,
    /// Publishers, each of audio and video in three layers.
    pub publishers: u32,
    /// Subscribers of each contender.
    pub subscribers: u32,
    /// How long each contender is measured.
    pub duration: Duration,
    /// Joins per second that each contender is asked for.
    pub join_rate: u32,
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Density {
    /// Under which conditions it was had.
    pub conditions: Conditions,
    /// One per contender.
    pub contenders: Vec<Contender>,
    /// What sending cost meanwhile, while muster's subscribers were measured.
    pub publishers: Option<Publishing>,
}

/// What a figure depends on.
#[derive(Clone, Debug, Serialize)]
pub struct Conditions {
    /// muster's version, and how it was built.
    pub muster: String,
    /// livekit-server's version.
    pub livekit_server: Option<String>,
    /// lk's version.
    pub lk: Option<String>,
    /// Processors that may be used, shared by server, publishers and contender.
    pub processors: f64,
    /// Publishers.
    pub publishers: u32,
    /// Subscribers.
    pub subscribers: u32,
    /// Seconds between the last join and the measurement.
    pub warm_up_seconds: u64,
    /// Seconds of measurement.
    pub seconds: f64,
    /// Joins per second that were asked for.
    pub join_rate: u32,
}

/// A contender's outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Contender {
    /// `muster`, `lk` or `floor`.
    pub name: &'static str,
    /// What was measured.
    pub figures: Option<Figures>,
    /// Why nothing was.
    pub not_run: Option<String>,
}

/// What a contender cost. What it doesn't have is `None`.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Figures {
    /// RTP packets received per second: by the contender's own count, for lk by the server's.
    pub packets_per_second: f64,
    /// CPU time per received packet in steady state, in microseconds.
    pub cpu_us_per_packet: f64,
    /// Resident memory per participant, in bytes: what all added, divided by their number.
    pub bytes_per_participant: Option<f64>,
    /// Joins per second, from the first dial until all were connected.
    pub joins_per_second: Option<f64>,
    /// Loss that the contender reports, in percent.
    pub lost_percent: Option<f64>,
    /// Datagrams that died in its own receive buffers, by the kernel's count.
    pub own_drops: u64,
    /// Packets per second that the server says it sent meanwhile.
    pub server_packets_per_second: Option<f64>,
}

/// What publishing cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Publishing {
    /// RTP packets sent per second.
    pub packets_per_second: f64,
    /// CPU time per sent packet, in microseconds.
    pub cpu_us_per_packet: f64,
    /// The latest that a frame went out in the second before the end, in microseconds.
    pub pacing_lag_us: u64,
}

/// Measures all, one after the other. `say` gets a line per step.
///
/// # Errors
/// When there is no server to measure with, or its publishers fail. A contender that fails says
/// so in its place.
pub async fn measure(setup: &Setup, say: impl Fn(&str)) -> Result<Density, Error> {
    let server = LivekitServer::start(&setup.livekit_server).await?;
    let keys = Keys {
        api_key: server.key().to_owned(),
        api_secret: server.secret().clone(),
    };
    let lk = lk::find();
    let conditions = Conditions {
        muster: format!("{} ({})", env!("CARGO_PKG_VERSION"), build()),
        livekit_server: version(&setup.livekit_server).await,
        lk: match &lk {
            Some(lk) => version(lk).await,
            None => None,
        },
        processors: processors(),
        publishers: setup.publishers,
        subscribers: setup.subscribers,
        warm_up_seconds: WARM_UP.as_secs(),
        seconds: setup.duration.as_secs_f64(),
        join_rate: setup.join_rate,
    };
    let stage = Stage {
        setup,
        server: &server,
        keys: &keys,
    };
    say("publishers");
    let mut publishers = stage.publish().await.map_err(failed)?;
    say("muster");
    let (muster, publishing) = match in_time(setup, stage.muster(&mut publishers)).await {
        Ok((figures, publishing)) => (Ok(figures), Some(publishing)),
        Err(why) => (Err(why), None),
    };
    say("lk");
    let lk = match lk {
        Some(lk) => in_time(setup, stage.lk(&lk)).await,
        None => Err("there is no `lk` on PATH".to_owned()),
    };
    say("floor");
    let floor = in_time(setup, stage.floor()).await;
    publishers.stop().await;
    server.stop().await;
    let contenders = [("muster", muster), ("lk", lk), ("floor", floor)]
        .into_iter()
        .map(|(name, outcome)| Contender {
            name,
            figures: outcome.as_ref().ok().copied(),
            not_run: outcome.err(),
        })
        .collect();
    Ok(Density {
        conditions,
        contenders,
        publishers: publishing,
    })
}

fn failed(why: String) -> Error {
    Error::new(Exit::Incomplete, why)
}

const fn build() -> &'static str {
    if cfg!(debug_assertions) {
        "a debug build: its figures mean nothing"
    } else {
        "release build"
    }
}

/// The first line that a program prints about its version.
async fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().await.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_owned)
}

async fn in_time<T>(
    setup: &Setup,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let joins = Duration::from_secs(u64::from(setup.subscribers));
    let limit = joins + WARM_UP + setup.duration + PATIENCE;
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(format!("not done within {} s", limit.as_secs())),
    }
}

/// What all contenders share.
struct Stage<'a> {
    setup: &'a Setup,
    server: &'a LivekitServer,
    keys: &'a Keys,
}

impl Stage<'_> {
    /// A process of muster's own.
    fn own(&self, name: &str, arguments: &[&str]) -> Result<Child, String> {
        Child::own(name, arguments, self.keys)
    }

    fn participants(&self, name: &str, count: u32, more: &[&str]) -> Result<Child, String> {
        let (count, rate) = (count.to_string(), self.setup.join_rate.to_string());
        let url = self.server.url();
        let base = ["participants", "--url", url, "--room", ROOM];
        let load = ["--count", &count, "--join-rate", &rate];
        self.own(name, &[&base[..], &load, more].concat())
    }

    /// Publishers that have all joined.
    async fn publish(&self) -> Result<Child, String> {
        let mut child =
            self.participants("publishers", self.setup.publishers, &["--load", "cameras"])?;
        match child.joined().await?.causes() {
            causes if causes.is_empty() => Ok(child),
            causes => Err(format!("publishers failed: {causes:?}")),
        }
    }

    async fn muster(&self, publishers: &mut Child) -> Result<(Figures, Publishing), String> {
        let mut child = self.participants("muster", self.setup.subscribers, &[])?;
        child.told().await?;
        let empty = child.usage()?;
        let joined_ms = child.joined().await?.after_ms;
        tokio::time::sleep(WARM_UP).await;
        let publishers_first = publishers.reading().await?;
        let first = child.reading().await?;
        let sent_first = packets_sent(self.server.metrics()).await;
        tokio::time::sleep(self.setup.duration.saturating_sub(SAMPLE_INTERVAL / 2)).await;
        let last = child.reading().await?;
        let sent_last = packets_sent(self.server.metrics()).await;
        let publishers_last = publishers.reading().await?;
        child.stop().await;
        let count = f64::from(self.setup.subscribers);
        let span = Window { first, last };
        if last.sample.connected < u64::from(self.setup.subscribers) {
            return Err(format!("only {} were connected", last.sample.connected));
        }
        let figures = Figures {
            packets_per_second: span.packets_per_second()?,
            cpu_us_per_packet: span.cpu_us_per_packet()?,
            bytes_per_participant: Some(
                difference(last.usage.resident_bytes, empty.resident_bytes) / count,
            ),
            joins_per_second: Some(count * 1_000.0 / joined_ms.max(1) as f64),
            lost_percent: (last.sample.expected > 0)
                .then(|| last.sample.lost as f64 * 100.0 / last.sample.expected as f64),
            own_drops: last.usage.drops,
            server_packets_per_second: sent_first
                .zip(sent_last)
                .map(|(first, last)| difference(last, first) / span.seconds()),
        };
        let span = Window {
            first: publishers_first,
            last: publishers_last,
        };
        let publishing = Publishing {
            packets_per_second: span.packets_per_second()?,
            cpu_us_per_packet: span.cpu_us_per_packet()?,
            pacing_lag_us: span.last.sample.pacing_lag_us,
        };
        Ok((figures, publishing))
    }

    async fn lk(&self, lk: &Path) -> Result<Figures, String> {
        let setup = self.setup;
        let stay = WARM_UP + setup.duration + Duration::from_secs(3);
        let url = self.server.url();
        let (count, rate) = (setup.subscribers, setup.join_rate);
        let command = lk::subscribers(lk, url, self.keys, ROOM, count, rate, stay);
        let mut child = Child::start("lk", command).map_err(|e| e.to_string())?;
        let (mut empty, mut start) = (None, Instant::now());
        loop {
            match Line::parse(&child.line().await?) {
                Some(Line::Starting) => (empty, start) = (Some(child.usage()?), Instant::now()),
                Some(Line::Failed) => return Err("a subscriber of lk could not connect".into()),
                Some(Line::Joined) => break,
                _ => {}
            }
        }
        let joined = start.elapsed();
        tokio::time::sleep(WARM_UP).await;
        let unknown = || "the server does not tell how much it sent".to_owned();
        let metrics = self.server.metrics();
        let from = Instant::now();
        let (first, sent_first) = (child.usage()?, packets_sent(metrics).await);
        tokio::time::sleep(setup.duration).await;
        let (last, sent_last) = (child.usage()?, packets_sent(metrics).await);
        let seconds = from.elapsed().as_secs_f64();
        let packets = difference(
            sent_last.ok_or_else(unknown)?,
            sent_first.ok_or_else(unknown)?,
        );
        if packets <= 0.0 {
            return Err("the server sent lk nothing".to_owned());
        }
        let lost_percent = loop {
            match child.line().await {
                Ok(line) => {
                    if let Some(Line::Lost(percent)) = Line::parse(&line) {
                        break Some(percent);
                    }
                }
                // It ended without a summary.
                Err(_) => break None,
            }
        };
        child.stop().await;
        let count = f64::from(count);
        let used = difference(last.cpu_ms, first.cpu_ms);
        Ok(Figures {
            packets_per_second: packets / seconds,
            cpu_us_per_packet: used * 1_000.0 / packets,
            bytes_per_participant: empty
                .map(|empty| difference(last.resident_bytes, empty.resident_bytes) / count),
            joins_per_second: Some(count / joined.as_secs_f64()),
            lost_percent,
            own_drops: last.drops,
            server_packets_per_second: Some(packets / seconds),
        })
    }

    async fn floor(&self) -> Result<Figures, String> {
        let sockets = self.setup.subscribers.to_string();
        let mut receiver = self.own("floor", &["floor", "--sockets", &sockets])?;
        receiver.told().await?;
        let empty = receiver.usage()?;
        let ports = loop {
            if let Told::Ready { ports } = receiver.told().await? {
                break ports;
            }
        };
        let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
        let sender = self.own(
            "floor-sender",
            &["floor-sender", "--ports", &ports.join(",")],
        )?;
        tokio::time::sleep(WARM_UP).await;
        let first = receiver.reading().await?;
        tokio::time::sleep(self.setup.duration.saturating_sub(SAMPLE_INTERVAL / 2)).await;
        let last = receiver.reading().await?;
        sender.stop().await;
        receiver.stop().await;
        if last.sample.forged > 0 {
            return Err(format!("{} packets did not decrypt", last.sample.forged));
        }
        let span = Window { first, last };
        let count = f64::from(self.setup.subscribers);
        Ok(Figures {
            packets_per_second: span.packets_per_second()?,
            cpu_us_per_packet: span.cpu_us_per_packet()?,
            bytes_per_participant: Some(
                difference(last.usage.resident_bytes, empty.resident_bytes) / count,
            ),
            own_drops: last.usage.drops,
            ..Figures::default()
        })
    }
}

/// What lies between two readings of a process.
struct Window {
    first: Reading,
    last: Reading,
}

impl Window {
    fn seconds(&self) -> f64 {
        difference(self.last.sample.at_us, self.first.sample.at_us) / 1e6
    }

    fn packets(&self) -> Result<f64, String> {
        let packets = difference(self.last.sample.packets, self.first.sample.packets);
        if packets > 0.0 {
            Ok(packets)
        } else {
            Err("no packets came or went".to_owned())
        }
    }

    fn packets_per_second(&self) -> Result<f64, String> {
        Ok(self.packets()? / self.seconds())
    }

    fn cpu_us_per_packet(&self) -> Result<f64, String> {
        let cpu_ms = difference(self.last.usage.cpu_ms, self.first.usage.cpu_ms);
        Ok(cpu_ms * 1_000.0 / self.packets()?)
    }
}

fn difference(later: u64, earlier: u64) -> f64 {
    later as f64 - earlier as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::child::Sample;
    use crate::bench::usage::Usage;

    fn reading(at_us: u64, packets: u64, cpu_ms: u64) -> Reading {
        Reading {
            sample: Sample {
                at_us,
                packets,
                ..Sample::default()
            },
            usage: Usage {
                cpu_ms,
                ..Usage::default()
            },
        }
    }

    #[test]
    fn a_window_is_a_difference() {
        let window = Window {
            first: reading(1_000_000, 500, 100),
            last: reading(3_000_000, 20_500, 200),
        };
        assert_eq!(window.packets_per_second(), Ok(10_000.0));
        assert_eq!(window.cpu_us_per_packet(), Ok(5.0));
    }

    #[test]
    fn no_packets_are_no_figure() {
        let window = Window {
            first: reading(0, 5, 0),
            last: reading(1, 5, 1),
        };
        assert!(window.cpu_us_per_packet().is_err());
    }
}
