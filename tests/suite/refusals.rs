//! What somebody is told who can't have what was asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use muster::exit::Exit;
use muster::local::EmbeddedBucket;
use muster::store::{List, S3Store, Store};

use crate::cli::{changed, environment, muster};
use crate::fixtures::fleet::{Fleet, SMALL_RUN};
use crate::fixtures::meeting::Meeting;
use crate::fixtures::skip::skip;

const WRONG: &str = "not-the-secret-that-the-server-has";

/// `muster run` of `iad` and `sjc` under this id.
fn coordinator(fleet: &Fleet, run: &str) -> crate::fixtures::fleet::Member {
    let mut args = SMALL_RUN.to_vec();
    args.extend(["--vantages", "iad,sjc", "--run", run]);
    fleet.coordinator(&args)
}

/// Waits for an object whose key ends like this.
async fn wait_for(store: &dyn Store, end: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let found = store.list(&List::all("runs/")).await.expect("lists");
        if found.objects.iter().any(|entry| entry.key.ends_with(end)) {
            return;
        }
        assert!(Instant::now() < deadline, "no {end}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prober_that_declined_leaves_its_slot_and_one_that_comes_late_is_told_why() {
    let Some(meeting) = Meeting::start().await else {
        skip!("livekit-server or Go");
    };
    let Meeting {
        fleet, settings, ..
    } = &meeting;
    let store = S3Store::connect(settings.clone(), Arc::new(muster::clock::now))
        .await
        .expect("the bucket opens");
    let probe = |name: &str, run: &str, label: &str| {
        fleet.start(name, &["probe", "--run", run, "--vantage", label])
    };
    let wrong = |run: &str| {
        let secret = [("LIVEKIT_API_SECRET".to_owned(), WRONG.to_owned())];
        let args = ["probe", "--run", run, "--vantage", "sjc"];
        let prober = fleet.start_with("wrong", &args, &secret);
        prober
            .ended(Duration::from_secs(30))
            .expect(Exit::Unreachable)
    };

    // Corrected before the others are there, it takes part.
    let run = coordinator(fleet, "r1");
    wait_for(&store, "r1/job.json").await;
    wrong("r1");
    let sjc = probe("corrected", "r1", "sjc");
    wait_for(&store, "slots/sjc.1.json").await;
    let iad = probe("iad", "r1", "iad");
    for prober in [sjc, iad] {
        prober.ended(Duration::from_secs(60)).expect(Exit::Passed);
    }
    run.ended(Duration::from_secs(60)).expect(Exit::Passed);

    // Once the run has started, it does not; nor does a second prober at a slot.
    let run = coordinator(fleet, "r2");
    wait_for(&store, "r2/job.json").await;
    wrong("r2");
    let iad = probe("iad", "r2", "iad");
    wait_for(&store, "r2/start.json").await;
    let late = probe("late", "r2", "sjc");
    let second = probe("second", "r2", "iad");
    let late = late.ended(Duration::from_secs(30)).expect(Exit::TimedOut);
    assert!(
        late.stderr.contains("can't take part: unauthorized"),
        "{}",
        late.stderr
    );
    let second = second
        .ended(Duration::from_secs(30))
        .expect(Exit::SlotTaken);
    assert!(second.stderr.contains("`iad`"), "{}", second.stderr);
    iad.ended(Duration::from_secs(60)).expect(Exit::Passed);
    let ended = run.ended(Duration::from_secs(60));
    assert!(
        ended
            .stderr
            .contains("sjc: the run starts without waiting for it"),
        "{}",
        ended.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credentials_the_environment_is_wrong() {
    let bucket = EmbeddedBucket::start().await.expect("a bucket");
    let env = environment(&bucket.settings().expect("settings"));
    let none = [
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let output = muster(&["report"], &changed(&env, &none));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let bad = i32::from(Exit::BadConfiguration.code());
    assert_eq!(output.status.code(), Some(bad), "{stderr}");
    assert!(
        stderr.contains("credentials were found nowhere"),
        "{stderr}"
    );
}

#[test]
fn a_bench_refuses_at_once_what_it_could_only_fail_at_later() {
    let json = ["--json", "/nonexistent/bench.json"];
    let bound = "make it 50s at least";
    for (bench, flags, says) in [
        ("joins", &json[..], "a folder that exists"),
        ("joins", &["--rooms", "501"], "--rooms 501 is more than"),
        ("capacity", &json, "a folder that exists"),
        ("capacity", &["--rooms", "1000"], "leaves nobody of"),
        ("capacity", &["--duration", "0s"], bound),
        ("capacity", &["--duration", "49s"], bound),
        ("capacity", &["--duration", "9000years"], "at most 24h"),
        ("capacity", &["--interval", "11m"], "make it 55m at least"),
    ] {
        let output = muster(&[&["bench", bench], flags].concat(), &[]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let bad = i32::from(Exit::BadConfiguration.code());
        assert_eq!(output.status.code(), Some(bad), "{flags:?}: {stderr}");
        assert!(stderr.contains(says), "{flags:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{flags:?}: printed a result");
    }
}
