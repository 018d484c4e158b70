//! The order in which streams send what is due, so that it leaves in few runs.

/// What is due of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Index of the track.
    pub track: usize,
    /// Index of the stream within it.
    pub layer: usize,
    /// Bytes of media in a packet.
    pub size: usize,
    /// Whether there is but one.
    pub lone: bool,
}

/// The longest first; but behind packets that are equally long comes the shortest lone one that is
/// left, as a run ends with its first shorter packet, and whatever came before it would end it.
pub fn arrange(due: &mut [Due]) {
    due.sort_by_key(|due| std::cmp::Reverse(due.size));
    let mut rest = due;
    while let Some((first, others)) = std::mem::take(&mut rest).split_first_mut() {
        rest = others;
        if first.lone {
            continue;
        }
        let Some(shortest) = rest.iter().rposition(|due| due.lone) else {
            return;
        };
        if let Some(moved) = rest.get_mut(..=shortest) {
            moved.rotate_right(1);
        }
        rest = rest.get_mut(1..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes and numbers of packets, in order.
    fn arranged(packets: &[(usize, usize)]) -> Vec<(usize, usize)> {
        let each = packets.iter().enumerate();
        let mut due: Vec<_> = each
            .map(|(track, (size, packets))| Due {
                track,
                layer: 0,
                size: *size,
                lone: *packets == 1,
            })
            .collect();
        arrange(&mut due);
        due.iter().map(|due| packets[due.track]).collect()
    }

    #[test]
    fn a_lone_packet_ends_a_run_of_longer_ones() {
        let (high, medium, low, sound) = ((1_100, 6), (900, 2), (700, 1), (120, 1));
        for (packets, expected) in [
            (&[sound, high][..], &[high, sound][..]),
            (&[low, medium, high], &[high, low, medium]),
            (&[low, medium, high, sound], &[high, sound, medium, low]),
            (&[sound, low], &[low, sound]),
            (&[medium, high], &[high, medium]),
            (&[], &[]),
        ] {
            assert_eq!(arranged(packets), expected);
        }
    }

    #[test]
    fn what_is_longer_than_a_run_precedes_it() {
        let (keyframe, medium, sound) = ((1_000, 1), (900, 2), (120, 1));
        assert_eq!(
            arranged(&[medium, sound, keyframe]),
            [keyframe, medium, sound]
        );
    }
}
