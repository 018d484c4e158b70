//! What the machine says of this process, from `/proc`.

use std::fs;
use std::time::Duration;

/// Linux counts CPU time for `/proc` in hundredths of a second (`USER_HZ`), on all architectures
/// that Rust's standard library supports.
const TICK_MS: u64 = 10;

/// One reading; two of them make a difference. What can't be read is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostSample {
    /// CPU time of this process, in milliseconds.
    pub cpu_ms: Option<u64>,
    /// Time that its threads waited for a processor, in milliseconds.
    pub run_delay_ms: Option<u64>,
    /// All processors' (busy, total) time, in ticks.
    pub machine: Option<(u64, u64)>,
    /// Resident memory, in bytes.
    pub resident_bytes: Option<u64>,
}

impl HostSample {
    /// Reads `/proc` now.
    pub fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).ok();
        Self {
            cpu_ms: text("/proc/self/stat").as_deref().and_then(cpu_ms),
            run_delay_ms: run_delay_ms(),
            machine: text("/proc/stat").as_deref().and_then(machine),
            resident_bytes: text("/proc/self/status")
                .as_deref()
                .and_then(resident_bytes),
        }
    }

    /// Busy share of all processors since `earlier`, in percent.
    pub fn machine_busy_percent(&self, earlier: &HostSample) -> Option<f64> {
        let ((busy, total), (busy0, total0)) = (self.machine?, earlier.machine?);
        let span = total.checked_sub(total0).filter(|s| *s > 0)?;
        Some(busy.saturating_sub(busy0) as f64 / span as f64 * 100.0)
    }
}

/// How many processors this process may use, as a fraction where a cgroup's quota says so.
pub fn processors() -> f64 {
    let allowed = std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
    match fs::read_to_string("/sys/fs/cgroup/cpu.max")
        .ok()
        .as_deref()
        .and_then(quota)
    {
        Some(q) => allowed.min(q),
        None => allowed,
    }
}

/// How long ago this process was started, to a hundredth of a second.
pub fn process_age() -> Option<Duration> {
    let text = |path: &str| fs::read_to_string(path).ok();
    age(&text("/proc/self/stat")?, &text("/proc/uptime")?)
}

/// A process's age by its `stat` and the system's `uptime`, both counted from the boot.
fn age(stat: &str, uptime: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let started: u64 = rest.split_whitespace().nth(19)?.parse().ok()?;
    let up: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let up = Duration::try_from_secs_f64(up).ok()?;
    up.checked_sub(Duration::from_millis(started * TICK_MS))
}

fn quota(cpu_max: &str) -> Option<f64> {
    let (quota, period) = cpu_max.trim().split_once(' ')?;
    Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
}

/// CPU time in a process's `stat`, in milliseconds.
pub fn cpu_ms(stat: &str) -> Option<u64> {
    // The command name may hold spaces and parentheses: fields count from the last ')'.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * TICK_MS)
}

fn run_delay_ms() -> Option<u64> {
    let mut sum_ns: u64 = 0;
    for task in fs::read_dir("/proc/self/task").ok()?.flatten() {
        // A thread may end between the listing and the reading.
        let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else {
            continue;
        };
        sum_ns = sum_ns.saturating_add(text.split_whitespace().nth(1)?.parse().ok()?);
    }
    Some(sum_ns / 1_000_000)
}

fn machine(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .take(8)
        .map(|t| t.parse().ok())
        .collect::<Option<_>>()?;
    let total: u64 = ticks.iter().sum();
    // idle and iowait
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    Some((total.saturating_sub(idle), total))
}

/// Resident memory in a process's `status`, in bytes.
pub fn resident_bytes(status: &str) -> Option<u64> {
    bytes_of("VmRSS:", status)
}

/// The most memory that was resident so far, in a process's `status`, in bytes.
pub fn peak_bytes(status: &str) -> Option<u64> {
    bytes_of("VmHWM:", status)
}

fn bytes_of(name: &str, status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix(name))?;
    line.split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()
        .map(|kb| kb * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read_as_linux_writes_them() {
        assert_eq!(
            cpu_ms("7 (a b) c) S 1 7 7 0 -1 4194560 1 0 0 0 12 34 0 0 20 0 1"),
            Some(460)
        );
        assert_eq!(
            machine("cpu  10 0 20 60 10 0 0 0 0 0\ncpu0 1"),
            Some((30, 100))
        );
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t  12 kB\n"), Some(12_288));
        assert_eq!(quota("150000 100000\n"), Some(1.5));
        assert_eq!(quota("max 100000\n"), None);
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 0 0 0 12 34 0 0 20 0 1 0 12345 0 0";
        assert_eq!(
            age(stat, "125.95 200.00\n"),
            Some(Duration::from_millis(2_500))
        );
        assert_eq!(age(stat, "1.00 2.00\n"), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let s = HostSample::read();
        assert!(
            s.cpu_ms.is_some() && s.resident_bytes.is_some_and(|b| b > 0),
            "{s:?}"
        );
    }
}
