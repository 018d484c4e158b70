//! Datagrams on their way out, side by side in one buffer that a thread keeps.

use std::net::SocketAddr;
use std::ops::Range;

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

    /// Each datagram with its destination.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        self.datagrams
            .iter()
            .filter_map(|(range, to)| Some((self.bytes.get(range.clone())?, *to)))
    }

    /// Forgets all, and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.datagrams.clear();
        self.destination = None;
    }
}
