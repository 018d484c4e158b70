//! What a payload tells of its frame: whether a keyframe starts here, and its size.

use super::h264::{nal, picture_size};

/// How to read a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// RFC 7587.
    Opus,
    /// RFC 7741.
    Vp8,
    /// RFC 6184.
    H264,
    /// Retransmissions of another payload type (RFC 4588).
    Rtx,
    /// Counted, but not looked into.
    Other,
}

impl Codec {
    /// From an `a=rtpmap` encoding name.
    pub fn of(name: &str) -> Codec {
        match name.to_ascii_lowercase().as_str() {
            "opus" => Codec::Opus,
            "vp8" => Codec::Vp8,
            "h264" => Codec::H264,
            "rtx" => Codec::Rtx,
            _ => Codec::Other,
        }
    }
}

/// A keyframe that starts in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyframe {
    /// Width and height, where the payload tells.
    pub size: Option<(u32, u32)>,
}

/// The keyframe that starts in this payload. A codec that isn't looked into may always start
/// anew: its frames are never held back for a keyframe.
pub fn keyframe(codec: Codec, payload: &[u8]) -> Option<Keyframe> {
    match codec {
        Codec::Vp8 => vp8(payload),
        Codec::H264 => h264(payload).then(|| Keyframe {
            size: picture_size(payload),
        }),
        Codec::Opus | Codec::Rtx => None,
        Codec::Other => Some(Keyframe { size: None }),
    }
}

/// RFC 7741, 4.2 (payload descriptor) and RFC 6386, 9.1 (frame header).
fn vp8(payload: &[u8]) -> Option<Keyframe> {
    let (first, mut rest) = payload.split_first()?;
    let (extended, start, partition) = (first & 0x80 != 0, first & 0x10 != 0, first & 0x07);
    if !start || partition != 0 {
        return None;
    }
    if extended {
        let (flags, after) = rest.split_first()?;
        rest = after;
        if flags & 0x80 != 0 {
            let wide = rest.first()? & 0x80 != 0;
            rest = rest.get(if wide { 2 } else { 1 }..)?;
        }
        if flags & 0x40 != 0 {
            rest = rest.get(1..)?;
        }
        if flags & 0x30 != 0 {
            rest = rest.get(1..)?;
        }
    }
    // The start code is the same for all keyframes.
    let [tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1] = *rest.first_chunk()? else {
        return None;
    };
    (tag & 1 == 0).then(|| {
        let size = |b0, b1| u32::from(u16::from_le_bytes([b0, b1]) & 0x3fff);
        Keyframe {
            size: Some((size(w0, w1), size(h0, h1))),
        }
    })
}

/// A parameter set or the first slice of an IDR picture, alone, aggregated or fragmented.
fn h264(payload: &[u8]) -> bool {
    let starts = |header: u8| matches!(nal::kind(header), nal::IDR | nal::SPS);
    match payload {
        [24 | 56 | 88 | 120, _, _, nal, ..] => starts(*nal),
        [28 | 60 | 92 | 124, fu, ..] => fu & 0x80 != 0 && starts(*fu),
        [nal, ..] => starts(*nal),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_vp8_keyframe_tells_its_size() {
        let payload = [
            0x90, 0xe0, 0x81, 0x23, 0x07, 0x20, // descriptor: I, L, T; 15-bit picture id
            0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02,
        ];
        assert_eq!(
            keyframe(Codec::Vp8, &payload),
            Some(Keyframe {
                size: Some((1280, 720))
            })
        );
    }

    #[test]
    fn a_delta_frame_or_a_later_packet_is_none() {
        let mut delta = [0x10, 0x11, 0, 0, 0x9d, 0x01, 0x2a, 0, 5, 0xd0, 2];
        assert_eq!(keyframe(Codec::Vp8, &delta), None);
        delta[1] = 0x10;
        assert!(keyframe(Codec::Vp8, &delta).is_some());
        delta[0] = 0x00;
        assert_eq!(keyframe(Codec::Vp8, &delta), None);
    }

    #[test]
    fn h264_starts_at_an_idr_or_a_parameter_set() {
        for (payload, starts) in [
            (&[0x67, 1][..], true),
            (&[0x65, 1], true),
            (&[0x61, 1], false),
            (&[0x7c, 0x85], true),
            (&[0x7c, 0x05], false),
            (&[0x78, 0, 5, 0x67], true),
            (&[], false),
        ] {
            assert_eq!(
                keyframe(Codec::H264, payload).is_some(),
                starts,
                "{payload:x?}"
            );
        }
    }

    proptest! {
        #[test]
        fn anything_reads_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            for codec in [Codec::Vp8, Codec::H264, Codec::Opus, Codec::Other] {
                let _ = keyframe(codec, &bytes);
            }
        }
    }
}
