//! Opus packets (RFC 6716 section 3).

/// Samples of the RTP clock in a frame of 20 ms (RFC 7587 section 4.1: always 48 kHz).
pub const SAMPLES: u32 = 960;

/// An extension id that draft-ietf-mlcodec-opus-extension gives to nobody; libopus uses 126 for
/// its redundancy.
const EXTENSION: u8 = 124;

/// Whether a packet holds exactly one frame of 20 ms, in the simplest form (code 0).
pub fn is_single_20_ms(packet: &[u8]) -> bool {
    let Some(&toc) = packet.first() else {
        return false;
    };
    // Table 2: SILK has 10, 20, 40, 60 ms, hybrid 10 and 20 ms, CELT 2.5, 5, 10, 20 ms.
    let config = toc >> 3;
    let is_20_ms = match config {
        0..=11 => config % 4 == 1,
        12..=15 => config % 2 == 1,
        _ => config % 4 == 3,
    };
    toc & 3 == 0 && is_20_ms
}

/// Writes a packet of one frame with `trailer` as its last bytes, where decoders skip it: the
/// frame is repacked as code 3 with padding (RFC 6716 section 3.2.5), and the padding formed as
/// an extension, which decoders that know of extensions skip as well.
///
/// An empty trailer leaves the packet as it is. Decoders must accept any padding, though the RFC
/// has encoders write zeros there.
pub fn stamp(packet: &[u8], trailer: &[u8], out: &mut Vec<u8>) {
    let padding = u8::try_from(trailer.len() + 1).ok().filter(|&n| n < 255);
    let (Some((&toc, frame)), Some(padding), false) =
        (packet.split_first(), padding, trailer.is_empty())
    else {
        out.extend_from_slice(packet);
        return;
    };
    let one_frame_with_padding = 0x40 | 1;
    let to_the_end = EXTENSION << 1;
    out.extend_from_slice(&[toc | 3, one_frame_with_padding, padding]);
    out.extend_from_slice(frame);
    out.push(to_the_end);
    out.extend_from_slice(trailer);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_20_ms_packets() {
        for (toc, expected) in [
            (9 << 3, true),       // SILK wideband, 20 ms
            (8 << 3, false),      // the same, 10 ms
            (15 << 3, true),      // hybrid fullband, 20 ms
            (14 << 3, false),     // the same, 10 ms
            (31 << 3, true),      // CELT fullband, 20 ms
            (31 << 3 | 4, true),  // the same in stereo
            (30 << 3, false),     // the same, 10 ms
            (31 << 3 | 1, false), // two frames
        ] {
            assert_eq!(is_single_20_ms(&[toc, 0]), expected, "{toc:#010b}");
        }
        assert!(!is_single_20_ms(&[]));
    }

    #[test]
    fn a_stamp_is_the_last_bytes_of_the_padding() {
        let mut out = Vec::new();
        stamp(&[0xf8, 1, 2], &[9; 16], &mut out);
        assert_eq!(out[..5], [0xfb, 0x41, 17, 1, 2]);
        assert_eq!(out[5], 248);
        assert_eq!(out[6..], [9; 16]);
        out.clear();
        stamp(&[0xf8, 1, 2], &[], &mut out);
        assert_eq!(out, [0xf8, 1, 2]);
    }
}
