//! Probers with tickets alone: whole runs, forged parts among them, and what a ticket opens.

mod forged;
mod scope;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster::exit::Exit;
use muster::job::{RunId, Timestamp};
use muster::local::{EmbeddedBucket, LivekitServer};
use muster::rendezvous::keys::{Item, RunKey, list_runs, runs_of};
use muster::report::combined::{Combined, RunVerdict, SlotState, VantageReport};
use muster::store::{S3Settings, S3Store, Store};

use crate::fixtures::alone::alone;
use crate::fixtures::fleet::{Ended, Fleet};
use crate::fixtures::meeting::Meeting;
use crate::fixtures::minio::{BUCKET, Minio};
use crate::fixtures::{livekit, skip::skip};

const JOB: [&str; 14] = [
    "--vantages",
    "iad,lhr,sjc",
    "--ramp",
    "2,3",
    "--duration",
    "4s",
    "--settle",
    "2s",
    "--grace",
    "10s",
    "--timeout",
    "5m",
    "--format",
    "json",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_ticket_holders_over_minio_counts_nothing_forged() {
    let _alone = alone().await;
    let Some(binary) = Minio::binary().await else {
        skip!("minio or Go");
    };
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let minio = Minio::start(&binary);
    let all = format!(
        r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Action": "s3:*",
            "Resource": ["arn:aws:s3:::{BUCKET}", "arn:aws:s3:::{BUCKET}/*"]}}]}}"#
    );
    let mut settings = minio.settings("nightly");
    // Whoever signs by a session hands out URLs that carry its token.
    settings.credentials = Some(minio.session(&all).await);
    let ends = muster::clock::now() + Duration::from_secs(3_000);
    let fleet = Fleet::new(&server, &settings).with("AWS_CREDENTIAL_EXPIRATION", &ends.to_string());
    run_by_tickets(&fleet, &settings, &server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_ticket_holders_over_the_embedded_bucket_counts_nothing_forged() {
    let Some(meeting) = Meeting::start().await else {
        skip!("livekit-server or Go");
    };
    let Meeting {
        fleet,
        settings,
        server,
        ..
    } = &meeting;
    run_by_tickets(fleet, settings, server).await;
}

/// Three probers, each handed its ticket in another way; meanwhile somebody who can write
/// everywhere forges what can be forged.
async fn run_by_tickets(fleet: &Fleet, settings: &S3Settings, server: &LivekitServer) {
    let dir = tempfile::tempdir().expect("a directory");
    let book_file = dir.path().join("book.json");
    let book_path = book_file.to_str().expect("a plain path");
    let mut args = JOB.to_vec();
    args.extend(["--print-tickets", "--ticket-book", book_path]);
    let coordinator = fleet.coordinator(&args);
    let store = S3Store::connect(settings.clone(), Arc::new(muster::clock::now))
        .await
        .expect("the bucket opens");
    let book = book(&book_file);
    let run = only_run(&store).await;

    let without = fleet
        .start(
            "stranger",
            &["probe", "--vantage", "iad", "--run", run.as_str()],
        )
        .ended(Duration::from_secs(30))
        .expect(Exit::BadConfiguration);
    assert!(
        without.stderr.contains("by its ticket alone"),
        "{}",
        without.stderr
    );

    let bare = fleet.bare();
    let document = dir.path().join("lhr.json");
    let ticket = RunKey::new(&run, Item::Ticket("lhr".parse().expect("a label")));
    let object = store
        .get(&ticket.key(), ticket.limit())
        .await
        .expect("lhr's ticket");
    std::fs::write(&document, &object.body).expect("a file");
    let iad = fleet.bare().with("MUSTER_TICKET", &book["iad"]);
    // However much is asked for.
    let iad = iad.with("MUSTER_LOG", "trace");
    let alike = fleet.bare().with("JOB_COMPLETION_INDEX", "2");
    let piped = Stdio::from(File::open(&book_file).expect("the book"));
    let file = document.to_str().expect("a plain path");
    let probers = [
        iad.start("iad", &["probe"]),
        bare.start("lhr", &["probe", "--ticket-file", file]),
        alike.start_reading("sjc", &["probe", "--ticket", "-"], piped),
    ];

    let forgeries = forged::forge(&store, &run).await;
    let ended = coordinator.ended(Duration::from_secs(150));
    for prober in probers {
        let ended = prober.ended(Duration::from_secs(30)).expect(Exit::Passed);
        shows_no_secret(&ended, &book, server);
    }
    shows_no_secret_but_tickets(&ended, server);
    let report = report_after_book(&ended, &book);
    let busy = report.tiers.iter().any(|t| !t.suspect.is_empty());
    // A machine that was busy with something else is said to have been, and no more.
    let exit = if busy { ended.code } else { Some(0) };
    assert_eq!(ended.code, exit, "{:?}\n{}", report.reasons, ended.stderr);
    assert_ne!(report.verdict, RunVerdict::Failed, "{:?}", report.reasons);
    let complete = |v: &VantageReport| v.state == SlotState::Complete;
    assert!(report.vantages.iter().all(complete));
    assert!(report.tiers.iter().all(|t| t.vantages == 3));
    forged::are_rejected(&report, &forgeries);
    let mut alone = report.clone();
    alone.rejected.clear();
    let mut unforged = forged::without(&store, &run, &forgeries).await;
    // Who combines less asks for less, and combining again is nobody's coordination.
    unforged.usage.other_requests = alone.usage.other_requests;
    unforged.cost.clone_from(&alone.cost);
    assert_eq!(unforged, alone);

    // What is forged later changes nothing at all.
    forged::forge_after(&store, &run).await;
    let again = fleet
        .start("finalizer", &["finalize", run.as_str(), "--format", "json"])
        .ended(Duration::from_secs(30));
    assert_eq!(again.report(), report);
}

/// The book, once the coordinator has written it.
fn book(path: &Path) -> BTreeMap<String, String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Ok(text) = std::fs::read_to_string(path) {
            let book: BTreeMap<String, String> = serde_json::from_str(&text).expect("a book");
            let labels: Vec<&str> = book.keys().map(String::as_str).collect();
            assert_eq!(labels, ["iad", "lhr", "sjc"]);
            assert!(is_private(path));
            return book;
        }
        assert!(Instant::now() < deadline, "no book came");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = path
        .metadata()
        .expect("the book is there")
        .permissions()
        .mode();
    mode & 0o077 == 0
}

async fn only_run(store: &dyn Store) -> RunId {
    let listing = store.list(&list_runs()).await.expect("the bucket lists");
    let mut runs = runs_of(&listing);
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs.remove(0)
}

/// Standard output has the book first, then the report.
fn report_after_book(ended: &Ended, book: &BTreeMap<String, String>) -> Combined {
    let mut printed = serde_json::Deserializer::from_str(&ended.stdout).into_iter();
    let first: serde_json::Value = printed.next().expect("two documents").expect("JSON");
    assert_eq!(serde_json::to_value(book).expect("JSON"), first);
    let report = printed.next().expect("two documents").expect("JSON");
    serde_json::from_value(report).expect("a report")
}

fn shows_no_secret(ended: &Ended, book: &BTreeMap<String, String>, server: &LivekitServer) {
    shows_no_secret_but_tickets(ended, server);
    for shown in [&ended.stdout, &ended.stderr] {
        assert!(!shown.contains("X-Amz-Signature"), "{shown}");
        assert!(book.values().all(|url| !shown.contains(url.as_str())));
    }
}

fn shows_no_secret_but_tickets(ended: &Ended, server: &LivekitServer) {
    // A join token is a JWT, and its head is always the same.
    for secret in ["X-Amz-Signature", "eyJ"] {
        assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
    }
    for shown in [&ended.stdout, &ended.stderr] {
        assert!(!shown.contains(server.secret().expose()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_would_outlive_its_signer_is_refused_before_the_job_is_written() {
    let bucket = EmbeddedBucket::start().await.expect("a bucket");
    let settings = bucket.settings().expect("its settings");
    let credentials = settings.credentials.as_ref().expect("its key");
    let soon = (muster::clock::now() + Duration::from_secs(300)).to_string();
    let endpoint = bucket.endpoint();
    for (ends, said) in [
        (None, "set AWS_CREDENTIAL_EXPIRATION"),
        (
            Some(soon.as_str()),
            "the session of the bucket's credentials ends at",
        ),
        (Some("tomorrow"), "AWS_CREDENTIAL_EXPIRATION: "),
    ] {
        let mut muster = std::process::Command::new(env!("CARGO_BIN_EXE_muster"));
        muster
            .args([
                "run",
                "--url",
                "ws://127.0.0.1:1",
                "--vantages",
                "iad",
                "--print-tickets",
            ])
            .env_clear()
            .env("MUSTER_BUCKET", "s3://muster")
            .env("AWS_ENDPOINT_URL_S3", &endpoint)
            .env("AWS_ACCESS_KEY_ID", &credentials.access_key)
            .env("AWS_SECRET_ACCESS_KEY", credentials.secret_key.expose())
            .env("AWS_SESSION_TOKEN", "any")
            .env("LIVEKIT_API_KEY", "key")
            .env("LIVEKIT_API_SECRET", "secret-of-at-least-32-characters");
        if let Some(ends) = ends {
            muster.env("AWS_CREDENTIAL_EXPIRATION", ends);
        }
        let output = muster.output().expect("muster can be run");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(104), "{stderr}");
        assert!(stderr.contains(said), "{stderr} lacks {said}");
    }
    let store = S3Store::connect(settings, Arc::new(muster::clock::now))
        .await
        .expect("the bucket opens");
    let all = store
        .list(&muster::store::List::all(""))
        .await
        .expect("lists");
    assert!(all.objects.is_empty(), "{:?}", all.objects);
}

#[test]
fn what_is_no_ticket_is_refused_without_showing_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let large = dir.path().join("large");
    std::fs::write(&large, vec![b'x'; (8 << 20) + 1]).expect("a file");
    let large = large.to_str().expect("a plain path");
    let url = "https://store.example/hunter2?X-Amz-Signature=hunter2";
    let empty = dir.path().join("empty");
    std::fs::write(&empty, "\n").expect("a file");
    let empty = empty.to_str().expect("a plain path");
    let refused: [(&[&str], &str, &str); 7] = [
        (&["--ticket", url], "", "others see arguments"),
        (&["--ticket-file", large], "", "more than the 8388608 bytes"),
        (&["--ticket-file", empty], "", "it is empty"),
        (&["--ticket-file", "/nonexistent"], "", "/nonexistent"),
        (&[], "hunter2", "neither a URL nor a ticket"),
        (&[], r#"{"schema": 1, "hunter2": 2}"#, "missing or wrong"),
        (
            &[],
            r#"{"iad": "https://x/hunter2"}"#,
            "which of its tickets",
        ),
    ];
    for (args, ticket, said) in refused {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_muster"))
            .arg("probe")
            .args(args)
            .env_clear()
            .env("MUSTER_TICKET", ticket)
            .output()
            .expect("muster can be run");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(104), "{stderr}");
        assert!(stderr.contains(said), "{stderr} lacks {said}");
        assert!(!stderr.contains("hunter"), "{stderr}");
    }
}

#[test]
fn times_of_sessions_are_rfc_3339() {
    // As AWS's own tools write it.
    assert!("2026-11-22T12:00:00+00:00".parse::<Timestamp>().is_ok());
    assert!("2026-11-22T12:00:00Z".parse::<Timestamp>().is_ok());
}
