//! What a track gives out.

use std::time::{Duration, Instant};

/// A payload, in parts that follow each other. What is of a clip lives as long as the process, so
/// that nobody has to copy it to keep it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payload<'a> {
    /// The payload descriptor; of what is small, all.
    pub head: &'a [u8],
    /// A share of a clip.
    pub body: &'static [u8],
    /// Zeros that make a frame's packets equally long.
    pub padding: &'static [u8],
    /// A trailer.
    pub tail: &'a [u8],
}

impl Payload<'_> {
    /// In bytes.
    pub const fn length(&self) -> usize {
        self.head.len() + self.body.len() + self.padding.len() + self.tail.len()
    }

    /// Appends all of it.
    pub fn write(&self, out: &mut Vec<u8>) {
        for part in [self.head, self.body, self.padding, self.tail] {
            out.extend_from_slice(part);
        }
    }
}

/// An RTP payload that is due, and what its header says.
///
/// Sequence number, SSRC and payload type are the sender's.
#[derive(Clone, Copy, Debug)]
pub struct MediaPacket<'a> {
    /// Index into the track's layers; 0 for audio.
    pub layer: usize,
    /// At most the `max_payload` of the track's options.
    pub payload: Payload<'a>,
    /// Video: the frame's last packet. Audio: the first packet after a silence (RFC 3551 4.1).
    pub marker: bool,
    /// In ticks of 90 kHz (video) or 48 kHz (audio).
    pub rtp_timestamp: u32,
    /// Whether it belongs to a keyframe; true for audio.
    pub keyframe: bool,
    /// For the header extension of RFC 6464; `None` for video.
    pub audio_level: Option<AudioLevel>,
}

/// How loud a frame of audio is (RFC 6464).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioLevel {
    /// 0 (loudest) to 127 (silence), in -dBov.
    pub level: u8,
    /// Whether it counts as voice.
    pub voice: bool,
}

/// The frame that a trailer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Index into the track's layers; 0 for audio.
    pub layer: usize,
    /// Counts a layer's frames from the track's start, skipped ones and those of a paused layer
    /// included.
    pub number: u64,
    /// When the frame's first packet was due.
    pub due: Instant,
    /// When its last one is due.
    pub last_due: Instant,
}

/// What the next call of `poll` for a layer gives out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Index into the track's layers; 0 for audio.
    pub layer: usize,
    /// Bytes of media in a packet, the longest if they differ.
    pub size: usize,
    /// Whether there is but one.
    pub lone: bool,
}

/// What one call of `poll` gave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "skipped frames and lag are figures, count them"]
pub struct Sent {
    /// Packets.
    pub packets: u64,
    /// Bytes of payload.
    pub payload_bytes: u64,
    /// Frames whose last packet is among the packets.
    pub frames: u64,
    /// Frames that were never sent because the call came too late for them.
    pub skipped_frames: u64,
    /// How long after its due time the latest packet came; `None` without a packet.
    pub lag: Option<Duration>,
    /// How long after their due times all packets came, added up.
    pub lag_sum: Duration,
}

impl Sent {
    pub(super) fn packet(&mut self, payload: usize, lag: Duration, ends_frame: bool) {
        self.packets += 1;
        self.payload_bytes += u64::try_from(payload).unwrap_or(u64::MAX);
        self.frames += u64::from(ends_frame);
        self.lag = self.lag.max(Some(lag));
        self.lag_sum += lag;
    }
}
