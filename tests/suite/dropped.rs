//! A prober that dies, stops or comes late holds up nobody, and the report says what became of it.

use std::time::{Duration, Instant};

use muster::exit::Exit;
use muster::load::Verdict;
use muster::report::combined::{Combined, SlotState};
use muster::store::{List, S3Store, Store};
use tempfile::TempDir;

use crate::fixtures::alone::alone;
use crate::fixtures::local::Local;
use crate::fixtures::meeting::Meeting;
use crate::fixtures::pulse;
use crate::fixtures::{livekit, skip::skip};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_prober_is_dropped_with_its_first_tier_counted() {
    let Some(meeting) = Meeting::start().await else {
        skip!("livekit-server or Go");
    };
    let Meeting {
        fleet, settings, ..
    } = &meeting;
    let coordinator = fleet.coordinator(&[
        "--vantages",
        "iad,lhr,sjc",
        "--ramp",
        "2,3",
        "--duration",
        "4s",
        "--settle",
        "2s",
        "--grace",
        "5s",
        "--timeout",
        "60s",
        "--format",
        "json",
    ]);
    let survivors = ["iad", "sjc"].map(|v| fleet.prober(v));
    let mut victim = fleet.prober("lhr");

    let store = S3Store::connect(settings.clone(), std::sync::Arc::new(muster::clock::now))
        .await
        .expect("the bucket opens");
    wait_for(&store, "/tiers/lhr/1.json").await;
    // Tier 2 settles for two seconds and is measured for four. Stopped first, its connections
    // stay open, so that the SFU announces its tracks to the others to the tier's end.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    pulse::stop(victim.child.id());
    tokio::time::sleep(Duration::from_secs(4)).await;
    victim.child.kill().expect("the prober runs");

    let report = coordinator
        .ended(Duration::from_secs(120))
        .expect(Exit::Incomplete)
        .report();
    for prober in survivors {
        prober.ended(Duration::from_secs(30)).expect(Exit::Passed);
    }
    let dropped: Vec<_> = report
        .dropped
        .iter()
        .map(|d| {
            (
                d.vantage.as_ref().map(muster::job::Vantage::as_str),
                d.tiers.clone(),
            )
        })
        .collect();
    assert_eq!(dropped, [(Some("lhr"), vec![0, 1])]);
    assert!(!report.dropped[0].reason.is_empty());
    let measured: Vec<u32> = report.tiers.iter().map(|t| t.vantages).collect();
    assert_eq!(measured, [3, 3, 2]);
    let tier_2 = &report.tiers[2];
    assert_eq!(tier_2.verdict, Verdict::Unknown, "{:?}", tier_2.reasons);
    let receiving = &tier_2.figures.as_ref().expect("measured").receiving_percent;
    assert!(
        receiving.is_some_and(|p| p < 99.0),
        "the others waited for the victim's tracks: {receiving:?}"
    );
    let tier_1 = report.tiers[1].figures.as_ref().expect("measured");
    assert_eq!(tier_1.requested.subscribers, 6);
    assert_eq!(tier_1.connected_percent, Some(100.0));
    let states: Vec<_> = report.vantages.iter().map(|v| v.state).collect();
    assert_eq!(
        states,
        [SlotState::Complete, SlotState::Dropped, SlotState::Complete]
    );
}

/// One is killed, one is stopped for the length of a tier and goes on, one is started late.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_on_time_and_says_what_happened_to_each() {
    let _alone = alone().await;
    if livekit::start().await.is_none() {
        skip!("livekit-server or Go");
    }
    let dir = TempDir::new().expect("a folder");
    let json = dir.path().join("combined.json");
    let args = "--vantages killed,late,steady,stopped --start-in 12s --ramp 1,1,1 --settle 5s \
                --duration 4s --grace 6s --threshold connected>=1% --json";
    let mut args: Vec<&str> = args.split_whitespace().collect();
    args.push(json.to_str().expect("UTF-8"));
    let mut run = Local::start_with(&args, &[("MUSTER_LOG", "info,muster=debug")]);
    // Before it has done anything.
    let early = run.prober("late");
    pulse::stop(early.pid);
    run.wait_for(&["start in"]);
    pulse::kill(early.pid);
    run.wait_for(&["steady", "window opened", "tier=0"]);
    let mut late = early.again();
    run.wait_for(&["steady", "window closed", "tier=1"]);
    let tier = Duration::from_secs(9);
    let stopped = run.prober("stopped").pid;
    let into = Duration::from_millis(500);
    tokio::time::sleep(into).await;
    pulse::stop(stopped);
    tokio::time::sleep(tier / 2).await;
    pulse::kill(run.prober("killed").pid);
    tokio::time::sleep(tier / 2).await;
    pulse::go_on(stopped);

    assert_eq!(run.ended().code(), Some(i32::from(Exit::Incomplete.code())));
    let over = muster::clock::now();
    late.wait().expect("it ends by itself");
    let report = std::fs::read_to_string(&json).expect("it was written");
    let report: Combined = serde_json::from_str(&report).expect("a report");
    let end = report.tiers.last().expect("tiers").window.to;
    let grace = Duration::from_secs(6);
    let after = over.saturating_since(end);
    // The grace for the one that was killed, and what it takes to combine and to clean up.
    assert!(after < grace + Duration::from_secs(10), "{after:?}");

    let text = run.read("out");
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    for (vantage, state, tiers, says) in [
        ("steady", SlotState::Complete, &[0, 1, 2, 3][..], ""),
        (
            "killed",
            SlotState::Dropped,
            &[0, 1],
            "measured tiers 0 to 1, then sent no report; last heard of at",
        ),
        (
            "stopped",
            SlotState::Partial,
            &[0, 1, 3],
            "missed tier 2; stopped for ",
        ),
        (
            "late",
            SlotState::Partial,
            &[3],
            "came late for the baseline",
        ),
    ] {
        let mut all = report.vantages.iter();
        let slot = all.find(|v| v.vantage.as_ref().is_some_and(|v| v.as_str() == vantage));
        let slot = slot.expect("it is in the report");
        assert_eq!(slot.state, state, "{vantage}");
        // How many it came too late for is up to the machine.
        assert!(slot.tiers.ends_with(tiers), "{vantage}: {:?}", slot.tiers);
        let reason = slot.reason.iter().chain(&slot.incidents);
        let said: Vec<&str> = reason.map(String::as_str).collect();
        let said = said.join("; ");
        assert!(said.starts_with(says), "{vantage}: {said}");
        if vantage == "stopped" {
            let length = said.trim_start_matches(says);
            let (seconds, _) = length.split_once(" s in tier 2").expect("where it was");
            let seconds: u64 = seconds.parse().expect("a number");
            // The machine may have kept it longer.
            assert!((8..=14).contains(&seconds), "{said}");
        }
        let told = text.contains(&format!("{vantage}: {says}"));
        assert!(told || says.is_empty(), "{vantage}:\n{text}");
    }
    // None of it touched the load of the one that nothing happened to.
    for tier in &report.tiers {
        let mut rows = tier.rows.iter();
        let row = rows.find(|row| row.vantage.as_str() == "steady");
        let figures = &row.expect("it measured all").figures;
        assert_eq!(figures.requested.subscribers, 1);
        assert_eq!(figures.connected_percent, Some(100.0), "tier {}", tier.tier);
    }
}

async fn wait_for(store: &dyn Store, suffix: &str) {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let found = store
            .list(&List::all("runs/"))
            .await
            .expect("the bucket lists");
        if found
            .objects
            .iter()
            .any(|o| o.key.as_str().ends_with(suffix))
        {
            return;
        }
        assert!(Instant::now() < deadline, "{suffix} never came");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
