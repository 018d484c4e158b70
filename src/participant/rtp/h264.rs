//! The few parts of H.264 (ITU-T H.264, RFC 6184) that muster writes or reads.

/// NAL unit types (H.264, table 7-1; RFC 6184, table 1).
pub mod nal {
    /// Slice of a picture that refers to others.
    pub const SLICE: u8 = 1;
    /// Slice of a picture that decodes alone.
    pub const IDR: u8 = 5;
    /// Supplemental enhancement information.
    pub const SEI: u8 = 6;
    /// Sequence parameter set.
    pub const SPS: u8 = 7;
    /// Picture parameter set.
    pub const PPS: u8 = 8;
    /// Several units in one packet, in order.
    pub const STAP_A: u8 = 24;
    /// A fragment of a unit.
    pub const FU_A: u8 = 28;

    /// A unit's type, by its first byte.
    pub const fn kind(header: u8) -> u8 {
        header & 0x1f
    }
}

/// Which user data is muster's (H.264, D.2.7): a UUID of version 4, drawn once.
const UUID: [u8; 16] = [
    0x6d, 0x75, 0x73, 0x74, 0x65, 0x72, 0x4c, 0x1e, 0x9f, 0x33, 0xb4, 0x58, 0xd2, 0x7a, 0xe1, 0x05,
];
/// SEI payload type `user_data_unregistered` (H.264, D.1).
const USER_DATA: u8 = 5;

/// The most bytes that [`write_user_data`] makes of `n`: each third may need one more.
pub const fn user_data_max(n: usize) -> usize {
    let raw = UUID.len() + n;
    4 + raw + raw / 2
}

/// Appends an SEI unit that carries `data`, up to 200 bytes, where decoders ignore it.
pub fn write_user_data(out: &mut Vec<u8>, data: &[u8]) {
    let size = u8::try_from(UUID.len() + data.len()).unwrap_or(u8::MAX);
    out.extend([nal::SEI, USER_DATA, size]);
    let mut zeros = 0;
    // The last byte is the RBSP's stop bit.
    for byte in UUID.iter().chain(data).copied().chain([0x80]) {
        // No start code may appear inside of a unit (H.264, 7.4.1.1).
        if zeros >= 2 && byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
}

/// The data of [`write_user_data`] in a payload: in a unit of its own, or aggregated.
pub fn user_data<const N: usize>(payload: &[u8]) -> Option<[u8; N]> {
    units(payload).find_map(user_data_of)
}

fn user_data_of<const N: usize>(unit: &[u8]) -> Option<[u8; N]> {
    let (header, body) = unit.split_first()?;
    let (head, body) = body.split_first_chunk::<2>()?;
    let size = u8::try_from(UUID.len() + N).ok()?;
    if nal::kind(*header) != nal::SEI || *head != [USER_DATA, size] {
        return None;
    }
    let mut bytes = unescaped(body);
    if !UUID.iter().all(|byte| bytes.next() == Some(*byte)) {
        return None;
    }
    let mut data = [0; N];
    for to in &mut data {
        *to = bytes.next()?;
    }
    Some(data)
}

/// The units that lie whole in a payload.
fn units(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let aggregated = payload.first().map(|h| nal::kind(*h)) == Some(nal::STAP_A);
    let mut rest = if aggregated { payload.get(1..) } else { None };
    let single = (!aggregated && !payload.is_empty()).then_some(payload);
    let from_stap = std::iter::from_fn(move || {
        let (size, after) = rest?.split_first_chunk::<2>()?;
        let (unit, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
        rest = Some(after);
        Some(unit)
    });
    single.into_iter().chain(from_stap)
}

/// A unit's bytes without those that prevent start codes.
fn unescaped(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut zeros = 0;
    bytes.iter().copied().filter(move |byte| {
        let escape = zeros >= 2 && *byte == 3;
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        !escape
    })
}

/// Width and height of the pictures that a sequence parameter set in this payload is for; `None`
/// without one, or for profiles with chroma formats of their own.
pub fn picture_size(payload: &[u8]) -> Option<(u32, u32)> {
    let sps = units(payload).find(|unit| unit.first().map(|h| nal::kind(*h)) == Some(nal::SPS))?;
    let mut bits = Bits::new(sps.get(1..)?);
    let profile = bits.take(8)?;
    // Constraints and level.
    bits.take(16)?;
    if !matches!(profile, 66 | 77 | 88) {
        return None;
    }
    bits.golomb()?; // seq_parameter_set_id
    bits.golomb()?; // log2_max_frame_num_minus4
    match bits.golomb()? {
        0 => drop(bits.golomb()?),
        1 => {
            bits.take(1)?;
            bits.golomb()?;
            bits.golomb()?;
            for _ in 0..bits.golomb()?.min(255) {
                bits.golomb()?;
            }
        }
        _ => {}
    }
    bits.golomb()?; // max_num_ref_frames
    bits.take(1)?;
    let width = bits.golomb()?.checked_add(1)?.checked_mul(16)?;
    let units_high = bits.golomb()?.checked_add(1)?;
    let frames_only = bits.take(1)?;
    let height = units_high.checked_mul(16)?.checked_mul(2 - frames_only)?;
    if frames_only == 0 {
        bits.take(1)?;
    }
    bits.take(1)?;
    if bits.take(1)? == 0 {
        return Some((width, height));
    }
    // In chroma samples of 4:2:0, of which fields have half as many lines.
    let mut crop = || bits.golomb();
    let (left, right, top, bottom) = (crop()?, crop()?, crop()?, crop()?);
    let across = left.checked_add(right)?.checked_mul(2)?;
    let down = top
        .checked_add(bottom)?
        .checked_mul(2 * (2 - frames_only))?;
    Some((width.checked_sub(across)?, height.checked_sub(down)?))
}

/// Reads bits, most significant first.
struct Bits {
    bytes: Vec<u8>,
    at: usize,
}

impl Bits {
    /// The first bytes of a unit are all that is looked at.
    fn new(unit: &[u8]) -> Self {
        Bits {
            bytes: unescaped(unit).take(256).collect(),
            at: 0,
        }
    }

    fn take(&mut self, n: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..n {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// An unsigned Exp-Golomb code (H.264, 9.1).
    fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        (1u32 << zeros)
            .checked_add(self.take(zeros)?)?
            .checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_parameter_set_tells_the_size() {
        // x264's for 320x180 and 1280x720.
        let low = [
            0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x81, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0, 0, 3, 0, 0x10, 0,
            0, 3, 2, 0x80, 0xf1, 0x83, 0x26, 0x80,
        ];
        let high = [
            0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x80, 0x50, 0x05, 0xbb, 1, 0x10, 0, 0, 3, 0, 0x10, 0, 0,
            3, 3, 0xc0, 0xf1, 0x83, 0x26, 0x80,
        ];
        assert_eq!(picture_size(&low), Some((320, 180)));
        let mut aggregated = vec![0x78, 0, 25];
        aggregated.extend(high);
        assert_eq!(picture_size(&aggregated), Some((1280, 720)));
        assert_eq!(picture_size(&low[..8]), None);
        assert_eq!(picture_size(&[0x65, 1, 2]), None);
    }

    proptest! {
        #[test]
        fn user_data_reads_back_and_holds_no_start_code(data: [u8; 24], zeros in 0usize..24) {
            let mut data = data;
            data[..zeros].fill(0);
            let mut unit = Vec::new();
            write_user_data(&mut unit, &data);
            prop_assert!(unit.len() <= user_data_max(24));
            prop_assert!(!unit.windows(3).any(|w| matches!(w, [0, 0, 0..=2])), "{unit:x?}");
            prop_assert_eq!(user_data(&unit), Some(data));
            let size = u16::try_from(unit.len()).unwrap().to_be_bytes();
            let stap = [&[0x78, 0, 2, 0x67, 1][..], &size, &unit].concat();
            prop_assert_eq!(user_data(&stap), Some(data));
        }

        #[test]
        fn anything_reads_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = user_data::<24>(&bytes);
            let _ = picture_size(&bytes);
            let mut sps = bytes;
            sps.splice(0..0, [0x67, 66, 0, 30]);
            let _ = picture_size(&sps);
        }
    }
}
