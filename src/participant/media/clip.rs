//! The clips that are looped, embedded in the binary.
//!
//! `assets/make-clips` makes them: 2 s each, a keyframe first, constant rate. They are parsed
//! once, and held against what [`LAYERS`] promises.

use std::sync::OnceLock;

use super::preset::{LAYERS, Layer};
use super::{annexb, ivf, ogg, opus, vp8};
use crate::job::VideoCodec;
use crate::participant::rtp::h264;

static VP8: [&[u8]; 3] = [
    include_bytes!("../../../assets/q.ivf"),
    include_bytes!("../../../assets/h.ivf"),
    include_bytes!("../../../assets/f.ivf"),
];
static H264: [&[u8]; 3] = [
    include_bytes!("../../../assets/q.h264"),
    include_bytes!("../../../assets/h.h264"),
    include_bytes!("../../../assets/f.h264"),
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
    /// The same of a clip of H.264.
    #[error("clip {clip}.h264: {error}; make it again with assets/make-clips")]
    AnnexB {
        /// The layer's rid.
        clip: &'static str,
        /// What is wrong with it.
        error: annexb::AnnexBError,
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
    /// H.264's parameter sets, which go before the frame.
    pub parameters: Vec<&'static [u8]>,
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

/// The layers of a track in one codec, parsed.
#[derive(Debug)]
pub struct VideoClips {
    pub(super) codec: VideoCodec,
    pub(super) layers: Vec<VideoClip>,
}

/// The tone, parsed.
#[derive(Debug)]
pub struct AudioClip {
    /// Not empty.
    pub(super) frames: Vec<AudioFrame>,
}

/// The embedded video; the first call for a codec parses it.
///
/// # Errors
/// A clip that isn't what its layer promises: a fault of the build.
pub fn video_clips(codec: VideoCodec) -> Result<&'static VideoClips, ClipError> {
    static CLIPS: [OnceLock<Result<VideoClips, ClipError>>; 2] = [OnceLock::new(), OnceLock::new()];
    let [vp8, h264] = &CLIPS;
    let (clips, bytes) = match codec {
        VideoCodec::Vp8 => (vp8, VP8),
        VideoCodec::H264 => (h264, H264),
    };
    let load = || {
        let layers = LAYERS.into_iter().zip(bytes);
        let layers = layers.map(|(layer, bytes)| load_video(codec, layer, bytes));
        Ok(VideoClips {
            codec,
            layers: layers.collect::<Result<_, _>>()?,
        })
    };
    clips.get_or_init(load).as_ref().map_err(Clone::clone)
}

/// The embedded tone; the first call parses it.
///
/// # Errors
/// A clip that isn't a tone of 20 ms packets with a level for each: a fault of the build.
pub fn audio_clip() -> Result<&'static AudioClip, ClipError> {
    static CLIP: OnceLock<Result<AudioClip, ClipError>> = OnceLock::new();
    let load = || {
        Ok(AudioClip {
            frames: load_audio(TONE, TONE_LEVELS)?,
        })
    };
    CLIP.get_or_init(load).as_ref().map_err(Clone::clone)
}

fn load_video(
    codec: VideoCodec,
    layer: Layer,
    bytes: &'static [u8],
) -> Result<VideoClip, ClipError> {
    let frames = match codec {
        VideoCodec::Vp8 => load_vp8(layer, bytes)?,
        VideoCodec::H264 => load_h264(layer, bytes)?,
    };
    if !frames.first().is_some_and(|frame| frame.keyframe) {
        return Err(ClipError::Content {
            clip: layer.rid,
            what: "it does not start with a keyframe",
        });
    }
    Ok(VideoClip { layer, frames })
}

fn load_h264(layer: Layer, bytes: &'static [u8]) -> Result<Vec<VideoFrame>, ClipError> {
    let clip = layer.rid;
    let pictures = annexb::pictures(bytes).map_err(|error| ClipError::AnnexB { clip, error })?;
    let mut frames = Vec::with_capacity(pictures.len());
    for picture in pictures {
        let size = picture
            .parameters
            .iter()
            .find_map(|unit| h264::picture_size(unit));
        let header = picture.slice.first().copied().unwrap_or_default();
        let keyframe = h264::nal::kind(header) == h264::nal::IDR;
        if keyframe && size != Some((layer.width, layer.height)) {
            let what = "a keyframe has no parameters, or another size";
            return Err(ClipError::Content { clip, what });
        }
        frames.push(VideoFrame {
            parameters: picture.parameters,
            data: picture.slice,
            keyframe,
        });
    }
    Ok(frames)
}

fn load_vp8(layer: Layer, bytes: &'static [u8]) -> Result<Vec<VideoFrame>, ClipError> {
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
        frames.push(VideoFrame {
            parameters: Vec::new(),
            data,
            keyframe,
        });
    }
    Ok(frames)
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
        for codec in [VideoCodec::Vp8, VideoCodec::H264] {
            for clip in &video_clips(codec).unwrap().layers {
                assert_eq!(clip.frames.len(), 2 * clip.layer.fps as usize);
                let keyframes: Vec<_> = (0..clip.frames.len())
                    .filter(|&i| clip.frames[i].keyframe)
                    .collect();
                assert_eq!(keyframes, [0], "{codec} {}", clip.layer.rid);
            }
        }
        assert_eq!(audio_clip().unwrap().frames.len(), 200);
    }

    #[test]
    fn clips_of_another_layer_are_refused() {
        assert!(load_video(VideoCodec::Vp8, LAYERS[0], VP8[1]).is_err());
        assert!(load_video(VideoCodec::H264, LAYERS[0], H264[1]).is_err());
        assert!(load_video(VideoCodec::H264, LAYERS[0], VP8[0]).is_err());
        assert!(load_audio(TONE, &[0; 1_000]).is_err());
        assert!(load_audio(TONE, &[128; 200]).is_err());
        assert!(load_audio(VP8[0], TONE_LEVELS).is_err());
    }

    #[test]
    fn a_jump_lands_on_a_keyframe() {
        let clip = &video_clips(VideoCodec::Vp8).unwrap().layers[0];
        assert_eq!(clip.keyframe_from(0), 0);
        assert_eq!(clip.keyframe_from(1), 0);
        assert_eq!(clip.keyframe_from(39), 0);
        assert_eq!(clip.keyframe_from(40), 0);
    }
}
