//! What the kernel says of a process: CPU time, memory, and what its sockets dropped.

use std::collections::BTreeSet;
use std::fs;

use crate::prober::host::{cpu_ms, resident_bytes};

/// One reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user mode and kernel, of all threads, ended ones included, in milliseconds.
    pub cpu_ms: u64,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Datagrams that died in the full receive buffers of its UDP sockets that are open now.
    pub drops: u64,
    /// Open files.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

impl Usage {
    /// Reads `/proc`; `None` once the process is gone.
    pub fn read(pid: u32) -> Option<Usage> {
        let text = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
        let sockets = sockets(pid);
        let drops = ["net/udp", "net/udp6"]
            .iter()
            .filter_map(|name| Some(drops(&text(name)?, &sockets)))
            .sum();
        Some(Usage {
            cpu_ms: cpu_ms(&text("stat")?)?,
            resident_bytes: resident_bytes(&text("status")?)?,
            drops,
            descriptors: entries(pid, "fd")?,
            threads: entries(pid, "task")?,
        })
    }
}

/// CPU time of a process's thread of this name, in milliseconds.
pub fn thread_cpu_ms(pid: u32, name: &str) -> Option<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let stats = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
    let named = format!("({name})");
    stats
        .into_iter()
        .find(|stat| stat.contains(&named))
        .and_then(|stat| cpu_ms(&stat))
}

/// How many entries a folder of a process has.
fn entries(pid: u32, folder: &str) -> Option<u64> {
    let entries = fs::read_dir(format!("/proc/{pid}/{folder}")).ok()?;
    u64::try_from(entries.count()).ok()
}

/// The inodes of a process's sockets.
fn sockets(pid: u32) -> BTreeSet<u64> {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return BTreeSet::new();
    };
    files
        .flatten()
        .filter_map(|file| {
            let target = fs::read_link(file.path()).ok()?;
            let inode = target.to_str()?.strip_prefix("socket:[")?;
            inode.strip_suffix(']')?.parse().ok()
        })
        .collect()
}

/// The last column of `/proc/net/udp`, over the sockets named.
fn drops(table: &str, sockets: &BTreeSet<u64>) -> u64 {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(9);
            let inode = fields.next()?.parse().ok()?;
            let drops: u64 = fields.last()?.parse().ok()?;
            sockets.contains(&inode).then_some(drops)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_of_the_sockets_named() {
        let line = |inode: u64, drops: u64| {
            format!(
                "  1: 0100007F:A028 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 {inode} 2 0000000000000000 {drops}\n"
            )
        };
        let table = format!("header\n{}{}{}", line(7, 3), line(8, 5), line(9, 11));
        assert_eq!(drops(&table, &BTreeSet::from([7, 9])), 14);
    }

    #[test]
    fn a_process_can_be_read_and_a_missing_one_is_none() {
        let _socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let usage = Usage::read(std::process::id()).unwrap();
        assert!(usage.resident_bytes > 0 && usage.drops == 0, "{usage:?}");
        assert!(usage.descriptors > 3 && usage.threads > 1, "{usage:?}");
        assert!(!sockets(std::process::id()).is_empty());
        assert_eq!(Usage::read(0), None);
    }
}
