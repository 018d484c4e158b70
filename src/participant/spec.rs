//! What one participant is to do: the input of [`super::Engine::join`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::job::{Bitrate, Layout};
use crate::secret::Secret;

/// One participant: where it joins, as whom, what it publishes and takes.
#[derive(Clone, Debug)]
pub struct ParticipantSpec {
    /// The SFU (`ws://`, `wss://`, `http://` or `https://`); a path before `/rtc` is kept.
    pub url: String,
    /// The join token. It names the room and the identity.
    pub token: Secret,
    /// The identity in the token, for logs and events.
    pub identity: String,
    /// What it publishes.
    pub publish: Publish,
    /// What it takes of what others publish.
    pub subscribe: Subscribe,
    /// A CA to trust for `wss://` beside the system's, as a PEM file.
    pub ca_file: Option<Arc<PathBuf>>,
    /// From dial to connected; beyond it the participant has failed. 15 s by default, as in
    /// LiveKit's clients.
    pub connect_timeout: Duration,
    /// How often a dropped signalling connection is resumed before the participant gives up.
    pub resume_attempts: u32,
    /// Read the server's clock at once: ten signalling pings, 50 ms apart, right after joining,
    /// beside the regular ones.
    pub probe_clock: bool,
}

impl ParticipantSpec {
    /// A participant that publishes and takes nothing.
    pub fn new(url: impl Into<String>, token: Secret, identity: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            token,
            identity: identity.into(),
            publish: Publish::default(),
            subscribe: Subscribe::Nothing,
            ca_file: None,
            connect_timeout: Duration::from_secs(15),
            resume_attempts: 3,
            probe_clock: false,
        }
    }
}

/// What a participant publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publish {
    /// An Opus track.
    pub audio: Option<AudioPublish>,
    /// A VP8 track.
    pub video: Option<VideoPublish>,
    /// Which publisher this is, as [`super::stamp::Stamp::source`] in every frame.
    pub source: u32,
}

impl Publish {
    /// Whether there is nothing to publish.
    pub const fn is_empty(&self) -> bool {
        self.audio.is_none() && self.video.is_none()
    }
}

/// An Opus track.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AudioPublish {}

/// A VP8 track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoPublish {
    /// Lowest first.
    pub layers: Vec<VideoLayer>,
}

/// One simulcast layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoLayer {
    /// The RTP stream id (RFC 8852) that LiveKit knows: `q`, `h`, `f`; empty without simulcast.
    pub rid: &'static str,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// What the layer is announced with.
    pub bitrate: Bitrate,
}

impl VideoPublish {
    /// 1280x720 with the two layers below it, at the bitrates of LiveKit's own clients
    /// (`VideoPresets` h720, h360, h180: 1,700, 450 and 160 kbit/s).
    pub fn simulcast_720p() -> Self {
        let layer = |rid, width, height, kbps| VideoLayer {
            rid,
            width,
            height,
            bitrate: Bitrate::kbps(kbps),
        };
        Self {
            layers: vec![
                layer("q", 320, 180, 160),
                layer("h", 640, 360, 450),
                layer("f", 1280, 720, 1_700),
            ],
        }
    }

    /// The top layer of [`VideoPublish::simulcast_720p`] alone.
    pub fn single_720p() -> Self {
        let mut video = Self::simulcast_720p();
        video.layers.drain(..2);
        for layer in &mut video.layers {
            layer.rid = "";
        }
        video
    }
}

/// What a participant takes. Audio is always taken with video.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subscribe {
    /// No track.
    #[default]
    Nothing,
    /// What a screen with this layout shows.
    Layout(Layout),
    /// Every track in the best quality.
    Everything,
}
