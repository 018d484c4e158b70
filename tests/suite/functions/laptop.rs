//! `muster run --lambda`: functions as probers, everything else from one machine.

use std::time::Duration;

use muster::exit::Exit;
use muster::report::Combined;
use muster::store::{List, Store as _};
use serde_json::json;

use super::ground::Ground;
use super::lambda::{Lambda, Outcome, Served};
use super::{Deployment, REGIONS, arn};
use crate::fixtures::fleet::{Ended, Fleet};
use crate::fixtures::relay;
use crate::fixtures::skip::skip;

const NAME: &str = "muster-prober";

/// A prober in each of two regions, and a subscriber at each.
const TWO: (&str, &str) = ("eu-west-1,us-east-1", "1");

/// `muster run --lambda` in these regions with this ramp.
fn run(ground: &Ground, (regions, ramp): (&str, &str), lambda: &Lambda) -> Ended {
    let args = [
        "--lambda",
        regions,
        "--ramp",
        ramp,
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
    let fleet =
        Fleet::new(&ground.server, &ground.settings).with("AWS_ENDPOINT_URL_LAMBDA", &lambda.url());
    tokio::task::block_in_place(|| fleet.coordinator(&args).ended(Duration::from_secs(120)))
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
    let ground = match Ground::start("runs-of-functions").await {
        Ok(ground) => ground,
        Err(lacks) => skip!("{lacks}"),
    };
    let lambda = Lambda::start(REGIONS[1..].iter().map(|r| bare().prober(r))).await;
    for (start, other) in [
        ("cold start, init", "warm start"),
        ("warm start", "cold start"),
    ] {
        let ended = run(&ground, TWO, &lambda);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_functions_of_a_region_share_its_load() {
    let ground = match Ground::start("").await {
        Ok(ground) => ground,
        Err(lacks) => skip!("{lacks}"),
    };
    let mut region = bare().prober(REGIONS[1]);
    region.concurrency = 2;
    let lambda = Lambda::start([region]).await;
    let ended = run(&ground, ("eu-west-1:2", "3"), &lambda);
    let report = ended.report();
    assert!(report.dropped.is_empty(), "{}", ended.stderr);
    let tier = &report.tiers[1];
    let figures = tier.figures.as_ref().expect("measured");
    assert_eq!(figures.requested.subscribers, 3, "no load was doubled");
    assert_eq!(figures.connected_percent, Some(100.0), "{}", ended.stderr);
    let [row] = &tier.rows[..] else {
        panic!("one vantage: {:?}", tier.rows);
    };
    let shares: Vec<(&str, u32)> = row
        .probers
        .iter()
        .map(|p| (p.vantage.as_str(), p.figures.requested.subscribers))
        .collect();
    assert_eq!(shares, [("eu-west-1/0", 2), ("eu-west-1/1", 1)]);
    measured_cost(&report, &ended.stderr);

    // Each was called with its own ticket, and ran beside the other.
    let served = lambda.served(&arn(REGIONS[1], NAME));
    let [one, other] = &served[..] else {
        panic!("two events: {served:#?}");
    };
    assert_ne!(one.process, other.process);
    for slot in ["eu-west-1/0", "eu-west-1/1"] {
        let said = format!("{slot}: cold start, init");
        assert!(ended.stderr.contains(&said), "{}", ended.stderr);
        let its = |served: &&Served| {
            let answer = served.outcome.answer();
            answer["vantage"] == slot && answer["outcome"] == "complete"
        };
        assert_eq!(served.iter().filter(its).count(), 1, "{served:#?}");
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
    // Media is announced where nobody answers: UDP is closed.
    let ground = match Ground::start_with("", relay::ADDRESS, None).await {
        Ok(ground) => ground,
        Err(lacks) => skip!("{lacks}"),
    };
    let (mut small, mut short) = (bare().prober(REGIONS[1]), bare().prober(REGIONS[2]));
    // None, and a minute. Asked before, they are refused before the job is written.
    (small.memory_mib, short.timeout) = (64, Duration::from_secs(60));
    for (few, says) in [(&small, "takes 0"), (&short, "has 1m")] {
        let other = REGIONS[1..].iter().find(|r| **r != few.region);
        let other = bare().prober(other.expect("two regions"));
        let lambda = Lambda::start([few.clone(), other]).await;
        let ended = run(&ground, TWO, &lambda).expect(Exit::BadConfiguration);
        let says = format!("the function in {} {says}", few.region);
        assert!(ended.stderr.contains(&says), "{}", ended.stderr);
    }
    // Who finds out in the function says so, and loads nothing.
    for function in [&mut small, &mut short] {
        function.said = Some((1_769, Duration::from_secs(900)));
    }
    let lambda = Lambda::start([small, short]).await;
    let ended = run(&ground, TWO, &lambda).expect(Exit::Incomplete);
    for says in ["a function of this size takes 0", "this function ends in"] {
        assert!(
            ended.stderr.contains(says),
            "no `{says}`:\n{}",
            ended.stderr
        );
    }
    drop(lambda);

    let lambda = Lambda::start(REGIONS[1..].iter().map(|r| bare().prober(r))).await;
    let ended = run(&ground, TWO, &lambda).expect(Exit::Incomplete);
    assert!(ended.stderr.contains("UDP is closed"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("none of the probers"),
        "{}",
        ended.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_goes_on_with_all_of_its_functions_or_not_at_all() {
    let ground = match Ground::start("").await {
        Ok(ground) => ground,
        Err(lacks) => skip!("{lacks}"),
    };
    let store = ground.store().await;

    // A region without the function: nothing is written.
    let lambda = Lambda::start([bare().prober(REGIONS[1])]).await;
    let ended = run(&ground, TWO, &lambda).expect(Exit::Unreachable);
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
    let ended = run(&ground, TWO, &lambda).expect(Exit::Unreachable);
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
