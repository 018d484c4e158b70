//! LiveKit's load tester: how it is asked for subscribers, and what it prints.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::stage::within;
use crate::error::Error;
use crate::exit::Exit;
use crate::local::cache::on_path;
use crate::rooms::Keys;

/// The one on PATH.
pub fn find() -> Option<PathBuf> {
    on_path("lk", std::env::var_os("PATH").as_ref())
}

/// How long it may take to say its version.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Fails if it can't even say its version: better told at once than after minutes.
///
/// # Errors
/// What it said instead, as a bad configuration.
pub async fn check(lk: &Path) -> Result<(), Error> {
    let output = Command::new(lk)
        .arg("--version")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let why = match within(ANSWERS_WITHIN, async {
        output.await.map_err(|e| e.to_string())
    })
    .await
    {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().next().unwrap_or_default().trim().to_owned();
            match said.as_str() {
                "" => output.status.to_string(),
                _ => format!("{}: {said}", output.status),
            }
        }
        Err(why) => why,
    };
    let text = format!(
        "{} --version: {why}; mend it, or take it off PATH to measure without it",
        lk.display()
    );
    Err(Error::new(Exit::BadConfiguration, text))
}

/// Subscribers with the layout `speaker` in `room`, which stay for `stay` once all have joined.
pub fn subscribers(
    lk: &Path,
    url: &str,
    keys: &Keys,
    room: &str,
    count: u32,
    join_rate: u32,
    stay: Duration,
) -> Command {
    let mut command = Command::new(lk);
    command
        .args(["load-test", "--layout", "speaker"])
        .args(["--url", url, "--room", room])
        .args(["--subscribers", &count.to_string()])
        .args(["--num-per-second", &join_rate.to_string()])
        .args(["--duration", &format!("{}s", stay.as_secs())])
        .env("LIVEKIT_API_KEY", &keys.api_key)
        .env("LIVEKIT_API_SECRET", keys.api_secret.expose());
    command
}

/// A line of its output that says something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Line {
    /// It is about to join the first.
    Starting,
    /// All have tried to join.
    Joined,
    /// A subscriber that did not come.
    Failed,
    /// Loss over all subscribers, as it counts it.
    Lost {
        /// Packets.
        packets: u64,
        /// Of those that were to come, in percent.
        percent: f64,
    },
}

impl Line {
    /// Reads a line.
    pub fn parse(line: &str) -> Option<Line> {
        if line.starts_with("Starting load test") {
            return Some(Line::Starting);
        }
        if line.starts_with("Finished connecting") {
            return Some(Line::Joined);
        }
        if line.starts_with("could not connect") {
            return Some(Line::Failed);
        }
        // The last row of its summary: tester, tracks, bitrate, loss, errors.
        if line.contains("Total") && line.contains(" avg)") {
            let (head, _) = line.split_once("%)")?;
            let (head, percent) = head.rsplit_once('(')?;
            let packets = head.split_whitespace().next_back()?.parse().ok()?;
            let percent = percent.trim().parse().ok()?;
            return Some(Line::Lost { packets, percent });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_does_not_work_is_found_out() {
        let dir = tempfile::tempdir().unwrap();
        let lk = dir.path().join("lk");
        let missing = check(&lk).await.unwrap_err().to_string();
        assert!(missing.contains("--version: No such file"), "{missing}");
        for (script, expected) in [
            ("exit 0", None),
            (
                "echo broken >&2; exit 3",
                Some("exit status: 3: broken; mend it"),
            ),
            ("exit 4", Some("exit status: 4; mend it")),
        ] {
            std::fs::write(&lk, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&lk, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .unwrap();
            let said = check(&lk).await.map_err(|e| e.to_string());
            match expected {
                None => assert_eq!(said, Ok(())),
                Some(text) => assert!(said.unwrap_err().contains(text), "{script}"),
            }
        }
    }

    #[test]
    fn what_it_prints_is_understood() {
        for (line, expected) in [
            (
                "Starting load test with 40 subscribers, room: r",
                Some(Line::Starting),
            ),
            (
                "Finished connecting to room r, waiting 29s",
                Some(Line::Joined),
            ),
            ("could not connect Sub 3: timeout", Some(Line::Failed)),
            (
                "│ Total  │ 160/0  │ 75.6mbps (1.9mbps avg) │ 46 (0.02%) │ 0 │",
                Some(Line::Lost {
                    packets: 46,
                    percent: 0.02,
                }),
            ),
            (
                "│ Tester │ Tracks │ Bitrate │ Total Pkt. Loss │ Error │",
                None,
            ),
            ("subscribed to track x PA_1 video 1/4", None),
        ] {
            assert_eq!(Line::parse(line), expected, "{line}");
        }
    }
}
