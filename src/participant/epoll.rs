//! Which of many sockets got something.
#![expect(unsafe_code, reason = "epoll needs the C library")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// How often it is told that a socket has something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Once for each time that something came: who is told takes all.
    Once,
    /// Each time that is asked, while something is there.
    WhileThere,
}

/// Tells which of many sockets got something.
#[derive(Debug)]
pub struct Epoll {
    descriptor: OwnedFd,
    ready: Vec<libc::epoll_event>,
}

impl Epoll {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// When no descriptor is free.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed; the result is checked before it is owned.
        let descriptor = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            // SAFETY: the descriptor is new and nobody else's.
            descriptor: unsafe { OwnedFd::from_raw_fd(descriptor) },
            ready: vec![libc::epoll_event { events: 0, u64: 0 }; 1_024],
        })
    }

    /// Watches a socket under a number, until it is closed.
    ///
    /// # Errors
    /// When the kernel's limit of watches is reached.
    pub fn add(&self, socket: &impl AsFd, number: usize, told: Told) -> io::Result<()> {
        let edge = match told {
            Told::Once => libc::EPOLLET,
            Told::WhileThere => 0,
        };
        self.control(libc::EPOLL_CTL_ADD, socket, libc::EPOLLIN | edge, number)
    }

    /// Watches a socket no longer, if it did.
    pub fn remove(&self, socket: &impl AsFd) {
        // Not watched is as good.
        let _ = self.control(libc::EPOLL_CTL_DEL, socket, 0, 0);
    }

    fn control(
        &self,
        what: libc::c_int,
        socket: &impl AsFd,
        events: libc::c_int,
        number: usize,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: events.cast_unsigned(),
            u64: u64::try_from(number).unwrap_or(u64::MAX),
        };
        let (epoll, socket) = (self.descriptor.as_raw_fd(), socket.as_fd().as_raw_fd());
        // SAFETY: `event` outlives the call.
        let result = unsafe { libc::epoll_ctl(epoll, what, socket, &raw mut event) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Appends the numbers of sockets that have something to be told; does not wait.
    pub fn ready(&mut self, numbers: &mut Vec<usize>) {
        let room = libc::c_int::try_from(self.ready.len()).unwrap_or(0);
        // SAFETY: `room` events are there.
        let count = unsafe {
            libc::epoll_wait(
                self.descriptor.as_raw_fd(),
                self.ready.as_mut_ptr(),
                room,
                0,
            )
        };
        let count = usize::try_from(count).unwrap_or(0);
        let ready = self.ready.iter().take(count);
        numbers.extend(ready.filter_map(|event| usize::try_from(event.u64).ok()));
    }
}
