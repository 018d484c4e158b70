//! One received RTP stream: what came, what is missing, how evenly.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::participant::rtp::Header;
use crate::participant::rtp::codec::{self, Codec};
use crate::participant::rtp::rtcp::Block;
use crate::participant::rtp::sequence::{self, Place, Window};
use crate::participant::snapshot::{RxTotals, TrackKind};

use super::filled::{Came, Filled, FilledGaps};
use super::frames::Frames;
use super::freeze::{FreezeMeter, Freezes};
use super::jitter::JitterMeter;
use super::own::OwnDrops;

#[cfg(test)]
mod tests;

/// Gaps followed per stream; older ones are given up.
const MAX_GAPS: usize = 512;
/// A gap of a stream without NACKs is lost after this long: no reordering is that late.
const REORDER_LIMIT: Duration = Duration::from_millis(250);
/// A gap is asked for after this long, so that reordering asks for nothing.
pub const NACK_DELAY: Duration = Duration::from_millis(10);
/// Between two NACKs for the same packet when no round trip is known. LiveKit ignores a repeated
/// NACK within min(100 ms, 2 RTT).
const NACK_INTERVAL: Duration = Duration::from_millis(100);
/// NACKs per packet (libwebrtc's `kMaxNackRetries`).
const NACK_TRIES: u8 = 10;
/// A packet that has been missing so long is lost: a decoder has moved on.
const GIVE_UP: Duration = Duration::from_millis(1_000);
/// Between two PLIs for a stream.
const PLI_INTERVAL: Duration = Duration::from_millis(500);
/// A stream that starts with no keyframe is given so long: a PLI stops LiveKit's retransmissions.
const PLI_GRACE: Duration = Duration::from_millis(300);

/// A missing packet.
#[derive(Clone, Copy, Debug)]
struct Gap {
    index: u64,
    since: Instant,
    asked: Option<Instant>,
    tries: u8,
    /// It died in the receive buffer here.
    own: bool,
}

/// What a stream carries, from SDP.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Audio or video.
    pub kind: TrackKind,
    /// How to read its payloads.
    pub codec: Codec,
    /// Timestamp units per second.
    pub clock_rate: u32,
    /// Whether NACKs were negotiated.
    pub nack: bool,
}

/// One SSRC.
#[derive(Debug)]
pub struct Stream {
    /// Its SSRC.
    pub ssrc: u32,
    /// The track that it belongs to, as an index of the receiver.
    pub track: Option<usize>,
    /// The stream that it retransmits.
    pub repairs: Option<u32>,
    /// Its retransmissions come in a stream of their own: what comes late in this one is no
    /// retransmission.
    pub has_repairs: bool,
    /// Packets are expected: announced and not muted.
    pub live: bool,
    kind: Kind,
    base: u64,
    window: Window,
    /// Each once, repairs included.
    received: u64,
    /// Of these: came as a repair alone.
    repaired: u64,
    /// Given up, and not come since.
    lost: u64,
    gaps: VecDeque<Gap>,
    filled: FilledGaps,
    jitter: JitterMeter,
    frames: Option<Frames>,
    freezes: FreezeMeter,
    frozen: Freezes,
    started: Instant,
    pli_at: Option<Instant>,
    last_sr: Option<(u32, Instant)>,
    reported: (u64, u64),
}

/// What a packet brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Brought {
    /// It had come before.
    pub duplicate: bool,
    /// Frames that became complete.
    pub frames: u64,
    /// Size of the keyframe that starts in it.
    pub size: Option<(u32, u32)>,
    /// It revealed new gaps.
    pub gaps: bool,
}

impl Stream {
    /// The stream of this first packet, which is at `index`.
    pub fn new(ssrc: u32, index: u64, kind: Kind, now: Instant) -> Self {
        let needs_keyframes = matches!(kind.codec, Codec::Vp8 | Codec::H264);
        let is_video = kind.kind == TrackKind::Video && kind.codec != Codec::Rtx;
        Self {
            ssrc,
            track: None,
            repairs: None,
            has_repairs: false,
            live: true,
            kind,
            base: index,
            window: Window::new(index),
            received: 0,
            repaired: 0,
            lost: 0,
            gaps: VecDeque::new(),
            filled: FilledGaps::default(),
            jitter: JitterMeter::new(kind.clock_rate),
            frames: is_video.then(|| Frames::new(index, needs_keyframes)),
            freezes: FreezeMeter::default(),
            frozen: Freezes::default(),
            started: now,
            pli_at: None,
            last_sr: None,
            reported: (0, 0),
        }
    }

    /// The index that a sequence number means here.
    pub fn index(&self, sequence: u16) -> Option<u64> {
        sequence::extend(self.window.highest(), sequence)
    }

    /// Interarrival jitter, in microseconds.
    pub const fn jitter_us(&self) -> u32 {
        self.jitter.us()
    }

    /// Packets lost after retransmission.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// How its payloads are read.
    pub const fn codec(&self) -> Codec {
        self.kind.codec
    }

    /// Whether each packet is a frame.
    pub fn is_audio(&self) -> bool {
        self.kind.kind == TrackKind::Audio
    }

    /// Whether this carries media, not retransmissions.
    pub fn is_primary(&self) -> bool {
        self.repairs.is_none() && self.kind.codec != Codec::Rtx
    }

    /// An authenticated packet came at `at`, with `payload` free of padding.
    pub fn packet(
        &mut self,
        header: &Header,
        payload: &[u8],
        index: u64,
        at: Instant,
        own: &mut OwnDrops,
        totals: &mut RxTotals,
    ) -> Brought {
        let mut brought = Brought::default();
        let first = self.received == 0;
        let place = if first {
            Place::Ahead(1)
        } else {
            self.window.insert(index)
        };
        match place {
            Place::Ahead(ahead) => {
                totals.expected += ahead;
                brought.gaps = self.open_gaps(index, ahead, at, own, totals);
                if !payload.is_empty() {
                    self.jitter.packet(header.timestamp, at);
                }
            }
            Place::Gap => self.fill(index, Came::InStream, own, totals),
            Place::Seen | Place::TooOld => {
                brought.duplicate = true;
                match self.filled.counterpart(index, Came::InStream) {
                    Some(repair) => {
                        totals.recovered -= 1;
                        self.repaired -= 1;
                        was_late(repair.own, own, totals);
                    }
                    None => totals.duplicates += 1,
                }
                return brought;
            }
        }
        self.received += 1;
        self.follow_frames(header.marker, payload, index, at, totals, &mut brought);
        brought
    }

    /// The packet at `sequence` came in a stream of retransmissions.
    pub fn repaired(
        &mut self,
        sequence: u16,
        marker: bool,
        payload: &[u8],
        at: Instant,
        own: &mut OwnDrops,
        totals: &mut RxTotals,
    ) -> Brought {
        let mut brought = Brought::default();
        let Some(index) = self.index(sequence) else {
            return brought;
        };
        if self.window.place(index) != Place::Gap || index < self.base {
            let original = self.filled.counterpart(index, Came::Repair);
            totals.duplicates += u64::from(original.is_none());
            brought.duplicate = true;
            return brought;
        }
        self.window.insert(index);
        self.fill(index, Came::Repair, own, totals);
        self.received += 1;
        self.repaired += 1;
        self.follow_frames(marker, payload, index, at, totals, &mut brought);
        brought
    }

    /// A packet of retransmissions came at `index` of their own order. Returns whether it is new.
    pub fn repair(&mut self, index: u64) -> bool {
        let is_first = self.received == 0;
        let is_new = is_first || matches!(self.window.insert(index), Place::Ahead(_) | Place::Gap);
        if is_new {
            self.received += 1;
            self.base = self.base.min(index);
        }
        is_new
    }

    fn open_gaps(
        &mut self,
        index: u64,
        ahead: u64,
        at: Instant,
        own: &mut OwnDrops,
        totals: &mut RxTotals,
    ) -> bool {
        let missing = ahead - 1;
        if missing == 0 {
            return false;
        }
        let mut dropped = own.explain(missing, at);
        totals.missing_before_rtx += missing;
        totals.missing_own += dropped;
        let room = u64::try_from(MAX_GAPS).unwrap_or(u64::MAX);
        let followed = missing.min(room);
        let from = index - followed;
        let lost = missing - followed;
        let lost_own = dropped.min(lost);
        dropped -= lost_own;
        self.lost += lost;
        totals.lost += lost;
        totals.lost_own += lost_own;
        totals.pending += followed;
        let is_own = from.saturating_add(dropped);
        self.gaps.extend((from..index).map(|index| Gap {
            index,
            since: at,
            asked: None,
            tries: 0,
            own: index < is_own,
        }));
        while self.gaps.len() > MAX_GAPS
            && let Some(oldest) = self.gaps.pop_front()
        {
            self.lose(oldest, at, totals);
        }
        if lost > 0 {
            self.break_frames(from - 1, at, totals);
        }
        true
    }

    fn fill(&mut self, index: u64, came: Came, own: &mut OwnDrops, totals: &mut RxTotals) {
        let late = |asked: bool| came == Came::InStream && (self.has_repairs || !asked);
        let at = self.gaps.iter().position(|gap| gap.index == index);
        match at.and_then(|at| self.gaps.remove(at)) {
            Some(gap) => {
                let asked = gap.asked.is_some();
                totals.pending -= 1;
                if self.has_repairs && (asked || came == Came::Repair) {
                    let own = gap.own;
                    self.filled.filled(Filled { index, came, own });
                }
                if late(asked) {
                    was_late(gap.own, own, totals);
                } else {
                    totals.recovered += 1;
                }
            }
            // It had been given up, or it precedes the stream's first packet.
            None if index < self.base => {
                totals.expected += self.base - index;
                let between = self.base - index - 1;
                totals.missing_before_rtx += between;
                self.lost += between;
                totals.lost += between;
                totals.reordered += 1;
                self.base = index;
            }
            // A stream that was announced as another's repairs before: nobody missed this.
            None if self.lost == 0 => totals.duplicates += 1,
            None => {
                self.lost -= 1;
                totals.lost -= 1;
                let is_own = totals.lost_own > totals.lost;
                totals.lost_own -= u64::from(is_own);
                if late(true) {
                    was_late(is_own, own, totals);
                } else {
                    totals.recovered += 1;
                }
            }
        }
    }

    fn lose(&mut self, gap: Gap, now: Instant, totals: &mut RxTotals) {
        totals.pending -= 1;
        self.lost += 1;
        totals.lost += 1;
        totals.lost_own += u64::from(gap.own);
        self.break_frames(gap.index, now, totals);
    }

    fn break_frames(&mut self, index: u64, now: Instant, totals: &mut RxTotals) {
        let first_gap = self.gaps.front().map(|gap| gap.index);
        let frames = self
            .frames
            .as_mut()
            .map_or(0, |f| f.give_up(index, first_gap));
        self.count_frames(frames, now, totals);
    }

    fn follow_frames(
        &mut self,
        marker: bool,
        payload: &[u8],
        index: u64,
        at: Instant,
        totals: &mut RxTotals,
        brought: &mut Brought,
    ) {
        let Some(frames) = &mut self.frames else {
            return;
        };
        let keyframe = codec::keyframe(self.kind.codec, payload);
        if let Some(keyframe) = keyframe {
            brought.size = keyframe.size;
            totals.keyframes += u64::from(self.kind.codec != Codec::Other);
        }
        let ends = marker && !payload.is_empty();
        let first_gap = self.gaps.front().map(|gap| gap.index);
        brought.frames = frames.packet(index, ends, keyframe.is_some(), first_gap);
        self.count_frames(brought.frames, at, totals);
    }

    fn count_frames(&mut self, frames: u64, at: Instant, totals: &mut RxTotals) {
        totals.frames += frames;
        for _ in 0..frames {
            let freezes = self.freezes.frame(at);
            self.count_freezes(freezes, totals);
        }
    }

    /// A sender report about this stream came.
    pub fn sender_report(&mut self, ntp_middle: u32, at: Instant) {
        self.last_sr = Some((ntp_middle, at));
    }

    /// Gives up what is overdue and collects what is to be asked for again, ascending. Returns
    /// when to look again.
    pub fn due_nacks(
        &mut self,
        now: Instant,
        rtt: Option<Duration>,
        totals: &mut RxTotals,
        ask: &mut Vec<u16>,
    ) -> Option<Instant> {
        let limit = if self.kind.nack {
            GIVE_UP
        } else {
            REORDER_LIMIT
        };
        let is_over = |gap: &mut Gap| now.saturating_duration_since(gap.since) >= limit;
        while let Some(gap) = self.gaps.pop_front_if(is_over) {
            self.lose(gap, now, totals);
        }
        if self.gaps.is_empty() {
            return None;
        }
        if !self.kind.nack || !self.live {
            return Some(now + NACK_INTERVAL);
        }
        let interval = rtt.map_or(NACK_INTERVAL, |rtt| {
            (rtt * 2).clamp(NACK_DELAY * 2, NACK_INTERVAL)
        });
        let mut next = now + GIVE_UP;
        for gap in &mut self.gaps {
            let due = match gap.asked {
                None => gap.since + NACK_DELAY,
                Some(_) if gap.tries >= NACK_TRIES => continue,
                Some(asked) => asked + interval,
            };
            if due <= now {
                ask.push(sequence::low(gap.index));
                gap.asked = Some(now);
                gap.tries += 1;
                next = next.min(now + interval);
            } else {
                next = next.min(due);
            }
        }
        Some(next)
    }

    /// Whether to ask for a keyframe now.
    pub fn due_pli(&mut self, now: Instant) -> bool {
        let waits = self.live && self.frames.as_ref().is_some_and(Frames::is_broken);
        let due = self
            .pli_at
            .map_or(self.started + PLI_GRACE, |at| at + PLI_INTERVAL);
        if waits && due <= now {
            self.pli_at = Some(now);
            return true;
        }
        false
    }

    /// Accounts for a freeze that goes on.
    pub fn check_freeze(&mut self, now: Instant, totals: &mut RxTotals) {
        if self.live {
            let freezes = self.freezes.check(now);
            self.count_freezes(freezes, totals);
        }
    }

    fn count_freezes(&mut self, freezes: Freezes, totals: &mut RxTotals) {
        self.frozen.add(freezes);
        totals.freezes += freezes.count;
        totals.freeze_us += u64::try_from(freezes.time.as_micros()).unwrap_or(u64::MAX);
    }

    /// Freezes so far.
    pub const fn freezes(&self) -> Freezes {
        self.frozen
    }

    /// Packets are (no longer) expected.
    pub fn set_live(&mut self, live: bool) {
        if self.live != live {
            self.live = live;
            self.freezes.reset();
            self.jitter.pause();
        }
    }

    /// This stream's report block (RFC 3550, A.3), and the start of the next interval. What came
    /// as a repair did not come in this stream: so libwebrtc has it, and the server's view of a
    /// path depends on it.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the wire holds the low bits"
    )]
    pub fn report(&mut self, now: Instant) -> Block {
        let highest = self.window.highest();
        let expected = highest + 1 - self.base;
        let received = self.received - self.repaired;
        let (expected_before, received_before) =
            std::mem::replace(&mut self.reported, (expected, received));
        let expected_now = expected.saturating_sub(expected_before);
        let lost_now = expected_now.saturating_sub(received - received_before);
        let fraction = (lost_now * 256).checked_div(expected_now).unwrap_or(0);
        let lost = expected.saturating_sub(received);
        let (last_sr, delay) = self.last_sr.map_or((0, 0), |(ntp, at)| {
            let delay = now.saturating_duration_since(at).as_micros() * 65_536 / 1_000_000;
            (ntp, u32::try_from(delay).unwrap_or(u32::MAX))
        });
        Block {
            ssrc: self.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            lost: i32::try_from(lost).unwrap_or(i32::MAX),
            highest: highest as u32,
            jitter: self.jitter.ticks(),
            last_sr,
            delay,
        }
    }
}

/// A packet that was thought to be missing was only late.
const fn was_late(own: bool, drops: &mut OwnDrops, totals: &mut RxTotals) {
    totals.reordered += 1;
    totals.missing_before_rtx -= 1;
    if own {
        totals.missing_own -= 1;
        drops.mistaken();
    }
}
