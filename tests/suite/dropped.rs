//! A prober that dies loses only the tier in flight.

use std::time::{Duration, Instant};

use muster::exit::Exit;
use muster::load::Verdict;
use muster::local::EmbeddedBucket;
use muster::report::combined::SlotState;
use muster::store::{List, S3Store, Store};

use crate::fixtures::alone::alone;
use crate::fixtures::fleet::Fleet;
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
