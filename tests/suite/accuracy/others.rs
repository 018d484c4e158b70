//! What other tools tell of the same: the official Python SDK, and `lk load-test`.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use muster::bench::lk;
use muster::local::LivekitServer;
use muster::rooms::Keys;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::session::{ROOM, SCENE};
use super::table::Told;
use super::{Span, truth};
use crate::fixtures::relay::record::Nanos;
use crate::fixtures::relay::{self, Relay};
use crate::fixtures::{livekit, tools};

/// Anything that is to happen does so within this, or never.
const PATIENCE: Duration = Duration::from_secs(40);
/// Subscribers of `lk`.
const LK_SUBSCRIBERS: u32 = 3;

/// What others tell of one scene.
#[derive(Default)]
pub struct Others {
    /// The Python SDK, if there is a Python.
    pub python: Option<PythonTold>,
    /// `lk`, if it is on PATH.
    pub lk: Option<LkTold>,
}

impl Others {
    /// What Python tells, beside what is true of its packets.
    pub fn python(&self, told: fn(&PythonTold) -> f64, truth: impl Fn(&Span) -> f64) -> Told {
        self.python
            .as_ref()
            .map_or(Told::Absent, |python| Told::Of {
                told: told(python),
                truth: truth(&python.span),
            })
    }

    /// The loss that `lk` tells, beside what is true of its packets.
    pub fn lk(&self, truth: impl Fn(&Span) -> f64) -> Told {
        self.lk.as_ref().map_or(Told::Absent, |lk| Told::Of {
            told: lk.lost_percent,
            truth: truth(&lk.span),
        })
    }
}

/// What the Python SDK tells of one scene.
pub struct PythonTold {
    /// Which packets this is about.
    pub span: Span,
    /// `totalRoundTripTime` by `responsesReceived`.
    pub rtt_ms: f64,
    /// The mean over its streams, looked at every second.
    pub jitter_ms: f64,
    /// `packetsLost` of all that it expected.
    pub lost_percent: f64,
}

/// A client of the official SDK.
pub struct Python {
    _child: Child,
    ask: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    flows: Range<usize>,
}

#[derive(Clone, Debug, Deserialize)]
struct Stats {
    streams: Vec<StreamStats>,
    rtt: Option<RttStats>,
}

#[derive(Clone, Debug, Deserialize)]
struct StreamStats {
    ssrc: u32,
    received: f64,
    lost: f64,
    jitter_ms: f64,
}

#[derive(Clone, Debug, Deserialize)]
struct RttStats {
    total_ms: f64,
    responses: f64,
}

impl Python {
    /// Joins, with all sockets that the relay meets meanwhile.
    pub async fn join(server: &LivekitServer, relay: &Relay) -> Option<Python> {
        let before = relay.flows();
        let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite");
        let python = tools::python(&suite.join("counterparts/requirements.txt"))?;
        let mut child = Command::new(python)
            .arg(suite.join("accuracy/stats.py"))
            .env("LIVEKIT_URL", server.url())
            .env(
                "LIVEKIT_TOKEN",
                livekit::token(server, ROOM, "python").expose(),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("Python runs");
        let mut python = Python {
            ask: child.stdin.take().expect("a pipe"),
            lines: BufReader::new(child.stdout.take().expect("a pipe")).lines(),
            _child: child,
            flows: before..before,
        };
        assert_eq!(python.line().await, "joined");
        python.flows.end = relay.flows();
        Some(python)
    }

    /// Watches one scene.
    pub async fn watch(&mut self) -> PythonTold {
        let from = relay::now();
        let first = self.stats().await;
        let (mut last, mut jitters) = (first.clone(), Vec::new());
        for _ in 0..SCENE.as_secs() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            last = self.stats().await;
            jitters.extend(last.streams.iter().map(|s| s.jitter_ms));
        }
        let sum =
            |stats: &Stats, of: fn(&StreamStats) -> f64| stats.streams.iter().map(of).sum::<f64>();
        let lost = sum(&last, |s| s.lost) - sum(&first, |s| s.lost);
        let received = sum(&last, |s| s.received) - sum(&first, |s| s.received);
        let rtt_ms = match (&first.rtt, &last.rtt) {
            (Some(first), Some(last)) => {
                (last.total_ms - first.total_ms) / (last.responses - first.responses)
            }
            _ => f64::NAN,
        };
        PythonTold {
            span: Span {
                window: from..relay::now(),
                flows: self.flows.clone().collect(),
                ssrcs: last.streams.iter().map(|s| s.ssrc).collect(),
            },
            rtt_ms,
            jitter_ms: truth::mean(&jitters),
            lost_percent: lost * 100.0 / (lost + received),
        }
    }

    async fn stats(&mut self) -> Stats {
        self.ask.write_all(b"\n").await.expect("Python lives");
        let line = self.line().await;
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
    }

    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.expect("Python answers in time").expect("a line");
        line.expect("Python lives")
    }
}

/// What `lk` tells of one scene.
pub struct LkTold {
    /// Which packets this is about.
    pub span: Span,
    /// Its own total.
    pub lost_percent: f64,
}

/// A load test of `lk`.
pub struct Lk {
    child: Child,
    from: Nanos,
    flows: usize,
}

impl Lk {
    /// The program, if it is on PATH.
    pub fn find() -> Option<PathBuf> {
        lk::find()
    }

    /// Starts subscribers that stay for one scene.
    pub fn start(lk: &Path, server: &LivekitServer, relay: &Relay) -> Lk {
        let keys = Keys {
            api_key: server.key().to_owned(),
            api_secret: server.secret().clone(),
        };
        let mut command = lk::subscribers(lk, server.url(), &keys, ROOM, LK_SUBSCRIBERS, 10, SCENE);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Lk {
            from: relay::now(),
            flows: relay.flows(),
            child: command.spawn().expect("lk runs"),
        }
    }

    /// Waits for its summary.
    pub async fn ended(self, relay: &Relay) -> LkTold {
        let output = tokio::time::timeout(PATIENCE, self.child.wait_with_output()).await;
        let output = output
            .expect("lk ends in time")
            .expect("lk can be waited for");
        let text = String::from_utf8_lossy(&output.stdout);
        let lost = text
            .lines()
            .filter_map(lk::Line::parse)
            .find_map(|line| match line {
                lk::Line::Lost { percent, .. } => Some(percent),
                _ => None,
            });
        LkTold {
            span: Span {
                window: self.from..relay::now(),
                flows: (self.flows..relay.flows()).collect(),
                ssrcs: Vec::new(),
            },
            lost_percent: lost.unwrap_or_else(|| panic!("no total:\n{text}")),
        }
    }
}
