//! What carries a peer's datagrams: a UDP socket, or a TCP stream once it is there.

use std::os::fd::{AsFd, BorrowedFd};

use serde::{Deserialize, Serialize};

use super::outbox::Outbox;
use super::tcp::Stream;
use super::udp::Socket;

/// How media travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// As WebRTC's clients do where they can.
    #[default]
    Udp,
    /// ICE over TCP (RFC 6544), to a port where the server waits. The network's losses are delays
    /// then, and of what comes within a millisecond the kernel says when the last did.
    Tcp,
}

impl Transport {
    /// `udp` or `tcp`, as candidates have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// What carries a peer's datagrams.
#[derive(Debug)]
pub enum Carrier {
    /// Datagrams as they are.
    Udp(Socket),
    /// Datagrams in a stream.
    Tcp(Stream),
    /// A stream that is not connected yet: what is sent is lost.
    Awaited,
}

impl Carrier {
    /// Sends all of the outbox. Returns how many datagrams did not go.
    pub fn send(&mut self, outbox: &Outbox) -> u64 {
        match self {
            Self::Udp(socket) if outbox.len() > 0 => socket.send(outbox),
            Self::Tcp(stream) if outbox.len() > 0 || stream.is_behind() => stream.send(outbox),
            Self::Udp(_) | Self::Tcp(_) | Self::Awaited => 0,
        }
    }

    /// Whether something waits to be sent with the next call of [`Carrier::send`].
    pub const fn is_behind(&self) -> bool {
        matches!(self, Self::Tcp(stream) if stream.is_behind())
    }

    /// System calls that received or sent, since the last call.
    pub fn take_calls(&mut self) -> u64 {
        match self {
            Self::Udp(socket) => socket.take_calls(),
            Self::Tcp(stream) => stream.take_calls(),
            Self::Awaited => 0,
        }
    }

    /// What tells whether something came.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Udp(socket) => Some(socket.as_fd()),
            Self::Tcp(stream) => Some(stream.as_fd()),
            Self::Awaited => None,
        }
    }
}
