//! `muster run --lambda`: functions as probers, everything else from one machine.

use std::sync::Arc;
use std::time::Duration;

use muster::exit::Exit;
use muster::local::LivekitServer;
use muster::report::Combined;
use muster::store::{List, S3Settings, S3Store, Store as _};
use serde_json::json;

use super::lambda::{Lambda, Outcome};
use super::{Deployment, REGIONS, arn, built};
use crate::fixtures::alone::alone;
use crate::fixtures::fleet::{Ended, Fleet};
use crate::fixtures::minio::Minio;
use crate::fixtures::relay;
use crate::fixtures::{livekit, skip::skip};

const NAME: &str = "muster-prober";

/// `muster run --lambda` of the smallest load, in two regions.
fn run(server: &LivekitServer, bucket: &S3Settings, lambda: &Lambda) -> Ended {
    let regions = REGIONS[1..].join(",");
    let args = [
        "--lambda",
        &regions,
        "--ramp",
        "1",
        "--duration",
        "2s",
        "--settle",
        "2s",
        "--grace",
        "5s",
        "--threshold",
        "connected>=99%",
        "--format",
        "json",
    ];
    Fleet::new(server, bucket)
        .with("AWS_ENDPOINT_URL_LAMBDA", &lambda.url())
        .coordinator(&args)
        .ended(Duration::from_secs(120))
}

/// A prober's own environment: no key of the SFU, and credentials that open nothing.
fn bare() -> Deployment {
    Deployment { env: Vec::new() }
        .with("AWS_ACCESS_KEY_ID", "nobody")
        .with("AWS_SECRET_ACCESS_KEY", "nobody")
        .with("MUSTER_BUCKET", "s3://nowhere")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn functions_take_part_by_their_tickets_cold_and_warm() {
    let _alone = alone().await;
    if !built() {
        skip!("the functions, which the feature `lambda` builds");
    }
    let Some(binary) = Minio::binary().await else {
        skip!("minio or Go");
    };
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let minio = Minio::start(&binary);
    let settings = minio.settings("runs-of-functions");
    let lambda = Lambda::start(REGIONS[1..].iter().map(|r| bare().prober(r))).await;
    for (start, other) in [
        ("cold start, init", "warm start"),
        ("warm start", "cold start"),
    ] {
        let ended = tokio::task::block_in_place(|| run(&server, &settings, &lambda));
        let report = ended.report();
        assert!(report.dropped.is_empty(), "{}", ended.stderr);
        let figures = report.tiers[1].figures.as_ref().expect("measured");
        assert_eq!(figures.requested.subscribers, 2);
        assert_eq!(figures.connected_percent, Some(100.0), "{}", ended.stderr);
        for region in &REGIONS[1..] {
            let says = format!("{region}: {start}");
            assert!(
                ended.stderr.contains(&says),
                "no `{says}`:\n{}",
                ended.stderr
            );
        }
        assert!(!ended.stderr.contains(other), "{}", ended.stderr);
        measured_cost(&report, &ended.stderr);
        for line in ended.stderr.lines().filter(|line| line.contains(start)) {
            eprintln!("{line}");
        }
    }
    for region in &REGIONS[1..] {
        let served = lambda.served(&arn(region, NAME));
        let complete = |outcome: &Outcome| outcome.answer()["outcome"] == "complete";
        assert!(
            served.len() == 2 && served.iter().all(|s| complete(&s.outcome)),
            "{served:#?}"
        );
    }
}

/// The functions' time is estimated before the run, and measured in it.
fn measured_cost(report: &Combined, said: &str) {
    let cost = report.cost.as_ref().expect("functions ran");
    let measured = cost.gb_seconds.expect("all have told");
    // Two functions, 1,769 MiB each; both tiers last 4 s, and nothing takes two minutes.
    let (least, most) = (
        2.0 * 1_769.0 / 1_024.0 * 8.0,
        2.0 * 1_769.0 / 1_024.0 * 120.0,
    );
    assert!((least..most).contains(&measured), "{cost:?}");
    assert!(cost.functions.is_some_and(|c| c > measured * 0.000_016) && cost.sfu_egress > 0.0);
    let estimate = said.lines().find(|line| line.contains("estimated cost"));
    let estimate = estimate.expect("an estimate");
    assert!(!estimate.contains("functions not counted"), "{estimate}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_function_can_not_do_is_said_before_any_load() {
    let _alone = alone().await;
    if !built() {
        skip!("the functions, which the feature `lambda` builds");
    }
    let Some(binary) = Minio::binary().await else {
        skip!("minio or Go");
    };
    let minio = Minio::start(&binary);
    let settings = minio.settings("");
    // Media is announced where nobody answers: UDP is closed.
    let Some(server) = livekit::start_announcing(relay::ADDRESS).await else {
        skip!("livekit-server or Go");
    };
    let (mut small, mut short) = (bare().prober(REGIONS[1]), bare().prober(REGIONS[2]));
    // None, and a minute. Asked before, they are refused before the job is written.
    (small.memory_mib, short.timeout) = (64, Duration::from_secs(60));
    for (few, says) in [(&small, "takes 0"), (&short, "has 1m")] {
        let other = REGIONS[1..].iter().find(|r| **r != few.region);
        let other = bare().prober(other.expect("two regions"));
        let lambda = Lambda::start([few.clone(), other]).await;
        let ended = tokio::task::block_in_place(|| run(&server, &settings, &lambda))
            .expect(Exit::BadConfiguration);
        let says = format!("the function in {} {says}", few.region);
        assert!(ended.stderr.contains(&says), "{}", ended.stderr);
    }
    // Who finds out in the function says so, and loads nothing.
    for function in [&mut small, &mut short] {
        function.said = Some((1_769, Duration::from_secs(900)));
    }
    let lambda = Lambda::start([small, short]).await;
    let ended =
        tokio::task::block_in_place(|| run(&server, &settings, &lambda)).expect(Exit::Incomplete);
    for says in ["a function of this size takes 0", "this function ends in"] {
        assert!(
            ended.stderr.contains(says),
            "no `{says}`:\n{}",
            ended.stderr
        );
    }
    drop(lambda);

    let lambda = Lambda::start(REGIONS[1..].iter().map(|r| bare().prober(r))).await;
    let ended =
        tokio::task::block_in_place(|| run(&server, &settings, &lambda)).expect(Exit::Incomplete);
    assert!(ended.stderr.contains("UDP is closed"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("none of the probers"),
        "{}",
        ended.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_goes_on_with_all_of_its_functions_or_not_at_all() {
    let _alone = alone().await;
    if !built() {
        skip!("the functions, which the feature `lambda` builds");
    }
    let Some(binary) = Minio::binary().await else {
        skip!("minio or Go");
    };
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let minio = Minio::start(&binary);
    let settings = minio.settings("");
    let store = S3Store::connect(settings.clone(), Arc::new(muster::clock::now))
        .await
        .expect("a store");

    // A region without the function: nothing is written.
    let lambda = Lambda::start([bare().prober(REGIONS[1])]).await;
    let ended =
        tokio::task::block_in_place(|| run(&server, &settings, &lambda)).expect(Exit::Unreachable);
    for says in ["Function not found", REGIONS[2]] {
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
    assert!(lambda.served(&arn(REGIONS[1], NAME)).is_empty());
    let runs = store.list(&List::all("runs/".to_owned())).await;
    assert_eq!(runs.expect("listed").objects.len(), 0);
    drop(lambda);

    // One that takes no event: the other is stopped before its load.
    let mut busy = bare().prober(REGIONS[2]);
    busy.takes_none = true;
    let lambda = Lambda::start([bare().prober(REGIONS[1]), busy]).await;
    let ended =
        tokio::task::block_in_place(|| run(&server, &settings, &lambda)).expect(Exit::Unreachable);
    for says in ["The function is disabled", REGIONS[2], "without all"] {
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
    let called = arn(REGIONS[1], NAME);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let served = loop {
        if let Some(served) = lambda.served(&called).pop() {
            break served;
        }
        assert!(tokio::time::Instant::now() < deadline, "it goes on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let loaded = matches!(&served.outcome, Outcome::Answered(v) if v["tiers"] != json!([]));
    assert!(!loaded, "{served:?}");
}
