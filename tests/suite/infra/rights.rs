//! What each role may do with a run's objects, asked of a store that enforces its policy.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use muster::exit::Exit;
use muster::job::{ClaimId, RunId, Vantage};
use muster::rendezvous::keys::{Item, Revision, RunKey};
use muster::store::{ByteLimit, List, S3Settings, S3Store, Store, StoreError};
use serde_json::json;

use super::{file, own, printed, python};
use crate::fixtures::alone::alone;
use crate::fixtures::checker::replaced;
use crate::fixtures::fleet::{Fleet, SMALL_RUN};
use crate::fixtures::livekit;
use crate::fixtures::minio::{BUCKET, Minio};
use crate::fixtures::skip::skip;

/// The label of a prober with credentials of its own.
const HERE: &str = "eu-west-1";
/// Another label, which begins like it.
const THERE: &str = "eu-west-10";

/// What `role` of a template's stack may do in the bucket, as a policy.
fn policy(python: &Path, template: &Path, role: &str) -> String {
    let secret = "LivekitSecret=arn:aws:secretsmanager:eu-west-1:123456789012:secret:sfu";
    let parameters = ["CoordinatorKey=zip", "FinalizerKey=zip", secret];
    let mut script = Command::new(python);
    script.arg(own("roles.py")).arg(template);
    script.arg(format!("BucketName={BUCKET}"));
    let roles = printed(script.arg("CodeBucket=code").args(parameters));
    let mut statements = roles[role].as_array().expect("statements").clone();
    statements.retain(|statement| statement["Action"].to_string().contains("s3:"));
    assert!(!statements.is_empty(), "{role}: {roles}");
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

fn vantage(label: &str) -> Vantage {
    label.parse().expect("a label")
}

/// Every kind of object that a vantage writes.
fn of_vantage(label: &str) -> Vec<Item> {
    let v = || vantage(label);
    vec![
        Item::Slot(v(), 0),
        Item::Ready(ClaimId::new(&v(), 0, 7)),
        Item::Live(v()),
        Item::Tier(v(), 1),
        Item::Report(v()),
        Item::Log(v()),
    ]
}

/// Who writes what probers write.
const PROBERS: [&str; 2] = ["Role", "nobody"];

/// Every kind of object of a run: who writes it, by the name of the role.
fn items() -> Vec<(&'static str, Item)> {
    let coordinators = [
        Item::Job,
        Item::Ticket(vantage(HERE)),
        Item::Ticket(vantage(THERE)),
        Item::Start,
        Item::Abort,
    ];
    let finalizers = [Revision(1), Revision(2)]
        .into_iter()
        .flat_map(|r| [Item::Inputs(r), Item::Combined(r), Item::Page(r)]);
    let mut all = Vec::new();
    all.extend(coordinators.map(|item| ("CoordinatorRole", item)));
    all.extend(finalizers.map(|item| ("FinalizerRole", item)));
    all.extend(of_vantage(HERE).into_iter().map(|item| ("Role", item)));
    all.extend(of_vantage(THERE).into_iter().map(|item| ("nobody", item)));
    all
}

/// Whether `role` reads `item`. The functions of the core read all, but the finalizer no ticket;
/// a prober what concerns it, what signs tickets what concerns any prober.
fn reads(role: &str, writer: &str, item: &Item) -> bool {
    let ticket = matches!(item, Item::Ticket(_));
    if role == "FinalizerRole" {
        return !ticket;
    }
    if role == "TicketRole" {
        return PROBERS.contains(&writer) || ticket || reads("Role", writer, item);
    }
    let concerns = matches!(item, Item::Job | Item::Start | Item::Abort)
        || *item == Item::Ticket(vantage(HERE));
    role != "Role" || writer == role || concerns
}

/// How the rights of `policy` differ from those that `role` should have, which writes what these
/// `writers` do.
async fn wrong_of(
    minio: &Minio,
    (role, writers): (&str, &[&str]),
    policy: &str,
    run: &RunId,
) -> Vec<String> {
    let settings = S3Settings {
        credentials: Some(minio.session(policy).await),
        ..minio.settings("")
    };
    let clock = std::sync::Arc::new(muster::clock::now);
    let store = S3Store::connect(settings, clock).await.expect("a store");
    let mut wrong = Vec::new();
    for (writer, item) in items() {
        let key = RunKey::new(run, item.clone()).key();
        let read = store.get(&key, ByteLimit::kib(1)).await;
        // Absent, not denied: the role may list.
        match (&read, reads(role, writer, &item)) {
            (Err(StoreError::Absent { .. }), true) | (Err(StoreError::Denied { .. }), false) => {}
            _ => wrong.push(format!("{role} reads {}: {read:?}", key.as_str())),
        }
        let written = store.create(&key, "x".into()).await;
        // Who aborts a run rewrites its heartbeats.
        let rewrites = role == "CoordinatorRole" && matches!(item, Item::Live(_));
        match (&written, writers.contains(&writer) || rewrites) {
            (Ok(_), true) | (Err(StoreError::Denied { .. }), false) => {}
            _ => wrong.push(format!("{role} writes {}: {written:?}", key.as_str())),
        }
        if !matches!(store.delete(&key).await, Err(StoreError::Denied { .. })) {
            wrong.push(format!("{role} deletes {}", key.as_str()));
        }
    }
    let listed = store.list(&List::all(format!("runs/{run}/"))).await;
    if listed.is_err() {
        wrong.push(format!("{role} lists: {listed:?}"));
    }
    wrong
}

/// What `muster iam` prints for vantage `HERE`, below `prefix`.
fn printed_policies(prefix: &str) -> serde_json::Value {
    let mut iam = Command::new(env!("CARGO_BIN_EXE_muster"));
    let bucket = format!("s3://{BUCKET}{prefix}");
    iam.args(["iam", "--bucket", &bucket, "--vantages", HERE]);
    printed(&mut iam)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policies_that_iam_prints_reach_their_own_objects_alone() {
    let Some(binary) = Minio::binary().await else {
        skip!("minio or Go");
    };
    let minio = Minio::start(&binary);
    let policies = printed_policies("");
    let both: &[&str] = &["CoordinatorRole", "FinalizerRole"];
    for (role, writers, policy) in [
        ("CoordinatorRole", both, &policies["coordinator"]),
        ("FinalizerRole", &both[1..], &policies["finalizer"]),
        ("Role", &["Role"], &policies["probers"][HERE]),
    ] {
        let run = format!("iam-{}", role.to_lowercase());
        let run = run.parse().expect("a run's id");
        let wrong = wrong_of(&minio, (role, writers), &policy.to_string(), &run).await;
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }
}

/// What is in a bucket's only run: its objects and folders by name.
async fn left_in(settings: S3Settings) -> BTreeSet<String> {
    let clock = std::sync::Arc::new(muster::clock::now);
    let store = S3Store::connect(settings, clock).await.expect("a store");
    let all = store.list(&List::all("runs/".to_owned())).await;
    let all = all.expect("listed").objects.into_iter();
    all.filter_map(|object| object.key.split('/').nth(2).map(str::to_owned))
        .collect()
}

/// The policies are enough: a whole run in which nobody may do more.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_needs_no_more_than_the_policies_that_iam_prints() {
    let _alone = alone().await;
    let Some(binary) = Minio::binary().await else {
        skip!("minio or Go");
    };
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let minio = Minio::start(&binary);
    let policies = printed_policies("/nightly");
    let fleet = async |policy: &serde_json::Value| {
        let settings = S3Settings {
            credentials: Some(minio.session(&policy.to_string()).await),
            ..minio.settings("nightly")
        };
        Fleet::new(&server, &settings)
    };
    let coordinating = fleet(&policies["coordinator"]).await;
    let coordinator = coordinating.coordinator(&[&["--vantages", HERE], &SMALL_RUN[..]].concat());
    let probing = fleet(&policies["probers"][HERE]).await;
    let prober = probing.prober(HERE);
    let report = coordinator
        .ended(Duration::from_secs(90))
        .expect(Exit::Passed)
        .report();
    prober.ended(Duration::from_secs(30)).expect(Exit::Passed);
    // Nobody went without what was refused.
    assert!(
        report.dropped.is_empty() && report.rejected.is_empty(),
        "{report:?}"
    );
    let whole = [
        "combined.json",
        "inputs.1.json",
        "job.json",
        "live",
        "ready",
        "reports",
        "slots",
        "start.json",
        "tiers",
    ];
    let left = left_in(minio.settings("nightly")).await;
    assert_eq!(left, whole.map(str::to_owned).into());
    // What is there already is read, whoever made it.
    let finalizing = fleet(&policies["finalizer"]).await;
    let finalizer = finalizing.start("finalizer", &["finalize"]);
    finalizer
        .ended(Duration::from_secs(30))
        .expect(Exit::Passed);
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_reach_their_own_objects_alone() {
    let Some(python) = python() else {
        skip!("python3");
    };
    let Some(binary) = Minio::binary().await else {
        skip!("minio or Go");
    };
    let minio = Minio::start(&binary);
    let core = file("core.yaml");
    for (role, writers) in [
        ("CoordinatorRole", &["CoordinatorRole"][..]),
        ("FinalizerRole", &["FinalizerRole"]),
        ("TicketRole", &PROBERS),
    ] {
        let run = role.to_lowercase().parse().expect("a run's id");
        let policy = policy(&python, &core, role);
        let wrong = wrong_of(&minio, (role, writers), &policy, &run).await;
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }

    // One that may write all of a run, and one that may not tell what is missing.
    let policy = policy(&python, &core, "TicketRole");
    for (run, broken) in [
        ("wide", replaced(&policy, "slots/*.json", "*")),
        (
            "blind",
            replaced(&policy, "s3:ListBucket", "s3:ListAllMyBuckets"),
        ),
    ] {
        let run = run.parse().expect("a run's id");
        let wrong = wrong_of(&minio, ("TicketRole", &PROBERS), &broken, &run).await;
        assert!(!wrong.is_empty());
    }
}
