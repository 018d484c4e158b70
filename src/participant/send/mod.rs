//! All sent RTP of one peer connection: the synthetic tracks, their reports, what is asked again.

mod order;
mod report_clock;
mod stream;

use std::time::{Duration, Instant};

use super::media::{AudioLevel, AudioTrack, Frame, MediaPacket, Ready, VideoTrack};
use super::moment::Moment;
use super::outbox::Outbox;
use super::rtp::rtcp::{self, Block, Compounds, Nacks};
use super::snapshot::TxTotals;
use super::srtp::Srtp;
use super::stamp::{self, Stamp};

use order::{Due, arrange};
use report_clock::ReportClock;
pub use stream::{ExtensionIds, StreamPlan};
use stream::{Media, Stream};

/// Between two sender reports, as libwebrtc sends them for video.
const REPORT_INTERVAL: Duration = Duration::from_millis(1_000);
/// The first reports follow the first packets at once: LiveKit needs them to switch layers.
const FIRST_REPORT: Duration = Duration::from_millis(100);

/// A synthetic track.
pub enum Source {
    /// Opus.
    Audio(AudioTrack),
    /// VP8, a stream per layer.
    Video(VideoTrack),
}

struct Track {
    source: Source,
    /// One per layer, lowest first.
    streams: Vec<Stream>,
    /// What the server has lost of each stream, by its latest report.
    lost: Vec<i32>,
}

/// Sends RTP.
pub struct Sender {
    tracks: Vec<Track>,
    /// Room for what is due, kept.
    due: Vec<Due>,
    /// Of this publisher's stamps.
    stamp_source: u32,
    transport_sequence: u16,
    totals: TxTotals,
    next_report: Option<Instant>,
    report_clock: ReportClock,
    pacing_lag: Option<Duration>,
}

impl Sender {
    /// Sends nothing yet.
    pub fn new(stamp_source: u32) -> Self {
        Self {
            tracks: Vec::new(),
            due: Vec::new(),
            stamp_source,
            transport_sequence: 0,
            totals: TxTotals::default(),
            next_report: None,
            report_clock: ReportClock::default(),
            pacing_lag: None,
        }
    }

    /// Adds a track with a plan per layer; `first` are their first sequence numbers.
    pub fn add(&mut self, source: Source, plans: Vec<(StreamPlan, u16)>, now: Instant) {
        let track = Track {
            lost: vec![0; plans.len()],
            streams: plans
                .into_iter()
                .map(|(p, first)| Stream::new(p, first))
                .collect(),
            source,
        };
        self.tracks.push(track);
        self.next_report.get_or_insert(now + FIRST_REPORT);
    }

    /// Everything counted.
    pub const fn totals(&self) -> &TxTotals {
        &self.totals
    }

    /// The most that a packet went out behind its due time, since the last call.
    pub const fn take_pacing_lag(&mut self) -> Option<Duration> {
        self.pacing_lag.take()
    }

    /// When [`Sender::poll`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let due = self.tracks.iter().filter_map(|track| match &track.source {
            Source::Audio(audio) => Some(audio.next_due()),
            Source::Video(video) => video.next_due(),
        });
        due.chain(self.next_report).min()
    }

    /// Sends what is due: media into `out`, reports into `reports`.
    pub fn poll(&mut self, srtp: &Srtp, now: Moment, out: &mut Outbox, reports: &mut Compounds) {
        self.find_due(now.at);
        for due in &self.due {
            let Some(track) = self.tracks.get_mut(due.track) else {
                continue;
            };
            let Track {
                source, streams, ..
            } = track;
            let stamp_source = self.stamp_source;
            let trailer = |frame: Frame| stamp(stamp_source, frame, now);
            let totals = &mut self.totals;
            let transport_sequence = &mut self.transport_sequence;
            let each = |packet: MediaPacket<'_>| {
                let media = Media {
                    marker: packet.marker,
                    timestamp: packet.rtp_timestamp,
                    payload: packet.payload,
                    audio_level: packet.audio_level.map(level_byte),
                };
                let Some(stream) = streams.get_mut(packet.layer) else {
                    return;
                };
                let sent =
                    out.push(|bytes| stream.send(srtp, media, now, transport_sequence, bytes));
                count(totals, sent);
            };
            let sent = match source {
                Source::Audio(audio) => audio.poll(now.at, trailer, each),
                Source::Video(video) => video.poll(due.layer, now.at, trailer, each),
            };
            self.totals.frames += sent.frames;
            self.totals.frames_skipped += sent.skipped_frames;
            self.totals.late_us += u64::try_from(sent.lag_sum.as_micros()).unwrap_or(u64::MAX);
            self.pacing_lag = self.pacing_lag.max(sent.lag);
        }
        if self.next_report.is_some_and(|due| due <= now.at) {
            self.next_report = Some(now.at + REPORT_INTERVAL);
            self.write_reports(now, reports);
        }
    }

    /// What is due of all tracks, in the order in which it leaves.
    fn find_due(&mut self, now: Instant) {
        self.due.clear();
        for (track, Track { source, .. }) in self.tracks.iter_mut().enumerate() {
            let due = &mut self.due;
            let mut each = |Ready { layer, size, lone }| {
                due.push(Due {
                    track,
                    layer,
                    size,
                    lone,
                });
            };
            match source {
                Source::Audio(audio) => audio.ready(now).into_iter().for_each(each),
                Source::Video(video) => {
                    self.totals.frames_skipped += video.ready(now, stamp::LEN, &mut each);
                }
            }
        }
        arrange(&mut self.due);
    }

    /// Whether reports were made that [`Sender::left`] is to be told of.
    pub fn is_leaving(&self) -> bool {
        self.report_clock.is_leaving()
    }

    /// What was made leaves now.
    pub fn left(&mut self, now: Instant) {
        self.report_clock.left(now);
    }

    fn write_reports(&mut self, now: Moment, out: &mut Compounds) {
        self.report_clock.made(now);
        for stream in self.tracks.iter().flat_map(|track| &track.streams) {
            if let Some(info) = stream.report(now) {
                rtcp::sender_report(&mut out.bytes, &info);
                rtcp::cname(&mut out.bytes, info.ssrc, rtcp::CNAME);
                out.finish();
            }
        }
    }

    /// The server reported about a stream. Returns the round trip that this tells.
    pub fn report_block(&mut self, block: &Block, at: Moment) -> Option<Duration> {
        let (track, layer) = self.find(block.ssrc)?;
        let track = self.tracks.get_mut(track)?;
        track.streams.get_mut(layer)?.set_known();
        self.totals.reports_received += 1;
        if let Some(lost) = track.lost.get_mut(layer) {
            *lost = block.lost;
        }
        let lost = self.tracks.iter().flat_map(|track| &track.lost);
        self.totals.remote_lost = lost.map(|l| u64::try_from(*l).unwrap_or(0)).sum();
        self.report_clock.round_trip(block, at)
    }

    /// The server wants packets again.
    pub fn nack(
        &mut self,
        srtp: &Srtp,
        ssrc: u32,
        wanted: Nacks<'_>,
        now: Moment,
        out: &mut Outbox,
    ) {
        let Some((track, layer)) = self.find(ssrc) else {
            return;
        };
        let track = self.tracks.get_mut(track);
        let Some(stream) = track.and_then(|track| track.streams.get_mut(layer)) else {
            return;
        };
        let totals = &mut self.totals;
        let transport_sequence = &mut self.transport_sequence;
        wanted.for_each(|sequence| {
            totals.nacks_received += 1;
            let sent =
                out.push(|bytes| stream.resend(srtp, sequence, now, transport_sequence, bytes));
            totals.retransmitted += u64::from(sent.is_some());
            count(totals, sent);
        });
    }

    /// The server wants a keyframe.
    pub fn picture_loss(&mut self, ssrc: u32) {
        let Some((track, layer)) = self.find(ssrc) else {
            return;
        };
        self.totals.plis_received += 1;
        if let Some(Track {
            source: Source::Video(video),
            ..
        }) = self.tracks.get_mut(track)
        {
            video.request_keyframe(layer);
        }
    }

    /// Counts datagrams that the kernel did not take.
    pub const fn count_send_failures(&mut self, failures: u64) {
        self.totals.send_failures += failures;
    }

    /// The SSRCs of what is sent.
    #[cfg(test)]
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + '_ {
        let streams = self.tracks.iter().flat_map(|track| &track.streams);
        streams.map(Stream::ssrc)
    }

    fn find(&self, ssrc: u32) -> Option<(usize, usize)> {
        self.tracks.iter().enumerate().find_map(|(i, track)| {
            let layer = track
                .streams
                .iter()
                .position(|stream| stream.ssrc() == ssrc)?;
            Some((i, layer))
        })
    }
}

fn count(totals: &mut TxTotals, sent: Option<usize>) {
    if let Some(bytes) = sent {
        totals.packets += 1;
        totals.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
    }
}

fn level_byte(level: AudioLevel) -> u8 {
    u8::from(level.voice) << 7 | level.level & 0x7f
}

#[expect(clippy::cast_possible_truncation, reason = "the stamp's count wraps")]
fn stamp(source: u32, frame: Frame, now: Moment) -> [u8; stamp::LEN] {
    // It may ride in a packet before the last one.
    let last = now.shared + frame.last_due.saturating_duration_since(now.at);
    let stamp = Stamp {
        source,
        sequence: frame.number as u32,
        unix_us: last.as_micros(),
    };
    stamp.encode()
}

#[cfg(test)]
mod tests;
