//! A run from another terminal: seen, stopped, cleaned up after.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster::clock;
use muster::exit::Exit;
use muster::job::{Job, JobSpec, Origin, RunId, Timestamp, WriteId};
use muster::local::EmbeddedBucket;
use muster::rendezvous::document;
use muster::rendezvous::keys::{Folder, Item, RunKey, list_run};
use muster::rooms::{Keys, Rooms};
use muster::secret::Secret;
use muster::store::{ByteLimit, S3Settings, S3Store, Store};
use serde_json::Value;

use crate::fixtures::fleet::{Ended, Fleet};
use crate::fixtures::meeting::Meeting;
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
    let Some(meeting) = Meeting::start().await else {
        skip!("livekit-server or Go");
    };
    let Meeting {
        fleet,
        settings,
        server,
        ..
    } = &meeting;
    command(fleet, &["runs"]).expect(Exit::BadConfiguration);
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
        if open(settings)
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
        let listed = runs(fleet);
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
    let refused = command(fleet, &second).expect(Exit::BadConfiguration);
    for word in ["run drill of this bucket is live", "--beside-others"] {
        assert!(refused.stderr.contains(word), "{}", refused.stderr);
    }
    let elsewhere = EmbeddedBucket::start().await.expect("a bucket");
    let elsewhere = Fleet::new(server, &elsewhere.settings().expect("its settings"));
    let refused = command(&elsewhere, &second).expect(Exit::BadConfiguration);
    assert!(
        refused.stderr.contains("run drill of another bucket"),
        "{}",
        refused.stderr
    );
    let beside = [&second[..], &["--beside-others"]].concat();
    // It is let in; nobody comes to it.
    command(&elsewhere, &beside).expect(Exit::TimedOut);

    let pulled = Instant::now();
    let aborted = command(fleet, &["abort", "drill", "--reason", "fire drill"]);
    let aborted = aborted.expect(Exit::Passed);
    assert!(pulled.elapsed() < GONE, "{:?}", pulled.elapsed());
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

    assert_eq!(runs(fleet)[0]["state"], "combined");
    let again = command(fleet, &["abort", "drill"]).expect(Exit::Passed);
    assert!(again.stdout.contains("nothing to stop"), "{}", again.stdout);
    let other = command(fleet, &["abort", "other"]).expect(Exit::BadConfiguration);
    assert!(other.stderr.contains("`other`"), "{}", other.stderr);
    // Its hard deadline has not passed: a prober that was asleep might still wake.
    let cleaned = command(fleet, &["clean", "--older-than", "0s"]).expect(Exit::Passed);
    assert_eq!(cleaned.stdout.trim(), "");
    // This bucket has no lifecycle rules, and says so.
    let refused = command(fleet, &["clean", "--expire-after", "30d"]).expect(Exit::Unreachable);
    assert!(refused.stderr.contains("lifecycle"), "{}", refused.stderr);
}

/// Ten seconds, and what a busy machine takes to run a command.
const GONE: Duration = Duration::from_secs(13);
/// After so long a prober looks for its start every 20 s or less often.
const WAITED: Duration = Duration::from_secs(42);

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_gone_soon_with_credentials_or_a_ticket_by_abort_or_ctrl_c() {
    let Some(meeting) = Meeting::start().await else {
        skip!("livekit-server or Go");
    };
    let Meeting {
        fleet, settings, ..
    } = &meeting;
    let dir = tempfile::tempdir().expect("a directory");
    let book = dir.path().join("book.json");
    // Each has one prober of two, and waits for the other.
    let start = |run: &str, more: &[&str]| {
        let job = ["--run", run, "--vantages", "iad,lhr", "--ramp", "1"];
        let wait = ["--timeout", "5m", "--beside-others"];
        fleet.coordinator(&[&job[..], &wait, more].concat())
    };
    let by_key = start("by-key", &[]);
    let tickets = ["--ticket-book", book.to_str().expect("a plain path")];
    let by_ticket = start("by-ticket", &tickets);
    let store = open(settings).await;
    let claimed = async |run: &str| {
        let run = run.parse().expect("a run's id");
        for _ in 0..300 {
            let listed = store.list(&Folder::Ready.list(&run)).await;
            if listed.is_ok_and(|l| !l.objects.is_empty()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("nobody is ready for {run}");
    };
    let key_holder = fleet.start("key", &["probe", "--vantage", "iad", "--run", "by-key"]);
    claimed("by-key").await;
    // The book is written before the job.
    while store
        .get(&job_of("by-ticket"), ByteLimit::mib(1))
        .await
        .is_err()
    {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let book = std::fs::read_to_string(&book).expect("the book");
    let book: Value = serde_json::from_str(&book).expect("a JSON book");
    let url = book["iad"].as_str().expect("iad's URL");
    let bare = fleet.bare().with("MUSTER_TICKET", url);
    let ticket_holder = bare.start("ticket", &["probe"]);
    claimed("by-ticket").await;

    // Its coordinator looks often yet, and cancels it before the prober looks.
    let at_once = start("at-once", &[]);
    let probe = ["probe", "--vantage", "iad", "--run", "at-once"];
    let prober = fleet.start("soon", &probe);
    claimed("at-once").await;
    let abort = ["abort", "at-once", "--reason", "fire drill"];
    command(fleet, &abort).expect(Exit::Passed);
    for process in [prober, at_once] {
        let ended = process.ended(GONE).expect(Exit::Aborted);
        assert!(ended.stderr.contains("fire drill"), "{}", ended.stderr);
    }
    tokio::time::sleep(WAITED).await;

    for (run, coordinator, prober) in [
        ("by-key", by_key, key_holder),
        ("by-ticket", by_ticket, ticket_holder),
    ] {
        let pulled = Instant::now();
        if run == "by-key" {
            command(fleet, &["abort", run]).expect(Exit::Passed);
        } else {
            let kill = format!("kill -INT {}", coordinator.child.id());
            let killed = Command::new("sh").args(["-c", &kill]).status();
            assert!(killed.expect("a shell").success());
        }
        prober.ended(GONE).expect(Exit::Aborted);
        let took = pulled.elapsed();
        assert!(took < GONE, "{run}: {took:?}");
        coordinator
            .ended(Duration::from_secs(30))
            .expect(Exit::Aborted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_left_to_itself_is_combined_later_with_all_that_was_asked() {
    let Some(meeting) = Meeting::start().await else {
        skip!("livekit-server or Go");
    };
    let fleet = &meeting.fleet;
    let args = "--run left --vantages iad --ramp 1 --settle 2s --duration 3s --grace 5s \
                --start-in 12s --threshold connected>=1% --detach";
    let args: Vec<&str> = args.split_whitespace().collect();
    let coordinator = fleet.coordinator(&args);
    let prober = fleet.start("iad", &["probe", "--vantage", "iad"]);
    let left = coordinator.ended(Duration::from_secs(30));
    assert_eq!(left.expect(Exit::Passed).stdout.trim(), "left");
    let too_soon = command(fleet, &["finalize", "left"]).expect(Exit::Incomplete);
    assert!(too_soon.stderr.contains("left"), "{}", too_soon.stderr);

    let finalizer = fleet.start("finalizer", &["finalize", "left", "--wait"]);
    prober.ended(Duration::from_secs(60)).expect(Exit::Passed);
    let text = finalizer.ended(Duration::from_secs(30));
    let text = text.expect(Exit::Passed).stdout;
    let report = command(fleet, &["report", "left", "--format", "json"]).report();
    let asked = report.usage.other_requests.coordinator;
    let asked = asked.expect("it said so in its start");
    // The store's probe creates, overwrites and deletes; then come the job and the start.
    assert!(asked.creates > 2 && asked.reads > 2, "{asked:?}");
    for who in ["probers ", "coordinator ", "finalizer "] {
        assert!(text.contains(who), "no {who}:\n{text}");
    }
}

fn job_of(run: &str) -> muster::store::Key {
    RunKey::new(&run.parse().expect("a run's id"), Item::Job).key()
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
