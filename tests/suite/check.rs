//! `muster check` against servers that work, that don't, and that never answer.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use muster::exit::Exit;
use muster::local::EmbeddedBucket;
use muster::rooms::{Keys, Rooms};

use crate::cli::{changed, environment, keys_in, muster};
use crate::fixtures::faketime::{Faketime, Shift};
use crate::fixtures::livekit;
use crate::fixtures::skip::skip;

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_what_works() {
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let bucket = EmbeddedBucket::start().await.expect("a bucket");
    let settings = bucket.settings().expect("settings");
    let env = environment(&settings);
    let right = [
        ("LIVEKIT_API_KEY", server.key()),
        ("LIVEKIT_API_SECRET", server.secret().expose()),
        ("LIVEKIT_URL", server.url()),
    ];
    let output = muster(&["check"], &changed(&env, &right));
    let stdout = String::from_utf8_lossy(&output.stdout);
    for name in ["keys", "rooms", "udp path", "tcp path", "bucket", "clock"] {
        let works = stdout
            .lines()
            .any(|line| line.starts_with("ok ") && line.contains(&format!(" {name} ")));
        assert!(works, "{name}: {stdout}");
    }
    assert_eq!(output.status.code(), Some(0), "{stdout}");

    let wrong = [right[0], right[1], ("LIVEKIT_URL", "ws://127.0.0.1:1")];
    let output = muster(&["check"], &changed(&env, &wrong));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.starts_with("failed     keys"), "{stdout}");
    assert!(stdout.contains("ws://127.0.0.1:1"), "{stdout}");
    let unreachable = i32::from(Exit::Unreachable.code());
    assert_eq!(output.status.code(), Some(unreachable), "{stdout}");

    let keys = Keys {
        api_key: server.key().to_owned(),
        api_secret: server.secret().clone(),
    };
    let rooms = Rooms::new(server.url(), &keys)
        .list()
        .await
        .expect("listed");
    assert_eq!(rooms, []);
    assert_eq!(keys_in(&settings).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_an_hour_off_is_blamed_and_the_key_is_not() {
    let Some(faketime) = Faketime::find() else {
        skip!("faketime");
    };
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let bucket = EmbeddedBucket::start().await.expect("a bucket");
    let env = environment(&bucket.settings().expect("settings"));
    let right = [
        ("LIVEKIT_API_KEY", server.key()),
        ("LIVEKIT_API_SECRET", server.secret().expose()),
        ("LIVEKIT_URL", server.url()),
    ];
    // The tokens for the room service are good for hours, those that join for minutes.
    for (ahead_s, name, way) in [(3_600, "keys", "ahead of"), (-3_600, "udp path", "behind")] {
        let shift = faketime.env(Shift {
            ahead_s,
            ppm: 0,
            monotonic: false,
        });
        let mut changes = right.to_vec();
        changes.extend(shift.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        let output = muster(&["check"], &changed(&env, &changes));
        let stdout = String::from_utf8_lossy(&output.stdout);
        for (name, whose) in [(name, "the server's"), ("clock", "the bucket's")] {
            let failed = format!("failed     {name:<12} ");
            let line = stdout.lines().find(|line| line.starts_with(&failed));
            let line = line.unwrap_or_else(|| panic!("{name} does not fail: {stdout}"));
            assert!(line.contains(&format!(" s {way} {whose}")), "{line}");
            assert!(line.contains("set the clock"), "{line}");
        }
        assert!(!stdout.contains("API key"), "{stdout}");
        assert!(!stdout.contains("eyJ"), "{stdout}");
    }
    // With a right clock it is the key.
    let mut wrong = right;
    wrong[1].1 = "not-the-secret-that-the-server-has";
    let output = muster(&["check"], &changed(&env, &wrong));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.starts_with("failed     keys"), "{stdout}");
    assert!(stdout.contains("LIVEKIT_API_SECRET"), "{stdout}");
    assert!(stdout.contains("ok         clock"), "{stdout}");
}

#[test]
fn an_url_that_is_none_is_bad_configuration() {
    let keys = [("LIVEKIT_API_KEY", "key"), ("LIVEKIT_API_SECRET", "secret")];
    for (url, says) in [
        ("not-a-url", "`not-a-url` is not an SFU's URL"),
        ("ftp://sfu.example", "wss://host"),
        ("", "no SFU is named; give --url"),
    ] {
        let env = [keys[0], keys[1], ("LIVEKIT_URL", url)];
        let output = muster(&["check"], &env);
        let stdout = String::from_utf8_lossy(&output.stdout);
        let bad = i32::from(Exit::BadConfiguration.code());
        assert_eq!(output.status.code(), Some(bad), "{url}: {stdout}");
        assert!(stdout.contains(says), "{url}: {stdout}");
    }
}

/// An address where connections open and nothing is ever answered.
fn silence() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    (listener, address)
}

/// `muster check` with an SFU and a bucket that never answer.
fn check_silence(address: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command
        .arg("check")
        .env_clear()
        .envs([
            ("LIVEKIT_URL", format!("ws://{address}")),
            ("LIVEKIT_API_KEY", "key".to_owned()),
            ("LIVEKIT_API_SECRET", "secret".to_owned()),
            ("MUSTER_BUCKET", "s3://muster".to_owned()),
            ("AWS_ENDPOINT_URL_S3", format!("http://{address}")),
            ("AWS_ACCESS_KEY_ID", "key".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[test]
fn servers_that_never_answer_do_not_hold_it_up() {
    let (_listener, address) = silence();
    let begun = Instant::now();
    let output = check_silence(&address).output().expect("muster runs");
    let took = begun.elapsed();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let unreachable = i32::from(Exit::Unreachable.code());
    assert_eq!(output.status.code(), Some(unreachable), "{stdout}");
    for name in ["keys", "bucket"] {
        let failed = format!("failed     {name:<12} ");
        assert!(stdout.contains(&failed), "{name}: {stdout}");
    }
    // Ten seconds are promised; the rest is for a machine that is busy with other tests.
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[test]
fn a_signal_ends_it_in_order() {
    let (listener, address) = silence();
    let child = check_silence(&address).spawn().expect("muster runs");
    // It has begun: it listens for signals before it connects.
    let _connection = listener.accept().expect("a connection");
    let kill = format!("kill -INT {}", child.id());
    let sent = Command::new("sh").args(["-c", &kill]).status();
    assert!(sent.expect("a shell").success());
    let output = child.wait_with_output().expect("it ends");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let aborted = i32::from(Exit::Aborted.code());
    assert_eq!(output.status.code(), Some(aborted), "{stdout}");
    assert!(stdout.contains("stopped by a signal"), "{stdout}");
}
