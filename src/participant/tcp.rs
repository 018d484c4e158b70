//! ICE over TCP: datagrams in a stream, each behind its length (RFC 4571; RFC 6544).

use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::outbox::Outbox;
use super::stamped;

/// Bytes of a datagram's length, in network order (RFC 4571 section 2).
const LENGTH: usize = 2;
/// Bytes taken per system call.
const PIECE: usize = 64 * 1_024;
/// System calls for one look at the stream: a fast sender leaves time for the neighbours.
const READS_MAX: usize = 16;
/// Bytes that may wait for the kernel to take them. Media that are later than that are of no use:
/// a second of three layers of video.
const WAITING_MAX: usize = 512 * 1_024;

/// A stream of datagrams that does not wait.
#[derive(Debug)]
pub struct Stream {
    tcp: TcpStream,
    remote: SocketAddr,
    /// What came and is no whole datagram yet.
    received: Vec<u8>,
    /// What the kernel has not taken yet.
    waiting: Vec<u8>,
    calls: u64,
}

impl Stream {
    /// Of a connection that is established.
    ///
    /// # Errors
    /// When the connection is gone already.
    pub fn new(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nonblocking(true)?;
        tcp.set_nodelay(true)?;
        stamped::enable(&tcp)?;
        Ok(Self {
            remote: tcp.peer_addr()?,
            tcp,
            received: Vec::new(),
            waiting: Vec::new(),
            calls: 0,
        })
    }

    /// This end.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// The other end.
    pub const fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// System calls that received or sent, since the last call.
    pub const fn take_calls(&mut self) -> u64 {
        std::mem::replace(&mut self.calls, 0)
    }

    /// Receives what waits, and hands over each whole datagram with when it came, by the wall
    /// clock, since the Unix epoch. Of what came since the last look that is when the last did.
    ///
    /// # Errors
    /// When the connection has ended or broke; what came before was handed over.
    pub fn receive(&mut self, mut take: impl FnMut(&mut [u8], Option<Duration>)) -> io::Result<()> {
        for _ in 0..READS_MAX {
            let before = self.received.len();
            self.received.resize(before + PIECE, 0);
            self.calls += 1;
            let room = self.received.get_mut(before..).unwrap_or_default();
            let read = stamped::receive(&self.tcp, room);
            let (count, came) = *read.as_ref().unwrap_or(&(0, None));
            self.received.truncate(before + count);
            self.hand_over(came, &mut take);
            match read {
                Ok((0, _)) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok((PIECE, _)) => {}
                Ok(_) => break,
                Err(e) if is_passing(&e) => break,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn hand_over(
        &mut self,
        came: Option<Duration>,
        take: &mut impl FnMut(&mut [u8], Option<Duration>),
    ) {
        let all = self.received.len();
        let mut rest = self.received.as_mut_slice();
        let mut left = all;
        while let Some((length, behind)) = rest.split_first_chunk_mut::<LENGTH>() {
            let length = usize::from(u16::from_be_bytes(*length));
            let Some((datagram, behind)) = behind.split_at_mut_checked(length) else {
                break;
            };
            take(datagram, came);
            left = behind.len();
            rest = behind;
        }
        self.received.drain(..all - left);
    }

    /// Sends all of the outbox, as far as the kernel takes it; the rest goes with the next call.
    /// Returns how many datagrams never will.
    pub fn send(&mut self, outbox: &Outbox) -> u64 {
        let mut failures = 0;
        for run in outbox.runs(0, 1) {
            let fits = self.waiting.len() + LENGTH + run.bytes.len() <= WAITING_MAX;
            match u16::try_from(run.bytes.len()) {
                Ok(length) if fits && run.to == self.remote => {
                    self.waiting.extend_from_slice(&length.to_be_bytes());
                    self.waiting.extend_from_slice(run.bytes);
                }
                _ => failures += 1,
            }
        }
        while !self.waiting.is_empty() {
            self.calls += 1;
            match self.tcp.write(&self.waiting) {
                Ok(sent) => drop(self.waiting.drain(..sent)),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if is_passing(&e) => break,
                // Reading tells that the connection is over.
                Err(_) => {
                    self.waiting.clear();
                    failures += 1;
                }
            }
        }
        failures
    }

    /// Whether something waits for the kernel to take it.
    pub const fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}

fn is_passing(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    fn pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        (Stream::new(near).unwrap(), far)
    }

    /// Receives until `count` datagrams came, or the connection ended.
    fn received(stream: &mut Stream, count: usize) -> (Vec<Vec<u8>>, io::Result<()>) {
        let mut all = Vec::new();
        loop {
            let result = stream.receive(|datagram, _| all.push(datagram.to_vec()));
            if result.is_err() || all.len() >= count {
                return (all, result);
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn datagrams_come_whole_however_the_stream_is_cut() {
        let (mut near, mut far) = pair();
        far.write_all(&[0, 3, 1, 2, 3, 0, 0, 0, 2, 9]).unwrap();
        let (came, result) = received(&mut near, 2);
        assert!(result.is_ok());
        assert_eq!(came, [vec![1, 2, 3], vec![]]);
        far.write_all(&[8, 0]).unwrap();
        assert_eq!(received(&mut near, 1).0, [vec![9, 8]]);
        far.write_all(&[9, 7]).unwrap();
        drop(far);
        let (came, result) = received(&mut near, 1);
        assert_eq!(came, Vec::<Vec<u8>>::new());
        assert_eq!(result.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_the_kernel_does_not_take_waits_and_then_is_dropped() {
        let (mut near, mut far) = pair();
        let (to, elsewhere) = (near.remote(), (Ipv4Addr::LOCALHOST, 9).into());
        let mut outbox = Outbox::default();
        outbox.push_to(elsewhere, b"nobody");
        outbox.push_to(to, b"first");
        assert_eq!(near.send(&outbox), 1);
        assert!(!near.is_behind());
        let mut bytes = [0; 7];
        far.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"\0\x05first");

        outbox.clear();
        outbox.push_to(to, &[7; 1_200]);
        let mut sent = 0_usize;
        let mut dropped = 0;
        while dropped == 0 {
            dropped = near.send(&outbox);
            sent += 1;
            assert!(sent < 1_000_000);
        }
        assert!(near.is_behind());
        let reader = std::thread::spawn(move || {
            let mut bytes = vec![0; (sent - 1) * 1_202];
            far.read_exact(&mut bytes).map(|()| bytes)
        });
        outbox.clear();
        while near.is_behind() {
            assert_eq!(near.send(&outbox), 0);
            std::thread::yield_now();
        }
        let bytes = reader.join().unwrap().unwrap();
        assert!(
            bytes
                .chunks(1_202)
                .all(|b| b[..2] == [4, 176] && b[2..] == [7; 1_200])
        );
    }
}
