//! Where a real SFU breaks, muster finds the knee, for the right reason, and nowhere else.
//!
//! The SFU breaks at a load, as it would: once its room has more participants than it is made
//! to bear. Runs are whole ones, of `muster local` against a server that the test can hurt.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use muster::load::{Knee, Verdict};
use muster::local::LivekitServer;
use muster::report::{Combined, RunVerdict};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::fixtures::alone::alone;
use crate::fixtures::pulse::Pulse;
use crate::fixtures::relay::{self, Relay};
use crate::fixtures::skip::skip;
use crate::fixtures::{crowd, livekit};

/// Subscribers per vantage of each tier.
const RAMP: [u32; 3] = [2, 3, 4];
const VANTAGES: [&str; 3] = ["a", "b", "c"];
/// Runs at a time: a run waits most of its time.
const AT_ONCE: usize = 2;
/// The longest that a run may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Loss on the media path from some load on.
const LOSS_PERCENT: u32 = 30;
/// How the SFU is stopped and continued from some load on. The mean round trip is beyond the
/// default bound (twice the baseline's and 100 ms), while every session lives on.
const STOPPED: Duration = Duration::from_millis(500);
const RUNNING: Duration = Duration::from_millis(300);

/// What tiers are held to where a server is hurt. A short window may end before the SFU has said
/// anything of the quality.
const THRESHOLDS: [&str; 3] = ["connected>=99%", "loss<1%", "rtt_p95<baseline*2+100ms"];

/// How often a run is made in which a prober itself was short.
const TRIES: usize = 3;

/// How a server is hurt.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Hurt {
    /// It loses media.
    Loss,
    /// It stalls.
    Stalls,
}

/// All participants of a tier: each vantage's subscribers and its publisher.
fn participants(tier: usize) -> usize {
    let subscribers = tier.checked_sub(1).map_or(1, |i| RAMP[i]);
    VANTAGES.len() * (usize::try_from(subscribers).expect("small") + 1)
}

/// A server, a room for one run in it, and what stands between.
struct Scene {
    server: LivekitServer,
    relay: Relay,
    room: String,
    dir: TempDir,
}

impl Scene {
    async fn set(name: &str) -> Option<Scene> {
        let server = livekit::start_announcing(relay::ADDRESS).await?;
        let relay = Relay::start(server.udp_port());
        let dir = TempDir::new().expect("a temporary directory");
        let keys = format!("{}: {}\n", server.key(), server.secret().expose());
        fs::write(dir.path().join("keys"), keys).expect("the keys can be written");
        Some(Scene {
            server,
            relay,
            room: format!("knee-{name}"),
            dir,
        })
    }

    fn local(&self, thresholds: &[&str]) -> Child {
        let ramp = RAMP.map(|n| n.to_string()).join(",");
        let path = |name: &str| self.dir.path().join(name);
        let (keys, json) = (path("keys"), path("combined.json"));
        let flag = |name: &'static str| OsStr::new(name);
        Command::new(env!("CARGO_BIN_EXE_muster"))
            .args(["local", "--url", self.server.url(), "--room", &self.room])
            .args(["--vantages", &VANTAGES.join(","), "--ramp", &ramp])
            .args(["--duration", "3s", "--settle", "2s"])
            .args(thresholds.iter().flat_map(|t| ["--threshold", t]))
            .args([flag("--livekit-keys"), keys.as_os_str()])
            .args([flag("--json"), json.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("muster can be started")
    }

    /// A whole run, during which the server is hurt from tier `from` on.
    async fn run(&self, hurt: Option<(Hurt, usize)>) -> (Combined, Output) {
        let child = self.local(if hurt.is_some() { &THRESHOLDS } else { &[] });
        let hurting = async {
            let Some((hurt, from)) = hurt else {
                return std::future::pending().await;
            };
            crowd::exceeds(&self.server, &self.room, participants(from - 1)).await;
            let _pulse = match hurt {
                Hurt::Loss => {
                    self.relay.lose(LOSS_PERCENT);
                    None
                }
                Hurt::Stalls => {
                    let pid = self.server.pid().expect("the server lives");
                    Some(Pulse::start(pid, STOPPED, RUNNING))
                }
            };
            std::future::pending().await
        };
        tokio::select! {
            result = self.result(child) => result,
            never = hurting => never,
        }
    }

    async fn result(&self, child: Child) -> (Combined, Output) {
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output())
            .await
            .expect("the run ends")
            .expect("muster can be waited for");
        (self.combined(&output), output)
    }

    fn combined(&self, output: &Output) -> Combined {
        let shown = || {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            format!("{}\n{}", text(&output.stdout), text(&output.stderr))
        };
        let text = fs::read_to_string(self.dir.path().join("combined.json"))
            .unwrap_or_else(|e| panic!("no combined report ({e}):\n{}", shown()));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}:\n{text}"))
    }
}

/// What a reader of a failed test needs.
fn shown(combined: &Combined) -> String {
    muster::render::text(combined)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_knee_is_where_the_sfu_breaks_in_ten_runs_of_ten() {
    let _alone = alone().await;
    if livekit::start().await.is_none() {
        skip!("livekit-server or Go");
    }
    let runs = (0..10).map(|i| {
        let hurt = if i % 2 == 0 { Hurt::Loss } else { Hurt::Stalls };
        (i, hurt, 1 + i % RAMP.len())
    });
    let wrong: Vec<String> = stream::iter(runs)
        .map(|(i, hurt, k)| async move {
            let mut unclear = Vec::new();
            for n in 0..TRIES {
                let scene = Scene::set(&format!("{i}-{n}")).await.expect("a server");
                let (combined, output) = scene.run(Some((hurt, k))).await;
                let (rtp, lost) = scene.relay.counts();
                assert!(rtp > 0, "media passes the relay");
                assert_eq!(lost > 0, hurt == Hurt::Loss, "{lost} of {rtp} lost");
                let fault = knee_fault(&combined, hurt, u32::try_from(k).expect("small")).or_else(
                    || (output.status.code() != Some(99)).then(|| "not exit 99".to_owned()),
                )?;
                let text = shown(&combined);
                let text = format!("run {i}, try {n}, {hurt:?} from tier {k}: {fault}\n{text}");
                if !is_unclear(&combined) {
                    return Some(text);
                }
                unclear.push(text);
            }
            Some(unclear.join("\n"))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(|fault| async { fault })
        .collect()
        .await;
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Whether a run says nothing because the machine was busy with something else. That is never
/// held against the SFU; where the SFU stands is to be seen all the same.
fn is_unclear(c: &Combined) -> bool {
    let unknown = match &c.knee.knee {
        Knee::Unknown { .. } => true,
        Knee::Broke { unclear, .. } => !unclear.is_empty(),
        _ => false,
    };
    unknown && c.tiers.iter().any(|t| !t.suspect.is_empty())
}

/// What is wrong with a knee that should be at tier `k`.
fn knee_fault(c: &Combined, hurt: Hurt, k: u32) -> Option<String> {
    let wanted = match k {
        1 => Knee::FirstBroke { tier: 1 },
        k => Knee::Broke {
            tier: k,
            unclear: vec![],
        },
    };
    if c.knee.knee != wanted {
        return Some(format!("the knee is {:?}", c.knee.knee));
    }
    if c.capacity.map(|l| l.tier) != (k > 1).then(|| k - 1) {
        return Some(format!("the capacity is {:?}", c.capacity));
    }
    let reason = match hurt {
        Hurt::Loss => "loss<1%: ",
        Hurt::Stalls => "rtt_p95<",
    };
    let right = c.knee.because.iter().any(|b| b.starts_with(reason));
    (!right).then(|| format!("the reason is {:?}", c.knee.because))
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_healthy_runs_have_no_knee() {
    let _alone = alone().await;
    if livekit::start().await.is_none() {
        skip!("livekit-server or Go");
    }
    let wrong: Vec<String> = stream::iter(0..10)
        .map(|i| async move {
            let mut unclear = Vec::new();
            for n in 0..TRIES {
                let scene = Scene::set(&format!("healthy-{i}-{n}"))
                    .await
                    .expect("a server");
                let (combined, output) = scene.run(None).await;
                let (rtp, lost) = scene.relay.counts();
                assert!(rtp > 0 && lost == 0, "the relay was to lose nothing");
                let text = format!("run {i}, try {n}:\n{}", shown(&combined));
                match combined.knee.knee {
                    Knee::NoneBroke
                        if combined.verdict == RunVerdict::Passed && output.status.success() =>
                    {
                        return None;
                    }
                    // The machine was busy with something else. That is said, never held
                    // against the SFU; whether the SFU holds up is to be seen all the same.
                    Knee::Unknown { .. }
                        if combined.tiers.iter().any(|t| !t.suspect.is_empty()) =>
                    {
                        unclear.push(text);
                    }
                    _ => return Some(text),
                }
            }
            Some(unclear.join("\n"))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(|fault| async { fault })
        .collect()
        .await;
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_starved_prober_is_suspect_and_never_a_knee() {
    let _alone = alone().await;
    let Some(scene) = Scene::set("starved").await else {
        skip!("livekit-server or Go");
    };
    let child = scene.local(&THRESHOLDS);
    let owner = child.id().expect("muster lives");
    let starving = async {
        crowd::exceeds(&scene.server, &scene.room, participants(0)).await;
        let pid = prober(owner, "b").expect("a prober for b");
        let _pulse = Pulse::start(pid, Duration::from_millis(400), Duration::from_millis(100));
        std::future::pending().await
    };
    let (combined, _) = tokio::select! {
        result = scene.result(child) => result,
        never = starving => never,
    };
    let text = shown(&combined);
    let suspect = combined
        .tiers
        .iter()
        .any(|t| t.suspect.iter().any(|v| v.as_str() == "b"));
    assert!(suspect, "b is suspect:\n{text}");
    for tier in &combined.tiers {
        assert_ne!(
            tier.verdict,
            Verdict::Failed,
            "nothing is held against the SFU:\n{text}"
        );
        assert!(
            tier.suspect.iter().all(|v| v.as_str() == "b"),
            "only b is:\n{text}"
        );
    }
    assert!(
        matches!(combined.knee.knee, Knee::NoneBroke | Knee::Unknown { .. }),
        "no knee:\n{text}"
    );
}

/// The process that probes for a vantage, among the children of `owner`.
fn prober(owner: u32, vantage: &str) -> Option<u32> {
    let children = fs::read_dir("/proc").ok()?.flatten();
    children
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| {
            let read = |name: &str| fs::read(Path::new("/proc").join(pid.to_string()).join(name));
            let parent = read("stat").ok().and_then(|stat| {
                let stat = String::from_utf8_lossy(&stat).into_owned();
                let after_name = stat.rsplit(") ").next()?.to_owned();
                after_name.split(' ').nth(1)?.parse::<u32>().ok()
            });
            let arguments = read("cmdline").unwrap_or_default();
            let mut arguments = arguments.split(|b| *b == 0);
            parent == Some(owner) && arguments.any(|a| a == vantage.as_bytes())
        })
}

#[tokio::test]
async fn a_server_that_announces_another_address_leaves_it_free() {
    let Some(scene) = Scene::set("address").await else {
        skip!("livekit-server or Go");
    };
    assert_eq!(scene.relay.counts(), (0, 0));
}
