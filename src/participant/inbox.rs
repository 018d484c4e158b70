//! A media thread's inbox, which wakes its thread out of a timed wait.
//!
//! The wait takes a length of time, not an instant: std's own hands the kernel an instant of the
//! monotonic clock, which never comes for a process that sees another one (libfaketime).

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvError, RecvTimeoutError, Sender, TryRecvError};
use std::time::{Duration, Instant};

/// An inbox and where to send to it.
///
/// # Errors
/// When no descriptor can be had.
pub fn inbox<T>() -> io::Result<(Post<T>, Inbox<T>)> {
    let (sender, mail) = mpsc::channel();
    let bell = Arc::new(Bell::new()?);
    let post = Post {
        sender,
        bell: Arc::clone(&bell),
    };
    Ok((post, Inbox { mail, bell }))
}

/// Where to send to.
pub struct Post<T> {
    sender: Sender<T>,
    bell: Arc<Bell>,
}

impl<T> Clone for Post<T> {
    fn clone(&self) -> Self {
        Post {
            sender: self.sender.clone(),
            bell: Arc::clone(&self.bell),
        }
    }
}

impl<T> fmt::Debug for Post<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Post")
    }
}

impl<T> Post<T> {
    /// Sends, and wakes whoever waits. `false` when nobody will read it.
    pub fn send(&self, mail: T) -> bool {
        let sent = self.sender.send(mail).is_ok();
        if sent {
            self.bell.ring();
        }
        sent
    }
}

/// What was sent, in its order.
pub struct Inbox<T> {
    mail: Receiver<T>,
    bell: Arc<Bell>,
}

impl<T> Inbox<T> {
    /// Waits for the next.
    ///
    /// # Errors
    /// When there is nobody left to send.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.mail.recv()
    }

    /// The next, if it is there.
    ///
    /// # Errors
    /// When it isn't.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.mail.try_recv()
    }

    /// Waits for the next, `at_most` so long.
    ///
    /// # Errors
    /// When none came, or there is nobody left to send.
    pub fn recv_timeout(&self, at_most: Duration) -> Result<T, RecvTimeoutError> {
        let until = now() + at_most;
        loop {
            match self.mail.try_recv() {
                Ok(mail) => return Ok(mail),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            match until.checked_duration_since(now()) {
                Some(left) if !left.is_zero() => self.bell.wait(left),
                _ => return Err(RecvTimeoutError::Timeout),
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a wait that ends in time")]
fn now() -> Instant {
    Instant::now()
}

/// An eventfd(2).
#[derive(Debug)]
struct Bell(File);

impl Bell {
    #[expect(unsafe_code, reason = "std has no eventfd")]
    fn new() -> io::Result<Bell> {
        // SAFETY: takes two integers, and returns a new descriptor or -1.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is open and owned by nobody else.
        Ok(Bell(unsafe { File::from_raw_fd(fd) }))
    }

    fn ring(&self) {
        // A counter that is full has rung.
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }

    /// Waits until it rings, or a signal comes, `at_most` so long; then it is silent.
    #[expect(unsafe_code, reason = "std has no ppoll")]
    fn wait(&self, at_most: Duration) {
        let mut rings = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(at_most.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: at_most.subsec_nanos().into(),
        };
        // SAFETY: one pollfd and one timespec that live for the call, and no signal mask.
        unsafe { libc::ppoll(&raw mut rings, 1, &raw const timeout, std::ptr::null()) };
        if rings.revents != 0 {
            // A failure is a bell that is silent already.
            let _ = (&self.0).read(&mut [0; 8]);
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a wait is timed")]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_mail_or_in_time() {
        let (post, inbox) = inbox().unwrap();
        let begun = now();
        let none = inbox.recv_timeout(Duration::from_millis(30));
        assert_eq!(none, Err(RecvTimeoutError::Timeout));
        assert!(begun.elapsed() >= Duration::from_millis(30));

        let sent = post.clone();
        let sender = std::thread::spawn(move || {
            for n in 0..100 {
                sent.send(n);
            }
        });
        let hour = Duration::from_secs(3_600);
        let came: Vec<i32> = (0..100)
            .map(|_| inbox.recv_timeout(hour).unwrap())
            .collect();
        assert_eq!(came, (0..100).collect::<Vec<_>>());
        sender.join().unwrap();

        // Rung for mail that was taken already.
        let none = inbox.recv_timeout(Duration::from_millis(20));
        assert_eq!(none, Err(RecvTimeoutError::Timeout));
        drop(post);
        let gone = inbox.recv_timeout(Duration::from_millis(20));
        assert_eq!(gone, Err(RecvTimeoutError::Disconnected));
        assert_eq!(inbox.recv(), Err(RecvError));
        assert_eq!(inbox.try_recv(), Err(TryRecvError::Disconnected));
    }
}
