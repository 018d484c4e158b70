//! A video track: its layers, looped and cut into packets.

use std::time::{Duration, Instant};

use super::clip::{VideoClip, VideoClips};
use super::h264;
use super::pace::{MAX_LATE, Schedule};
use super::packet::{Frame, MediaPacket, Payload, Ready, Sent};
use super::preset::{Layer, Quality};
use super::vp8::{DESCRIPTOR_LEN, Descriptor};
use crate::job::VideoCodec;
use crate::participant::beat::BEAT;

/// A keyframe that was asked for comes at least this long after its layer's last one. LiveKit's
/// server passes on a PLI for the lowest layer as often and for the others every second
/// (`DefaultPLIThrottleConfig` in its `pkg/sfu/receiver_base.go`, v1.11.0).
pub const KEYFRAME_SPACING: Duration = Duration::from_millis(500);

/// The video clock (RFC 7741 section 4.1, RFC 6184 section 8.2.1), in Hz.
const CLOCK: u32 = 90_000;

/// What frames are padded with.
static ZEROS: [u8; 64] = [0; 64];

/// How a track is published.
#[derive(Clone, Copy, Debug)]
pub struct VideoOptions {
    /// The highest layer.
    pub top: Quality,
    /// Whether the layers below it are sent as well.
    pub simulcast: bool,
    /// Bytes that an RTP payload has at most, at least 100. The default, 1,150, leaves room for
    /// headers, extensions, SRTP and a tunnel below the usual 1,280 bytes.
    pub max_payload: usize,
    /// The first RTP timestamp, the same in all layers; RFC 3550 wants it random.
    pub rtp_timestamp: u32,
    /// The first picture id of all layers, of which 15 bits count.
    pub picture_id: u16,
}

impl Default for VideoOptions {
    fn default() -> Self {
        VideoOptions {
            top: Quality::High,
            simulcast: true,
            max_payload: 1_150,
            rtp_timestamp: 0,
            picture_id: 0,
        }
    }
}

/// Loops the clips of its layers.
///
/// A layer is sent from a keyframe on, and again from one after it was paused, after frames were
/// skipped, and soon after [`request_keyframe`](Self::request_keyframe): it then goes on at the
/// clip's next keyframe, so that the stream stays decodable and its rate the nominal one.
#[derive(Debug)]
pub struct VideoTrack {
    layers: Vec<Layer>,
    streams: Vec<Stream>,
    /// When something of a layer is due: apart from the layers, as it is asked far more often.
    due: Option<Instant>,
    /// Room for the head of a payload, kept.
    head: Vec<u8>,
}

impl VideoTrack {
    /// A track whose first frames are due at `start`.
    pub fn new(clips: &'static VideoClips, options: VideoOptions, start: Instant) -> Self {
        let codec = clips.codec;
        let clips = clips.layers.iter().filter(|clip| {
            let quality = clip.layer.quality;
            quality == options.top || options.simulcast && quality < options.top
        });
        // One camera: what all layers show was captured at the rate of the fastest.
        let captured = clips.clone().map(|clip| clip.layer.fps).max();
        let schedule = |fps| Schedule::of_captured(start, fps, captured.unwrap_or(fps));
        let streams: Vec<_> = clips
            .enumerate()
            .map(|(index, clip)| {
                Stream::new(index, codec, clip, &options, schedule(clip.layer.fps))
            })
            .collect();
        VideoTrack {
            due: first_due(&streams),
            layers: streams.iter().map(|stream| stream.clip.layer).collect(),
            streams,
            head: Vec::new(),
        }
    }

    /// What is sent, lowest first; packets name a layer by its index here.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Someone needs a keyframe (PLI or FIR). It comes with the next frame that is
    /// [`KEYFRAME_SPACING`] after the layer's last one. A layer that doesn't exist needs none.
    pub fn request_keyframe(&mut self, layer: usize) {
        if let Some(stream) = self.streams.get_mut(layer) {
            stream.wants_keyframe = true;
        }
    }

    /// Sends a layer, or doesn't: LiveKit asks only for those that someone watches. All are sent
    /// at first. A frame under way is finished.
    pub fn set_layer_active(&mut self, layer: usize, active: bool) {
        if let Some(stream) = self.streams.get_mut(layer) {
            stream.set_active(active);
        }
        self.due = first_due(&self.streams);
    }

    /// When to call [`poll`](Self::poll) next; `None` while all layers are paused.
    pub const fn next_due(&self) -> Option<Instant> {
        self.due
    }

    /// Tells `each` of what is due at `now`. Returns how many frames are never sent, as it is too late
    /// for them. `trailer` is the length of a frame's.
    pub fn ready(&mut self, now: Instant, trailer: usize, mut each: impl FnMut(Ready)) -> u64 {
        let mut skipped = 0;
        if self.due.is_none_or(|due| due > now) {
            return skipped;
        }
        for (layer, stream) in self.streams.iter_mut().enumerate() {
            if let Some(flight) = stream.under_way(now, trailer, &mut skipped) {
                each(Ready {
                    layer,
                    size: flight.size(trailer),
                    lone: flight.next + 1 == flight.packets,
                });
            }
        }
        self.due = first_due(&self.streams);
        skipped
    }

    /// Gives out all packets of a layer that are due at `now`.
    ///
    /// `trailer` is asked once per frame. With VP8, its bytes end the frame's last packet: after
    /// the last partition, where decoders ignore them. With H.264 they ride in the first one, as
    /// user data. `N` stays the same over a track's life and is at most half of `max_payload`.
    pub fn poll<const N: usize>(
        &mut self,
        layer: usize,
        now: Instant,
        mut trailer: impl FnMut(Frame) -> [u8; N],
        mut out: impl FnMut(MediaPacket<'_>),
    ) -> Sent {
        let mut sent = Sent::default();
        if let Some(stream) = self.streams.get_mut(layer) {
            stream.poll(now, &mut self.head, &mut trailer, &mut out, &mut sent);
            self.due = first_due(&self.streams);
        }
        sent
    }
}

fn first_due(streams: &[Stream]) -> Option<Instant> {
    streams.iter().filter_map(Stream::next_due).min()
}

/// One layer's RTP stream.
#[derive(Debug)]
struct Stream {
    index: usize,
    codec: VideoCodec,
    clip: &'static VideoClip,
    schedule: Schedule,
    rtp_timestamp: u32,
    max_payload: usize,
    active: bool,
    /// Paused until now: the next frame is one of the future.
    resumes: bool,
    wants_keyframe: bool,
    last_keyframe: Option<Instant>,
    /// The next frame's number.
    number: u64,
    /// When that frame is due.
    frame_due: Instant,
    /// The next frame's index in the clip.
    cursor: usize,
    picture_id: u16,
    tl0_picture_index: u8,
    flight: Option<Flight>,
}

/// A frame of which packets are still to be sent.
#[derive(Clone, Copy, Debug)]
struct Flight {
    frame: Frame,
    parameters: &'static [&'static [u8]],
    data: &'static [u8],
    keyframe: bool,
    rtp_timestamp: u32,
    packets: usize,
    burst: usize,
    next: usize,
}

impl Flight {
    fn due(&self) -> Instant {
        packet_due(self.frame.due, self.next, self.burst)
    }

    /// The next packet's share of the frame, and zeros that follow it. All packets are equally long:
    /// of the last one, zeros between data and trailer make up the bytes that it lacks, of which
    /// there are fewer than packets. So they leave in one run, and something shorter with them. A
    /// frame whose last packet can't hold zeros and trailer whole has none, and packets that differ
    /// by a byte, the longer ones first.
    fn chunk(&self, trailer: usize) -> (&'static [u8], &'static [u8]) {
        let total = self.data.len() + trailer;
        let (packets, size) = (self.packets.max(1), self.size(trailer));
        let missing = size.saturating_mul(packets) - total;
        let zeros = ZEROS.get(..missing).filter(|_| missing + trailer <= size);
        let (least, longer) = (total / packets, total % packets);
        let at = |packet: usize| {
            let at = match zeros {
                Some(_) => size * packet,
                None => least * packet + longer.min(packet),
            };
            at.min(self.data.len())
        };
        let share = at(self.next)..at(self.next + 1);
        let zeros = zeros.filter(|_| self.is_last()).unwrap_or_default();
        (self.data.get(share).unwrap_or_default(), zeros)
    }

    /// The length of a packet's share.
    fn size(&self, trailer: usize) -> usize {
        (self.data.len() + trailer).div_ceil(self.packets.max(1))
    }

    const fn is_last(&self) -> bool {
        self.next + 1 == self.packets
    }
}

/// When a packet of a frame is due that leaves in bursts of so many.
fn packet_due(frame: Instant, packet: usize, burst: usize) -> Instant {
    let bursts = packet.checked_div(burst).unwrap_or(0);
    frame + BEAT * u32::try_from(bursts).unwrap_or(u32::MAX)
}

impl Stream {
    fn new(
        index: usize,
        codec: VideoCodec,
        clip: &'static VideoClip,
        options: &VideoOptions,
        schedule: Schedule,
    ) -> Self {
        Stream {
            index,
            codec,
            clip,
            schedule,
            frame_due: schedule.due(0),
            rtp_timestamp: options.rtp_timestamp,
            max_payload: options.max_payload.max(100),
            active: true,
            resumes: false,
            wants_keyframe: false,
            last_keyframe: None,
            number: 0,
            cursor: 0,
            picture_id: options.picture_id & 0x7fff,
            tl0_picture_index: 0,
            flight: None,
        }
    }

    fn set_active(&mut self, active: bool) {
        self.resumes |= active && !self.active;
        self.active = active;
    }

    fn next_due(&self) -> Option<Instant> {
        match self.flight {
            Some(flight) => Some(flight.due()),
            None => self.active.then_some(self.frame_due),
        }
    }

    fn poll<const N: usize>(
        &mut self,
        now: Instant,
        head: &mut Vec<u8>,
        trailer: &mut impl FnMut(Frame) -> [u8; N],
        out: &mut impl FnMut(MediaPacket<'_>),
        sent: &mut Sent,
    ) {
        while let Some(mut flight) = self.under_way(now, N, &mut sent.skipped_frames) {
            let last = flight.is_last();
            head.clear();
            let (body, padding, tail) = self.write(head, &flight, trailer);
            let payload = Payload {
                head,
                body,
                padding,
                tail: tail.as_ref().map_or(&[][..], |tail| &tail[..]),
            };
            out(MediaPacket {
                layer: self.index,
                payload,
                marker: last,
                rtp_timestamp: flight.rtp_timestamp,
                keyframe: flight.keyframe,
                audio_level: None,
            });
            sent.packet(payload.length(), now - flight.due(), last);
            flight.next += 1;
            self.flight = (!last).then_some(flight);
            if last {
                self.picture_id = (self.picture_id + 1) & 0x7fff;
                self.tl0_picture_index = self.tl0_picture_index.wrapping_add(1);
            }
        }
    }

    /// The frame of which a packet is due.
    fn under_way(&mut self, now: Instant, trailer: usize, skipped: &mut u64) -> Option<Flight> {
        if self.flight.is_none() && self.active {
            self.catch_up(now, skipped);
        }
        if self.next_due().is_none_or(|due| due > now) {
            return None;
        }
        if self.flight.is_none() {
            self.flight = self.start_frame(trailer);
        }
        self.flight
    }

    /// The next packet of a frame: writes its head, and returns what follows as in [`Payload`].
    fn write<const N: usize>(
        &self,
        head: &mut Vec<u8>,
        flight: &Flight,
        trailer: &mut impl FnMut(Frame) -> [u8; N],
    ) -> (&'static [u8], &'static [u8], Option<[u8; N]>) {
        match self.codec {
            VideoCodec::Vp8 => {
                let descriptor = Descriptor {
                    starts_frame: flight.next == 0,
                    keyframe: flight.keyframe,
                    picture_id: self.picture_id,
                    tl0_picture_index: self.tl0_picture_index,
                };
                head.extend_from_slice(&descriptor.write());
                let (share, zeros) = flight.chunk(N);
                let trailer = flight.is_last().then(|| trailer(flight.frame));
                (share, zeros, trailer)
            }
            VideoCodec::H264 => match flight.next.checked_sub(1) {
                None => {
                    h264::write_head(head, flight.parameters, &trailer(flight.frame));
                    (&[], &[], None)
                }
                Some(n) => {
                    let slice = h264::write_slice(head, flight.data, n, flight.packets - 1);
                    (slice, &[], None)
                }
            },
        }
    }

    /// Leaves out the frames of a pause, and those that are too late.
    fn catch_up(&mut self, now: Instant, skipped: &mut u64) {
        let resumes = std::mem::take(&mut self.resumes);
        let too_late = now.saturating_duration_since(self.frame_due) > MAX_LATE;
        if !(resumes || too_late) {
            return;
        }
        let number = self.schedule.first_from(now);
        if number <= self.number {
            return;
        }
        if !resumes {
            *skipped += number - self.number;
        }
        self.number = number;
        self.frame_due = self.schedule.due(number);
        self.cursor = self.clip.keyframe_from(self.cursor);
    }

    fn start_frame(&mut self, trailer: usize) -> Option<Flight> {
        let due = self.frame_due;
        let spaced = self
            .last_keyframe
            .is_none_or(|last| due >= last + KEYFRAME_SPACING);
        if self.wants_keyframe && spaced {
            self.cursor = self.clip.keyframe_from(self.cursor);
        }
        let (frame, cursor) = self.clip.frame(self.cursor)?;
        self.cursor = cursor;
        if frame.keyframe {
            self.wants_keyframe = false;
            self.last_keyframe = Some(due);
        }
        let packets = match self.codec {
            VideoCodec::Vp8 => {
                let room = self.max_payload.saturating_sub(DESCRIPTOR_LEN).max(1);
                (frame.data.len() + trailer).div_ceil(room)
            }
            VideoCodec::H264 => 1 + h264::slice_packets(frame.data.len(), self.max_payload),
        };
        let burst = self.schedule.burst(packets);
        let ticks = self.schedule.ticks(self.number, CLOCK);
        let flight = Flight {
            frame: Frame {
                layer: self.index,
                number: self.number,
                due,
                last_due: packet_due(due, packets.saturating_sub(1), burst),
            },
            parameters: &frame.parameters,
            data: frame.data,
            keyframe: frame.keyframe,
            #[expect(clippy::cast_possible_truncation, reason = "RTP timestamps wrap")]
            rtp_timestamp: self.rtp_timestamp.wrapping_add(ticks as u32),
            packets,
            burst,
            next: 0,
        };
        self.number += 1;
        self.frame_due = self.schedule.due(self.number);
        Some(flight)
    }
}
