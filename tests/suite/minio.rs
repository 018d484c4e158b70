//! The same job over a real MinIO, once in the clear and once with TLS under a private CA.

use std::time::Duration;

use muster::exit::Exit;
use muster::report::combined::{Combined, RunVerdict};

use crate::fixtures::alone::alone;
use crate::fixtures::fleet::Fleet;
use crate::fixtures::minio::Minio;
use crate::fixtures::{livekit, skip::skip};

const VANTAGES: [&str; 3] = ["iad", "lhr", "sjc"];

#[tokio::test(flavor = "multi_thread")]
async fn a_run_meets_in_minio() {
    let _alone = alone().await;
    let Some(binary) = Minio::binary().await else {
        skip!("minio or Go");
    };
    run_in(&Minio::start(&binary)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_meets_in_minio_with_a_private_ca() {
    let _alone = alone().await;
    let Some(binary) = Minio::binary().await else {
        skip!("minio or Go");
    };
    run_in(&Minio::start_with_tls(&binary)).await;
}

async fn run_in(minio: &Minio) {
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let fleet = Fleet::new(&server, &minio.settings("nightly"));
    let coordinator = fleet.coordinator(&[
        "--vantages",
        "iad,lhr,sjc",
        "--ramp",
        "2,3",
        "--duration",
        "3s",
        "--settle",
        "2s",
        "--grace",
        "10s",
        "--timeout",
        "60s",
        "--format",
        "json",
    ]);
    let probers = VANTAGES.map(|v| fleet.prober(v));
    let ended = coordinator
        .ended(Duration::from_secs(120))
        .expect(Exit::Passed);
    check(&ended.report());
    for prober in probers {
        prober.ended(Duration::from_secs(30)).expect(Exit::Passed);
    }
    // The result stays readable: any later reader gets the same one.
    let again = fleet
        .start("report", &["report", "--format", "json"])
        .ended(Duration::from_secs(20))
        .expect(Exit::Passed);
    assert_eq!(again.report(), ended.report());
}

fn check(report: &Combined) {
    assert_eq!(report.verdict, RunVerdict::Passed, "{:?}", report.reasons);
    assert_eq!(report.tiers.len(), 3);
    assert!(report.dropped.is_empty() && report.rejected.is_empty());
    for (tier, per_vantage) in report.tiers.iter().zip([1, 2, 3]) {
        assert_eq!(tier.vantages, 3);
        let f = tier.figures.as_ref().expect("every tier is measured");
        assert_eq!(f.requested.subscribers, 3 * per_vantage);
        assert_eq!(f.requested.publishers, 3);
        assert_eq!(f.connected_percent, Some(100.0));
        assert_eq!(f.receiving_percent, Some(100.0));
        assert!(f.packets.received > 0 && f.sent.packets > 0);
        assert!(f.loss_percent.is_some() && f.quality.is_some());
        assert!(f.rtt_ms.is_some() && f.jitter_ms.is_some());
        assert!(f.join_ms.is_some() && f.track_subscribe_ms.is_some());
    }
    let sfu = report.sfu.first().expect("the SFU named itself");
    assert!(!sfu.version.is_empty() && !sfu.node.is_empty(), "{sfu:?}");
}
