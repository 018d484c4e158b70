//! What one participant is to do: the input of [`super::Engine::join`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::job::{Layout, VideoCodec};
use crate::secret::Secret;

use super::carrier::Transport;

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
    /// How media travel. UDP by default; nothing falls back by itself.
    pub transport: Transport,
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
            transport: Transport::Udp,
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
    /// A video track.
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
pub struct AudioPublish {
    /// Send like a silent microphone, one packet each 400 ms instead of 50 a second.
    pub discontinuous: bool,
}

/// A video track, as [`super::media`] has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoPublish {
    /// Three layers, or the top one alone.
    pub simulcast: bool,
    /// How it is encoded.
    pub codec: VideoCodec,
}

impl VideoPublish {
    /// 1280x720 with the two layers below it ([`super::media::LAYERS`]).
    pub const fn simulcast_720p() -> Self {
        Self {
            simulcast: true,
            codec: VideoCodec::Vp8,
        }
    }

    /// The top layer of [`VideoPublish::simulcast_720p`] alone.
    pub const fn single_720p() -> Self {
        Self {
            simulcast: false,
            codec: VideoCodec::Vp8,
        }
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
