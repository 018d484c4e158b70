//! A prober function with credentials of its own: its event names a run, and no ticket.

use std::time::Duration;

use muster::exit::Exit;
use muster::job::RunId;
use muster::rendezvous::keys::{Item, RunKey};
use muster::store::{ByteLimit, Store as _};
use serde_json::json;

use super::ground::Ground;
use super::lambda::Lambda;
use super::{Deployment, HOME, arn};
use crate::fixtures::fleet::{Fleet, SMALL_RUN};
use crate::fixtures::skip::skip;

const RUN: &str = "20261122-071339-standing";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_is_all_that_a_function_with_credentials_is_told() {
    let ground = match Ground::start("").await {
        Ok(ground) => ground,
        Err(lacks) => skip!("{lacks}"),
    };
    let store = ground.store().await;
    let deployment = Deployment::new(&ground.settings).keys(&ground.server);
    let lambda = Lambda::start([deployment.prober(HOME)]).await;
    let fleet = Fleet::new(&ground.server, &ground.settings);
    let coordinator =
        fleet.coordinator(&[&["--run", RUN, "--vantages", HOME], &SMALL_RUN[..]].concat());
    let run: RunId = RUN.parse().expect("an id");
    let job = RunKey::new(&run, Item::Job).key();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while store.get(&job, ByteLimit::mib(1)).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "no job comes");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let event = json!({"run": RUN}).to_string();
    let outcome = lambda.call(&arn(HOME, "muster-prober"), event).await;
    let answer = outcome.answer();
    assert_eq!(answer["outcome"], "complete");
    assert_eq!(
        (&answer["run"], &answer["vantage"]),
        (&json!(RUN), &json!(HOME))
    );
    let ended = tokio::task::block_in_place(|| coordinator.ended(Duration::from_secs(60)));
    let report = ended.expect(Exit::Passed).report();
    assert!(report.dropped.is_empty(), "{report:?}");
    let figures = report.tiers[1].figures.as_ref().expect("measured");
    assert_eq!(figures.connected_percent, Some(100.0));
}
