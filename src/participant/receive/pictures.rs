//! The stamps of pictures that have theirs in the first packet, as with H.264: a picture has come
//! once its last one has, which its marker tells.

use crate::participant::stamp::Stamp;

/// Pictures of which one of the two may be awaited at once: as many as come while a packet is given
/// a second to come again.
const PICTURES: usize = 32;

/// What has come of a picture, and waits for the other.
#[derive(Clone, Copy, Debug)]
enum Half {
    Stamp(Stamp),
    End,
}

/// Those of one track.
#[derive(Debug, Default)]
pub struct Pictures {
    /// By RTP timestamp, those that are whole as `None`. A ring: a new picture takes the place of
    /// the oldest, whatever became of that.
    latest: Vec<(u32, Option<Half>)>,
    next: usize,
}

impl Pictures {
    /// A packet came, not for the second time, of the picture at `timestamp`: with this stamp, and
    /// as the last one if it `ends`. Returns the stamp if with that both are here.
    pub fn packet(&mut self, timestamp: u32, stamp: Option<Stamp>, ends: bool) -> Option<Stamp> {
        let half = match (stamp, ends) {
            (None, false) => return None,
            (Some(stamp), true) => return Some(stamp),
            (Some(stamp), false) => Half::Stamp(stamp),
            (None, true) => Half::End,
        };
        let mut pictures = self.latest.iter_mut();
        let Some((_, waiting)) = pictures.find(|(of, half)| *of == timestamp && half.is_some())
        else {
            self.wait(timestamp, half);
            return None;
        };
        let whole = match (*waiting, half) {
            (Some(Half::Stamp(stamp)), Half::End) | (Some(Half::End), Half::Stamp(stamp)) => {
                Some(stamp)
            }
            // A second one of the same kind: no picture has two.
            _ => None,
        };
        if whole.is_some() {
            *waiting = None;
        }
        whole
    }

    fn wait(&mut self, timestamp: u32, half: Half) {
        let picture = (timestamp, Some(half));
        match self.latest.get_mut(self.next) {
            Some(oldest) => *oldest = picture,
            None => self.latest.push(picture),
        }
        self.next = (self.next + 1) % PICTURES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stamp(sequence: u32) -> Stamp {
        Stamp {
            source: 1,
            sequence,
            unix_us: 0,
        }
    }

    /// Which stamps these packets bring: a picture each, whether it has the stamp, and whether it is
    /// the last.
    fn bring(packets: &[(u32, bool, bool)]) -> Vec<Option<u32>> {
        let mut pictures = Pictures::default();
        let packet = |(picture, stamped, ends): &(u32, bool, bool)| {
            let stamp = stamped.then(|| stamp(*picture));
            let brought = pictures.packet(picture.wrapping_mul(3_000), stamp, *ends);
            brought.map(|stamp| stamp.sequence)
        };
        packets.iter().map(packet).collect()
    }

    const FIRST: (bool, bool) = (true, false);
    const MIDDLE: (bool, bool) = (false, false);
    const LAST: (bool, bool) = (false, true);

    fn of(picture: u32, (stamped, ends): (bool, bool)) -> (u32, bool, bool) {
        (picture, stamped, ends)
    }

    #[test]
    fn a_stamp_counts_when_the_last_packet_has_come() {
        let packets = [of(7, FIRST), of(7, MIDDLE), of(7, MIDDLE), of(7, LAST)];
        assert_eq!(bring(&packets), [None, None, None, Some(7)]);
        assert_eq!(bring(&[(7, true, true)]), [Some(7)], "a lone packet");
    }

    #[test]
    fn one_that_is_overtaken_or_sent_again_counts_when_it_comes() {
        let packets = [of(7, MIDDLE), of(7, LAST), of(7, FIRST)];
        assert_eq!(bring(&packets), [None, None, Some(7)]);
        let interleaved = [of(1, FIRST), of(2, FIRST), of(1, LAST), of(2, LAST)];
        assert_eq!(bring(&interleaved), [None, None, Some(1), Some(2)]);
        let repaired = [of(1, LAST), of(2, FIRST), of(2, LAST), of(1, FIRST)];
        assert_eq!(bring(&repaired), [None, None, Some(2), Some(1)]);
    }

    #[test]
    fn a_picture_without_its_last_packet_or_its_stamp_has_none() {
        let packets = [of(1, FIRST), of(2, LAST), of(3, FIRST), of(3, LAST)];
        assert_eq!(bring(&packets), [None, None, None, Some(3)]);
    }

    #[test]
    fn no_picture_has_two() {
        let packets = [of(1, FIRST), of(1, FIRST), of(1, LAST), of(1, LAST)];
        assert_eq!(bring(&packets), [None, None, Some(1), None]);
    }

    #[test]
    fn half_a_picture_waits_no_longer_than_a_second_of_them() {
        let room = u32::try_from(PICTURES).unwrap();
        for (later, waits) in [(room - 1, true), (room, false)] {
            let mut packets = vec![of(0, FIRST)];
            packets.extend((1..=later).flat_map(|n| [of(n, FIRST), of(n, LAST)]));
            packets.push(of(0, LAST));
            assert_eq!(bring(&packets).pop(), Some(waits.then_some(0)), "{later}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_little_is_held_and_nothing_made_up(
            packets in proptest::collection::vec((0u32..60, any::<bool>(), any::<bool>()), 0..400),
        ) {
            let stamped = packets.iter().filter(|(_, stamped, _)| *stamped).count();
            let brought = bring(&packets);
            prop_assert!(brought.iter().flatten().count() <= stamped);
            for (packet, brought) in packets.iter().zip(brought) {
                prop_assert!(brought.is_none_or(|picture| picture == packet.0));
            }
            let mut pictures = Pictures::default();
            for (picture, stamped, ends) in packets {
                pictures.packet(picture, stamped.then(|| stamp(picture)), ends);
            }
            prop_assert!(pictures.latest.len() <= PICTURES);
        }
    }
}
