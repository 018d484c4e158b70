//! What a stream brought, with when it came: what std's sockets don't tell.
#![expect(
    unsafe_code,
    reason = "recvmsg tells when something came, and is not in std"
)]

use std::io;
use std::mem;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::udp::{CONTROL, Control, read_control, set_option};

/// Has the kernel tell when what comes from now on came.
///
/// # Errors
/// When the option isn't known (Linux only).
pub fn enable(stream: &TcpStream) -> io::Result<()> {
    set_option(stream, libc::SO_TIMESTAMPNS, 1)
}

/// Reads what waits: how many bytes, and when the last of them came, by the wall clock, since the
/// Unix epoch.
///
/// # Errors
/// As those of a read that does not wait.
pub fn receive(stream: &TcpStream, room: &mut [u8]) -> io::Result<(usize, Option<Duration>)> {
    let mut control = Control([0; CONTROL]);
    let mut part = libc::iovec {
        iov_base: room.as_mut_ptr().cast(),
        iov_len: room.len(),
    };
    // SAFETY: all zeros is a valid header without parts.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL;
    // SAFETY: all that the header points at outlives the call.
    let length = unsafe { libc::recvmsg(stream.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let Ok(length) = usize::try_from(length) else {
        return Err(io::Error::last_os_error());
    };
    let told = control.0.get(..header.msg_controllen.min(CONTROL));
    let (came, _) = read_control(told.unwrap_or_default());
    Ok((length, came))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the kernel's time is held against the clock's"
    )]
    fn what_waited_came_before_it_was_read() {
        const WAITED: Duration = Duration::from_millis(30);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near, _) = listener.accept().unwrap();
        enable(&near).unwrap();
        let mut room = [0; 100];
        let nothing = receive(&near, &mut room).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        // The first socket of a machine that wants to know has the kernel begin a moment later.
        let came = (0..100).find_map(|_| {
            far.write_all(b"first").unwrap();
            std::thread::sleep(WAITED);
            let (length, came) = receive(&near, &mut room).unwrap();
            assert_eq!(&room[..length], b"first");
            came
        });
        let came = std::time::UNIX_EPOCH + came.expect("the kernel tells");
        assert!(came.elapsed().unwrap() >= WAITED);
        drop(far);
        assert_eq!(receive(&near, &mut room).unwrap().0, 0);
    }
}
