//! A prober that dies, stops or comes late holds up nobody, and the report says what became of it.

use std::time::{Duration, Instant};

use muster::exit::Exit;
use muster::load::Verdict;
use muster::local::EmbeddedBucket;
use muster::report::combined::SlotState;
use muster::store::{List, S3Store, Store};

use crate::fixtures::alone::alone;
use crate::fixtures::fleet::{Fleet, Member};
use crate::fixtures::pulse;
use crate::fixtures::{livekit, skip::skip};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_prober_is_dropped_with_its_first_tier_counted() {
    let _alone = alone().await;
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let bucket = EmbeddedBucket::start().await.expect("a bucket");
    let settings = bucket.settings().expect("its settings");
    let fleet = Fleet::new(&server, &settings);
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

    let store = S3Store::connect(settings, std::sync::Arc::new(muster::clock::now))
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

/// One is killed, one is stopped for the length of a tier and goes on, one starts late.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_on_time_and_says_what_happened_to_each() {
    let _alone = alone().await;
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let bucket = EmbeddedBucket::start().await.expect("a bucket");
    let fleet = Fleet::new(&server, &bucket.settings().expect("its settings"));
    let args = "--vantages killed,late,steady,stopped --start-in 14s --ramp 1,1,1 --settle 3s \
                --duration 4s --grace 6s --threshold connected>=1% --format json";
    let coordinator = fleet.coordinator(&args.split_whitespace().collect::<Vec<_>>());
    let steady = fleet.prober("steady");
    let stopped = fleet.prober("stopped");
    let mut killed = fleet.prober("killed");
    let second = Duration::from_secs(1);
    until(|| steady.log.heard(&["start in"]).is_some()).await;
    until(|| started_within(&steady, 2)).await;
    // It takes its slot before the door is shut, and is slow from there on.
    let late = fleet.prober("late");
    until(|| late.log.heard(&["took the slot"]).is_some()).await;
    pulse::stop(late.child.id());
    until(|| steady.log.heard(&["window opened", "tier=0"]).is_some()).await;
    pulse::go_on(late.child.id());
    until(|| steady.log.heard(&["window closed", "tier=1"]).is_some()).await;
    tokio::time::sleep(second / 2).await;
    pulse::stop(stopped.child.id());
    tokio::time::sleep(4 * second).await;
    killed.child.kill().expect("the prober runs");
    tokio::time::sleep(3 * second).await;
    pulse::go_on(stopped.child.id());
    until(|| steady.log.heard(&["window closed", "tier=3"]).is_some()).await;

    // The grace, and what it takes to combine.
    let report = coordinator.ended(20 * second);
    let report = report.expect(Exit::Incomplete).report();
    steady.ended(5 * second).expect(Exit::Passed);
    stopped.ended(5 * second).expect(Exit::Incomplete);
    late.ended(5 * second);
    let of = |label: &str| {
        let mut all = report.vantages.iter();
        let slot = all.find(|v| v.vantage.as_ref().is_some_and(|v| v.as_str() == label));
        slot.expect("it is in the report")
    };
    assert_eq!(of("steady").state, SlotState::Complete);
    assert_eq!(of("steady").incidents, [""; 0]);

    let slot = of("killed");
    assert_eq!(
        (slot.state, &slot.tiers[..]),
        (SlotState::Dropped, &[0, 1][..])
    );
    let reason = slot.reason.as_deref().expect("a reason");
    assert!(
        reason.starts_with("measured tiers 0 to 1, then sent no report; last heard of at"),
        "{reason}"
    );

    let slot = of("stopped");
    assert_eq!(
        (slot.state, &slot.tiers[..]),
        (SlotState::Partial, &[0, 1, 3][..])
    );
    assert_eq!(slot.reason.as_deref(), Some("missed tier 2"));
    let [stop] = &slot.incidents[..] else {
        panic!("{:?}", slot.incidents)
    };
    assert!(
        ["stopped for 7 s in tier 2", "stopped for 8 s in tier 2"].contains(&stop.as_str()),
        "{stop}"
    );

    let slot = of("late");
    assert_eq!(
        (slot.state, slot.tiers.last()),
        (SlotState::Partial, Some(&3))
    );
    let reason = slot.reason.as_deref().expect("a reason");
    assert!(reason.starts_with("came late for the baseline"), "{reason}");
}

/// Whether a run is to start so soon, as a prober told.
fn started_within(prober: &Member, seconds: u64) -> bool {
    let Some((told, line)) = prober.log.line(&["start in"]) else {
        return false;
    };
    let words = line.split("start in ").nth(1).unwrap_or_default();
    let ahead: u64 = words
        .split(' ')
        .next()
        .unwrap_or_default()
        .parse()
        .expect("seconds");
    told.elapsed()
        .is_ok_and(|since| since.as_secs() + seconds >= ahead)
}

/// Waits until something is so, two minutes at most.
async fn until(is: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is() {
        assert!(Instant::now() < deadline, "never");
        tokio::time::sleep(Duration::from_millis(20)).await;
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
