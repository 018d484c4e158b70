//! `muster run --lambda`: functions as probers, everything else from one machine.

use std::time::Duration;

use muster::exit::Exit;
use muster::local::LivekitServer;
use muster::store::S3Settings;

use super::lambda::{Lambda, Outcome};
use super::{Deployment, PROBER, REGIONS, arn};
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
    if PROBER.is_none() {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_function_can_not_do_is_said_before_any_load() {
    let _alone = alone().await;
    if PROBER.is_none() {
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
    // 10 participants, and a minute.
    small.memory_mib = 64;
    short.timeout = Duration::from_secs(60);
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

    // A region without the function: nobody waits for it.
    drop(lambda);
    let lambda = Lambda::start([bare().prober(REGIONS[1])]).await;
    let ended =
        tokio::task::block_in_place(|| run(&server, &settings, &lambda)).expect(Exit::Unreachable);
    assert!(
        ended.stderr.contains("Function not found"),
        "{}",
        ended.stderr
    );
}
