//! What one prober measured: a part of the report.
//!
//! Everything merges by addition, so that parts combine in any order. A figure that was not
//! measured is absent, never zero.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bad_input::BadInput;
use super::flow::{Flow, Publisher};
use crate::clock::{OffsetInterval, RunClock};
use crate::cost::Function;
use crate::job::{ClaimId, Digest, Quality, RunId, Span, Timestamp, Vantage, WriteId};
use crate::load::Window;
use crate::measure::Histogram;
use crate::store::RequestCounts;

/// How many participants of each role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headcount {
    /// Participants that publish.
    pub publishers: u32,
    /// Participants that subscribe.
    pub subscribers: u32,
}

/// Really connected participants in each second of the window, by the run's reference clock:
/// those that were connected at its beginning and at its end. A second that the prober slept
/// through is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectedSeries {
    /// Publishers in second 0, 1, …
    pub publishers: Vec<Option<u32>>,
    /// Subscribers in second 0, 1, …
    pub subscribers: Vec<Option<u32>>,
}

/// What a prober knew of the clocks when its window opened and when it closed. An interval that
/// holds at both times holds in between as well: clocks drift steadily.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierClock {
    /// When it opened.
    pub opened: RunClock,
    /// When it closed.
    pub closed: RunClock,
}

impl TierClock {
    /// The run's reference clock minus the prober's own, at any time in the window.
    pub fn offset(&self) -> OffsetInterval {
        self.opened.offset.hull(self.closed.offset)
    }

    /// How far this prober's clock was ahead of another's, at any time in the window: what a time
    /// taken there is short of, or too long by, when it is subtracted from one taken here.
    pub fn ahead_of(&self, other: &TierClock) -> OffsetInterval {
        let by_reference = other.offset().minus(self.offset());
        let one_node = self.node().is_some() && self.node() == other.node();
        match (self.sfu(), other.sfu()) {
            (Some(here), Some(there)) if one_node => {
                // Where they contradict each other, two clocks answered for one node.
                let by_sfu = there.minus(here);
                by_sfu.intersection(by_reference).unwrap_or(by_reference)
            }
            _ => by_reference,
        }
    }

    /// Whether the clocks were read at all. If not, local time stands in for them.
    pub const fn is_known(&self) -> bool {
        self.opened.is_known() && self.closed.is_known()
    }

    /// The SFU's clock minus the prober's, at any time in the window.
    fn sfu(&self) -> Option<OffsetInterval> {
        Some(self.opened.reading.sfu?.hull(self.closed.reading.sfu?))
    }

    /// The node that answered throughout, if one did.
    fn node(&self) -> Option<&str> {
        let node = self.opened.reading.node.as_str();
        (!node.is_empty() && node == self.closed.reading.node).then_some(node)
    }
}

/// Packets of all subscribers in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketCounts {
    /// By sequence numbers (RFC 3550 A.3), retransmissions and duplicates left out.
    pub expected: u64,
    /// Arrived, each once.
    pub received: u64,
    /// Not there when their turn came: loss before retransmission.
    pub missing_before_rtx: u64,
    /// Of `missing_before_rtx`, what the prober's own receive buffers dropped, by the sockets'
    /// counters, whether it came after all or not.
    #[serde(default)]
    pub missing_own: u64,
    /// Came after all, by retransmission.
    pub recovered: u64,
    /// Never came: loss after retransmission, own drops included. What is asked for still when
    /// the window ends counts where it is decided: in the next one, as what was open when this
    /// one began counts here.
    pub lost: u64,
    /// Of `lost`, what the prober's own receive buffers dropped, by the sockets' counters.
    pub own_drops: u64,
    /// Came more than once.
    pub duplicates: u64,
    /// Came after a later one, without having been asked for.
    pub reordered: u64,
    /// UDP payload received, in bytes.
    pub bytes: u64,
}

impl PacketCounts {
    /// Add another's.
    pub fn merge(&mut self, other: &PacketCounts) {
        let sum = |a: &mut u64, b: u64| *a = a.saturating_add(b);
        sum(&mut self.expected, other.expected);
        sum(&mut self.received, other.received);
        sum(&mut self.missing_before_rtx, other.missing_before_rtx);
        sum(&mut self.missing_own, other.missing_own);
        sum(&mut self.recovered, other.recovered);
        sum(&mut self.lost, other.lost);
        sum(&mut self.own_drops, other.own_drops);
        sum(&mut self.duplicates, other.duplicates);
        sum(&mut self.reordered, other.reordered);
        sum(&mut self.bytes, other.bytes);
    }
}

/// Packets of all publishers in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentCounts {
    /// First transmissions.
    pub packets: u64,
    /// Sent again on request.
    pub retransmitted: u64,
    /// UDP payload sent, in bytes.
    pub bytes: u64,
    /// Frames that were skipped because the prober was late.
    pub frames_skipped: u64,
    /// Datagrams that the prober's own kernel did not take; absent where nobody counted them.
    #[serde(default)]
    pub send_failures: Option<u64>,
}

impl SentCounts {
    /// Add another's.
    pub fn merge(&mut self, other: &SentCounts) {
        let sum = |a: &mut u64, b: u64| *a = a.saturating_add(b);
        sum(&mut self.packets, other.packets);
        sum(&mut self.retransmitted, other.retransmitted);
        sum(&mut self.bytes, other.bytes);
        sum(&mut self.frames_skipped, other.frames_skipped);
        let counted = [self.send_failures, other.send_failures];
        self.send_failures = counted.into_iter().flatten().reduce(u64::saturating_add);
    }
}

/// The prober's own health in the window: whether it, not the SFU, was short.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneratorHealth {
    /// CPU time used by the prober, in milliseconds, user and system; absent when unreadable.
    pub cpu_ms: Option<u64>,
    /// CPU time that it could have used: the window times the processors it may run on (or its
    /// cgroup's quota), in milliseconds.
    pub cpu_available_ms: u64,
    /// Share of all processors of the machine that was busy, in percent; absent when unreadable.
    pub machine_busy_percent: Option<f64>,
    /// Time that runnable threads of the prober waited for a processor, in milliseconds
    /// (`/proc/self/task/*/schedstat`); absent when unreadable.
    pub run_delay_ms: Option<u64>,
    /// Resident memory at the window's end, in bytes; absent when unreadable.
    pub resident_bytes: Option<u64>,
    /// Datagrams that its own socket buffers dropped.
    pub receive_drops: u64,
    /// How late the media loop's ticks were.
    pub tick_lag_us: Histogram,
    /// How late frames were sent.
    pub pacing_lag_us: Histogram,
    /// How late participants that joined for this tier began to dial.
    #[serde(default)]
    pub join_lag_us: Histogram,
}

impl GeneratorHealth {
    /// That of several probers: times and counts are added, histograms merged, and the busiest
    /// machine stands for all. What one of them could not read is unknown.
    pub fn together<'a>(all: impl Iterator<Item = &'a GeneratorHealth>) -> GeneratorHealth {
        all.cloned()
            .reduce(|mut sum, one| {
                let both = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
                sum.cpu_ms = both(sum.cpu_ms, one.cpu_ms);
                sum.cpu_available_ms = sum.cpu_available_ms.saturating_add(one.cpu_available_ms);
                let busy = sum.machine_busy_percent.zip(one.machine_busy_percent);
                sum.machine_busy_percent = busy.map(|(a, b)| a.max(b));
                sum.run_delay_ms = both(sum.run_delay_ms, one.run_delay_ms);
                sum.resident_bytes = both(sum.resident_bytes, one.resident_bytes);
                sum.receive_drops = sum.receive_drops.saturating_add(one.receive_drops);
                sum.tick_lag_us.merge(&one.tick_lag_us);
                sum.pacing_lag_us.merge(&one.pacing_lag_us);
                sum.join_lag_us.merge(&one.join_lag_us);
                sum
            })
            .unwrap_or_default()
    }
}

/// What the SFU says of itself when a participant joins.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SfuInfo {
    /// Version (`1.11.0`).
    pub version: String,
    /// Edition (`standard`, `cloud`).
    pub edition: String,
    /// The node that answered.
    pub node: String,
    /// The node's region; empty when it has none.
    pub region: String,
    /// The signalling protocol's version.
    pub protocol: i32,
}

/// One tier as one prober measured it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TierPart {
    /// Major version of the schema.
    pub schema: u32,
    /// Tells this write from another.
    pub write_id: WriteId,
    /// The run.
    pub run: RunId,
    /// The digest of the job that was carried out.
    pub job_sha256: Digest,
    /// Where from.
    pub vantage: Vantage,
    /// By which process.
    pub claim: ClaimId,
    /// 0 is the baseline.
    pub tier: u32,
    /// The window that the start decided.
    pub window: Window,
    /// The window as measured, on the run's reference clock.
    pub measured: Window,
    /// The clocks as known meanwhile.
    #[serde(default)]
    pub clock: Option<TierClock>,
    /// Participants that this vantage was asked for.
    pub requested: Headcount,
    /// Participants that really were connected.
    pub connected: ConnectedSeries,
    /// Subscriptions that the layout wants, over all subscribers, added up over the seconds of the
    /// window.
    pub subscriptions_wanted: u64,
    /// Of these, how many brought packets in their second.
    pub subscriptions_receiving: u64,
    /// What came from whom. Empty when the part's prober didn't tell them apart.
    #[serde(default)]
    pub flows: BTreeMap<Publisher, Flow>,
    /// Dial to JoinResponse, of participants that joined for this tier.
    pub join_us: Histogram,
    /// Dial to ICE and DTLS up, of participants that joined for this tier.
    pub connect_us: Histogram,
    /// Each phase of connecting by name (`dns`, `tcp`, `tls`, `websocket`, `ice`, `dtls`, …).
    pub phases_us: BTreeMap<String, Histogram>,
    /// Subscription to first RTP packet, of participants that joined for this tier.
    pub track_subscribe_us: Histogram,
    /// Media-path round trip: each sample of each participant.
    pub rtt_us: Histogram,
    /// The same by how it was measured: `ice` (consent checks, RFC 7675), `rtcp` (receiver
    /// reports, RFC 3550 6.4.1, of publishers).
    #[serde(default)]
    pub rtt_by_us: BTreeMap<String, Histogram>,
    /// Interarrival jitter (RFC 3550), once a second and participant.
    pub jitter_us: Histogram,
    /// All subscribers' packets.
    pub packets: PacketCounts,
    /// All publishers' packets.
    pub sent: SentCounts,
    /// Loss after retransmission per subscriber over the window, in parts per million, own drops
    /// left out.
    pub loss_ppm: Histogram,
    /// Bit rate received per subscriber, in kbit/s.
    pub bitrate_in_kbps: Histogram,
    /// Layers received: seconds of video subscriptions with packets, by the size of the latest
    /// keyframe (`1280x720`), `unknown` while it is.
    #[serde(default)]
    pub layers: BTreeMap<String, u64>,
    /// What is added to local time to write and read stamps in the window, in microseconds: the
    /// reference clock's offset as it was known before. Absent when it wasn't.
    #[serde(default)]
    pub stamp_offset_us: Option<i64>,
    /// LiveKit's connection quality, once a second and participant that had one.
    pub quality: BTreeMap<Quality, u64>,
    /// Participants that failed for this tier or during it, by cause.
    pub failures: BTreeMap<String, u64>,
    /// What was sent to the participants that no protocol allows; absent when not counted.
    #[serde(default)]
    pub bad_input: Option<BadInput>,
    /// Signalling sessions that were lost and resumed.
    pub reconnects: u64,
    /// Selected transports, by name (`udp`, `tcp`), by participants.
    pub transports: BTreeMap<String, u64>,
    /// The prober's own health.
    pub generator: GeneratorHealth,
    /// What the SFU said of itself, one entry per distinct answer.
    pub sfu: Vec<SfuInfo>,
}

/// How a prober's run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// It measured every tier.
    Complete,
    /// It stopped before the last tier.
    Stopped {
        /// Why (`aborted`, `hard_deadline`, `late`, `lease_lost`, …) in words.
        reason: String,
    },
}

/// A prober's finished report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportPart {
    /// Major version of the schema.
    pub schema: u32,
    /// Tells this write from another.
    pub write_id: WriteId,
    /// The run.
    pub run: RunId,
    /// The digest of the job that was carried out.
    pub job_sha256: Digest,
    /// Where from.
    pub vantage: Vantage,
    /// By which process.
    pub claim: ClaimId,
    /// When it was finished, on the run's reference clock.
    pub finished_at: Timestamp,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// When the process did not run.
    #[serde(default)]
    pub stops: Vec<Stop>,
    /// muster's version and revision.
    pub build: String,
    /// What it asked of the bucket, this report included; absent when not counted.
    #[serde(default)]
    pub requests: Option<RequestCounts>,
    /// The function that it was, and for how long; absent when it was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<FunctionTime>,
    /// All tiers, in order.
    pub tiers: Vec<TierPart>,
}

/// How long a function ran for its part, as it is billed: from the start of its process, or from
/// its event if the process had served one before, until it finished the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionTime {
    /// The function.
    #[serde(flatten)]
    pub function: Function,
    /// In milliseconds.
    pub billed_ms: u64,
}

/// A time in which a prober's process did not run: stopped, suspended or starved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// When it last ran before, on the run's reference clock.
    pub from: Timestamp,
    /// For how long it did not, at most.
    pub length: Span,
}
