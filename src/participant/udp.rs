//! Batched UDP: what std's sockets can't do.
#![expect(
    unsafe_code,
    reason = "recvmmsg, sendmmsg and socket options need the C library"
)]

use std::cell::Cell;
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use super::outbox::{Outbox, Run};

/// Datagrams received per system call.
const BATCH: usize = 32;
/// Runs of datagrams sent per system call.
const RUNS: usize = 16;
/// Datagrams that the kernel takes as one (`UDP_MAX_SEGMENTS`, 64 before Linux 6.9).
const SEGMENTS: usize = 64;
/// Larger ones are cut: a WebRTC datagram stays below an Ethernet frame.
const DATAGRAM: usize = 2_048;
/// Room for `SCM_TIMESTAMPNS` and `SO_RXQ_OVFL`, of which each takes 32 bytes at most.
pub const CONTROL: usize = 64;

/// A UDP socket that tells when datagrams came and how many the kernel dropped.
#[derive(Debug)]
pub struct Socket {
    udp: UdpSocket,
    /// Runs of datagrams leave as one; until the kernel or the network card refuses.
    segments: Cell<bool>,
    /// System calls that received or sent, since they were last taken.
    calls: Cell<u64>,
}

impl Socket {
    /// Binds any free port of `ip`'s family.
    ///
    /// # Errors
    /// When no descriptor is free, or an option isn't known (Linux only).
    pub fn bind(ip: IpAddr, receive_buffer: usize) -> io::Result<Self> {
        let any: IpAddr = match ip {
            // A loopback address stays one: nothing then listens beyond this machine.
            ip if ip.is_loopback() => ip,
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_nonblocking(true)?;
        let size = libc::c_int::try_from(receive_buffer).unwrap_or(libc::c_int::MAX);
        set_option(&socket, libc::SO_RCVBUF, size)?;
        set_option(&socket, libc::SO_TIMESTAMPNS, 1)?;
        set_option(&socket, libc::SO_RXQ_OVFL, 1)?;
        Ok(Self {
            udp: socket,
            segments: Cell::new(true),
            calls: Cell::new(0),
        })
    }

    /// System calls that received or sent, since the last call.
    pub fn take_calls(&self) -> u64 {
        self.calls.take()
    }

    /// The port.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.udp.local_addr()?.port())
    }

    /// Sends all of the outbox. Returns how many datagrams the kernel did not take.
    pub fn send(&self, outbox: &Outbox) -> u64 {
        let (mut done, mut failures) = (0, 0);
        while done < outbox.len() {
            let segments = self.segments.get();
            let most = if segments { SEGMENTS } else { 1 };
            match self.send_some(outbox.runs(done, most)) {
                Ok(sent) => done += sent,
                Err((datagrams, e)) if datagrams > 1 && refuses_segments(&e) => {
                    self.segments.set(false);
                }
                // The error is about the first run alone.
                Err((datagrams, _)) => {
                    done += datagrams;
                    failures += u64::try_from(datagrams).unwrap_or(u64::MAX);
                }
            }
        }
        failures
    }

    /// Sends some of the runs, from the first on. Returns how many datagrams went, or why the
    /// first run didn't, with its number of datagrams.
    fn send_some<'a>(
        &self,
        runs: impl Iterator<Item = Run<'a>>,
    ) -> Result<usize, (usize, io::Error)> {
        // SAFETY: all zeros is a valid header without parts.
        let mut headers: [libc::mmsghdr; RUNS] = unsafe { mem::zeroed() };
        // SAFETY: all zeros is a valid part of no length.
        let mut parts: [libc::iovec; RUNS] = unsafe { mem::zeroed() };
        let mut addresses = [const { Address::NONE }; RUNS];
        let mut controls = [SegmentSize::NONE; RUNS];
        let mut datagrams = [0; RUNS];
        let mut count = 0;
        let rooms = headers.iter_mut().zip(&mut parts).zip(&mut addresses);
        let rooms = rooms.zip(&mut controls).zip(&mut datagrams);
        for (((((header, part), address), control), datagrams), run) in rooms.zip(runs) {
            part.iov_base = run.bytes.as_ptr().cast_mut().cast();
            part.iov_len = run.bytes.len();
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            *address = run.to.into();
            header.msg_hdr.msg_name = (&raw mut address.storage).cast();
            header.msg_hdr.msg_namelen = address.length;
            if run.datagrams > 1 {
                control.size = u16::try_from(run.segment).unwrap_or(u16::MAX);
                header.msg_hdr.msg_control = (&raw mut *control).cast();
                header.msg_hdr.msg_controllen = size_of::<SegmentSize>();
            }
            *datagrams = run.datagrams;
            count += 1;
        }
        self.calls.update(|calls| calls + 1);
        let (socket, headers) = (self.udp.as_raw_fd(), headers.as_mut_ptr());
        // SAFETY: `count` headers are there, and what they point at outlives the call.
        let sent = unsafe { libc::sendmmsg(socket, headers, count, libc::MSG_DONTWAIT) };
        let error = io::Error::last_os_error();
        match usize::try_from(sent) {
            Ok(sent @ 1..) => Ok(datagrams.iter().take(sent).sum()),
            _ => Err((datagrams.first().copied().unwrap_or(0).max(1), error)),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.udp.as_fd()
    }
}

/// Whether the error may be about several datagrams in one: no checksum offload (`EIO`), a kernel
/// older than 4.18 (`EINVAL`), a path with a small MTU.
fn refuses_segments(e: &io::Error) -> bool {
    let refusals = [libc::EIO, libc::EINVAL, libc::EMSGSIZE, libc::EOPNOTSUPP];
    e.raw_os_error().is_some_and(|e| refusals.contains(&e))
}

/// A control message (cmsg(3)): at which length to cut what is sent (udp(7), `UDP_SEGMENT`).
#[repr(C)]
#[derive(Clone, Copy)]
struct SegmentSize {
    length: libc::size_t,
    level: libc::c_int,
    kind: libc::c_int,
    size: u16,
    /// A control message takes whole words.
    rest: [u16; 3],
}

impl SegmentSize {
    const NONE: Self = Self {
        // Without the rest.
        length: size_of::<Self>() - size_of::<[u16; 3]>(),
        level: libc::SOL_UDP,
        kind: libc::UDP_SEGMENT,
        size: 0,
        rest: [0; 3],
    };
}

/// Sets an option of the socket layer.
///
/// # Errors
/// When the kernel doesn't know it.
pub fn set_option(
    socket: &impl AsRawFd,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
    // SAFETY: `value` is an int of `length` bytes and outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// An address as the kernel takes it.
struct Address {
    storage: libc::sockaddr_storage,
    length: libc::socklen_t,
}

impl Address {
    const NONE: Self = Self {
        // SAFETY: all zeros is a valid storage of no family.
        storage: unsafe { mem::zeroed() },
        length: 0,
    };
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let mut storage = Self::NONE.storage;
        let length = match address {
            SocketAddr::V4(v4) => {
                let raw = libc::sockaddr_in {
                    sin_family: family(libc::AF_INET),
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from(*v4.ip()).to_be(),
                    },
                    sin_zero: [0; 8],
                };
                // SAFETY: a storage has room and alignment for every family's address.
                unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(raw) };
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(v6) => {
                let raw = libc::sockaddr_in6 {
                    sin6_family: family(libc::AF_INET6),
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr {
                        s6_addr: v6.ip().octets(),
                    },
                    sin6_scope_id: v6.scope_id(),
                };
                // SAFETY: as above.
                unsafe { (&raw mut storage).cast::<libc::sockaddr_in6>().write(raw) };
                size_of::<libc::sockaddr_in6>()
            }
        };
        Self {
            storage,
            length: libc::socklen_t::try_from(length).unwrap_or(0),
        }
    }
}

fn family(constant: libc::c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(constant).unwrap_or_default()
}

fn read_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the kernel wrote this kind of address.
            let raw = unsafe { (&raw const *storage).cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from(u32::from_be(raw.sin_addr.s_addr));
            Some((ip, u16::from_be(raw.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let raw = unsafe { (&raw const *storage).cast::<libc::sockaddr_in6>().read() };
            let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
            let port = u16::from_be(raw.sin6_port);
            Some(SocketAddrV6::new(ip, port, raw.sin6_flowinfo, raw.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// A datagram with what the kernel says about it.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Its payload.
    pub bytes: &'a mut [u8],
    /// Where it came from.
    pub source: SocketAddr,
    /// When it came, by the wall clock, since the Unix epoch.
    pub came: Option<Duration>,
    /// Datagrams that this socket's full buffer dropped in all; wraps.
    pub drops: Option<u32>,
}

/// Room for what the kernel says about a datagram.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Control(pub [u8; CONTROL]);

/// Room for one system call's worth of datagrams, which a thread keeps.
pub struct Batch {
    buffers: Vec<[u8; DATAGRAM]>,
    controls: Vec<Control>,
    addresses: Vec<libc::sockaddr_storage>,
    lengths: Vec<usize>,
    control_lengths: Vec<usize>,
}

impl Batch {
    /// No room at all, to stand in for one that is in use.
    pub const fn empty() -> Self {
        Self {
            buffers: Vec::new(),
            controls: Vec::new(),
            addresses: Vec::new(),
            lengths: Vec::new(),
            control_lengths: Vec::new(),
        }
    }

    /// Room for a batch.
    pub fn new() -> Self {
        Self {
            buffers: vec![[0; DATAGRAM]; BATCH],
            controls: vec![Control([0; CONTROL]); BATCH],
            // SAFETY: all zeros is a valid storage of no family.
            addresses: vec![unsafe { mem::zeroed() }; BATCH],
            lengths: vec![0; BATCH],
            control_lengths: vec![0; BATCH],
        }
    }

    /// Receives what waits on `socket`, at most one batch. Returns whether more may wait.
    pub fn receive(&mut self, socket: &Socket) -> bool {
        self.lengths.clear();
        self.control_lengths.clear();
        // SAFETY: all zeros is a valid header without parts.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        // SAFETY: all zeros is a valid part of no length.
        let mut parts: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
        let rooms = self.buffers.iter_mut().zip(&mut self.controls);
        let rooms = rooms.zip(&mut self.addresses).zip(&mut parts);
        for (header, (((buffer, control), address), part)) in headers.iter_mut().zip(rooms) {
            part.iov_base = buffer.as_mut_ptr().cast();
            part.iov_len = DATAGRAM;
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = (&raw mut *address).cast();
            header.msg_hdr.msg_namelen =
                libc::socklen_t::try_from(size_of::<libc::sockaddr_storage>()).unwrap_or(0);
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL;
        }
        let count = libc::c_uint::try_from(BATCH).unwrap_or(0);
        socket.calls.update(|calls| calls + 1);
        // SAFETY: `count` headers are there, and what they point at outlives the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.udp.as_raw_fd(),
                headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        // A failure (nothing there, or an ICMP error of an earlier send) brings nothing.
        let received = usize::try_from(received).unwrap_or(0);
        for header in headers.iter().take(received) {
            let length = usize::try_from(header.msg_len).unwrap_or(0);
            self.lengths.push(length.min(DATAGRAM));
            self.control_lengths
                .push(header.msg_hdr.msg_controllen.min(CONTROL));
        }
        received == BATCH
    }

    /// The payloads of what was received last.
    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        let rooms = self.buffers.iter().zip(&self.lengths);
        rooms.filter_map(|(buffer, length)| buffer.get(..*length))
    }

    /// What was received last.
    pub fn datagrams(&mut self) -> impl Iterator<Item = Datagram<'_>> {
        let lengths = self.lengths.iter().zip(&self.control_lengths);
        let rooms = self
            .buffers
            .iter_mut()
            .zip(&self.controls)
            .zip(&self.addresses);
        rooms
            .zip(lengths)
            .filter_map(|(((buffer, control), address), (length, control_length))| {
                let (came, drops) = read_control(control.0.get(..*control_length)?);
                Some(Datagram {
                    bytes: buffer.get_mut(..*length)?,
                    source: read_address(address)?,
                    came,
                    drops,
                })
            })
    }
}

/// Reads the kernel's ancillary data, when something came and how much was dropped: a length, a
/// level and a type, then the value, each aligned to a word (cmsg(3)).
pub fn read_control(mut control: &[u8]) -> (Option<Duration>, Option<u32>) {
    const WORD: usize = size_of::<usize>();
    let (mut came, mut drops) = (None, None);
    while let Some((length, rest)) = control.split_first_chunk::<WORD>() {
        let length = usize::from_ne_bytes(*length);
        let Some((level, rest)) = rest.split_first_chunk::<4>() else {
            break;
        };
        let Some((kind, value)) = rest.split_first_chunk::<4>() else {
            break;
        };
        let (level, kind) = (i32::from_ne_bytes(*level), i32::from_ne_bytes(*kind));
        if level == libc::SOL_SOCKET && kind == libc::SCM_TIMESTAMPNS {
            came = value.split_first_chunk::<8>().and_then(|(seconds, rest)| {
                let seconds = u64::try_from(i64::from_ne_bytes(*seconds)).ok()?;
                let nanos = i64::from_ne_bytes(*rest.first_chunk()?);
                Some(Duration::new(seconds, u32::try_from(nanos).ok()?))
            });
        } else if level == libc::SOL_SOCKET && kind == libc::SO_RXQ_OVFL {
            drops = value.first_chunk().map(|v| u32::from_ne_bytes(*v));
        }
        match control.get(length.next_multiple_of(WORD)..) {
            Some(next) if length >= WORD => control = next,
            _ => break,
        }
    }
    (came, drops)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the kernel's time is held against the clock's"
    )]
    fn datagrams_come_with_their_time_and_the_drops_before_them() {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (from, to) = (
            Socket::bind(ip, 4_096).unwrap(),
            Socket::bind(ip, 4_096).unwrap(),
        );
        let address = SocketAddr::new(ip, to.port().unwrap());
        let mut outbox = Outbox::default();
        for i in 0..100 {
            outbox.push_to(address, &[i; 1_000]);
        }
        assert_eq!(from.send(&outbox), 0);
        let mut batch = Batch::new();
        let mut epoll = super::super::epoll::Epoll::new().unwrap();
        epoll.add(&to, 7, super::super::epoll::Told::Once).unwrap();
        let mut ready = Vec::new();
        epoll.ready(&mut ready);
        assert_eq!(ready, [7]);
        let mut received = Vec::new();
        loop {
            let more = batch.receive(&to);
            for datagram in batch.datagrams() {
                assert_eq!(datagram.source.port(), from.port().unwrap());
                assert_eq!(datagram.bytes.len(), 1_000);
                let came = std::time::UNIX_EPOCH + datagram.came.unwrap();
                assert!(came.elapsed().unwrap() < Duration::from_secs(10));
                received.push(datagram.bytes[0]);
            }
            if !more {
                break;
            }
        }
        assert!(
            received.is_sorted() && (1..100).contains(&received.len()),
            "{received:?}"
        );
        // The count comes with the next datagram.
        outbox.clear();
        outbox.push_to(address, b"x");
        from.send(&outbox);
        batch.receive(&to);
        let drops: Vec<_> = batch.datagrams().map(|d| d.drops).collect();
        assert_eq!(drops, [Some(100 - u32::try_from(received.len()).unwrap())]);
    }
}
