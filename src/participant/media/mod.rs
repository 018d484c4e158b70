//! Synthetic media that a real decoder accepts.
//!
//! Clips that were encoded once ([`video_clips`], [`audio_clip`]) are looped by a [`VideoTrack`] or an [`AudioTrack`],
//! which cut them into RTP payloads at the times a client would send them. Nothing here reads a
//! clock or does I/O: whoever drives a track calls [`VideoTrack::ready`] at
//! [`VideoTrack::next_due`], then [`VideoTrack::poll`] for what is, and puts sequence numbers and headers around what comes out.
//!
//! Each frame carries a trailer of the caller's, its latency stamp, where decoders don't look:
//! behind VP8's and Opus' data, in user data of H.264. ffmpeg's decoders, libvpx and libopus decode
//! the same pictures and samples with and without.
//!
//! ```
//! use std::time::Instant;
//! use muster::job::VideoCodec;
//! use muster::participant::media::{VideoOptions, VideoTrack, video_clips};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # #[expect(clippy::disallowed_methods, reason = "an example has no clock of its own")]
//! let start = Instant::now();
//! let mut track = VideoTrack::new(video_clips(VideoCodec::Vp8)?, VideoOptions::default(), start);
//! let mut layers = Vec::new();
//! track.ready(start, 16, |ready| layers.push(ready.layer));
//! for layer in layers {
//!     let mut packets = 0;
//!     let sent = track.poll(layer, start, |_| [0; 16], |_packet| packets += 1);
//!     assert_eq!((sent.frames, sent.packets), (1, packets));
//! }
//! # Ok(())
//! # }
//! ```

mod annexb;
mod audio;
mod clip;
mod h264;
mod ivf;
mod ogg;
mod opus;
mod pace;
mod packet;
mod preset;
#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "small figures and wrapping counters"
)]
mod tests;
mod video;
mod vp8;

pub use audio::{AudioOptions, AudioTrack};
pub use clip::{AudioClip, ClipError, VideoClips, audio_clip, video_clips};
pub use packet::{AudioLevel, Frame, MediaPacket, Payload, Ready, Sent};
pub use preset::{AUDIO_BITRATE, LAYERS, Layer, Quality};
pub use video::{KEYFRAME_SPACING, VideoOptions, VideoTrack};
