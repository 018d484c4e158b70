//! How much work a message is, before it is decoded: pure.
//!
//! An empty submessage takes two bytes on the wire and hundreds in memory, so a message's length
//! bounds neither. The number of its fields does.

use std::time::Instant;

/// The most fields that a message may have: a room of 3,000 participants with two tracks each has
/// 200,000 or so, and decoded they take about a hundred megabytes at worst.
pub const FIELDS_MAX: usize = 262_144;

/// How deep LiveKit's messages nest, generously.
const DEPTH_MAX: usize = 8;

/// How often the server may be heard of: bytes per second in the long run.
const BYTES_PER_SECOND: u64 = 8 * 1_024 * 1_024;
/// And at once.
const BURST: u64 = 32 * 1_024 * 1_024;
/// What a message costs however short it is.
const LEAST: u64 = 1_024;

/// Whether a message has at most [`FIELDS_MAX`] fields, over all of its submessages. What might be
/// a submessage (wire type 2) is counted as one if it reads as one.
pub fn is_moderate(message: &[u8]) -> bool {
    let mut left = FIELDS_MAX;
    count(message, DEPTH_MAX, &mut left);
    left > 0
}

/// Takes the fields of `message` off `left`. `None` when it does not read as a message.
fn count(mut message: &[u8], depth: usize, left: &mut usize) -> Option<()> {
    while !message.is_empty() && *left > 0 {
        let key = varint(&mut message)?;
        *left -= 1;
        match key & 7 {
            0 => {
                varint(&mut message)?;
            }
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (body, rest) = message.split_at_checked(length)?;
                message = rest;
                if depth > 0 {
                    // A text that reads as no message has cost what it has cost: at most its length.
                    let _ = count(body, depth - 1, left);
                }
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// How much a server may still send.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    left: u64,
    at: Instant,
}

impl Budget {
    /// A full one.
    pub const fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            at: now,
        }
    }

    /// A message of so many bytes came. `false` when that was too much.
    pub fn take(&mut self, bytes: usize, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_micros();
        let earned = u64::try_from(passed).unwrap_or(u64::MAX) / 1_000 * (BYTES_PER_SECOND / 1_000);
        if earned > 0 {
            self.at = now;
            self.left = self.left.saturating_add(earned).min(BURST);
        }
        let cost = u64::try_from(bytes).unwrap_or(u64::MAX).max(LEAST);
        let enough = cost <= self.left;
        self.left = self.left.saturating_sub(cost);
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use livekit_protocol as proto;
    use proptest::prelude::*;
    use prost::Message as _;
    use std::time::Duration;

    /// The join of a room with so many others of two tracks each.
    fn join(others: usize) -> Vec<u8> {
        let track = proto::TrackInfo {
            sid: "TR_AMxxxxxxxxxxxx".into(),
            name: "camera".into(),
            mime_type: "video/VP8".into(),
            width: 1_280,
            height: 720,
            codecs: vec![proto::SimulcastCodecInfo::default(); 2],
            ..proto::TrackInfo::default()
        };
        let other = proto::ParticipantInfo {
            sid: "PA_xxxxxxxxxxxx".into(),
            identity: "somebody".into(),
            name: "Some Body".into(),
            tracks: vec![track.clone(), track],
            ..proto::ParticipantInfo::default()
        };
        let join = proto::JoinResponse {
            other_participants: vec![other; others],
            ..proto::JoinResponse::default()
        };
        proto::SignalResponse {
            message: Some(proto::signal_response::Message::Join(join)),
        }
        .encode_to_vec()
    }

    #[test]
    fn a_large_room_is_moderate_and_a_bomb_is_not() {
        assert!(is_moderate(&join(3_000)));
        // Field 3 of field 1, empty, a million times: two bytes each.
        let bomb = [0x1a, 0].repeat(1_000_000);
        let mut message = vec![0x0a];
        let mut length = bomb.len();
        while length >= 0x80 {
            message.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        message.push(u8::try_from(length).unwrap());
        message.extend(bomb);
        assert!(!is_moderate(&message));
        let decoded = proto::SignalResponse::decode(&message[..message.len().min(9)]);
        assert!(decoded.is_err(), "cut short");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    fn a_flood_is_too_much_and_a_busy_room_is_not() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        // 100 kB ten times a second, for an hour.
        for n in 0..36_000 {
            assert!(budget.take(100_000, start + Duration::from_millis(100) * n));
        }
        let mut budget = Budget::new(start);
        let taken = (0..100_000).take_while(|_| budget.take(0, start)).count();
        assert_eq!(taken, 32 * 1_024);
        assert!(budget.take(0, start + Duration::from_secs(1)));
    }

    proptest! {
        #[test]
        fn anything_is_weighed_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(is_moderate(&bytes));
        }
    }
}
