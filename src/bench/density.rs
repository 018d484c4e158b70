//! `muster bench density`: what a packet and a participant cost, beside `lk` and a bare loop.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::bounds::{self, Bound};
use super::contest::{CONTENDERS, Contest, LK, MEMORY_SUBSCRIBERS, Round, WARM_UP};
use super::lk;
use super::rounds::{self, Received};
use super::stage::{self, Stage};
use crate::error::Error;

/// What 40 subscribers of lk receive where its cost is known best: there it is compared.
const REFERENCE_PACKETS_PER_SECOND: f64 = 10_000.0;

/// What is compared.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The livekit-server to start.
    pub livekit_server: PathBuf,
    /// Publishers of each row, each of audio and video in three layers.
    pub publishers: Vec<u32>,
    /// Subscribers of each contender.
    pub subscribers: u32,
    /// How often all is measured, at least once.
    pub rounds: u32,
    /// How long each contender is measured in a round.
    pub duration: Duration,
    /// Joins per second that each contender is asked for.
    pub join_rate: u32,
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Density {
    /// Under which conditions it was had.
    pub conditions: Conditions,
    /// One per number of publishers, in the order asked for.
    pub rows: Vec<Row>,
    /// Memory of subscribers with two tracks each, in a room with one publisher.
    pub memory: Vec<Contender<Memory>>,
    /// What sending costs, in a room of publishers alone.
    pub publishing: Contender<Publishing>,
    /// What it is held to, each bound with what was measured.
    pub bounds: Vec<Bound>,
    /// Which bound was broken. Empty is no pass where a bound could not be looked at.
    pub findings: Vec<String>,
}

/// What a figure depends on.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Conditions {
    /// Versions, build, machine.
    #[serde(flatten)]
    pub machine: stage::Conditions,
    /// Whether there is an `lk` to compare with.
    pub lk_on_path: bool,
    /// lk's version.
    pub lk: Option<String>,
    /// Subscribers of each row.
    pub subscribers: u32,
    /// Subscribers whose memory was measured.
    pub memory_subscribers: u32,
    /// Seconds between the last join and the measurement.
    pub warm_up_seconds: u64,
    /// Rounds, of which every other one goes backwards.
    pub rounds: u32,
    /// Seconds of measurement in each round.
    pub seconds: f64,
    /// Joins per second that were asked for.
    pub join_rate: u32,
}

/// All contenders at the same publishers.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// How many publishers.
    pub publishers: u32,
    /// `muster`, `lk` and `floor`.
    pub contenders: Vec<Contender<Figures>>,
}

/// A contender's outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Contender<T> {
    /// `muster`, `lk` or `floor`.
    pub name: &'static str,
    /// What was measured.
    pub figures: Option<T>,
    /// Why nothing was.
    pub not_run: Option<String>,
}

/// What a contender's subscribers cost. What it doesn't have is `None`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// RTP packets received per second: by the contender's own count, for lk by the server's.
    pub packets_per_second: f64,
    /// CPU time per received packet in steady state over all rounds, in microseconds.
    pub cpu_us_per_packet: f64,
    /// The same of each round.
    pub rounds: Vec<f64>,
    /// Joins per second, from the first dial until all were connected.
    pub joins_per_second: Option<f64>,
    /// Packets that the contender reports as lost.
    pub lost: Option<u64>,
    /// Of these: those that it puts down to its own receive buffers.
    pub lost_own: Option<u64>,
    /// The same, in percent of those expected.
    pub lost_percent: Option<f64>,
    /// Datagrams of any kind that died in its own receive buffers, by the kernel's count, those that
    /// were repaired included.
    pub own_drops: u64,
    /// Packets per second that the server says it sent meanwhile.
    pub server_packets_per_second: Option<f64>,
}

/// What a contender's subscribers hold.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// Resident memory per subscriber, in bytes: what all added, divided by their number.
    pub bytes_per_subscriber: f64,
}

/// What publishing costs.
#[derive(Clone, Debug, Serialize)]
pub struct Publishing {
    /// How many publishers.
    pub publishers: u32,
    /// RTP packets sent per second.
    pub packets_per_second: f64,
    /// CPU time per sent packet over all rounds, in microseconds.
    pub cpu_us_per_packet: f64,
    /// The same of each round.
    pub rounds: Vec<f64>,
    /// How late a packet went out behind its due time, on average, in microseconds.
    pub pacing_lag_mean_us: f64,
    /// The latest that one went out, in microseconds.
    pub pacing_lag_max_us: u64,
}

impl<T> Contender<T> {
    /// Of what came of it.
    pub fn new(name: &'static str, outcome: Result<T, String>) -> Self {
        let (figures, not_run) = match outcome {
            Ok(figures) => (Some(figures), None),
            Err(why) => (None, Some(why)),
        };
        Self {
            name,
            figures,
            not_run,
        }
    }
}

impl Row {
    pub(super) fn figures(&self, name: &str) -> Option<&Figures> {
        let contender = self.contenders.iter().find(|c| c.name == name)?;
        contender.figures.as_ref()
    }

    /// A contender's CPU time per packet, in microseconds.
    pub fn cost(&self, name: &str) -> Option<f64> {
        Some(self.figures(name)?.cpu_us_per_packet)
    }

    /// muster's CPU time per packet, divided by another's.
    pub fn ratio(&self, other: &str) -> Option<f64> {
        Some(self.cost("muster")? / self.cost(other).filter(|cost| *cost > 0.0)?)
    }

    /// Another's packets, as a share of muster's.
    pub fn packets_share(&self, other: &str) -> Option<f64> {
        let own = self.figures("muster")?.packets_per_second;
        Some(self.figures(other)?.packets_per_second / own)
    }

    /// muster's CPU time per packet of each round, divided by another's.
    pub fn ratios(&self, other: &str) -> Vec<f64> {
        let rounds = |name| self.figures(name).map_or(&[][..], |f| &f.rounds);
        ratios(rounds("muster"), rounds(other))
    }
}

/// One series divided by another.
fn ratios(of: &[f64], by: &[f64]) -> Vec<f64> {
    of.iter().zip(by).map(|(of, by)| of / by).collect()
}

impl Density {
    /// The row that lk and sending are held against: the one nearest to lk's own subscriptions, by the
    /// packets of muster or of who else was measured.
    pub fn reference(&self) -> Option<usize> {
        let far = |row: &Row| {
            let figures = row.contenders.iter().find_map(|c| c.figures.as_ref());
            let rate = figures?.packets_per_second;
            Some((rate - REFERENCE_PACKETS_PER_SECOND).abs())
        };
        let rows = self.rows.iter().enumerate();
        let known = rows.filter_map(|(i, row)| Some((i, far(row)?)));
        let nearest = known.min_by(|(_, a), (_, b)| a.total_cmp(b));
        let (i, _) = nearest.or((!self.rows.is_empty()).then_some((0, 0.0)))?;
        Some(i)
    }

    fn received(&self) -> Option<&Figures> {
        self.rows.get(self.reference()?)?.figures("muster")
    }

    /// The cost of a sent packet, divided by that of a received one in the row of reference.
    pub fn sending_ratio(&self) -> Option<f64> {
        let received = Some(self.received()?.cpu_us_per_packet).filter(|cost| *cost > 0.0)?;
        let sent = self.publishing.figures.as_ref()?.cpu_us_per_packet;
        Some(sent / received)
    }

    /// The same of each round.
    pub fn sending_ratios(&self) -> Vec<f64> {
        let received = self.received();
        let rounds = received.zip(self.publishing.figures.as_ref());
        rounds.map_or_else(Vec::new, |(received, sent)| {
            ratios(&sent.rounds, &received.rounds)
        })
    }

    /// Whether all could be measured, and under load. Where there is no lk there is less to compare,
    /// and nothing wrong; one that is there and has no figures leaves a question open, and so does a
    /// debug build, whose figures mean nothing.
    pub fn is_complete(&self) -> bool {
        let rows = self.rows.iter().flat_map(|row| &row.contenders);
        let figures = rows.map(|c| (c.name, c.figures.is_some()));
        let memory = self.memory.iter().map(|c| (c.name, c.figures.is_some()));
        let is_due = |name: &str| name != LK || self.conditions.lk_on_path;
        let mut due = figures.chain(memory).filter(|(name, _)| is_due(name));
        due.all(|(_, measured)| measured)
            && self.publishing.figures.is_some()
            && self.rows.iter().all(bounds::has_load)
            && self.conditions.machine.is_release()
    }

    /// Held against the bounds.
    pub(super) fn judged(mut self) -> Self {
        self.bounds = bounds::bounds(&self);
        self.findings = self.bounds.iter().filter_map(Bound::finding).collect();
        self
    }
}

/// Measures all, one after the other, in rounds. `say` gets a line per step.
///
/// # Errors
/// When there is no server to measure with. A contender that fails says so in its place.
pub async fn measure(setup: &Setup, say: impl Fn(&str)) -> Result<Density, Error> {
    let stage = Stage::open(&setup.livekit_server).await?;
    let program = lk::find();
    let conditions = conditions(setup, &stage, program.as_deref()).await;
    let contest = Contest {
        setup,
        stage: &stage,
        lk: program.as_deref(),
    };
    let mut received = vec![Vec::new(); setup.publishers.len()];
    let mut sent = Vec::new();
    for number in 0..setup.rounds {
        let round = Round { number };
        for (publishers, taken) in setup.publishers.iter().zip(&mut received) {
            let (next, of) = (number + 1, setup.rounds);
            say(&format!("{publishers} publishers, round {next} of {of}"));
            taken.extend(contest.row(round, *publishers, &say).await);
        }
        say("sending");
        sent.push(contest.sending(round).await);
    }
    say("memory");
    let memory = contest.memory(&say).await;
    let rows = setup.publishers.iter().zip(received);
    let rows = rows
        .map(|(publishers, taken)| row(*publishers, &taken))
        .collect();
    let publishing = rounds::sent(setup.subscribers, sent);
    stage.close().await;
    let density = Density {
        conditions,
        rows,
        memory,
        publishing,
        bounds: Vec::new(),
        findings: Vec::new(),
    };
    Ok(density.judged())
}

/// Of what all contenders gave in all rounds.
fn row(publishers: u32, taken: &[(&'static str, Result<Received, String>)]) -> Row {
    let contenders = CONTENDERS.map(|name| {
        let own = taken.iter().filter(|(of, _)| *of == name);
        rounds::received(name, own.map(|(_, round)| round.clone()))
    });
    Row {
        publishers,
        contenders: contenders.into(),
    }
}

async fn conditions(setup: &Setup, stage: &Stage, lk: Option<&Path>) -> Conditions {
    Conditions {
        machine: stage.conditions(&setup.livekit_server).await,
        lk_on_path: lk.is_some(),
        lk: match lk {
            Some(lk) => stage::version(lk).await,
            None => None,
        },
        subscribers: setup.subscribers,
        memory_subscribers: MEMORY_SUBSCRIBERS,
        warm_up_seconds: WARM_UP.as_secs(),
        rounds: setup.rounds,
        seconds: setup.duration.as_secs_f64(),
        join_rate: setup.join_rate,
    }
}
