//! A contender's process: how it is started, and the lines it tells.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::usage::{Usage, thread_cpu_ms};
use crate::local::Process;
use crate::rooms::Keys;

/// Between two samples of a process.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// What a process of muster's tells, one JSON object a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// It is up and empty; joins follow after [`SAMPLE_INTERVAL`].
    Ready,
    /// All are connected, or have failed.
    Joined(Joined),
    /// What was counted so far.
    Sample(Sample),
}

/// How the joins of a process went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// From when the first was due until the last was connected or had failed, in milliseconds.
    pub after_ms: u64,
    /// Each, in the order that they were due.
    pub joins: Vec<Join>,
}

/// How a participant's join went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// When it was due, in microseconds after the first.
    pub due_us: u64,
    /// How much later it began to dial, in microseconds.
    pub late_us: u64,
    /// From dial to connected, in microseconds.
    pub connected_us: Option<u64>,
    /// Why it failed: the cause's name.
    pub failure: Option<String>,
}

impl Joined {
    /// Joins that failed.
    pub fn failed(&self) -> usize {
        self.joins.iter().filter(|j| j.failure.is_some()).count()
    }

    /// Joins that failed, by cause.
    pub fn causes(&self) -> BTreeMap<String, u64> {
        let mut causes = BTreeMap::new();
        for cause in self.joins.iter().filter_map(|j| j.failure.clone()) {
            *causes.entry(cause).or_default() += 1;
        }
        causes
    }
}

/// Counters of a process, since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When, in microseconds since it started.
    pub at_us: u64,
    /// RTP packets received and authenticated, or sent.
    pub packets: u64,
    /// Their UDP payload, in bytes.
    pub bytes: u64,
    /// Sequence numbers that were expected.
    pub expected: u64,
    /// Of these: lost after retransmission.
    pub lost: u64,
    /// Of these: died in the process's own receive buffers.
    pub lost_own: u64,
    /// Packets that failed authentication.
    pub forged: u64,
    /// Participants that are connected now.
    pub connected: u64,
    /// Participants that have failed.
    pub failed: u64,
    /// Tasks that live on its asynchronous runtime.
    pub tasks: u64,
    /// The latest that a frame went out behind its due time since the last sample, in
    /// microseconds.
    pub pacing_lag_us: u64,
    /// How late all packets sent went out behind their due times, added up, in microseconds.
    pub late_us: u64,
}

/// What a process counted, and what that has cost it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Its own count.
    pub sample: Sample,
    /// The kernel's.
    pub usage: Usage,
    /// The greatest [`Sample::pacing_lag_us`] since the reading before.
    pub pacing_lag_us: u64,
}

/// A started contender.
pub struct Child {
    process: Process,
    lines: UnboundedReceiver<String>,
}

impl Child {
    /// Starts `command` under `name`.
    ///
    /// # Errors
    /// When the system can't.
    pub fn start(name: &str, command: Command) -> io::Result<Child> {
        let (tell, lines) = mpsc::unbounded_channel();
        let process = Process::start_telling(name, command, Some(tell))?;
        Ok(Child { process, lines })
    }

    /// Starts this program again as one of its own contenders, `muster bench {arguments}`, with a
    /// server's keys.
    ///
    /// # Errors
    /// When the system can't.
    pub fn own(name: &str, arguments: &[&str], keys: &Keys) -> Result<Child, String> {
        let program = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut command = Command::new(program);
        command
            .arg("bench")
            .args(arguments)
            .env("LIVEKIT_API_KEY", &keys.api_key)
            .env("LIVEKIT_API_SECRET", keys.api_secret.expose());
        Child::start(name, command).map_err(|e| format!("{name}: {e}"))
    }

    /// How its joins went, once they are over.
    ///
    /// # Errors
    /// When it has ended, or writes something else.
    pub async fn joined(&mut self) -> Result<Joined, String> {
        loop {
            if let Told::Joined(joined) = self.told().await? {
                return Ok(joined);
            }
        }
    }

    /// Its next line of standard output, or why there is none.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn line(&mut self) -> Result<String, String> {
        match self.lines.recv().await {
            Some(line) => Ok(line),
            None => Err(self.why().await),
        }
    }

    /// What a process of muster's tells next.
    ///
    /// # Errors
    /// When it has ended, or writes something else.
    pub async fn told(&mut self) -> Result<Told, String> {
        let line = self.line().await?;
        self.parse(&line)
    }

    fn parse(&self, line: &str) -> Result<Told, String> {
        serde_json::from_str(line).map_err(|e| format!("{}: {e}: {line}", self.process.name()))
    }

    /// Its next sample from now on, with what the kernel says at that moment.
    ///
    /// # Errors
    /// When it has ended, or writes something else.
    pub async fn reading(&mut self) -> Result<Reading, String> {
        let mut pacing_lag_us = 0;
        while let Ok(line) = self.lines.try_recv() {
            if let Told::Sample(sample) = self.parse(&line)? {
                pacing_lag_us = sample.pacing_lag_us.max(pacing_lag_us);
            }
        }
        loop {
            if let Told::Sample(sample) = self.told().await? {
                return Ok(Reading {
                    sample,
                    usage: self.usage()?,
                    pacing_lag_us: sample.pacing_lag_us.max(pacing_lag_us),
                });
            }
        }
    }

    /// As [`Child::reading`], but with the CPU time of one of its threads alone.
    ///
    /// # Errors
    /// When it or the thread has ended, or it writes something else.
    pub async fn reading_of(&mut self, thread: &str) -> Result<Reading, String> {
        let mut reading = self.reading().await?;
        let cpu_ms = self
            .process
            .pid()
            .and_then(|pid| thread_cpu_ms(pid, thread));
        reading.usage.cpu_ms = cpu_ms.ok_or_else(|| {
            let name = self.process.name();
            format!("{name} has no thread {thread}")
        })?;
        Ok(reading)
    }

    /// What the kernel says of it now.
    ///
    /// # Errors
    /// When it has ended.
    pub fn usage(&self) -> Result<Usage, String> {
        let read = self.process.pid().and_then(Usage::read);
        read.ok_or_else(|| format!("{} is gone", self.process.name()))
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(mut self) {
        if let Err(error) = self.process.stop(Duration::from_secs(10)).await {
            tracing::warn!("{}: {error}", self.process.name());
        }
    }

    async fn why(&mut self) -> String {
        let status = match self.process.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let lines = self.process.last_lines();
        let last = lines.last().map_or("", String::as_str);
        format!("{} ended: {status}: {last}", self.process.name())
    }
}
