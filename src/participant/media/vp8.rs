//! VP8's frame header (RFC 6386 section 9.1) and payload descriptor (RFC 7741 section 4.2).

/// Bytes of the descriptor that [`Descriptor::write`] makes.
pub const DESCRIPTOR_LEN: usize = 6;

/// Whether a frame can be decoded without those before it; `None` if it is empty.
pub fn is_keyframe(frame: &[u8]) -> Option<bool> {
    frame.first().map(|tag| tag & 1 == 0)
}

/// Width and height of a keyframe; `None` if it is none.
pub fn keyframe_size(frame: &[u8]) -> Option<(u16, u16)> {
    if !is_keyframe(frame)? {
        return None;
    }
    let (start, size) = frame.get(3..)?.split_first_chunk::<3>()?;
    let (width, size) = size.split_first_chunk::<2>()?;
    let height = size.first_chunk::<2>()?;
    // The upper two bits of each are a scale that players apply.
    let pixels = |bytes: &[u8; 2]| u16::from_le_bytes(*bytes) & 0x3fff;
    (start == &[0x9d, 0x01, 0x2a]).then(|| (pixels(width), pixels(height)))
}

/// Where a packet stands in its stream, with one temporal layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Whether the packet starts its frame.
    pub starts_frame: bool,
    /// Whether the frame is a keyframe.
    pub keyframe: bool,
    /// 15 bits, one more with each frame.
    pub picture_id: u16,
    /// One more with each frame of temporal layer 0, which all are.
    pub tl0_picture_index: u8,
}

impl Descriptor {
    /// Extended form: 15-bit picture id, TL0PICIDX, TID 0. `Y` marks keyframes: a P-frame may
    /// refer to any picture since.
    pub fn write(self) -> [u8; DESCRIPTOR_LEN] {
        let [high, low] = (self.picture_id & 0x7fff).to_be_bytes();
        [
            0x80 | if self.starts_frame { 0x10 } else { 0 }, // X, S, partition 0
            0x80 | 0x40 | 0x20,                              // I, L, T
            0x80 | high,                                     // M
            low,
            self.tl0_picture_index,
            if self.keyframe { 0x20 } else { 0 }, // TID 0, Y
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_extended_descriptor() {
        let first = Descriptor {
            starts_frame: true,
            keyframe: true,
            picture_id: 0x1234,
            tl0_picture_index: 9,
        };
        assert_eq!(first.write(), [0x90, 0xe0, 0x92, 0x34, 9, 0x20]);
        let later = Descriptor {
            starts_frame: false,
            keyframe: false,
            picture_id: 0xffff,
            ..first
        };
        assert_eq!(later.write(), [0x80, 0xe0, 0xff, 0xff, 9, 0]);
    }

    #[test]
    fn reads_frame_headers() {
        assert_eq!(is_keyframe(&[]), None);
        let key = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02];
        assert_eq!(keyframe_size(&key), Some((1280, 720)));
        assert_eq!(keyframe_size(&key[..9]), None);
        assert_eq!(keyframe_size(&[0x11]), None);
        let mut scaled = key;
        scaled[7] |= 0x40;
        assert_eq!(keyframe_size(&scaled), Some((1280, 720)));
    }
}
