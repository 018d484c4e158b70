//! A whole run of `muster local`, with a scene per tier.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use muster::job::Timestamp;
use muster::local::LivekitServer;
use muster::report::Combined;
use muster::report::combined::Figures;
use tempfile::TempDir;
use tokio::process::Command;

use super::{Scene, Span};
use crate::fixtures::crowd;
use crate::fixtures::relay::Relay;
use crate::fixtures::relay::record::Nanos;

const ROOM: &str = "accuracy-run";

/// Subscribers of the first tier; each has one more than the one before.
const FIRST: usize = 4;

/// The longest that the run may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// What muster reports of one scene.
pub struct Reported {
    /// Which packets this is about.
    pub span: Span,
    /// The tier's figures.
    pub figures: Figures,
}

/// Runs all scenes.
pub async fn report(server: &LivekitServer, relay: &Relay, scenes: &[Scene]) -> Vec<Reported> {
    let dir = TempDir::new().expect("a temporary directory");
    let (keys, json) = (dir.path().join("keys"), dir.path().join("combined.json"));
    let pair = format!("{}: {}\n", server.key(), server.secret().expose());
    fs::write(&keys, pair).expect("the keys can be written");
    let ramp: Vec<String> = (FIRST..FIRST + scenes.len())
        .map(|n| n.to_string())
        .collect();
    let before = relay.flows();
    let child = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["local", "--url", server.url(), "--room", ROOM])
        .args(["--vantages", "1", "--ramp", &ramp.join(",")])
        .args(["--duration", "8s", "--settle", "3s"])
        // The figures are judged here.
        .args(["--threshold", "connected>=1%"])
        .arg("--livekit-keys")
        .arg(&keys)
        .arg("--json")
        .arg(&json)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("muster can be started");
    let staging = async {
        // The publisher and the baseline's subscriber.
        let mut crowd = 2;
        for (n, scene) in scenes.iter().enumerate() {
            crowd::exceeds(server, ROOM, crowd).await;
            relay.set(scene.conditions);
            crowd = FIRST + n + 1;
        }
        std::future::pending().await
    };
    let output = tokio::select! {
        output = tokio::time::timeout(PATIENCE, child.wait_with_output()) => output,
        never = staging => never,
    };
    let output = output
        .expect("the run ends")
        .expect("muster can be waited for");
    let text = fs::read_to_string(&json).unwrap_or_else(|e| {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        panic!("{e}:\n{}\n{}", shown(&output.stdout), shown(&output.stderr))
    });
    let combined: Combined = serde_json::from_str(&text).expect("a report");
    let flows = before..relay.flows();
    assert_eq!(combined.tiers.len(), scenes.len() + 1, "{text}");
    let tiers = combined.tiers.into_iter().skip(1);
    tiers
        .map(|tier| {
            let figures = tier.figures.expect("it was measured");
            // There is one way to receive, and the report names it.
            let transports: Vec<&str> = figures.transports.keys().map(String::as_str).collect();
            assert_eq!(transports, ["udp"]);
            let window = nanos(tier.window.from)..nanos(tier.window.to);
            Reported {
                span: Span {
                    window,
                    flows: flows.clone(),
                    ssrcs: Vec::new(),
                },
                figures,
            }
        })
        .collect()
}

/// All clocks are this machine's.
fn nanos(at: Timestamp) -> Nanos {
    at.as_micros() * 1_000
}
