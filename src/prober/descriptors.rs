//! Open files: whether this process may open as many as its participants need.
#![expect(
    unsafe_code,
    reason = "getrlimit and setrlimit have no safe form; each call says why it is sound"
)]

use std::fs;
use std::io;

/// A participant's signalling connection and one peer connection.
const PER_SUBSCRIBER: u64 = 2;
/// A publisher has both of LiveKit's peer connections.
const PER_PUBLISHER: u64 = 3;
/// For everything else: logs, the bucket, name servers.
const RESERVE: u64 = 64;

/// Why participants can't be had.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorError {
    /// The limit is too low and can't be raised from here.
    #[error(
        "{participants} participants need {needed} open files, and this process may open {allowed}: {missing} are missing; raise the hard limit (`ulimit -Hn {needed}`, systemd's LimitNOFILE, a container's nofile), or run fewer participants here", missing = needed.saturating_sub(*allowed)
    )]
    TooFew {
        /// Participants wanted.
        participants: u64,
        /// Files that must be open at once, those that are open already included.
        needed: u64,
        /// The hard limit.
        allowed: u64,
    },
    /// The system does not tell, or refuses.
    #[error("the limit of open files can't be read or raised: {0}")]
    System(#[from] io::Error),
}

/// Makes sure that so many participants can have their sockets beside what is open already: raises
/// the soft limit of open files if need be. An eighth more is held free, for those that leave
/// while others join.
///
/// # Errors
/// When the hard limit is too low.
pub fn provide(subscribers: u64, publishers: u64) -> Result<(), DescriptorError> {
    let needed = needed(open_now(), subscribers, publishers);
    let (soft, hard) = limits()?;
    match raised(soft, hard, needed) {
        Some(limit) if limit > soft => Ok(raise(limit, hard)?),
        Some(_) => Ok(()),
        None => Err(DescriptorError::TooFew {
            participants: subscribers.saturating_add(publishers),
            needed,
            allowed: hard,
        }),
    }
}

/// How many files this process may open, once its limit is raised as far as it can be.
///
/// # Errors
/// When the system does not tell.
pub fn allowed() -> Result<u64, DescriptorError> {
    Ok(limits()?.1)
}

const fn needed(open: u64, subscribers: u64, publishers: u64) -> u64 {
    let sockets = subscribers
        .saturating_mul(PER_SUBSCRIBER)
        .saturating_add(publishers.saturating_mul(PER_PUBLISHER));
    open.saturating_add(sockets)
        .saturating_add(sockets / 8)
        .saturating_add(RESERVE)
}

/// The soft limit that lets `needed` files be open; `None` when there is none.
const fn raised(soft: u64, hard: u64, needed: u64) -> Option<u64> {
    if needed <= soft {
        Some(soft)
    } else if needed <= hard {
        Some(needed)
    } else {
        None
    }
}

/// Files that are open in this process.
fn open_now() -> u64 {
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    u64::try_from(open).unwrap_or(u64::MAX)
}

fn limits() -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` outlives the call, which writes it.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if result == 0 {
        Ok((limit.rlim_cur, limit.rlim_max))
    } else {
        Err(io::Error::last_os_error())
    }
}

fn raise(soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: `limit` outlives the call, which reads it.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_to_what_is_needed_and_never_below_what_it_was() {
        for (soft, hard, needed, limit) in [
            (1_024, 20_000, 1_000, Some(1_024)),
            (1_024, 20_000, 2_300, Some(2_300)),
            (1_024, 2_000, 2_300, None),
        ] {
            assert_eq!(raised(soft, hard, needed), limit);
        }
    }

    #[test]
    fn what_is_missing_is_said_and_nothing_is_changed() {
        provide(1, 1).unwrap();
        let before = limits().unwrap();
        if before.1 < 1 << 40 {
            let error = provide(before.1, 0).unwrap_err().to_string();
            assert!(
                error.contains("are missing") && error.contains("ulimit -Hn"),
                "{error}"
            );
        }
        assert_eq!(limits().unwrap(), before);
    }
}
