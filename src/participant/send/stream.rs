//! One sent RTP stream: its sequence numbers, its reports, and what it can send again.

use std::time::{Duration, Instant};

use crate::participant::media::Payload;
use crate::participant::moment::Moment;
use crate::participant::rtp::rtcp::SenderInfo;
use crate::participant::rtp::{Outgoing, push_extension, sequence};
use crate::participant::srtp::Srtp;

/// Packets kept to be sent again: over a second of the highest layer.
const KEPT: usize = 256;
/// A packet is not sent again twice within this: both requests were for the same loss.
const RESEND_INTERVAL: Duration = Duration::from_millis(10);
/// How often a packet is sent again at most: as often as libwebrtc asks for one
/// (`NackRequester`'s `kMaxNackRetries`). A server that asks for all, always, gets no flood.
const RESENDS_MAX: u8 = 10;

/// Header extension ids, as negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    /// `sdes:mid`.
    pub mid: Option<u8>,
    /// `sdes:rtp-stream-id`.
    pub rid: Option<u8>,
    /// `sdes:repaired-rtp-stream-id`.
    pub repaired_rid: Option<u8>,
    /// `abs-send-time`.
    pub abs_send_time: Option<u8>,
    /// The transport-wide sequence number.
    pub transport_cc: Option<u8>,
    /// `ssrc-audio-level`.
    pub audio_level: Option<u8>,
}

/// What SDP settled for one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPlan {
    /// The stream.
    pub ssrc: u32,
    /// What it carries.
    pub payload_type: u8,
    /// SSRC and payload type of its retransmissions, if they have their own.
    pub repair: Option<(u32, u8)>,
    /// Its media section.
    pub mid: String,
    /// Its simulcast layer; empty without simulcast.
    pub rid: String,
    /// Timestamp units per second.
    pub clock_rate: u32,
    /// Header extensions.
    pub extensions: ExtensionIds,
}

/// A packet's part that is not the stream's.
#[derive(Clone, Copy, Debug)]
pub struct Media<'a> {
    /// See [`crate::participant::rtp::Header`].
    pub marker: bool,
    /// See [`crate::participant::rtp::Header`].
    pub timestamp: u32,
    /// What it carries.
    pub payload: Payload<'a>,
    /// RFC 6464: voice flag and level.
    pub audio_level: Option<u8>,
}

#[derive(Debug, Default)]
struct Kept {
    index: u64,
    marker: bool,
    timestamp: u32,
    /// Head and tail of the [`Payload`], side by side.
    own: Vec<u8>,
    /// Length of the head.
    head: usize,
    body: &'static [u8],
    padding: &'static [u8],
    /// As first sent, in a stream without its own retransmissions: the same nonce may only ever
    /// meet the same header.
    extensions: Vec<u8>,
    resent: Option<Instant>,
    resends: u8,
}

impl Kept {
    fn payload(&self) -> Payload<'_> {
        let (head, tail) = self.own.split_at_checked(self.head).unwrap_or_default();
        Payload {
            head,
            body: self.body,
            padding: self.padding,
            tail,
        }
    }
}

/// One SSRC, with its retransmissions.
#[derive(Debug)]
pub struct Stream {
    plan: StreamPlan,
    /// Of the next packet.
    index: u64,
    repair_index: u64,
    packets: u32,
    octets: u32,
    last: Option<(u32, Instant)>,
    /// The server knows the stream: it has reported about it. Until then each packet says which
    /// it is.
    known: bool,
    kept: Vec<Kept>,
    extensions: Vec<u8>,
}

impl Stream {
    /// A stream whose sequence numbers start at `first`, which RFC 3550 wants random.
    pub fn new(plan: StreamPlan, first: u16) -> Self {
        // Far from the wrap: a receiver that misses the first packets still guesses the ROC.
        let index = u64::from(first & 0x3fff);
        Self {
            plan,
            index,
            repair_index: index,
            packets: 0,
            octets: 0,
            last: None,
            known: false,
            kept: Vec::new(),
            extensions: Vec::new(),
        }
    }

    /// Its SSRC.
    pub const fn ssrc(&self) -> u32 {
        self.plan.ssrc
    }

    /// The server reported about it.
    pub const fn set_known(&mut self) {
        self.known = true;
    }

    /// Appends the next packet, encrypted, to `out`. Returns its length, or `None` when it could
    /// not be encrypted; `out` is then as before.
    pub fn send(
        &mut self,
        srtp: &Srtp,
        media: Media<'_>,
        now: Moment,
        transport_sequence: &mut u16,
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        let index = self.index;
        self.index += 1;
        self.packets = self.packets.wrapping_add(1);
        let octets = u32::try_from(media.payload.length()).unwrap_or(u32::MAX);
        self.octets = self.octets.wrapping_add(octets);
        self.last = Some((media.timestamp, now.at));
        self.write_extensions(
            self.plan.extensions.rid,
            media.audio_level,
            now,
            transport_sequence,
        );
        self.keep(index, media);
        let header = Outgoing {
            payload_type: self.plan.payload_type,
            marker: media.marker,
            sequence: sequence::low(index),
            timestamp: media.timestamp,
            ssrc: self.plan.ssrc,
            extensions: &self.extensions,
        };
        write(srtp, &header, &[], media.payload, index, out)
    }

    /// Appends the packet of this sequence number once more: in the stream of retransmissions
    /// (RFC 4588) if there is one, else as it was. `None` when it is no longer kept.
    pub fn resend(
        &mut self,
        srtp: &Srtp,
        sequence: u16,
        now: Moment,
        transport_sequence: &mut u16,
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        let index = sequence::extend(self.index, sequence)?;
        let at = slot(index);
        let kept = self.kept.get_mut(at).filter(|kept| kept.index == index)?;
        let is_soon = |at| now.at.saturating_duration_since(at) < RESEND_INTERVAL;
        if kept.resends == RESENDS_MAX || kept.resent.is_some_and(is_soon) {
            return None;
        }
        kept.resent = Some(now.at);
        kept.resends += 1;
        let Some((ssrc, payload_type)) = self.plan.repair else {
            let header = Outgoing {
                payload_type: self.plan.payload_type,
                marker: kept.marker,
                sequence,
                timestamp: kept.timestamp,
                ssrc: self.plan.ssrc,
                extensions: &kept.extensions,
            };
            return write(srtp, &header, &[], kept.payload(), index, out);
        };
        let repaired = self.plan.extensions.repaired_rid;
        self.write_extensions(repaired, None, now, transport_sequence);
        let kept = self.kept.get(at)?;
        let repair_index = self.repair_index;
        self.repair_index += 1;
        let header = Outgoing {
            payload_type,
            marker: kept.marker,
            sequence: sequence::low(repair_index),
            timestamp: kept.timestamp,
            ssrc,
            extensions: &self.extensions,
        };
        let original = sequence.to_be_bytes();
        write(srtp, &header, &original, kept.payload(), repair_index, out)
    }

    fn keep(&mut self, index: u64, media: Media<'_>) {
        let at = slot(index);
        if self.kept.len() <= at {
            self.kept.resize_with(at + 1, Kept::default);
        }
        if let Some(kept) = self.kept.get_mut(at) {
            kept.index = index;
            kept.marker = media.marker;
            kept.timestamp = media.timestamp;
            kept.resent = None;
            kept.resends = 0;
            kept.extensions.clear();
            if self.plan.repair.is_none() {
                kept.extensions.extend_from_slice(&self.extensions);
            }
            kept.own.clear();
            kept.own.extend_from_slice(media.payload.head);
            kept.own.extend_from_slice(media.payload.tail);
            kept.head = media.payload.head.len();
            kept.body = media.payload.body;
            kept.padding = media.payload.padding;
        }
    }

    fn write_extensions(
        &mut self,
        rid: Option<u8>,
        audio_level: Option<u8>,
        now: Moment,
        transport_sequence: &mut u16,
    ) {
        let ids = &self.plan.extensions;
        let out = &mut self.extensions;
        out.clear();
        let mut push = |id: Option<u8>, value: &[u8]| {
            if let Some(id) = id {
                push_extension(out, id, value);
            }
        };
        if !self.known {
            push(ids.mid, self.plan.mid.as_bytes());
            push(rid, self.plan.rid.as_bytes());
        }
        push(ids.abs_send_time, &now.abs_send_time());
        if ids.transport_cc.is_some() {
            push(ids.transport_cc, &transport_sequence.to_be_bytes());
            *transport_sequence = transport_sequence.wrapping_add(1);
        }
        if let Some(level) = audio_level {
            push(ids.audio_level, &[level]);
        }
    }

    /// Its account of itself for a sender report; `None` before its first packet.
    #[expect(clippy::cast_possible_truncation, reason = "RTP timestamps wrap")]
    pub fn report(&self, now: Moment) -> Option<SenderInfo> {
        let (timestamp, at) = self.last?;
        let since = now.at.saturating_duration_since(at).as_micros();
        let ticks = since * u128::from(self.plan.clock_rate) / 1_000_000;
        Some(SenderInfo {
            ssrc: self.plan.ssrc,
            ntp: now.ntp(),
            rtp: timestamp.wrapping_add(ticks as u32),
            packets: self.packets,
            octets: self.octets,
        })
    }
}

fn slot(index: u64) -> usize {
    let kept = u64::try_from(KEPT).unwrap_or(1);
    usize::try_from(index % kept).unwrap_or_default()
}

fn write(
    srtp: &Srtp,
    header: &Outgoing<'_>,
    prefix: &[u8],
    payload: Payload<'_>,
    index: u64,
    out: &mut Vec<u8>,
) -> Option<usize> {
    let start = out.len();
    let header_len = header.write(out);
    out.extend_from_slice(prefix);
    payload.write(out);
    if srtp.seal_rtp(out, start, header_len, header.ssrc, index) {
        Some(out.len() - start)
    } else {
        out.truncate(start);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Timestamp;
    use crate::participant::keys;
    use crate::participant::rtp::Header;

    fn plan(repair: Option<(u32, u8)>) -> StreamPlan {
        StreamPlan {
            ssrc: 7,
            payload_type: 96,
            repair,
            mid: "0".into(),
            rid: "f".into(),
            clock_rate: 90_000,
            extensions: ExtensionIds {
                mid: Some(1),
                rid: Some(2),
                repaired_rid: Some(3),
                abs_send_time: Some(4),
                ..ExtensionIds::default()
            },
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    fn now() -> Moment {
        Moment {
            at: Instant::now(),
            wall: Timestamp::from_micros(1_000_000_000),
            shared: Timestamp::from_micros(1_000_000_000),
        }
    }

    fn send(stream: &mut Stream, srtp: &Srtp, payload: &[u8]) -> Vec<u8> {
        let media = Media {
            marker: true,
            timestamp: 9,
            payload: Payload {
                head: payload,
                ..Payload::default()
            },
            audio_level: None,
        };
        let mut out = Vec::new();
        stream.send(srtp, media, now(), &mut 0, &mut out).unwrap();
        out
    }

    fn resend(stream: &mut Stream, srtp: &Srtp, sequence: u16) -> Option<Vec<u8>> {
        resend_after(stream, srtp, sequence, Duration::from_secs(1))
    }

    fn resend_after(
        stream: &mut Stream,
        srtp: &Srtp,
        sequence: u16,
        after: Duration,
    ) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let later = Moment {
            at: now().at + after,
            wall: Timestamp::from_micros(2_000_000_000),
            shared: Timestamp::from_micros(2_000_000_000),
        };
        stream.resend(srtp, sequence, later, &mut 0, &mut out)?;
        Some(out)
    }

    #[test]
    fn a_plain_resend_is_the_same_packet_bit_by_bit() {
        let (srtp, _) = keys::pair_for_tests();
        let mut stream = Stream::new(plan(None), 100);
        let first = send(&mut stream, &srtp, b"one");
        send(&mut stream, &srtp, b"two");
        assert_eq!(resend(&mut stream, &srtp, 100), Some(first));
        assert_eq!(resend(&mut stream, &srtp, 102), None, "not sent yet");
    }

    #[test]
    fn a_repair_has_its_own_stream_and_names_the_original() {
        let (srtp, peer) = keys::pair_for_tests();
        let mut stream = Stream::new(plan(Some((8, 97))), 100);
        send(&mut stream, &srtp, b"one");
        let mut packet = resend(&mut stream, &srtp, 100).unwrap();
        let header = Header::parse(&packet).unwrap();
        assert_eq!((header.ssrc, header.payload_type), (8, 97));
        assert_eq!(header.extension(&packet, 3), Some(&b"f"[..]));
        let index = u64::from(header.sequence);
        let payload = peer.open_rtp(&mut packet, &header, index).unwrap();
        assert_eq!(payload, [&[0, 100][..], b"one"].concat());
    }

    #[test]
    fn a_packet_is_sent_again_only_so_often() {
        let (srtp, _) = keys::pair_for_tests();
        let mut stream = Stream::new(plan(Some((8, 97))), 100);
        send(&mut stream, &srtp, b"one");
        send(&mut stream, &srtp, b"two");
        let mut again = |sequence| {
            let asked = (1..100).map(|n| RESEND_INTERVAL * 2 * n);
            let sent = asked.filter_map(|at| resend_after(&mut stream, &srtp, sequence, at));
            sent.count()
        };
        assert_eq!(again(100), usize::from(RESENDS_MAX));
        assert_eq!(again(101), usize::from(RESENDS_MAX), "each by itself");
    }

    #[test]
    fn a_bounded_number_of_packets_is_kept() {
        let (srtp, _) = keys::pair_for_tests();
        let mut stream = Stream::new(plan(None), 0);
        for _ in 0..1_000 {
            send(&mut stream, &srtp, b"x");
        }
        assert_eq!(stream.kept.len(), KEPT);
        assert!(resend(&mut stream, &srtp, 999).is_some());
        assert!(resend(&mut stream, &srtp, 1_000 - 257).is_none());
    }
}
