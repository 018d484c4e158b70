//! H.264 pictures in RTP payloads (RFC 6184, packetization mode 1).
//!
//! A picture's first packet holds its parameter sets and the trailer, which rides in user data
//! that decoders ignore (H.264, D.2.7); the slice follows, in fragments if it must.

use crate::participant::rtp::h264::{nal, user_data_max, write_user_data};

/// Bytes before a fragment of a unit: FU indicator and FU header.
const FU_HEAD: usize = 2;

/// How many packets a slice of so many bytes takes.
pub fn slice_packets(slice: usize, room: usize) -> usize {
    if slice <= room {
        1
    } else {
        slice
            .saturating_sub(1)
            .div_ceil(room.saturating_sub(FU_HEAD).max(1))
    }
}

/// Appends a picture's first packet.
pub fn write_head(payload: &mut Vec<u8>, parameters: &[&[u8]], trailer: &[u8]) {
    if parameters.is_empty() {
        return write_user_data(payload, trailer);
    }
    // The importance of its most important unit (RFC 6184, 5.7): the parameter sets'.
    payload.push(0x60 | nal::STAP_A);
    for unit in parameters {
        append(payload, unit);
    }
    let mut user_data = Vec::with_capacity(user_data_max(trailer.len()));
    write_user_data(&mut user_data, trailer);
    append(payload, &user_data);
}

fn append(payload: &mut Vec<u8>, unit: &[u8]) {
    let size = u16::try_from(unit.len()).unwrap_or(u16::MAX);
    payload.extend(size.to_be_bytes());
    payload.extend_from_slice(unit);
}

/// Appends the head of packet `n` of the `of` that a slice is cut into, and returns its share of the
/// slice: all have one size, but the last may be shorter.
pub fn write_slice<'a>(head: &mut Vec<u8>, slice: &'a [u8], n: usize, of: usize) -> &'a [u8] {
    let Some((header, body)) = slice.split_first().filter(|_| of > 1) else {
        return slice;
    };
    let (start, end) = (n == 0, n + 1 == of);
    head.push(header & 0xe0 | nal::FU_A);
    head.push(u8::from(start) << 7 | u8::from(end) << 6 | nal::kind(*header));
    let size = body.len().div_ceil(of.max(1));
    let at = |packet: usize| (size * packet).min(body.len());
    body.get(at(n)..at(n + 1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::participant::rtp::h264::user_data;
    use proptest::prelude::*;

    #[test]
    fn the_first_packet_has_the_parameters_and_the_trailer() {
        let mut payload = Vec::new();
        write_head(&mut payload, &[&[0x67, 1], &[0x68, 2, 3]], &[7; 24]);
        assert_eq!(payload[..10], [0x78, 0, 2, 0x67, 1, 0, 3, 0x68, 2, 3]);
        assert_eq!(user_data(&payload), Some([7; 24]));
        payload.clear();
        write_head(&mut payload, &[], &[7; 24]);
        assert_eq!(nal::kind(payload[0]), nal::SEI);
        assert_eq!(user_data(&payload), Some([7; 24]));
    }

    proptest! {
        #[test]
        fn fragments_make_the_slice_again(
            slice in proptest::collection::vec(any::<u8>(), 1..400),
            room in 20usize..120,
        ) {
            let packets = slice_packets(slice.len(), room);
            let mut again = Vec::new();
            for n in 0..packets {
                let mut payload = Vec::new();
                let share = write_slice(&mut payload, &slice, n, packets);
                payload.extend_from_slice(share);
                prop_assert!(payload.len() <= room);
                if packets == 1 {
                    again = payload;
                    break;
                }
                prop_assert_eq!(payload[1] >> 7 == 1, n == 0);
                prop_assert_eq!(payload[1] >> 6 & 1 == 1, n + 1 == packets);
                if n == 0 {
                    again.push(payload[0] & 0xe0 | payload[1] & 0x1f);
                }
                again.extend_from_slice(&payload[2..]);
            }
            prop_assert_eq!(again, slice);
        }
    }
}
