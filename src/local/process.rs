//! A child process that never outlives its owner.

#![expect(
    clippy::disallowed_methods,
    reason = "waiting for a child to end is this edge's work"
)]
#![expect(
    unsafe_code,
    reason = "pre_exec, prctl and kill have no safe form; each call says why it is sound"
)]

use std::collections::VecDeque;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

/// How many of a child's last lines are kept to explain its failure.
const TAIL_LINES: usize = 20;

/// A started child. Its lines go to the log at debug level under its name.
///
/// It ends with its owner: dropped, it is killed; when the owner itself dies, by whatever
/// signal, Linux kills it too. It has a process group of its own, so a Ctrl-C in the
/// terminal reaches the owner alone, who then decides the order.
pub struct Process {
    name: String,
    child: Child,
    tail: Arc<Mutex<VecDeque<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts `command` under `name`. Its standard input is empty.
    ///
    /// Call this from a runtime worker, not from `spawn_blocking`: Linux counts the end of
    /// the spawning *thread* as the owner's death (prctl(2), PR_SET_PDEATHSIG).
    pub fn start(name: impl Into<String>, command: Command) -> io::Result<Process> {
        Self::start_telling(name, command, None)
    }

    /// [`start`](Self::start); `lines` gets what it writes to its standard output as well.
    pub fn start_telling(
        name: impl Into<String>,
        mut command: Command,
        lines: Option<UnboundedSender<String>>,
    ) -> io::Result<Process> {
        let name = name.into();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        die_with_owner(&mut command);
        let mut child = command.spawn()?;
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let mut readers = Vec::new();
        if let Some(out) = child.stdout.take() {
            readers.push(tokio::spawn(follow(
                name.clone(),
                out,
                Arc::clone(&tail),
                lines,
            )));
        }
        if let Some(err) = child.stderr.take() {
            readers.push(tokio::spawn(follow(
                name.clone(),
                err,
                Arc::clone(&tail),
                None,
            )));
        }
        tracing::debug!(child = %name, pid = child.id(), "started");
        Ok(Process {
            name,
            child,
            tail,
            readers,
        })
    }

    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, until it has been waited for.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for it to end by itself, and for the last of its lines.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        for reader in self.readers.drain(..) {
            // A grandchild may hold the pipe open; its lines are not worth waiting for.
            let _ = tokio::time::timeout(Duration::from_millis(500), reader).await;
        }
        Ok(status)
    }

    /// Asks it to end, and after `grace` makes it. Returns once it is gone.
    pub async fn stop(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        self.terminate();
        match tokio::time::timeout(grace, self.wait()).await {
            Ok(status) => status,
            Err(_) => {
                tracing::warn!(child = %self.name, "did not end in {grace:?}; killed");
                self.child.start_kill()?;
                self.wait().await
            }
        }
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid {
            // SAFETY: kill takes two integers. The child has not been waited for (its id is
            // still known), so the pid can't have been given to another process.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
    }

    /// Its last lines, oldest first.
    pub fn last_lines(&self) -> Vec<String> {
        lock(&self.tail).iter().cloned().collect()
    }
}

fn lock(tail: &Mutex<VecDeque<String>>) -> std::sync::MutexGuard<'_, VecDeque<String>> {
    tail.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn follow(
    name: String,
    from: impl AsyncRead + Unpin,
    tail: Arc<Mutex<VecDeque<String>>>,
    tell: Option<UnboundedSender<String>>,
) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::debug!(target: "muster::child", child = %name, "{line}");
        if let Some(tell) = &tell {
            // Whoever has heard enough may stop listening.
            let _ = tell.send(line.clone());
        }
        let mut tail = lock(&tail);
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line);
    }
}

#[cfg(target_os = "linux")]
fn die_with_owner(command: &mut Command) {
    let owner = std::process::id();
    let signal = libc::c_ulong::from(libc::SIGKILL.unsigned_abs());
    let arm = move || {
        // SAFETY: prctl with PR_SET_PDEATHSIG takes integers and changes the calling
        // process alone.
        let set = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        // The owner may have died between the fork and the call above.
        if std::os::unix::process::parent_id() != owner {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. `arm` makes
    // two system calls, and allocates nothing.
    unsafe { command.pre_exec(arm) };
}

#[cfg(not(target_os = "linux"))]
fn die_with_owner(_: &mut Command) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Process::start("child", command).unwrap()
    }

    #[tokio::test]
    async fn keeps_the_last_lines_of_both_streams() {
        let mut child = shell("seq 1 30; echo failed >&2; exit 7");
        let status = child.wait().await.unwrap();
        assert_eq!(status.code(), Some(7));
        let lines = child.last_lines();
        assert_eq!(lines.len(), TAIL_LINES);
        assert!(lines.contains(&"failed".to_owned()), "{lines:?}");
    }

    #[tokio::test]
    async fn stop_asks_first() {
        let mut child = shell("trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done");
        while child.last_lines().is_empty() {
            tokio::task::yield_now().await;
        }
        let status = child.stop(Duration::from_secs(10)).await.unwrap();
        assert_eq!(status.code(), Some(3));
    }

    #[tokio::test]
    async fn stop_kills_what_will_not_end() {
        let mut child = shell("trap '' TERM; echo up; while :; do sleep 0.05; done");
        while child.last_lines().is_empty() {
            tokio::task::yield_now().await;
        }
        let status = child.stop(Duration::from_millis(50)).await.unwrap();
        assert_eq!(status.code(), None);
    }

    #[tokio::test]
    async fn dropping_kills() {
        let child = shell("exec sleep 60");
        let pid = child.pid().unwrap();
        drop(child);
        for _ in 0..500 {
            if !std::path::Path::new(&format!("/proc/{pid}/exe")).exists() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{pid} is still alive");
    }
}
