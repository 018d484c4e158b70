//! An audio track: the tone, looped.

use std::time::Instant;

use super::clip::{AudioClip, AudioFrame};
use super::opus::{self, SAMPLES};
use super::pace::{MAX_LATE, Schedule};
use super::packet::{AudioLevel, Frame, MediaPacket, Payload, Ready, Sent};

/// Packets per second, of 20 ms each.
const PACKETS_PER_SECOND: u32 = 50;

/// Packets from one to the next in discontinuous transmission: 400 ms, as libopus keeps a silent
/// decoder alive (RFC 7587, 3.1.3).
const SILENT_STEP: u64 = 20;

/// The quietest level that counts as voice, in -dBov: where LiveKit's server sees a speaker
/// (`audio.active_level`, 35).
const VOICE_LEVEL: u8 = 35;

/// How a track is published.
#[derive(Clone, Copy, Debug, Default)]
pub struct AudioOptions {
    /// The first RTP timestamp; RFC 3550 wants it random.
    pub rtp_timestamp: u32,
    /// Send like a silent microphone: one packet each 400 ms.
    pub discontinuous: bool,
}

/// Loops the tone.
#[derive(Debug)]
pub struct AudioTrack {
    clip: &'static AudioClip,
    schedule: Schedule,
    rtp_timestamp: u32,
    /// The next packet's number.
    number: u64,
    /// When it is due.
    due: Instant,
    step: u64,
    payload: Vec<u8>,
    /// Nothing was sent just before: the next packet starts a talkspurt.
    silent: bool,
}

impl AudioTrack {
    /// A track whose first packet is due at `start`.
    pub fn new(clip: &'static AudioClip, options: AudioOptions, start: Instant) -> Self {
        let schedule = Schedule::new(start, PACKETS_PER_SECOND);
        AudioTrack {
            clip,
            schedule,
            due: schedule.due(0),
            rtp_timestamp: options.rtp_timestamp,
            number: 0,
            step: if options.discontinuous {
                SILENT_STEP
            } else {
                1
            },
            payload: Vec::new(),
            silent: true,
        }
    }

    /// When to call [`poll`](Self::poll) next.
    pub const fn next_due(&self) -> Instant {
        self.due
    }

    /// What is due at `now`, if anything is.
    pub fn ready(&self, now: Instant) -> Option<Ready> {
        let packet = self.packet().filter(|_| self.due <= now)?;
        Some(Ready {
            layer: 0,
            size: packet.data.len(),
            lone: self.schedule.due(self.number + self.step) > now,
        })
    }

    fn packet(&self) -> Option<&'static AudioFrame> {
        let length = u64::try_from(self.clip.frames.len()).unwrap_or(u64::MAX);
        let index = self.number.checked_rem(length)?;
        self.clip.frames.get(usize::try_from(index).ok()?)
    }

    /// Gives out all packets that are due at `now`.
    ///
    /// `trailer` is asked once per packet, whose last bytes it becomes, inside Opus padding,
    /// which decoders ignore. `N` is at most 250.
    pub fn poll<const N: usize>(
        &mut self,
        now: Instant,
        mut trailer: impl FnMut(Frame) -> [u8; N],
        mut out: impl FnMut(MediaPacket<'_>),
    ) -> Sent {
        let mut sent = Sent::default();
        if now.saturating_duration_since(self.due) > MAX_LATE {
            let number = self.schedule.first_from(now);
            sent.skipped_frames += (number - self.number) / self.step;
            self.number = number;
            self.due = self.schedule.due(number);
            self.silent = true;
        }
        while self.due <= now {
            let Some(packet) = self.packet() else {
                break;
            };
            let frame = Frame {
                layer: 0,
                number: self.number,
                due: self.due,
                last_due: self.due,
            };
            self.payload.clear();
            opus::stamp(&packet.data, &trailer(frame), &mut self.payload);
            let ticks = self.number * u64::from(SAMPLES);
            out(MediaPacket {
                layer: 0,
                payload: Payload {
                    head: &self.payload,
                    ..Payload::default()
                },
                marker: self.silent || self.step > 1,
                #[expect(clippy::cast_possible_truncation, reason = "RTP timestamps wrap")]
                rtp_timestamp: self.rtp_timestamp.wrapping_add(ticks as u32),
                keyframe: true,
                audio_level: Some(AudioLevel {
                    level: packet.level,
                    voice: packet.level <= VOICE_LEVEL,
                }),
            });
            sent.packet(self.payload.len(), now - self.due, true);
            self.silent = false;
            self.number += self.step;
            self.due = self.schedule.due(self.number);
        }
        sent
    }
}
