//! The stamp that rides behind a frame: who sent it, which it is, and when.
//!
//! Layout, 24 bytes, big-endian: magic `MUST`, source (4), sequence (4), microseconds since the
//! Unix epoch (8), check (4, CRC-32C of what precedes). VP8 decoders ignore what follows the last
//! partition's data, Opus decoders what pads a packet; with H.264 it is user data (SEI).

/// Bytes of an encoded stamp.
pub const LEN: usize = 24;

const MAGIC: [u8; 4] = *b"MUST";

/// What a publisher writes behind each frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which publisher: a hash of vantage and index that the run agrees on.
    pub source: u32,
    /// Counts the frames of a stream; wraps.
    pub sequence: u32,
    /// When the frame's last packet left, or, in one that leaves earlier, when that is due: on the
    /// clock that the run's participants share ([`super::Engine::set_shared_clock`]), in
    /// microseconds since the Unix epoch.
    pub unix_us: i64,
}

/// What the end of a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trailer {
    /// No stamp: someone else's frame.
    Absent,
    /// A stamp whose check fails.
    Malformed,
    /// A stamp.
    Valid(Stamp),
}

impl Stamp {
    /// The bytes to append to a frame.
    pub fn encode(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        let fields = [
            &MAGIC[..],
            &self.source.to_be_bytes(),
            &self.sequence.to_be_bytes(),
            &self.unix_us.to_be_bytes(),
        ];
        for (to, from) in out.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        let check = crc32c(out.split_at(LEN - 4).0).to_be_bytes();
        for (to, from) in out.iter_mut().skip(LEN - 4).zip(check) {
            *to = from;
        }
        out
    }

    /// Reads the stamp off the end of a frame, or of its last packet.
    pub fn read(frame: &[u8]) -> Trailer {
        let Some(tail) = frame.last_chunk::<LEN>() else {
            return Trailer::Absent;
        };
        let (fields, check) = tail.split_at(LEN - 4);
        let Some((magic, fields_after)) = fields.split_first_chunk::<4>() else {
            return Trailer::Absent;
        };
        if *magic != MAGIC {
            return Trailer::Absent;
        }
        if crc32c(fields).to_be_bytes() != *check {
            return Trailer::Malformed;
        }
        let parsed = fields_after
            .split_first_chunk::<4>()
            .and_then(|(source, rest)| {
                let (sequence, rest) = rest.split_first_chunk::<4>()?;
                Some(Stamp {
                    source: u32::from_be_bytes(*source),
                    sequence: u32::from_be_bytes(*sequence),
                    unix_us: i64::from_be_bytes(*rest.first_chunk()?),
                })
            });
        parsed.map_or(Trailer::Malformed, Trailer::Valid)
    }
}

/// What four bits add to a CRC-32C: a table that fits a cache line, as every frame needs it.
#[expect(clippy::indexing_slicing, reason = "the compiler does it")]
const CRC32C: [u32; 16] = {
    let mut table = [0; 16];
    let mut bits = 0;
    while bits < table.len() {
        #[expect(clippy::cast_possible_truncation, reason = "below 16")]
        let mut crc = bits as u32;
        let mut n = 0;
        while n < 4 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1));
            n += 1;
        }
        table[bits] = crc;
        bits += 1;
    }
    table
};

/// CRC-32C (RFC 3720, appendix B.4).
fn crc32c(bytes: &[u8]) -> u32 {
    let of = |bits: u32| CRC32C.get(bits as usize).copied().unwrap_or_default();
    let four = |crc: u32| (crc >> 4) ^ of(crc & 15);
    let byte = |crc, byte: &u8| four(four(crc ^ u32::from(*byte)));
    !bytes.iter().fold(u32::MAX, byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_check_is_crc_32c() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    proptest! {
        #[test]
        fn a_stamp_reads_back_behind_any_frame(
            frame in proptest::collection::vec(any::<u8>(), 0..64),
            source: u32, sequence: u32, unix_us: i64,
        ) {
            let stamp = Stamp { source, sequence, unix_us };
            let mut bytes = frame;
            bytes.extend(stamp.encode());
            prop_assert_eq!(Stamp::read(&bytes), Trailer::Valid(stamp));
        }

        #[test]
        fn a_flipped_bit_is_never_a_stamp(bit in 0usize..LEN * 8, source: u32, unix_us: i64) {
            let mut bytes = Stamp { source, sequence: 7, unix_us }.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!matches!(Stamp::read(&bytes), Trailer::Valid(_)));
        }

        #[test]
        fn anything_reads_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Stamp::read(&bytes);
        }
    }
}
