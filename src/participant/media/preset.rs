//! The encodings that LiveKit's own clients publish by default.
//!
//! Source: livekit-client 2.23.0, `src/room/track/options.ts` (`VideoPresets`, `AudioPresets`),
//! `src/room/participant/publishUtils.ts` (`defaultSimulcastPresets169`: h180 and h360 below the
//! camera's own size, rids q, h, f), `src/room/defaults.ts` (a camera is captured at h720, audio
//! at `AudioPresets.music`).

use crate::job::Bitrate;

/// Which of a track's encodings; the order is LiveKit's `VideoQuality`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quality {
    /// 320x180.
    Low,
    /// 640x360.
    Medium,
    /// 1280x720.
    High,
}

/// One encoding of a video track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its place among the others.
    pub quality: Quality,
    /// Its RTP stream id (RFC 8852) when there are several.
    pub rid: &'static str,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second.
    pub fps: u32,
    /// Of the encoded video, without RTP and below.
    pub bitrate: Bitrate,
}

/// The layers of a 720p camera, lowest first.
pub const LAYERS: [Layer; 3] = [
    Layer {
        quality: Quality::Low,
        rid: "q",
        width: 320,
        height: 180,
        fps: 20,
        bitrate: Bitrate::kbps(160),
    },
    Layer {
        quality: Quality::Medium,
        rid: "h",
        width: 640,
        height: 360,
        fps: 20,
        bitrate: Bitrate::kbps(450),
    },
    Layer {
        quality: Quality::High,
        rid: "f",
        width: 1280,
        height: 720,
        fps: 30,
        bitrate: Bitrate::kbps(1_700),
    },
];

/// The rate of a microphone's Opus, without RTP and below: `AudioPresets.music`. The tone is
/// encoded at 38 kbit/s and meets it with its latency stamps.
pub const AUDIO_BITRATE: Bitrate = Bitrate::kbps(48);
