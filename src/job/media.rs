//! What publishers send; which of it a subscriber takes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a subscriber's screen would show, which decides the layers it asks for.
///
/// The names, sizes and numbers of videos are those of LiveKit's own load tester.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// One video at 1280x720, five at 356x200.
    #[default]
    #[serde(rename = "speaker")]
    Speaker,
    /// Nine videos at 400x225.
    #[serde(rename = "3x3")]
    Grid3x3,
    /// Sixteen videos at 320x180.
    #[serde(rename = "4x4")]
    Grid4x4,
    /// Twenty-five videos at 256x144.
    #[serde(rename = "5x5")]
    Grid5x5,
}

/// A layout that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a layout; use speaker, 3x3, 4x4 or 5x5")]
pub struct LayoutError(String);

impl Layout {
    /// The name that flags and job files use.
    pub const fn name(self) -> &'static str {
        match self {
            Layout::Speaker => "speaker",
            Layout::Grid3x3 => "3x3",
            Layout::Grid4x4 => "4x4",
            Layout::Grid5x5 => "5x5",
        }
    }

    /// The most videos that this layout shows at once.
    pub const fn videos(self) -> usize {
        match self {
            Layout::Speaker => 6,
            Layout::Grid3x3 => 9,
            Layout::Grid4x4 => 16,
            Layout::Grid5x5 => 25,
        }
    }

    /// Width and height asked for the `i`-th video shown; `None` when it isn't shown.
    pub const fn size(self, i: usize) -> Option<(u32, u32)> {
        if i >= self.videos() {
            return None;
        }
        Some(match self {
            Layout::Speaker if i == 0 => (1280, 720),
            Layout::Speaker => (356, 200),
            Layout::Grid3x3 => (400, 225),
            Layout::Grid4x4 => (320, 180),
            Layout::Grid5x5 => (256, 144),
        })
    }
}

impl FromStr for Layout {
    type Err = LayoutError;
    fn from_str(s: &str) -> Result<Self, LayoutError> {
        [
            Layout::Speaker,
            Layout::Grid3x3,
            Layout::Grid4x4,
            Layout::Grid5x5,
        ]
        .into_iter()
        .find(|l| l.name() == s)
        .ok_or_else(|| LayoutError(s.to_owned()))
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How video is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// RFC 6386.
    #[default]
    Vp8,
    /// ITU-T H.264, constrained baseline.
    H264,
}

/// A codec that muster does not publish.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a codec that muster publishes; use vp8 or h264")]
pub struct VideoCodecError(String);

impl VideoCodec {
    /// The name that flags, job files and LiveKit use.
    pub const fn name(self) -> &'static str {
        match self {
            VideoCodec::Vp8 => "vp8",
            VideoCodec::H264 => "h264",
        }
    }
}

impl FromStr for VideoCodec {
    type Err = VideoCodecError;
    fn from_str(s: &str) -> Result<Self, VideoCodecError> {
        [VideoCodec::Vp8, VideoCodec::H264]
            .into_iter()
            .find(|codec| codec.name() == s)
            .ok_or_else(|| VideoCodecError(s.to_owned()))
    }
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a run sends; what its subscribers take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// Participants per vantage that publish video.
    pub video_publishers: u32,
    /// Participants per vantage that publish Opus audio. The first of both kinds are one
    /// participant that publishes both.
    pub audio_publishers: u32,
    /// Whether video has three simulcast layers, or just the top one.
    pub simulcast: bool,
    /// How video is encoded; a job without it has VP8.
    #[serde(default)]
    pub video_codec: VideoCodec,
    /// What subscribers take.
    pub layout: Layout,
    /// Whether a prober measures over TCP where UDP is closed, instead of taking no part.
    #[serde(default)]
    pub allow_tcp: bool,
}

impl Media {
    /// Publishing participants per vantage: video and audio share participants.
    pub fn publishers(&self) -> u32 {
        self.video_publishers.max(self.audio_publishers)
    }

    /// Whether the `i`-th publisher of a vantage sends (video, audio).
    pub fn publishes(&self, i: u32) -> (bool, bool) {
        (i < self.video_publishers, i < self.audio_publishers)
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            video_publishers: 1,
            audio_publishers: 1,
            simulcast: true,
            video_codec: VideoCodec::Vp8,
            layout: Layout::Speaker,
            allow_tcp: false,
        }
    }
}
