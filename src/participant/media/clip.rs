//! The clips that are looped, embedded in the binary.
//!
//! `assets/make-clips` makes them: 4 s each, a keyframe every 2 s, constant rate. They are parsed
//! once, and held against what [`LAYERS`] promises.

use std::sync::OnceLock;

use super::preset::{LAYERS, Layer};
use super::{ivf, ogg, opus, vp8};

static VIDEO: [&[u8]; 3] = [
    include_bytes!("../../../assets/q.ivf"),
    include_bytes!("../../../assets/h.ivf"),
    include_bytes!("../../../assets/f.ivf"),
];
static TONE: &[u8] = include_bytes!("../../../assets/tone.ogg");
static TONE_LEVELS: &[u8] = include_bytes!("../../../assets/tone.levels");

/// Why an embedded clip can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClipError {
    /// A video clip is not in the container it should be in.
    #[error("clip {clip}.ivf: {error}; make it again with assets/make-clips")]
    Ivf {
        /// The layer's rid.
        clip: &'static str,
        /// What is wrong with it.
        error: ivf::IvfError,
    },
    /// The audio clip is not in the container it should be in.
    #[error("clip tone.ogg: {0}; make it again with assets/make-clips")]
    Ogg(#[from] ogg::OggError),
    /// A clip has other content than its name promises.
    #[error("clip {clip}: {what}; make it again with assets/make-clips")]
    Content {
        /// Which clip.
        clip: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// An encoded frame of video.
#[derive(Debug)]
pub(super) struct VideoFrame {
    pub data: &'static [u8],
    pub keyframe: bool,
}

/// A layer's frames.
#[derive(Debug)]
pub(super) struct VideoClip {
    pub layer: Layer,
    /// Not empty; the first one is a keyframe.
    pub frames: Vec<VideoFrame>,
}

impl VideoClip {
    /// The frame at `index`, which wraps around, and the index after it.
    pub fn frame(&self, index: usize) -> Option<(&VideoFrame, usize)> {
        let index = index.checked_rem(self.frames.len())?;
        Some((self.frames.get(index)?, index + 1))
    }

    /// The first keyframe at `index` or later, else the clip's first frame.
    pub fn keyframe_from(&self, index: usize) -> usize {
        let later = self.frames.iter().skip(index).position(|f| f.keyframe);
        later.map_or(0, |offset| index + offset)
    }
}

/// A packet of audio.
#[derive(Debug)]
pub(super) struct AudioFrame {
    pub data: Vec<u8>,
    /// In -dBov.
    pub level: u8,
}

/// All clips, parsed.
#[derive(Debug)]
pub struct Clips {
    pub(super) video: Vec<VideoClip>,
    /// Not empty.
    pub(super) audio: Vec<AudioFrame>,
}

/// The embedded clips; the first call parses them.
///
/// # Errors
/// A clip that isn't what its layer promises: a fault of the build.
pub fn clips() -> Result<&'static Clips, ClipError> {
    static CLIPS: OnceLock<Result<Clips, ClipError>> = OnceLock::new();
    CLIPS.get_or_init(load).as_ref().map_err(Clone::clone)
}

fn load() -> Result<Clips, ClipError> {
    let video = LAYERS
        .into_iter()
        .zip(VIDEO)
        .map(|(layer, bytes)| load_video(layer, bytes))
        .collect::<Result<_, _>>()?;
    Ok(Clips {
        video,
        audio: load_audio(TONE, TONE_LEVELS)?,
    })
}

fn load_video(layer: Layer, bytes: &'static [u8]) -> Result<VideoClip, ClipError> {
    let wrong = |what| ClipError::Content {
        clip: layer.rid,
        what,
    };
    let ivf = ivf::parse(bytes).map_err(|error| ClipError::Ivf {
        clip: layer.rid,
        error,
    })?;
    let size = (layer.width, layer.height);
    if (u32::from(ivf.width), u32::from(ivf.height)) != size || ivf.fps != layer.fps {
        return Err(wrong("size or frame rate is not its layer's"));
    }
    let mut frames = Vec::with_capacity(ivf.frames.len());
    for data in ivf.frames {
        let keyframe = vp8::is_keyframe(data).ok_or_else(|| wrong("a frame is empty"))?;
        if keyframe && vp8::keyframe_size(data) != Some((ivf.width, ivf.height)) {
            return Err(wrong("a keyframe has another size"));
        }
        frames.push(VideoFrame { data, keyframe });
    }
    if !frames.first().is_some_and(|frame| frame.keyframe) {
        return Err(wrong("it does not start with a keyframe"));
    }
    Ok(VideoClip { layer, frames })
}

fn load_audio(bytes: &[u8], levels: &[u8]) -> Result<Vec<AudioFrame>, ClipError> {
    let wrong = |what| ClipError::Content { clip: "tone", what };
    let mut packets = ogg::packets(bytes)?.into_iter();
    let (head, tags) = (packets.next(), packets.next());
    if !head.is_some_and(|packet| packet.starts_with(b"OpusHead"))
        || !tags.is_some_and(|packet| packet.starts_with(b"OpusTags"))
    {
        return Err(wrong("it has no Opus headers"));
    }
    // The encoder's delay adds a last packet, which nothing follows in a loop.
    let frames: Vec<_> = packets
        .zip(levels)
        .map(|(data, &level)| AudioFrame { data, level })
        .collect();
    if frames.is_empty() || frames.len() != levels.len() {
        return Err(wrong("it has fewer packets than levels"));
    }
    if !frames.iter().all(|f| opus::is_single_20_ms(&f.data)) {
        return Err(wrong("a packet is not one frame of 20 ms"));
    }
    if frames.iter().any(|f| f.level > 127) {
        return Err(wrong("a level is above 127"));
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_clips_are_what_they_promise() {
        let clips = clips().unwrap();
        for clip in &clips.video {
            assert_eq!(clip.frames.len(), 4 * clip.layer.fps as usize);
            let keyframes: Vec<_> = (0..clip.frames.len())
                .filter(|&i| clip.frames[i].keyframe)
                .collect();
            assert_eq!(keyframes, [0, clip.frames.len() / 2], "{}", clip.layer.rid);
        }
        assert_eq!(clips.audio.len(), 200);
    }

    #[test]
    fn clips_of_another_layer_are_refused() {
        assert!(load_video(LAYERS[0], VIDEO[1]).is_err());
        assert!(load_audio(TONE, &[0; 1_000]).is_err());
        assert!(load_audio(TONE, &[128; 200]).is_err());
        assert!(load_audio(VIDEO[0], TONE_LEVELS).is_err());
    }

    #[test]
    fn a_jump_lands_on_a_keyframe() {
        let clip = &clips().unwrap().video[0];
        assert_eq!(clip.keyframe_from(0), 0);
        assert_eq!(clip.keyframe_from(1), 40);
        assert_eq!(clip.keyframe_from(41), 0);
        assert_eq!(clip.keyframe_from(80), 0);
    }
}
