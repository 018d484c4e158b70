//! A coordinator function that can't have all of its probers.

use std::time::Duration;

use muster::rendezvous::keys::{Item, RunKey};
use muster::store::{ByteLimit, List, Store as _};
use serde_json::json;

use super::ground::Ground;
use super::lambda::{Lambda, Outcome};
use super::schedule::ScheduleStandIn;
use super::{Deployment, HOME, REGIONS, arn};
use crate::fixtures::skip::skip;

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_leaves_no_half_of_a_run() {
    let ground = match Ground::start("").await {
        Ok(ground) => ground,
        Err(lacks) => skip!("{lacks}"),
    };
    let probers = Deployment { env: Vec::new() };
    let core = Deployment::new(&ground.settings);
    let mut closed = probers.prober(REGIONS[1]);
    closed.takes_none = true;
    let workers = Lambda::start([probers.prober(REGIONS[0]), closed, core.finalizer()]).await;
    let schedule = ScheduleStandIn::start(&workers).await;
    let coordinator = core
        .keys(&ground.server)
        .calls(&workers, &schedule, &ground.minio);
    let begins = arn(HOME, "muster-coordinator");
    let heads = Lambda::start([coordinator.coordinator()]).await;
    let store = ground.store().await;
    let event = |run: &str, regions: &[&str]| {
        json!({
            "run": run, "start_in": "20s", "url": ground.server.url(), "vantages": regions,
            "ramp": [1], "settle": "2s", "duration": "2s", "grace": "5s",
        })
        .to_string()
    };
    let failed = |outcome: Outcome, says: [&str; 2]| match outcome {
        Outcome::Failed(kind, words) => {
            assert_eq!(kind, "Unreachable", "{words}");
            for says in says {
                assert!(words.contains(says), "{words}");
            }
        }
        other => panic!("{other:?}"),
    };

    // A region without the function: nothing is written, nobody is called.
    let absent = heads.call(&begins, event("r1", &REGIONS)).await;
    failed(absent, ["Function not found", REGIONS[2]]);
    let written = store.list(&List::all("runs/".to_owned())).await;
    assert_eq!(written.expect("listed").objects.len(), 0);
    assert_eq!(schedule.created().len(), 0);

    // No schedule: nothing is written either, for the run's end comes first.
    let mut unscheduled = coordinator
        .with("AWS_ENDPOINT_URL_SCHEDULER", &workers.url())
        .coordinator();
    unscheduled.name = "unscheduled".to_owned();
    let unscheduled_heads = Lambda::start([unscheduled]).await;
    let refused = unscheduled_heads
        .call(&arn(HOME, "unscheduled"), event("r0", &REGIONS[..1]))
        .await;
    failed(refused, ["create schedule", "no such API"]);
    let written = store.list(&List::all("runs/".to_owned())).await;
    assert_eq!(written.expect("listed").objects.len(), 0);

    // One that takes no event: the kill switch says why, and the other puts on no load.
    let refused = heads.call(&begins, event("r2", &REGIONS[..2])).await;
    failed(refused, ["The function is disabled", REGIONS[1]]);
    let abort = RunKey::new(&"r2".parse().expect("an id"), Item::Abort).key();
    let body = store.get(&abort, ByteLimit::kib(4)).await.expect("aborted");
    let body = String::from_utf8_lossy(&body.body).into_owned();
    assert!(body.contains("The function is disabled"), "{body}");
    let called = arn(REGIONS[0], "muster-prober");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while workers.served(&called).is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "it goes on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let served = workers.served(&called);
    let loaded = |o: &Outcome| matches!(o, Outcome::Answered(v) if v["tiers"] != json!([]));
    assert!(!served.iter().any(|s| loaded(&s.outcome)), "{served:?}");
}
