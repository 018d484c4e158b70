//! A whole run of functions alone: one event in, one report out.

use std::time::Duration;

use muster::rendezvous::keys::{Item, RunKey, list_run};
use muster::report::combined::RunVerdict;
use muster::store::Store as _;
use serde_json::{Value, json};

use super::ground::Ground;
use super::http::{Request, Server, answer};
use super::lambda::{Lambda, Outcome, Served};
use super::schedule::ScheduleStandIn;
use super::{Deployment, HOME, REGIONS, arn};
use crate::fixtures::fleet::Fleet;
use crate::fixtures::relay::{self, Relay};
use crate::fixtures::skip::skip;

const RUN: &str = "20261122-071339-functions";

/// A run of the shortest kind: the baseline and one tier.
fn job(url: &str) -> Value {
    json!({
        "run": RUN, "start_in": "20s", "url": url, "vantages": REGIONS,
        "ramp": [2], "settle": "2s", "duration": "3s", "grace": "5s",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_makes_a_run_and_its_report() {
    // The bucket tells the finalizer of each report; it is there before the functions.
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let bell = Server::start(move |request: Request| {
        let tell = tell.clone();
        async move {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            if body.get("Records").is_some() {
                let _ = tell.send(body);
            }
            answer(200, "")
        }
    })
    .await;
    // The probers' datagrams leave through an address translation, and come back through it.
    let ground = match Ground::start_with("", relay::ADDRESS, Some(&bell.url())).await {
        Ok(ground) => ground,
        Err(lacks) => skip!("{lacks}"),
    };
    let relay = Relay::start(ground.server.udp_port());

    // Tickets are all that a prober has.
    let probers = Deployment { env: Vec::new() }.with("MUSTER_LOG", "info,muster=debug");
    let core = Deployment::new(&ground.settings);
    let finalizer = core.finalizer();
    // Lambda may deliver an event twice: two of them at once, in one region.
    let mut configs: Vec<_> = REGIONS
        .iter()
        .map(|region| probers.prober(region))
        .collect();
    configs[0].concurrency = 2;
    let ends = finalizer.arn();
    configs.push(finalizer);
    let workers = Lambda::start(configs).await;
    let schedule = ScheduleStandIn::start(&workers).await;
    let coordinator = Deployment::new(&ground.settings)
        .keys(&ground.server)
        .calls(&workers, &schedule, &ground.minio)
        .coordinator();
    let begins = coordinator.arn();
    let heads = Lambda::start([coordinator]).await;

    let first = heads
        .call(&begins, job(ground.server.url()).to_string())
        .await;
    assert_eq!(first.answer()["run"], RUN);
    assert_eq!(first.answer()["vantages"], json!(REGIONS));
    // The same event again joins the run; each prober's event comes twice.
    let again = heads
        .call(&begins, job(ground.server.url()).to_string())
        .await;
    assert_eq!(again.answer(), first.answer());
    let names: Vec<String> = schedule
        .created()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");

    let send = workers.sender();
    let bells = tokio::spawn(async move {
        while let Some(event) = told.recv().await {
            send(&arn(HOME, "muster-finalizer"), &event);
        }
    });
    // Each prober's two events, each of the three reports, and the schedule.
    let all = || {
        let mut all: Vec<Served> = REGIONS
            .iter()
            .flat_map(|r| workers.served(&arn(r, "muster-prober")))
            .collect();
        all.extend(workers.served(&ends));
        all
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(100);
    while all().len() < 2 * 3 + 3 + 1 {
        assert!(tokio::time::Instant::now() < deadline, "{:#?}", all());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bells.abort();

    for region in REGIONS {
        let served = workers.served(&arn(region, "muster-prober"));
        let loaded =
            |s: &&Served| matches!(&s.outcome, Outcome::Answered(v) if v["outcome"] == "complete");
        assert_eq!(served.iter().filter(loaded).count(), 1, "{served:#?}");
    }
    let twice = workers.served(&arn(REGIONS[0], "muster-prober"));
    let left = twice
        .iter()
        .find(|s| s.outcome.answer().get("left").is_some());
    let left = left.unwrap_or_else(|| panic!("one of two took part: {twice:#?}"));
    assert!(
        left.outcome.answer()["left"].to_string().contains("taken"),
        "{left:?}"
    );

    // Who came too early left; the others found one and the same report.
    let ended = workers.served(&ends);
    let runs: Vec<&Value> = ended
        .iter()
        .map(|s| &s.outcome.answer()["runs"][0])
        .collect();
    let made = |run: &&&Value| run["revision"] == json!(1);
    assert!(runs.iter().any(|run| made(&run)), "{ended:#?}");
    assert!(
        runs.iter()
            .all(|run| made(&run) || run.get("left").is_some()),
        "{ended:#?}"
    );

    let report = Fleet::new(&ground.server, &ground.settings)
        .start("report", &["report", RUN, "--format", "json"])
        .ended(Duration::from_secs(20))
        .report();
    // A machine that is busy with other things makes tiers suspect, and the run incomplete.
    assert!(report.verdict != RunVerdict::Failed, "{:?}", report.reasons);
    assert!(
        report.dropped.is_empty() && report.rejected.is_empty(),
        "{report:?}"
    );
    let vantages: Vec<&str> = report
        .vantages
        .iter()
        .filter_map(|v| Some(v.vantage.as_ref()?.as_str()))
        .collect();
    assert_eq!(vantages, REGIONS);
    for (tier, subscribers) in report.tiers.iter().zip([3, 6]) {
        let figures = tier.figures.as_ref().expect("measured");
        assert_eq!(
            figures.requested.subscribers, subscribers,
            "no load was doubled"
        );
        assert_eq!(figures.connected_percent, Some(100.0));
    }
    assert!(relay.counts().0 > 0, "media went through the relay");
    cold_starts(&ground, RUN).await;
}

/// Prints how fast each prober was there, as it says in the bucket.
async fn cold_starts(ground: &Ground, run: &str) {
    let store = ground.store().await;
    let run = run.parse().expect("a run's id");
    let listing = store.list(&list_run(&run)).await.expect("listed");
    let mut found = 0;
    for entry in listing.objects {
        let Ok(key) = entry.key.parse::<RunKey>() else {
            continue;
        };
        if let Item::Ready(claim) = &key.item {
            let body = store.get(&key.key(), key.limit()).await.expect("read").body;
            let ready: Value = serde_json::from_slice(&body).expect("JSON");
            let start = &ready["function"];
            eprintln!(
                "{claim}: init {} ms, ready {} ms after its event",
                start["init_ms"], start["ready_ms"]
            );
            assert!(
                start["init_ms"].as_u64().is_some_and(|ms| ms < 5_000),
                "{start}"
            );
            assert!(
                start["ready_ms"].as_u64().is_some_and(|ms| ms < 15_000),
                "{start}"
            );
            found += 1;
        }
    }
    assert_eq!(found, REGIONS.len());
}
