//! The combined report: what all vantages together say of the SFU.
//!
//! A figure that was not measured is `null`, never zero. Times are in milliseconds, shares in
//! percent, bit rates in Mbit/s (1,000,000 bits a second); the field's name says which.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bad_input::BadInput;
pub use super::brief::{BriefRow, Counts, LeftOut};
use super::flow::Publisher;
use super::part::{Headcount, PacketCounts, SentCounts, SfuInfo};
use crate::cost::Bill;
use crate::job::{
    ClaimId, Layout, Quality, RunId, Span, Threshold, Timestamp, Vantage, VantageRole, VideoCodec,
};
use crate::load::{Knee, Verdict, Window};
use crate::measure::Distribution;
use crate::rendezvous::objects::ReferenceClock;
use crate::store::RequestCounts;

/// `combined.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Combined {
    /// Major version of the schema.
    pub schema: u32,
    /// The run.
    pub run: RunId,
    /// Of the whole run.
    pub verdict: RunVerdict,
    /// Why it isn't passed, in words; empty when it is.
    pub reasons: Vec<String>,
    /// Why the run was aborted, if it was.
    pub aborted: Option<String>,
    /// Where the SFU stops holding up.
    pub knee: KneeReport,
    /// The last tier that held before the knee.
    pub capacity: Option<Level>,
    /// What to plan with.
    pub recommended: Option<Recommended>,
    /// What was asked for.
    pub job: JobDigest,
    /// When it started; absent when it never did.
    pub start_at: Option<Timestamp>,
    /// The clock of all times in here; absent when the run never started.
    pub reference: Option<ReferenceClock>,
    /// What the SFU said of itself, one entry per distinct answer.
    pub sfu: Vec<SfuInfo>,
    /// Every tier of the plan, the baseline (0) first.
    pub tiers: Vec<Tier>,
    /// Every slot, by label.
    pub vantages: Vec<VantageReport>,
    /// Of these, those that were lost: no report came.
    pub dropped: Vec<Dropped>,
    /// What came and does not count.
    pub rejected: Vec<Rejection>,
    /// What the run used.
    pub usage: Usage,
    /// What that costs at the job's prices; absent when nothing left the machine and no
    /// function ran. Bytes between the windows are taken at the windows' rate.
    #[serde(default)]
    pub cost: Option<Bill>,
    /// What a large fleet's report leaves out; absent when it is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
}

/// The run's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunVerdict {
    /// Every tier held.
    Passed,
    /// A tier failed.
    Failed,
    /// None failed, and not all can be judged, or the run was aborted.
    Incomplete,
}

/// The knee with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KneeReport {
    /// Where.
    #[serde(flatten)]
    pub knee: Knee,
    /// Why, in words with the measured values: what failed, or what can't be judged.
    pub because: Vec<String>,
}

/// A load by its numbers of subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// The tier.
    pub tier: u32,
    /// Subscribers at each vantage that subscribes, the smallest when they differ by one.
    pub subscribers_per_vantage: u32,
    /// Subscribers in total.
    pub subscribers: u32,
    /// Publishers in total, beside them.
    pub publishers: u32,
}

/// The share of the capacity to plan with, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recommended {
    /// Of the capacity, in percent.
    pub headroom_percent: u32,
    /// Subscribers in total.
    pub subscribers: u32,
    /// Subscribers per vantage.
    pub subscribers_per_vantage: u32,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobDigest {
    /// The SFU's host, with its port when the URL names one.
    pub host: String,
    /// The room.
    pub room: String,
    /// How many vantages.
    pub fleet: u32,
    /// How many probers they have; absent where an older muster combined.
    #[serde(default)]
    pub probers: Option<u32>,
    /// The vantages that don't both publish and subscribe.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<Vantage, VantageRole>,
    /// Subscribers of each tier after the baseline.
    pub ramp: Vec<u32>,
    /// These are totals, not per vantage.
    pub ramp_total: bool,
    /// How long each tier is measured.
    pub duration: Span,
    /// How long each tier has to join before.
    pub settle: Span,
    /// Video publishers per vantage.
    pub video_publishers: u32,
    /// Audio publishers per vantage.
    pub audio_publishers: u32,
    /// Whether video had simulcast layers.
    pub simulcast: bool,
    /// How video was encoded.
    #[serde(default)]
    pub video_codec: VideoCodec,
    /// What subscribers took.
    pub layout: Layout,
    /// What each tier had to meet.
    pub thresholds: Vec<Threshold>,
}

/// One tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tier {
    /// 0 is the baseline.
    pub tier: u32,
    /// Subscribers as planned: per vantage, or in total when the job says so.
    pub subscribers: u32,
    /// As decided by the start.
    pub window: Window,
    /// Whether it held.
    pub verdict: Verdict,
    /// Why it did not, or why that can't be told, in words.
    pub reasons: Vec<String>,
    /// Vantages of which every prober measured it.
    pub vantages: u32,
    /// Vantages of which every one should have.
    pub expected_vantages: u32,
    /// Probers that measured it; absent where an older muster combined.
    #[serde(default)]
    pub probers: Option<u32>,
    /// Probers that should have.
    #[serde(default)]
    pub expected_probers: Option<u32>,
    /// Probers that were themselves short, by their slots' labels.
    pub suspect: Vec<Vantage>,
    /// From the first prober's measuring to the last one's, in milliseconds, by what each knew of
    /// the clocks.
    pub started_apart_ms: Option<f64>,
    /// How much further two probers may have been apart than that, as wide as the intervals of
    /// their clocks are, in milliseconds; absent when one doesn't say.
    #[serde(default)]
    pub started_apart_uncertainty_ms: Option<f64>,
    /// Of all vantages together: counts added, histograms merged. Absent when none measured it.
    pub figures: Option<Figures>,
    /// Of the vantages, the worst.
    pub worst: Worst,
    /// The vantages' figures beside each other, each vantage counted once; by name:
    /// `connected_percent`, `loss_percent`, `rtt_mean_ms`, `latency_mean_ms`, `jitter_mean_ms`,
    /// `bitrate_in_mbps`.
    pub across: BTreeMap<String, Spread>,
    /// Every threshold of the job, in its order.
    pub thresholds: Vec<ThresholdReport>,
    /// Each vantage that measured it, by label: its probers together. Of a large fleet, those that
    /// say the most.
    pub rows: Vec<VantageRow>,
    /// Of a large fleet, the others, by label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub brief: Vec<BriefRow>,
    /// What went from each vantage's publishers to each vantage's subscribers: a matrix, row by
    /// row. Of a large fleet, what went to those in `rows`.
    #[serde(default)]
    pub flows: Vec<FlowReport>,
}

impl Tier {
    /// Each prober's row, by its slot's label.
    pub fn prober_rows(&self) -> impl Iterator<Item = &VantageRow> {
        self.rows.iter().flat_map(|row| match &row.probers[..] {
            [] => std::slice::from_ref(row),
            several => several,
        })
    }
}

/// One tier at one vantage, or of one of its several probers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VantageRow {
    /// Where: the vantage's label, or the prober's slot's.
    pub vantage: Vantage,
    /// Why the prober itself was short, in words with the measured values; empty when it wasn't.
    /// Of several, each begins with its slot's label.
    pub suspect: Vec<String>,
    /// How much of the window it measured, in percent; of several, the one that measured least.
    pub measured_percent: f64,
    /// What it knew of the clocks when its window opened; of several, what holds of all.
    #[serde(default)]
    pub clock: VantageClock,
    /// What it measured; of several, counts added and histograms merged.
    pub figures: Figures,
    /// The prober's own health; of several, added and merged as well.
    pub generator: Generator,
    /// Of a vantage with several probers, the row of each that measured the tier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probers: Vec<VantageRow>,
    /// The slots of those that did not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Vantage>,
}

/// What a vantage knew of the clocks. What is unknown is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VantageClock {
    /// The clock that it went by: the run's reference, or the bucket's in its stead.
    pub by: Option<ReferenceClock>,
    /// How wide the interval was in which the run's reference clock lay, by that clock.
    pub width_ms: Option<f64>,
    /// The SFU's clock minus its own.
    pub sfu: Option<Interval>,
    /// The bucket's clock minus its own.
    pub bucket: Option<Interval>,
    /// The node of the SFU that it met.
    pub node: Option<String>,
    /// Why its clock is in doubt, in words; empty when it isn't.
    pub marked: Vec<String>,
}

/// An interval in which the truth lies, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub lo_ms: f64,
    /// Upper end.
    pub hi_ms: f64,
    /// From the lower to the upper.
    pub width_ms: f64,
}

/// What was measured in a tier: at one vantage, or at all together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Participants asked for.
    pub requested: Headcount,
    /// Participants really connected.
    pub connected: Connected,
    /// Share of the requested that were connected, over the whole window.
    pub connected_percent: Option<f64>,
    /// Subscriptions that the layout wants, added up over the seconds of the window.
    pub subscriptions_wanted: u64,
    /// Of these, with packets in their second.
    pub subscriptions_receiving: u64,
    /// The share.
    pub receiving_percent: Option<f64>,
    /// Packets that never came, own drops left out, of those expected.
    pub loss_percent: Option<f64>,
    /// Packets that had to be asked for again or never came, own drops left out.
    pub loss_before_rtx_percent: Option<f64>,
    /// Packets that died in the prober's own receive buffers, whether they came again or not.
    pub own_drops_percent: Option<f64>,
    /// Loss of each subscriber.
    pub subscriber_loss_percent: Option<Distribution>,
    /// Media-path round trip.
    pub rtt_ms: Option<Distribution>,
    /// The same by how it was measured: `ice` (consent checks), `rtcp` (receiver reports).
    #[serde(default)]
    pub rtt_by_ms: BTreeMap<String, Distribution>,
    /// End-to-end latency from publisher to subscriber.
    #[serde(default)]
    pub latency: LatencyFigures,
    /// Interarrival jitter (RFC 3550).
    pub jitter_ms: Option<Distribution>,
    /// Dial to JoinResponse.
    pub join_ms: Option<Distribution>,
    /// Dial to ICE and DTLS up.
    pub connect_ms: Option<Distribution>,
    /// Each phase of connecting: `dns`, `tcp`, `tls`, `websocket` and `join` follow each other;
    /// `ice`, `first_packet` and `first_frame` count from the dial; `dtls` from ICE being up.
    pub phases_ms: BTreeMap<String, Distribution>,
    /// Subscription to first packet.
    pub track_subscribe_ms: Option<Distribution>,
    /// What video subscribers saw; absent without video.
    #[serde(default)]
    pub video: Option<VideoFigures>,
    /// Seconds of video subscriptions by the layer received (`1280x720`).
    #[serde(default)]
    pub layers: BTreeMap<String, u64>,
    /// The worst LiveKit connection quality that at least 5 % of the samples had, or worse.
    pub quality: Option<Quality>,
    /// All samples of it.
    pub quality_samples: BTreeMap<Quality, u64>,
    /// Received by all subscribers.
    pub bitrate_in_mbps: Option<f64>,
    /// Received by each subscriber.
    pub subscriber_bitrate_in_mbps: Option<Distribution>,
    /// Sent by all publishers.
    pub bitrate_out_mbps: Option<f64>,
    /// Packets received.
    pub packets: PacketCounts,
    /// Packets sent.
    pub sent: SentCounts,
    /// Participants that failed, by cause.
    pub failures: BTreeMap<String, u64>,
    /// What was sent to the participants that no protocol allows; absent when nobody counted it.
    #[serde(default)]
    pub bad_input: Option<BadInput>,
    /// Signalling sessions lost and resumed.
    pub reconnects: u64,
    /// Participants by selected transport.
    pub transports: BTreeMap<String, u64>,
}

/// End-to-end latency: from when a frame's last packet was sent to when it came, by the clocks of
/// both vantages as they were measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyFigures {
    /// By the clocks' best guess; below zero when they are off by more than the way.
    pub ms: Option<Distribution>,
    /// How far each of them may be off, at most; absent when that isn't known.
    pub plus_minus_ms: Option<f64>,
    /// Frames that came before they can have been sent, and are in no figure: the clocks
    /// contradict each other.
    pub contradictory: u64,
}

/// What video subscribers saw, as W3C webrtc-stats defines it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VideoFigures {
    /// `framesPerSecond` of each video subscription in each second: complete frames, in order.
    pub frames_per_second: Option<Distribution>,
    /// `freezeCount`.
    pub freezes: u64,
    /// `totalFreezesDuration`.
    pub freeze_seconds: f64,
    /// The share of the time of all video subscriptions.
    pub frozen_percent: f64,
}

/// What went from one vantage's publishers to another's subscribers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowReport {
    /// Who published; `*` for anybody who isn't of the run.
    pub from: Publisher,
    /// Who subscribed.
    pub to: Vantage,
    /// Share of wanted subscriptions with packets in their second.
    pub receiving_percent: Option<f64>,
    /// Packets that never came, own drops included.
    pub lost: u64,
    /// End-to-end latency.
    pub latency: LatencyFigures,
    /// What video subscribers saw; absent without video.
    pub video: Option<VideoFigures>,
}

/// Participants really connected, second by second, added over the vantages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Connected {
    /// Publishers.
    pub publishers: Option<Range>,
    /// Subscribers.
    pub subscribers: Option<Range>,
    /// Seconds that the ranges are over: those at which the most probers sampled.
    pub seconds: u32,
    /// How many probers these are.
    pub vantages: u32,
    /// Both roles together in second 0, 1, … of the window, on the run's reference clock: a sum
    /// over the same seconds everywhere. Absent where not all of these probers sampled.
    pub series: Vec<Option<u64>>,
}

/// Of a series of sums.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Smallest.
    pub min: u64,
    /// Mean over the seconds.
    pub mean: f64,
}

/// Of the vantages, the worst figures; who had them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Worst {
    /// Largest 95th percentile of the round trip.
    pub rtt_p95_ms: Option<At<f64>>,
    /// Largest loss.
    pub loss_percent: Option<At<f64>>,
    /// Largest 95th percentile of the latency from all publishers.
    #[serde(default)]
    pub latency_p95_ms: Option<At<f64>>,
    /// Worst quality.
    pub quality: Option<At<Quality>>,
}

/// A value and who had it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Who had it; the first by label of several.
    pub vantage: Vantage,
}

/// One figure beside each other over the vantages that have it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Smallest.
    pub min: f64,
    /// Mean, each vantage counted once.
    pub mean: f64,
    /// Largest.
    pub max: f64,
}

/// One threshold in one tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThresholdReport {
    /// As written.
    pub threshold: Threshold,
    /// Over all probers: one that failed decides.
    pub verdict: Verdict,
    /// Of all probers together, with its unit; `unknown` without samples.
    pub measured: String,
    /// Each prober's own, by its slot's label. Who was asked for nothing that the threshold looks
    /// at isn't in it: a vantage that only publishes has no loss.
    /// Of a large fleet, those of the vantages in `rows`.
    pub vantages: BTreeMap<Vantage, Judgement>,
    /// Of a large fleet, how many probers were judged how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probers: Option<Counts>,
}

/// One threshold at one prober.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Whether it held.
    pub verdict: Verdict,
    /// The measured value with its unit; `unknown` without samples.
    pub measured: String,
    /// What it was compared with, the baseline's figure filled in; `unknown` when that is.
    pub bound: String,
    /// Why it can't be judged.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unknown_because: Option<String>,
}

/// The prober's own health.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// CPU used, of what it could have used.
    pub cpu_percent: Option<f64>,
    /// Of the time in the window: waited for a processor, summed over its threads, per processor.
    pub run_delay_percent: Option<f64>,
    /// Of all processors of its machine: busy, whoever with.
    pub machine_busy_percent: Option<f64>,
    /// Resident memory in bytes.
    pub resident_bytes: Option<u64>,
    /// Datagrams that its own buffers dropped.
    pub receive_drops: u64,
    /// How late its ticks were.
    pub tick_lag_ms: Option<Distribution>,
    /// How late it sent.
    pub pacing_lag_ms: Option<Distribution>,
    /// How late its participants joined.
    #[serde(default)]
    pub join_lag_ms: Option<Distribution>,
}

/// What became of one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VantageReport {
    /// Its label; absent when nobody took the slot.
    pub vantage: Option<Vantage>,
    /// The claim that counts.
    pub claim: Option<ClaimId>,
    /// What became of it.
    pub state: SlotState,
    /// Why it isn't complete, in words.
    pub reason: Option<String>,
    /// Tiers of it that count.
    pub tiers: Vec<u32>,
    /// What else befell its prober, in words.
    #[serde(default)]
    pub incidents: Vec<String>,
    /// Why its clock was in doubt, in words; empty when it never was.
    #[serde(default)]
    pub marked: Vec<String>,
    /// muster's version and revision there; absent when nothing came that says so.
    pub build: Option<String>,
}

/// What became of a slot: exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotState {
    /// It reported every tier.
    Complete,
    /// It reported, and not every tier.
    Partial,
    /// No report came. The tiers that did come count.
    Dropped,
}

/// A vantage that was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Its label; absent when nobody took the slot.
    pub vantage: Option<Vantage>,
    /// How far it came, in words.
    pub reason: String,
    /// Tiers of it that count all the same.
    pub tiers: Vec<u32>,
}

/// Something that came and does not count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rejection {
    /// The object's key, or what it is in words.
    pub object: String,
    /// Whose, when that could be told.
    pub vantage: Option<Vantage>,
    /// Why not.
    pub reason: String,
}

/// What the run used, in its windows unless it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Connected participants times minutes.
    pub participant_minutes: f64,
    /// UDP payload received by subscribers.
    pub bytes_in: u64,
    /// UDP payload sent by publishers.
    pub bytes_out: u64,
    /// Requests to the bucket over the whole run, by the probers whose reports count; absent when
    /// one of them did not count.
    #[serde(default)]
    pub requests: Option<RequestCounts>,
    /// The same by those who put on no load.
    #[serde(default)]
    pub other_requests: OtherRequests,
}

/// Requests to the bucket by those of a run who put on no load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherRequests {
    /// The coordinator's whose start it is; absent when it ended before the run did, and not by
    /// leaving the run to itself.
    pub coordinator: Option<RequestCounts>,
    /// The finalizer's that froze this revision, this report included; absent when not counted.
    pub finalizer: Option<RequestCounts>,
}
