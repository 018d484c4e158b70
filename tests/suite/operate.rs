//! A run from another terminal: seen, stopped, cleaned up after.

use std::sync::Arc;
use std::time::Duration;

use muster::clock;
use muster::exit::Exit;
use muster::job::{Job, JobSpec, Origin, RunId, Timestamp, WriteId};
use muster::local::EmbeddedBucket;
use muster::rendezvous::document;
use muster::rendezvous::keys::{Item, RunKey, list_run};
use muster::rooms::{Keys, Rooms};
use muster::secret::Secret;
use muster::store::{S3Settings, S3Store, Store};
use serde_json::Value;

use crate::fixtures::alone::alone;
use crate::fixtures::fleet::{Ended, Fleet};
use crate::fixtures::minio::Minio;
use crate::fixtures::{livekit, skip::skip};

async fn open(settings: &S3Settings) -> S3Store {
    S3Store::connect(settings.clone(), Arc::new(clock::now))
        .await
        .expect("the bucket opens")
}

fn command(fleet: &Fleet, args: &[&str]) -> Ended {
    fleet.start("command", args).ended(Duration::from_secs(60))
}

fn runs(fleet: &Fleet) -> Vec<Value> {
    let listed = command(fleet, &["runs", "--format", "json"]).expect(Exit::Passed);
    serde_json::from_str(&listed.stdout).expect("a JSON list")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_seen_and_stopped_from_another_terminal() {
    let _alone = alone().await;
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let bucket = EmbeddedBucket::start().await.expect("a bucket");
    let settings = bucket.settings().expect("its settings");
    let fleet = Fleet::new(&server, &settings);
    command(&fleet, &["runs"]).expect(Exit::BadConfiguration);
    let coordinator = fleet.coordinator(&[
        "--run",
        "drill",
        "--vantages",
        "iad,sjc",
        "--ramp",
        "2",
        "--duration",
        "60s",
        "--settle",
        "2s",
        "--format",
        "json",
    ]);
    let probers = ["iad", "sjc"].map(|v| fleet.prober(v));
    let watch = loop {
        // Until the job is written there is no run to watch.
        if open(&settings)
            .await
            .list(&list_run(&drill()))
            .await
            .is_ok_and(|l| !l.objects.is_empty())
        {
            break fleet.start("watch", &["watch", "drill", "--format", "json"]);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let mut baseline = false;
    for _ in 0..120 {
        let listed = runs(&fleet);
        assert_eq!(listed[0]["run"], "drill");
        assert_eq!(listed[0]["expected"], 2);
        if listed[0]["state"] == "running" {
            baseline = listed[0]["tier"] == 0;
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(baseline, "the run never began");
    // Both have joined when the first settle period is over.
    tokio::time::sleep(Duration::from_secs(3)).await;

    // Two runs at one SFU would measure each other.
    let second = [
        "run",
        "--url",
        server.url(),
        "--vantages",
        "lhr",
        "--ramp",
        "1",
        "--timeout",
        "1s",
    ];
    let refused = command(&fleet, &second).expect(Exit::BadConfiguration);
    for word in ["run drill of this bucket is live", "--beside-others"] {
        assert!(refused.stderr.contains(word), "{}", refused.stderr);
    }
    let elsewhere = EmbeddedBucket::start().await.expect("a bucket");
    let elsewhere = Fleet::new(&server, &elsewhere.settings().expect("its settings"));
    let refused = command(&elsewhere, &second).expect(Exit::BadConfiguration);
    assert!(
        refused.stderr.contains("run drill of another bucket"),
        "{}",
        refused.stderr
    );
    let beside = [&second[..], &["--beside-others"]].concat();
    // It is let in; nobody comes to it.
    command(&elsewhere, &beside).expect(Exit::TimedOut);

    let aborted = command(&fleet, &["abort", "drill", "--reason", "fire drill"]);
    let aborted = aborted.expect(Exit::Passed);
    assert!(
        aborted.stdout.contains("no prober puts on load"),
        "{}",
        aborted.stdout
    );
    for prober in probers {
        prober.ended(Duration::from_secs(20)).expect(Exit::Aborted);
    }
    let ended = coordinator
        .ended(Duration::from_secs(60))
        .expect(Exit::Aborted);
    assert_eq!(ended.report().aborted.as_deref(), Some("fire drill"));
    let seen = watch.ended(Duration::from_secs(30)).expect(Exit::Aborted);
    assert_eq!(seen.report(), ended.report());
    for line in ["iad: took its slot", "sjc: reported", "run drill: baseline"] {
        assert!(seen.stderr.contains(line), "no {line:?}:\n{}", seen.stderr);
    }

    assert_eq!(runs(&fleet)[0]["state"], "combined");
    let again = command(&fleet, &["abort", "drill"]).expect(Exit::Passed);
    assert!(again.stdout.contains("nothing to stop"), "{}", again.stdout);
    let other = command(&fleet, &["abort", "other"]).expect(Exit::BadConfiguration);
    assert!(other.stderr.contains("`other`"), "{}", other.stderr);
    // Its hard deadline has not passed: a prober that was asleep might still wake.
    let cleaned = command(&fleet, &["clean", "--older-than", "0s"]).expect(Exit::Passed);
    assert_eq!(cleaned.stdout.trim(), "");
    // This bucket has no lifecycle rules, and says so.
    let refused = command(&fleet, &["clean", "--expire-after", "30d"]).expect(Exit::Unreachable);
    assert!(refused.stderr.contains("lifecycle"), "{}", refused.stderr);
}

fn drill() -> RunId {
    "drill".parse().expect("a run's id")
}

/// Stores the job of a run that was resolved at `now`, and a heartbeat's worth of other objects.
async fn leave(store: &S3Store, run: &str, url: &str, now: Timestamp) {
    let spec = JobSpec {
        url: Some(url.to_owned()),
        expect: Some(1),
        ..JobSpec::default()
    };
    let run: RunId = run.parse().expect("a run's id");
    let origin = Origin {
        run: run.clone(),
        write_id: WriteId::from_u64(7),
        now,
    };
    let job = Job::resolve(spec, origin).expect("a job");
    let vantage = || "iad".parse().expect("a label");
    let body = document::write(&job).expect("a body");
    let objects = [
        (Item::Job, body),
        (Item::Live(vantage()), "x".into()),
        (Item::Tier(vantage(), 0), "x".into()),
    ];
    for (item, body) in objects {
        let key = RunKey::new(&run, item).key();
        store.create(&key, body).await.expect("created");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clean_removes_old_runs_with_their_rooms_and_nothing_else() {
    let Some(binary) = Minio::binary().await else {
        skip!("minio or Go");
    };
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let minio = Minio::start(&binary);
    let settings = minio.settings("nightly");
    let (store, fleet) = (open(&settings).await, Fleet::new(&server, &settings));
    let now = clock::now();
    leave(
        &store,
        "old",
        server.url(),
        now - Duration::from_secs(36_000),
    )
    .await;
    leave(&store, "new", server.url(), now).await;
    let rooms = Rooms::new(
        server.url(),
        &Keys {
            api_key: server.key().to_owned(),
            api_secret: Secret::new(server.secret().expose()),
        },
    );
    for run in ["old", "new", "foreign"] {
        let minute = Duration::from_secs(60);
        let id = run.parse().expect("a run's id");
        rooms.create(run, &id, minute).await.expect("a room");
    }
    let objects = async |run: &str| {
        let run = run.parse().expect("a run's id");
        store
            .list(&list_run(&run))
            .await
            .expect("listed")
            .objects
            .len()
    };
    let there = async || {
        let mut names: Vec<String> = Vec::new();
        for room in rooms.list().await.expect("listed") {
            names.push(room.name);
        }
        names.sort();
        names
    };
    let clean = |more: &[&str]| {
        let mut args = vec![
            "clean",
            "--older-than",
            "0s",
            "--rooms",
            "--url",
            server.url(),
        ];
        args.extend(more);
        command(&fleet, &args).expect(Exit::Passed).stdout
    };

    // `Last-Modified` has whole seconds.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let said = clean(&["--dry-run"]);
    assert!(
        said.contains("run old would be removed (3 objects)"),
        "{said}"
    );
    assert_eq!((objects("old").await, there().await.len()), (3, 3));
    let said = clean(&["--expire-after", "30d"]);
    assert!(said.contains("removed run old (3 objects)"), "{said}");
    assert!(
        said.contains("the bucket removes runs after 30 days"),
        "{said}"
    );
    assert_eq!((objects("old").await, objects("new").await), (0, 3));
    assert_eq!(there().await, ["foreign", "new"]);
    // A second rule takes the place of the first.
    clean(&["--expire-after", "7d"]);
    assert_eq!(
        minio.lifecycle().await,
        [("nightly/runs/".to_owned(), Some(7))]
    );
    command(&fleet, &["clean", "--expire-after", "36h"]).expect(Exit::BadConfiguration);
}
