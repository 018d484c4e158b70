//! A vantage of a large fleet in one tier, and what its report leaves out: parts of
//! [`combined`](super::combined).

use serde::{Deserialize, Serialize};

use super::combined::{Figures, VantageRow};
use super::part::Headcount;
use crate::job::{Quality, Vantage};
use crate::load::Verdict;
use crate::measure::Distribution;

/// One tier at one vantage of a large fleet, its probers together. What is unknown is absent; what
/// a name says is as in the figures of a whole row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BriefRow {
    /// Where: the vantage's label.
    pub vantage: Vantage,
    /// Participants asked for.
    pub requested: Headcount,
    /// Participants really connected, both roles together, second by second of the window: for how
    /// many seconds in a row, and how many they were; `null` where not all probers sampled.
    pub connected: Vec<(u32, Option<u64>)>,
    /// Share of the requested that were connected, over the whole window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_percent: Option<f64>,
    /// Subscriptions with packets, of those wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving_percent: Option<f64>,
    /// Packets that never came, own drops left out, of those expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_percent: Option<f64>,
    /// Media-path round trip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_p95_ms: Option<f64>,
    /// End-to-end latency from all publishers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p95_ms: Option<f64>,
    /// Interarrival jitter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter_p95_ms: Option<f64>,
    /// Dial to JoinResponse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_p95_ms: Option<f64>,
    /// Dial to ICE and DTLS up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_p95_ms: Option<f64>,
    /// Subscription to first packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_subscribe_p95_ms: Option<f64>,
    /// The worst LiveKit connection quality that at least 5 % of the samples had, or worse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// Received by all subscribers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate_in_mbps: Option<f64>,
    /// Participants that failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u64,
    /// Its prober was itself short, or one of them.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspect: bool,
    /// Its clock was in doubt, or one of them.
    #[serde(default, skip_serializing_if = "is_false")]
    pub marked: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_false(yes: &bool) -> bool {
    !yes
}

impl BriefRow {
    /// Of a whole row.
    pub fn of(row: &VantageRow) -> Self {
        let f: &Figures = &row.figures;
        let p95 = |d: Option<Distribution>| d.map(|d| d.p95);
        let mut connected: Vec<(u32, Option<u64>)> = Vec::new();
        for second in &f.connected.series {
            match connected.last_mut() {
                Some((seconds, n)) if n == second => *seconds += 1,
                _ => connected.push((1, *second)),
            }
        }
        connected.shrink_to_fit();
        BriefRow {
            vantage: row.vantage.clone(),
            requested: f.requested,
            connected,
            connected_percent: f.connected_percent,
            receiving_percent: f.receiving_percent,
            loss_percent: f.loss_percent,
            rtt_p95_ms: p95(f.rtt_ms),
            latency_p95_ms: p95(f.latency.ms),
            jitter_p95_ms: p95(f.jitter_ms),
            join_p95_ms: p95(f.join_ms),
            connect_p95_ms: p95(f.connect_ms),
            track_subscribe_p95_ms: p95(f.track_subscribe_ms),
            quality: f.quality,
            bitrate_in_mbps: f.bitrate_in_mbps,
            failures: f.failures.values().fold(0, |a, n| a.saturating_add(*n)),
            suspect: !row.suspect.is_empty(),
            marked: !row.clock.marked.is_empty(),
        }
    }
}

/// How many were judged how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Within the bound.
    pub held: u32,
    /// Beyond it.
    pub failed: u32,
    /// Can't be judged.
    pub unknown: u32,
}

impl Counts {
    /// Counts one.
    pub fn add(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Held => self.held += 1,
            Verdict::Failed => self.failed += 1,
            Verdict::Unknown => self.unknown += 1,
        }
    }
}

/// Where the figures of each prober stand.
const STANDS_IN: &str = "each prober's own report or tier objects, which this revision's inputs \
                         name by key and SHA-256";

/// What a large fleet's report has not, over all tiers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Vantages' rows that are brief.
    pub rows: u64,
    /// Single probers' judgements; each threshold says how many there were of each kind.
    pub judgements: u64,
    /// Flows from one vantage to another.
    pub flows: u64,
    /// Where all of that is, in words.
    pub stands_in: String,
}

impl LeftOut {
    /// Adds another tier's.
    pub fn add(&mut self, other: &LeftOut) {
        self.rows += other.rows;
        self.judgements += other.judgements;
        self.flows += other.flows;
    }

    /// This, with where it is, unless it is nothing.
    pub fn some(self) -> Option<LeftOut> {
        let any = self.rows + self.judgements + self.flows > 0;
        any.then(|| LeftOut {
            stands_in: STANDS_IN.to_owned(),
            ..self
        })
    }
}
