//! All received RTP of one peer connection: each packet decrypted, authenticated, counted once.

mod bandwidth;
mod filled;
mod frames;
mod freeze;
mod jitter;
mod own;
mod pictures;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::moment::Moment;
use super::prefetch::prefetch;
use super::rtp::codec::Codec;
use super::rtp::h264;
use super::rtp::rtcp::{self, Block, Compounds};
use super::rtp::{self, Header};
use super::sdp::{self, Description};
use super::snapshot::{LatencySample, RxTotals, TrackKind};
use super::srtp::Srtp;
use super::stamp::{self, Stamp, Trailer};

use bandwidth::Estimator;
use freeze::Freezes;
use own::OwnDrops;
use pictures::Pictures;
use stream::{Brought, Kind, Stream};

/// SSRCs followed per peer connection; packets of further ones are counted as over the limit.
const MAX_STREAMS: usize = 512;
/// Tracks followed per peer connection, over all of its life.
const MAX_TRACKS: usize = 4_096;
/// Between two receiver reports, as libwebrtc sends them for video.
const REPORT_INTERVAL: Duration = Duration::from_millis(1_000);

/// What one track received.
#[derive(Clone, Debug)]
pub struct TrackCount {
    /// LiveKit's track id.
    pub sid: Arc<str>,
    /// Audio or video.
    pub kind: TrackKind,
    /// RTP packets.
    pub packets: u64,
    /// UDP payload, in bytes.
    pub bytes: u64,
    /// Packets lost after retransmission, summed up when asked for.
    pub lost: u64,
    /// Frames completed; of audio, packets.
    pub frames: u64,
    /// Freezes, summed up when asked for.
    pub freezes: Freezes,
    /// Size of the latest keyframe.
    pub size: Option<(u32, u32)>,
}

/// What happened for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum First {
    /// The first packet of a track.
    Packet {
        /// LiveKit's track id.
        sid: Arc<str>,
        /// Audio or video.
        kind: TrackKind,
        /// When it arrived.
        at: Instant,
    },
    /// The first complete video frame.
    Frame {
        /// When its last packet arrived.
        at: Instant,
    },
}

struct Track {
    count: TrackCount,
    pictures: Pictures,
    latency: Vec<LatencySample>,
}

/// Receives RTP.
pub struct Receiver {
    /// The SSRC that its RTCP comes from.
    ssrc: u32,
    description: Description,
    abs_send_time: Option<u8>,
    streams: Vec<Stream>,
    /// The streams' SSRCs once more, side by side: the lookup of every packet.
    ssrcs: Vec<u32>,
    tracks: Vec<Track>,
    muted: BTreeSet<Arc<str>>,
    estimator: Estimator,
    totals: RxTotals,
    own_drops: OwnDrops,
    next_report: Instant,
    next_nack: Option<Instant>,
    saw_frame: bool,
    firsts: Vec<First>,
    /// Of streams without a track.
    pictures: Pictures,
    latency: Vec<LatencySample>,
    /// Their name.
    no_track: Arc<str>,
    /// Room for work, kept.
    ask: Vec<u16>,
    spare: Vec<u8>,
}

impl Receiver {
    /// Receives nothing yet. `ssrc` is for its own RTCP, `phase` spreads the reports of many.
    pub fn new(ssrc: u32, now: Instant, phase: Duration) -> Self {
        Self {
            ssrc,
            description: Description::default(),
            abs_send_time: None,
            streams: Vec::new(),
            ssrcs: Vec::new(),
            tracks: Vec::new(),
            muted: BTreeSet::new(),
            estimator: Estimator::new(now),
            totals: RxTotals::default(),
            own_drops: OwnDrops::default(),
            next_report: now + REPORT_INTERVAL / 2 + phase,
            next_nack: None,
            saw_frame: false,
            firsts: Vec::new(),
            pictures: Pictures::default(),
            latency: Vec::new(),
            no_track: Arc::default(),
            ask: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// The server described its streams anew.
    pub fn describe(&mut self, description: Description) {
        self.abs_send_time = description
            .sections
            .values()
            .find_map(|section| section.extensions.get(sdp::EXT_ABS_SEND_TIME))
            .copied();
        self.description = description;
        self.assign_all();
    }

    /// A track's publisher muted it, or no longer: while muted no packets are expected.
    pub fn mute(&mut self, sid: &Arc<str>, muted: bool) {
        if !muted {
            self.muted.remove(sid);
        } else if self.muted.len() < MAX_TRACKS {
            self.muted.insert(Arc::clone(sid));
        } else {
            return self.count_over_limit();
        }
        for stream in &mut self.streams {
            let announced = self.description.streams.get(&stream.ssrc);
            if announced.is_some_and(|announced| announced.track == *sid) {
                stream.set_live(!muted);
            }
        }
    }

    /// Everything counted.
    pub const fn totals(&self) -> &RxTotals {
        &self.totals
    }

    /// The kernel dropped so many more datagrams for want of room, ahead of what comes next.
    pub const fn dropped(&mut self, datagrams: u64, at: Instant) {
        self.own_drops.dropped(datagrams, at);
    }

    /// Counts what is no well-formed datagram.
    pub const fn count_malformed(&mut self) {
        self.totals.malformed += 1;
    }

    /// Counts what goes beyond what one peer connection follows.
    pub const fn count_over_limit(&mut self) {
        self.totals.over_limit += 1;
    }

    /// Counts a datagram that isn't authentic.
    pub const fn count_unauthentic(&mut self) {
        self.totals.auth_failures += 1;
    }

    /// Counts an RTP packet that was opened, or failed to, and nothing else of it.
    pub const fn count_opened(&mut self, length: usize, authentic: bool) {
        if authentic {
            self.totals.packets += 1;
            self.totals.bytes += length as u64;
        } else {
            self.totals.auth_failures += 1;
        }
    }

    /// Each track.
    pub fn tracks(&mut self) -> impl Iterator<Item = &TrackCount> + '_ {
        for track in &mut self.tracks {
            track.count.lost = 0;
            track.count.freezes = Freezes::default();
        }
        for stream in self.streams.iter().filter(|stream| stream.is_primary()) {
            let track = stream.track.and_then(|track| self.tracks.get_mut(track));
            if let Some(Track { count, .. }) = track {
                count.lost += stream.lost();
                count.freezes.add(stream.freezes());
            }
        }
        self.tracks.iter().map(|track| &track.count)
    }

    /// What happened for the first time since the last call.
    pub fn drain_firsts(&mut self) -> impl Iterator<Item = First> + '_ {
        self.firsts.drain(..)
    }

    /// One-way times by track, for the caller to take.
    pub fn latency(&mut self) -> impl Iterator<Item = (&Arc<str>, &mut Vec<LatencySample>)> {
        let tracks = self.tracks.iter_mut();
        let of_tracks = tracks.map(|track| (&track.count.sid, &mut track.latency));
        let all = of_tracks.chain([(&self.no_track, &mut self.latency)]);
        all.filter(|(_, samples)| !samples.is_empty())
    }

    /// This SRTP packet will be taken soon: fetches what is known of its stream.
    pub fn expect(&self, packet: &[u8]) {
        let at = rtp::ssrc(packet).and_then(|ssrc| self.place(ssrc));
        let Some(stream) = at.and_then(|at| self.streams.get(at)) else {
            return;
        };
        prefetch(stream);
        if let Some(track) = stream.track.and_then(|track| self.tracks.get(track)) {
            prefetch(track);
        }
    }

    /// An SRTP packet came. Returns whether it is authentic, and no replay.
    pub fn packet(&mut self, srtp: &Srtp, packet: &mut [u8], arrival: Moment) -> bool {
        let Some(header) = Header::parse(packet) else {
            self.totals.malformed += 1;
            return false;
        };
        let length = as_u64(packet.len());
        let send_time = self
            .abs_send_time
            .and_then(|id| header.extension(packet, id)?.first_chunk().copied());
        let known = self.place(header.ssrc);
        let Some((index, payload)) = self.open(srtp, packet, &header, known) else {
            self.totals.auth_failures += 1;
            return false;
        };
        let Some(payload) = header.unpadded(payload) else {
            self.totals.malformed += 1;
            return false;
        };
        let Some(at) = known.or_else(|| self.add_stream(&header, index, arrival.at)) else {
            self.totals.over_limit += 1;
            return false;
        };
        self.estimator.packet(arrival.at, length, send_time);
        self.totals.packets += 1;
        self.totals.bytes += length;
        self.totals.padding += u64::from(payload.is_empty());
        self.count(at, &header, index, payload, length, arrival)
    }

    /// Where a stream is.
    fn place(&self, ssrc: u32) -> Option<usize> {
        self.ssrcs.iter().position(|known| *known == ssrc)
    }

    /// Decrypts a packet. The first of a stream says nothing of how often its sequence number has
    /// wrapped: ROC 0 is tried on a copy, and 1 for a stream that is met right after a wrap.
    fn open<'a>(
        &mut self,
        srtp: &Srtp,
        packet: &'a mut [u8],
        header: &Header,
        known: Option<usize>,
    ) -> Option<(u64, &'a [u8])> {
        let index = match known.and_then(|at| self.streams.get(at)) {
            Some(stream) => stream.index(header.sequence)?,
            None => {
                self.spare.clear();
                self.spare.extend_from_slice(packet);
                let first = u64::from(header.sequence);
                match srtp.open_rtp(&mut self.spare, header, first) {
                    Some(_) => first,
                    None => first + (1 << 16),
                }
            }
        };
        let payload = srtp.open_rtp(packet, header, index)?;
        Some((index, payload))
    }

    fn count(
        &mut self,
        at: usize,
        header: &Header,
        index: u64,
        payload: &[u8],
        length: u64,
        arrival: Moment,
    ) -> bool {
        let Some(stream) = self.streams.get_mut(at) else {
            return false;
        };
        let track = stream.track.and_then(|track| self.tracks.get_mut(track));
        let is_audio = stream.is_audio();
        let ends_frame = header.marker || is_audio;
        let (totals, own) = (&mut self.totals, &mut self.own_drops);
        let is_new;
        let (brought, media, codec) = if let Some(primary) = stream.repairs {
            is_new = stream.repair(index);
            // RFC 4588: the original's sequence number, then its payload.
            let primary = self.ssrcs.iter().position(|ssrc| *ssrc == primary);
            match (
                payload.split_first_chunk::<2>(),
                primary.and_then(|at| self.streams.get_mut(at)),
            ) {
                (Some((original, media)), Some(stream)) => {
                    let sequence = u16::from_be_bytes(*original);
                    let marker = header.marker;
                    (
                        stream.repaired(sequence, marker, media, arrival.at, own, totals),
                        media,
                        stream.codec(),
                    )
                }
                // Padding, or retransmissions of a stream that never came.
                (original, _) => {
                    let is_cut = original.is_none() && !payload.is_empty();
                    totals.malformed += u64::from(is_cut);
                    (Brought::default(), &[][..], Codec::Rtx)
                }
            }
        } else {
            let brought = stream.packet(header, payload, index, arrival.at, own, totals);
            is_new = !brought.duplicate;
            (brought, payload, stream.codec())
        };
        if brought.gaps {
            let due = arrival.at + stream::NACK_DELAY;
            self.next_nack = Some(self.next_nack.map_or(due, |next| next.min(due)));
        }
        let trailer = match codec {
            _ if brought.duplicate => Trailer::Absent,
            // In user data at the beginning of a picture: behind a slice it would be a part of it.
            Codec::H264 => h264::user_data::<{ stamp::LEN }>(media)
                .map_or(Trailer::Absent, |data| Stamp::read(&data)),
            _ if ends_frame => Stamp::read(media),
            _ => Trailer::Absent,
        };
        let (mut pictures, mut latency) = (&mut self.pictures, &mut self.latency);
        if let Some(Track {
            count: track,
            pictures: of_track,
            latency: samples,
        }) = track
        {
            (pictures, latency) = (of_track, samples);
            if track.packets == 0 {
                self.firsts.push(First::Packet {
                    sid: Arc::clone(&track.sid),
                    kind: track.kind,
                    at: arrival.at,
                });
            }
            track.packets += 1;
            track.bytes += length;
            track.frames += if is_audio {
                u64::from(!brought.duplicate && !media.is_empty())
            } else {
                brought.frames
            };
            track.size = brought.size.or(track.size);
        }
        if brought.frames > 0 && !self.saw_frame {
            self.saw_frame = true;
            self.firsts.push(First::Frame { at: arrival.at });
        }
        let stamp = match trailer {
            Trailer::Valid(stamp) => Some(stamp),
            Trailer::Absent | Trailer::Malformed => None,
        };
        self.totals.stamps += u64::from(stamp.is_some());
        self.totals.stamps_malformed += u64::from(trailer == Trailer::Malformed);
        let of_whole = match codec {
            Codec::H264 if brought.duplicate => None,
            Codec::H264 => {
                let ends = ends_frame && !media.is_empty();
                pictures.packet(header.timestamp, stamp, ends)
            }
            _ => stamp,
        };
        latency.extend(of_whole.map(|stamp| LatencySample {
            source: stamp.source,
            us: arrival.shared.as_micros().saturating_sub(stamp.unix_us),
            at: arrival.wall,
        }));
        is_new
    }

    fn add_stream(&mut self, header: &Header, index: u64, now: Instant) -> Option<usize> {
        if self.streams.len() >= MAX_STREAMS {
            return None;
        }
        let payload = self.description.payloads.get(&header.payload_type);
        let codec = payload.map_or(Codec::Other, |p| p.codec);
        let by_codec = if codec == Codec::Opus {
            TrackKind::Audio
        } else {
            TrackKind::Video
        };
        let announced = self.description.streams.get(&header.ssrc);
        let kind = Kind {
            kind: announced.map_or(by_codec, |stream| stream.kind),
            codec,
            clock_rate: payload.map_or(90_000, |p| p.clock_rate),
            nack: payload.is_some_and(|p| p.nack),
        };
        self.streams
            .push(Stream::new(header.ssrc, index, kind, now));
        self.ssrcs.push(header.ssrc);
        let at = self.streams.len() - 1;
        self.assign(at);
        Some(at)
    }

    fn assign_all(&mut self) {
        for at in 0..self.streams.len() {
            self.assign(at);
        }
    }

    /// Connects a stream with what the description says of it.
    fn assign(&mut self, at: usize) {
        let Some(stream) = self.streams.get_mut(at) else {
            return;
        };
        let Some(announced) = self.description.streams.get(&stream.ssrc) else {
            stream.set_live(false);
            return;
        };
        stream.repairs = announced.repairs;
        stream.has_repairs = announced.has_repairs;
        stream.set_live(!self.muted.contains(&announced.track));
        let known = self
            .tracks
            .iter()
            .position(|t| t.count.sid == announced.track);
        if known.is_none() && self.tracks.len() >= MAX_TRACKS {
            stream.track = None;
            return self.count_over_limit();
        }
        stream.track = Some(known.unwrap_or_else(|| {
            let count = TrackCount {
                sid: Arc::clone(&announced.track),
                kind: announced.kind,
                packets: 0,
                bytes: 0,
                lost: 0,
                frames: 0,
                freezes: Freezes::default(),
                size: None,
            };
            self.tracks.push(Track {
                count,
                pictures: Pictures::default(),
                latency: Vec::new(),
            });
            self.tracks.len() - 1
        }));
    }

    /// A sender report about one of the streams came.
    pub fn sender_report(&mut self, ssrc: u32, ntp_middle: u32, at: Instant) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == ssrc) {
            stream.sender_report(ntp_middle, at);
        }
    }

    /// Whether nothing came yet: then there is nothing to report.
    pub const fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }

    /// When [`Receiver::poll`] has something to report, and when to ask for.
    pub fn deadlines(&self) -> (Option<Instant>, Option<Instant>) {
        let report = (!self.is_idle()).then_some(self.next_report);
        (report, self.next_nack)
    }

    /// Writes the RTCP that is due.
    pub fn poll(&mut self, now: Instant, rtt: Option<Duration>, out: &mut Compounds) {
        if self.next_nack.is_some_and(|due| due <= now) {
            self.write_nacks(now, rtt, out);
        }
        if self.next_report <= now {
            self.next_report = now + REPORT_INTERVAL;
            self.write_reports(now, out);
        }
    }

    fn write_nacks(&mut self, now: Instant, rtt: Option<Duration>, out: &mut Compounds) {
        let mut next: Option<Instant> = None;
        for stream in &mut self.streams {
            self.ask.clear();
            let again = stream.due_nacks(now, rtt, &mut self.totals, &mut self.ask);
            next = next.into_iter().chain(again).min();
            if !self.ask.is_empty() {
                self.totals.nacks_sent += as_u64(self.ask.len());
                rtcp::nack(&mut out.bytes, self.ssrc, stream.ssrc, &self.ask);
            }
            if stream.due_pli(now) {
                self.totals.plis_sent += 1;
                rtcp::picture_loss(&mut out.bytes, self.ssrc, stream.ssrc);
            }
            out.finish();
        }
        self.next_nack = next;
    }

    fn write_reports(&mut self, now: Instant, out: &mut Compounds) {
        let mut blocks: Vec<Block> = Vec::with_capacity(self.streams.len());
        let mut jitters = Vec::with_capacity(self.streams.len());
        let mut broken = Vec::new();
        for stream in &mut self.streams {
            stream.check_freeze(now, &mut self.totals);
            if !stream.live {
                continue;
            }
            blocks.push(stream.report(now));
            jitters.extend(stream.is_primary().then(|| stream.jitter_us()));
            broken.extend(stream.due_pli(now).then_some(stream.ssrc));
        }
        self.totals.jitter_us = mean(&jitters);
        self.totals.jitter_max_us = jitters.iter().copied().max();
        let mut rest = &blocks[..];
        loop {
            let (now, later) = rest.split_at(rest.len().min(rtcp::MAX_BLOCKS));
            rtcp::receiver_report(&mut out.bytes, self.ssrc, now);
            rtcp::cname(&mut out.bytes, self.ssrc, rtcp::CNAME);
            self.totals.reports_sent += 1;
            rest = later;
            if rest.is_empty() {
                break;
            }
            out.finish();
        }
        for ssrc in broken {
            self.totals.plis_sent += 1;
            out.make_room(rtcp::PICTURE_LOSS_LEN);
            rtcp::picture_loss(&mut out.bytes, self.ssrc, ssrc);
        }
        self.totals.remb_bps = self.estimator.update(now);
        if let Some(bps) = self.totals.remb_bps
            && self.description.remb
        {
            let ssrcs: Vec<u32> = blocks.iter().map(|block| block.ssrc).collect();
            out.make_room(rtcp::remb_len(ssrcs.len()));
            rtcp::remb(&mut out.bytes, self.ssrc, bps, &ssrcs);
        }
        out.finish();
    }
}

fn mean(values: &[u32]) -> Option<u32> {
    let sum: u64 = values.iter().map(|v| u64::from(*v)).sum();
    let mean = sum.checked_div(as_u64(values.len()))?;
    u32::try_from(mean).ok()
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
