//! Datagrams on their way out, side by side in one buffer that a thread keeps.

use std::net::SocketAddr;
use std::ops::Range;

/// The most bytes that leave as one: an IP packet's 65,535 without its headers (RFC 8200, 3;
/// RFC 768).
const MAX_RUN: usize = 65_535 - 40 - 8;

/// Datagrams for one destination that lie side by side. All are as long as the first, but the
/// last may be shorter: so the kernel takes them as one (UDP segmentation offload).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    /// All of them.
    pub bytes: &'a [u8],
    /// Length of each but the last.
    pub segment: usize,
    /// How many there are.
    pub datagrams: usize,
    /// Where to.
    pub to: SocketAddr,
}

/// What a peer wants sent.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    datagrams: Vec<(Range<usize>, SocketAddr)>,
    destination: Option<SocketAddr>,
}

impl Outbox {
    /// Where [`Outbox::push`] sends to; nothing is pushed without.
    pub const fn set_destination(&mut self, to: Option<SocketAddr>) {
        self.destination = to;
    }

    /// Appends a datagram that `write` writes behind what is there. It returns its length, or
    /// `None` to send nothing.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Option<usize>) -> Option<usize> {
        let to = self.destination?;
        let start = self.bytes.len();
        let length = write(&mut self.bytes)?;
        self.datagrams.push((start..start + length, to));
        Some(length)
    }

    /// Appends a datagram for another destination.
    pub fn push_to(&mut self, to: SocketAddr, datagram: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(datagram);
        self.datagrams.push((start..self.bytes.len(), to));
    }

    /// Forgets the datagrams for which `keep` is false.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        let bytes = &self.bytes;
        self.datagrams
            .retain(|(range, _)| bytes.get(range.clone()).is_some_and(&mut keep));
    }

    /// How many datagrams there are.
    pub const fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// All datagrams but the first `skip`, in runs of at most `most`, which is at least 1.
    pub fn runs(&self, skip: usize, most: usize) -> impl Iterator<Item = Run<'_>> {
        let mut rest = self.datagrams.get(skip..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (first, to) = rest.first()?;
            let (mut end, mut datagrams, mut ended) = (first.end, 1, false);
            for (next, next_to) in rest.iter().take(most).skip(1) {
                let beside = next.start == end && next_to == to;
                let fits = next.len() <= first.len() && next.end - first.start <= MAX_RUN;
                if ended || !beside || !fits {
                    break;
                }
                end = next.end;
                datagrams += 1;
                ended = next.len() < first.len();
            }
            rest = rest.get(datagrams..)?;
            Some(Run {
                bytes: self.bytes.get(first.start..end)?,
                segment: first.len(),
                datagrams,
                to: *to,
            })
        })
    }

    /// Forgets all, and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.datagrams.clear();
        self.destination = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ([u8; 4], u16) = ([127, 0, 0, 1], 1);
    const B: ([u8; 4], u16) = ([127, 0, 0, 1], 2);

    fn outbox(datagrams: &[(([u8; 4], u16), usize)]) -> Outbox {
        let mut outbox = Outbox::default();
        for (to, length) in datagrams {
            outbox.push_to((*to).into(), &vec![0; *length]);
        }
        outbox
    }

    /// Segment length and number of datagrams of each run.
    fn runs(outbox: &Outbox, skip: usize, most: usize) -> Vec<(usize, usize)> {
        let runs = outbox.runs(skip, most);
        runs.map(|run| (run.segment, run.datagrams)).collect()
    }

    #[test]
    fn a_run_ends_behind_a_shorter_datagram_and_before_a_longer_one() {
        let outbox = outbox(&[(A, 9), (A, 9), (A, 7), (A, 7), (A, 8), (B, 8), (B, 3)]);
        assert_eq!(runs(&outbox, 0, 64), [(9, 3), (7, 1), (8, 1), (8, 2)]);
        assert_eq!(runs(&outbox, 1, 64), [(9, 2), (7, 1), (8, 1), (8, 2)]);
        assert_eq!(runs(&outbox, 0, 1).len(), 7);
        assert_eq!(runs(&outbox, 7, 64), []);
    }

    #[test]
    fn a_run_is_no_longer_than_an_ip_packet() {
        let outbox = outbox(&[(A, 1_200); 60]);
        assert_eq!(runs(&outbox, 0, 64), [(1_200, 54), (1_200, 6)]);
        assert_eq!(runs(&outbox, 0, 50), [(1_200, 50), (1_200, 10)]);
    }

    #[test]
    fn what_was_forgotten_is_in_no_run() {
        let mut outbox = outbox(&[(A, 5), (A, 4), (A, 5)]);
        outbox.retain(|datagram| datagram.len() == 5);
        assert_eq!(runs(&outbox, 0, 64), [(5, 1), (5, 1)]);
        assert!(outbox.runs(0, 64).all(|run| run.bytes.len() == 5));
    }
}
