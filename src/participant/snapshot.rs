//! What a participant has counted: cumulative since it joined, so that a window is the
//! difference of two snapshots.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::Sample;
use crate::job::{Quality, Timestamp};

use super::failure::Failure;

/// Everything about one participant at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Where it is in its life.
    pub state: State,
    /// When it began to dial: later than it was asked to join if this process was late.
    pub dialled: Option<Instant>,
    /// How long each phase of connecting took.
    pub phases: Phases,
    /// What it received.
    pub rx: RxTotals,
    /// What it sent.
    pub tx: TxTotals,
    /// Tracks that it asked for.
    pub subscriptions_wanted: u32,
    /// Tracks of these from which packets came.
    pub subscriptions_receiving: u32,
    /// The latest round trip on the media path, in microseconds (ICE consent check, or RTCP).
    pub rtt_us: Option<u32>,
    /// The latest round trip of a signalling ping, in microseconds.
    pub signal_rtt_us: Option<u32>,
    /// LiveKit's verdict on this participant's connection, once it gave one.
    pub quality: Option<Quality>,
    /// The server's account of itself.
    pub server: Option<ServerInfo>,
    /// Where media flows.
    pub path: Option<MediaPath>,
    /// Where the server would take media over TCP (RFC 6544, passive), as it announced; known
    /// only with [`super::ParticipantSpec::probe_clock`].
    pub tcp_candidates: Vec<SocketAddr>,
    /// Signalling connections that were lost and resumed.
    pub reconnects: u32,
    /// Signalling messages that could not be read.
    pub signals_malformed: u64,
    /// Tracks announced that are not followed: beyond thousands, or under a name that is none.
    pub tracks_refused: u64,
    /// Events that were dropped because nobody drained them.
    pub events_dropped: u64,
    /// Samples that were dropped because nobody drained them.
    pub samples_dropped: u64,
}

/// Where a participant is in its life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// On its way up.
    #[default]
    Connecting,
    /// The WebSocket has joined, ICE and DTLS are up, and nothing was lost since.
    Connected,
    /// It failed and won't come back.
    Failed(Failure),
    /// It left in order.
    Left,
}

impl State {
    /// Whether media can flow right now.
    pub const fn is_connected(&self) -> bool {
        matches!(self, State::Connected)
    }
}

/// How long each phase took; `None` until it is over. The first five follow each other, and all
/// but `dtls` of the rest count from the start of the dial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Resolving the host name.
    pub dns: Option<Duration>,
    /// The TCP handshake.
    pub tcp: Option<Duration>,
    /// The TLS handshake; `None` for `ws://`.
    pub tls: Option<Duration>,
    /// The WebSocket handshake.
    pub websocket: Option<Duration>,
    /// From the WebSocket's being up to the `JoinResponse`.
    pub join: Option<Duration>,
    /// Dial to `JoinResponse`: the join time.
    pub joined: Option<Duration>,
    /// Dial to ICE's first working pair.
    pub ice: Option<Duration>,
    /// From a connection's working pair to DTLS being up on it; the longest of its connections.
    pub dtls: Option<Duration>,
    /// Dial to ICE and DTLS up on every connection it needs: the connect time.
    pub connected: Option<Duration>,
    /// Dial to the first RTP packet received.
    pub first_packet: Option<Duration>,
    /// Dial to the first complete video frame received.
    pub first_frame: Option<Duration>,
}

/// What was received, over all streams of the participant.
///
/// For every stream `expected = received + pending + lost`, and
/// `missing_before_rtx = recovered + pending + lost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxTotals {
    /// RTP packets that were authenticated, duplicates and retransmissions included.
    pub packets: u64,
    /// UDP payload of these packets, in bytes.
    pub bytes: u64,
    /// Sequence numbers from each stream's first to its highest (RFC 3550 A.3).
    pub expected: u64,
    /// Sequence numbers that did not come by themselves, late ones aside.
    pub missing_before_rtx: u64,
    /// Of these: put down to the participant's own receive buffer, by its socket's drop counter.
    pub missing_own: u64,
    /// Of all missing: came as a retransmission.
    pub recovered: u64,
    /// Of these: still hoped for.
    pub pending: u64,
    /// Of these: given up. Loss after retransmission.
    pub lost: u64,
    /// Of these: died in the participant's own receive buffer.
    pub lost_own: u64,
    /// Packets whose sequence number had come before.
    pub duplicates: u64,
    /// Packets that came after a higher sequence number, retransmissions aside.
    pub reordered: u64,
    /// Packets that carried no media: padding, which an SFU sends to probe the path.
    pub padding: u64,
    /// Mean over the live streams of RFC 3550's interarrival jitter, in microseconds.
    pub jitter_us: Option<u32>,
    /// The worst live stream's jitter, in microseconds.
    pub jitter_max_us: Option<u32>,
    /// Datagrams that the kernel dropped because this prober's own receive buffer was full
    /// (`SO_RXQ_OVFL`): never the SFU's loss.
    pub own_buffer_drops: u64,
    /// Packets that failed authentication.
    pub auth_failures: u64,
    /// Datagrams that are no well-formed RTP, RTCP, STUN or DTLS.
    pub malformed: u64,
    /// What came beyond what one peer connection follows: streams, tracks, senders of RTCP,
    /// candidates.
    pub over_limit: u64,
    /// Complete video frames, in order.
    pub frames: u64,
    /// Of these: keyframes.
    pub keyframes: u64,
    /// W3C webrtc-stats `freezeCount`.
    pub freezes: u64,
    /// W3C webrtc-stats `totalFreezesDuration`, in microseconds.
    pub freeze_us: u64,
    /// Frames with a stamp that could be read.
    pub stamps: u64,
    /// Frames whose stamp was damaged.
    pub stamps_malformed: u64,
    /// RTCP NACKs sent, in sequence numbers asked for.
    pub nacks_sent: u64,
    /// RTCP picture loss indications sent.
    pub plis_sent: u64,
    /// RTCP receiver reports sent.
    pub reports_sent: u64,
    /// The latest bandwidth estimate told to the server (REMB), in bits per second.
    pub remb_bps: Option<u64>,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxTotals {
    /// RTP packets, retransmissions included.
    pub packets: u64,
    /// UDP payload of these packets, in bytes.
    pub bytes: u64,
    /// Frames.
    pub frames: u64,
    /// Frames that were not sent because this prober was late.
    pub frames_skipped: u64,
    /// How late packets went out behind their due times, added up, in microseconds.
    pub late_us: u64,
    /// Packets sent again on request.
    pub retransmitted: u64,
    /// Sequence numbers that the server asked for again.
    pub nacks_received: u64,
    /// Keyframe requests (PLI and FIR).
    pub plis_received: u64,
    /// Receiver reports about streams of this participant.
    pub reports_received: u64,
    /// Packets lost on the way to the server, as its latest receiver reports say.
    pub remote_lost: u64,
    /// Datagrams that the kernel did not take (`EAGAIN`, `ENOBUFS`).
    pub send_failures: u64,
}

/// One track that a participant asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackSnapshot {
    /// LiveKit's track id.
    pub sid: Arc<str>,
    /// The publisher's identity.
    pub publisher: Arc<str>,
    /// Audio or video.
    pub kind: TrackKind,
    /// Its publisher has muted it: no packets are expected.
    pub muted: bool,
    /// Width and height asked for.
    pub wanted: Option<(u32, u32)>,
    /// Width and height of the latest keyframe.
    pub received: Option<(u32, u32)>,
    /// RTP packets.
    pub packets: u64,
    /// UDP payload, in bytes.
    pub bytes: u64,
    /// Packets lost after retransmission.
    pub lost: u64,
    /// Frames: complete video frames in order, or Opus packets.
    pub frames: u64,
    /// W3C webrtc-stats `freezeCount`; none of audio.
    pub freezes: u64,
    /// W3C webrtc-stats `totalFreezesDuration`, in microseconds.
    pub freeze_us: u64,
    /// When it was counted so; `None` before its first count.
    pub counted_at: Option<Instant>,
    /// Subscription to first packet: from the later of join and announcement.
    pub subscribe: Option<Duration>,
}

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrackKind {
    /// Opus.
    Audio,
    /// VP8, or what others publish.
    Video,
}

/// The server's account of itself, from its `JoinResponse`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// `1.11.0`.
    pub version: String,
    /// `standard` or `cloud`.
    pub edition: String,
    /// The node that answered.
    pub node_id: String,
    /// Its region; empty when it names none.
    pub region: String,
    /// The signalling protocol that it speaks.
    pub protocol: i32,
}

/// The selected candidate pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaPath {
    /// `udp` or `tcp`.
    pub transport: &'static str,
    /// This side's address.
    pub local: SocketAddr,
    /// The server's address.
    pub remote: SocketAddr,
}

/// What happened, in order. See [`super::Participant::drain_events`].
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It is connected.
    Connected {
        /// Dial to connected.
        after: Duration,
    },
    /// The first packet of a track that was asked for.
    TrackSubscribed {
        /// LiveKit's track id.
        sid: Arc<str>,
        /// Audio or video.
        kind: TrackKind,
        /// The track subscribe time: from the later of join and announcement.
        after: Duration,
    },
    /// The signalling connection was lost and resumed.
    Reconnected {
        /// Loss to resumed.
        after: Duration,
    },
    /// LiveKit's verdict changed.
    QualityChanged(Quality),
    /// It failed.
    Failed(Failure),
    /// It left in order.
    Left,
}

/// Raw samples since the last drain, for histograms.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Round trips on the media path by ICE's consent checks (RFC 7675), in microseconds.
    pub rtt_us: Vec<u32>,
    /// Round trips on the media path by RTCP's receiver reports (RFC 3550, 6.4.1), which only a
    /// publisher gets, in microseconds.
    pub rtcp_rtt_us: Vec<u32>,
    /// Round trips of signalling pings, with the server's clock.
    pub clock: Vec<ClockSample>,
    /// One-way times from publisher to here, by the clock that they share, and by LiveKit's id of
    /// the track; it is empty while the server has not said whose stream it is.
    pub latency: BTreeMap<Arc<str>, Vec<LatencySample>>,
}

/// One reading of the server's clock: it lay between the two of this machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSample {
    /// When the ping left, in local time ([`crate::clock::now`]).
    pub sent: Timestamp,
    /// When the pong came: `sent` plus the time passed by the monotonic clock.
    pub received: Timestamp,
    /// What the server's clock said in between, in milliseconds since the Unix epoch.
    pub server_ms: i64,
}

impl ClockSample {
    /// What it tells of the server's clock.
    pub fn sample(&self) -> Sample {
        Sample::pong(self.sent, self.server_ms, self.received)
    }
}

/// One frame's way from publisher to here: from when its last packet was sent to when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencySample {
    /// [`super::spec::Publish::source`] of its publisher.
    pub source: u32,
    /// Arrival minus stamp in microseconds: negative when the clocks disagree by more than the way.
    pub us: i64,
    /// Arrival in local time ([`crate::clock::now`]).
    pub at: Timestamp,
}
