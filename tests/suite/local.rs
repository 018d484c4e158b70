//! `muster local` as a user starts it, and as a user stops it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use muster::exit::Exit;
use muster::local::EmbeddedBucket;
use muster::report::combined::{Combined, Figures, RunVerdict};
use tempfile::TempDir;

use crate::fixtures::alone::alone;
use crate::fixtures::fleet::{Fleet, Member};
use crate::fixtures::local::Local;
use crate::fixtures::skip::skip;
use crate::fixtures::{latency, livekit};

/// A server for [`Local`] to find, built if need be.
async fn server_can_be_had() -> bool {
    livekit::start().await.is_some()
}

fn code(exit: Exit) -> Option<i32> {
    Some(i32::from(exit.code()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_run_on_one_machine() {
    let _alone = alone().await;
    if !server_can_be_had().await {
        skip!("livekit-server or Go");
    }
    let dir = TempDir::new().expect("a folder");
    let json = dir.path().join("combined.json");
    let json = json.to_str().expect("UTF-8");
    // Generous thresholds: a busy machine is no failure of the path.
    let args = "--ramp 2,4,6 --duration 3s --settle 2s --viewer \
                --threshold connected>=90% --threshold loss<50% --json";
    let args: Vec<&str> = args.split_whitespace().chain([json]).collect();
    let mut local = Local::start(&args);
    let status = local.ended();
    let log = local.read("log");
    assert_eq!(
        status.code(),
        code(Exit::Passed),
        "{}{log}",
        local.read("out")
    );
    local.leaves_no_process();
    assert_eq!(local.temporary_files(), 0);

    assert!(
        log.contains("https://meet.livekit.io/custom?liveKitUrl=ws"),
        "{log}"
    );
    assert!(
        local.read("out").contains("local-3"),
        "{}",
        local.read("out")
    );
    let report: Combined =
        serde_json::from_str(&fs::read_to_string(Path::new(json)).expect("written"))
            .expect("a combined report");
    assert_eq!(report.verdict, RunVerdict::Passed, "{:?}", report.reasons);
    assert_eq!((report.vantages.len(), report.tiers.len()), (3, 4));
    for (tier, subscribers) in report.tiers.iter().zip([3, 6, 12, 18]) {
        let figures = tier.figures.as_ref().expect("measured");
        assert_eq!((tier.vantages, tier.rows.len()), (3, 3));
        assert_eq!(figures.requested.subscribers, subscribers);
        assert!(figures.connected_percent.is_some_and(|p| p >= 90.0));
        assert!(figures.packets.received > 0);
        assert!(figures.loss_percent.is_some() && figures.rtt_ms.is_some());
        assert!(figures.jitter_ms.is_some());
        // In its first seconds the SFU says nothing of the quality.
        assert!(tier.tier == 0 || figures.quality.is_some());
        shows_what_users_got(figures);
        latency::are_of_one_machine(tier);
    }
}

/// Every phase of connecting, and media as they came.
#[track_caller]
fn shows_what_users_got(figures: &Figures) {
    let phases: Vec<&str> = figures.phases_ms.keys().map(String::as_str).collect();
    // Over `ws://` there is no TLS.
    let wanted = "dns dtls first_frame first_packet ice join tcp websocket";
    assert_eq!(phases.join(" "), wanted);
    let by: Vec<&str> = figures.rtt_by_ms.keys().map(String::as_str).collect();
    assert_eq!(by, ["ice", "rtcp"]);
    let video = figures.video.as_ref().expect("video was subscribed to");
    let fps = video.frames_per_second.expect("it came");
    assert!(fps.mean > 5.0 && fps.max < 60.0, "{fps:?}");
    assert!(video.frozen_percent < 100.0, "{video:?}");
    assert!(figures.layers.contains_key("1280x720"), "{figures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_its_time_takes_none_of_the_probers() {
    let _alone = alone().await;
    let Some(binary) = livekit::binary().await else {
        skip!("livekit-server or Go");
    };
    let dir = TempDir::new().expect("a folder");
    let slow = dir.path().join("slow-server");
    let script = format!("#!/bin/sh\nsleep 15\nexec '{}' \"$@\"\n", binary.display());
    fs::write(&slow, script).expect("written");
    fs::set_permissions(&slow, fs::Permissions::from_mode(0o755)).expect("executable");
    let args = "--vantages 1 --ramp 1 --duration 2s --settle 2s --timeout 14s \
                --threshold connected>=90% --livekit-server";
    let slow = slow.to_str().expect("UTF-8");
    let args: Vec<&str> = args.split_whitespace().chain([slow]).collect();
    let mut local = Local::start(&args);
    let status = local.ended();
    assert_eq!(status.code(), code(Exit::Passed), "{}", local.read("log"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_stops_all_of_it() {
    let _alone = alone().await;
    if !server_can_be_had().await {
        skip!("livekit-server or Go");
    }
    let mut local = Local::start(&["--vantages", "2", "--ramp", "2", "--duration", "60s"]);
    local.wait_until("started", |local| local.read("log").contains("start in"));
    // Itself, the server, two probers.
    assert_eq!(local.processes().len(), 4, "{:?}", local.processes());
    local.signal("INT");
    let status = local.ended();
    assert_eq!(status.code(), code(Exit::Aborted), "{}", local.read("log"));
    local.leaves_no_process();
    assert_eq!(local.temporary_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_it_takes_its_children_along() {
    let _alone = alone().await;
    if !server_can_be_had().await {
        skip!("livekit-server or Go");
    }
    let mut local = Local::start(&["--vantages", "2", "--ramp", "2", "--duration", "60s"]);
    local.wait_until("has its probers", |local| local.processes().len() == 4);
    local.signal("KILL");
    local.ended();
    local.leaves_no_process();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_twice_puts_on_no_load() {
    let _alone = alone().await;
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let bucket = EmbeddedBucket::start().await.expect("a bucket");
    let fleet = Fleet::new(&server, &bucket.settings().expect("settings"));
    let _coordinator = fleet.coordinator(&["--expect", "2", "--ramp", "1"]);
    // The coordinator waits for a second label, so only the loser can end.
    let mut both = ["one", "other"].map(|name| fleet.start(name, &["probe", "--vantage", "iad"]));
    let deadline = Instant::now() + Duration::from_secs(60);
    let first = loop {
        let ended = |member: &mut Member| member.child.try_wait().expect("a child").is_some();
        if let Some(first) = both.iter_mut().position(ended) {
            break first;
        }
        assert!(Instant::now() < deadline, "both wait for the start");
        std::thread::sleep(Duration::from_millis(50));
    };
    let [one, other] = both;
    let (loser, _winner) = if first == 0 {
        (one, other)
    } else {
        (other, one)
    };
    let loser = loser.ended(Duration::from_secs(1)).expect(Exit::SlotTaken);
    assert!(loser.stderr.contains("`iad`"), "{}", loser.stderr);
    assert!(loser.stderr.contains("--vantage"), "{}", loser.stderr);
    assert!(loser.stdout.is_empty(), "{}", loser.stdout);
}
