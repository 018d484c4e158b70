//! muster's participants beside official LiveKit clients in one room of a real server: each
//! decodes what the other publishes.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use muster::job::VideoCodec;
use muster::local::LivekitServer;
use muster::participant::media::LAYERS;
use muster::participant::snapshot::{State, TrackKind};
use muster::participant::spec::{AudioPublish, VideoPublish};
use muster::participant::{Engine, EngineConfig, Participant, ParticipantSpec, Publish, Subscribe};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::fixtures::alone::alone;
use crate::fixtures::skip::skip;
use crate::fixtures::{livekit, tools};

const ROOM: &str = "counterparts";

/// Anything that is to happen does so within this, or never.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the helpers in other languages are.
fn helper(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/suite/counterparts")
        .join(name)
}

/// An official client's process, in the room as `identity`.
fn client(program: &Path, server: &LivekitServer, identity: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("LIVEKIT_URL", server.url())
        .env(
            "LIVEKIT_TOKEN",
            livekit::token(server, ROOM, identity).expose(),
        )
        .kill_on_drop(true);
    command
}

/// What a helper that watches prints as its last line.
async fn watched<T: for<'de> Deserialize<'de>>(mut command: Command) -> T {
    let child = command.stdin(Stdio::null()).output();
    let output = tokio::time::timeout(4 * PATIENCE, child)
        .await
        .expect("the client ends in time")
        .expect("the client runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok())
        .unwrap_or_else(|| {
            panic!(
                "no result, {}:\n{text}\n{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            )
        })
}

/// A participant of muster's that does as told, once it is connected.
async fn join(
    engine: &Engine,
    server: &LivekitServer,
    identity: &str,
    publish: Publish,
    subscribe: Subscribe,
) -> Participant {
    let token = livekit::token(server, ROOM, identity);
    let mut spec = ParticipantSpec::new(server.url(), token, identity);
    spec.publish = publish;
    spec.subscribe = subscribe;
    let participant = engine.join(spec);
    until(|| participant.snapshot().state != State::Connecting).await;
    let snapshot = participant.snapshot();
    assert!(snapshot.state.is_connected(), "{snapshot:?}");
    participant
}

async fn publisher(engine: &Engine, server: &LivekitServer, codec: VideoCodec) -> Participant {
    let simulcast = true;
    let publish = Publish {
        audio: Some(AudioPublish::default()),
        video: Some(VideoPublish { simulcast, codec }),
        source: 1,
    };
    join(engine, server, "muster", publish, Subscribe::Nothing).await
}

async fn until(condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    true
}

/// What `receive.py` saw of a layer.
#[derive(Debug, Deserialize)]
struct SeenLayer {
    width: u32,
    height: u32,
    frames: u32,
    seconds: f64,
    distinct: u32,
    least_variance: f64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_sdk_decodes_every_layer_and_the_tone() {
    the_python_sdk_decodes(VideoCodec::Vp8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_sdk_decodes_every_layer_of_h264() {
    the_python_sdk_decodes(VideoCodec::H264).await;
}

async fn the_python_sdk_decodes(codec: VideoCodec) {
    let _alone = alone().await;
    let Some(python) = tools::python(&helper("requirements.txt")) else {
        skip!("python3");
    };
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let engine = Engine::start(EngineConfig::default()).expect("the engine starts");
    let publisher = publisher(&engine, &server, codec).await;

    let qualities = ["low", "medium", "high"];
    let mut command = client(&python, &server, "python");
    command.arg(helper("receive.py")).arg("3");
    for (quality, layer) in qualities.into_iter().zip(LAYERS).rev() {
        command.arg(format!("{quality}={}x{}", layer.width, layer.height));
    }
    let seen: Value = watched(command).await;
    for (quality, layer) in qualities.into_iter().zip(LAYERS) {
        let video = serde_json::from_value::<SeenLayer>(seen["video"][quality].clone())
            .unwrap_or_else(|error| panic!("{quality}: {error}: {seen}"));
        assert_eq!(
            (video.width, video.height),
            (layer.width, layer.height),
            "{seen}"
        );
        let rate = f64::from(video.frames) / video.seconds / f64::from(layer.fps);
        assert!(
            (0.5..1.3).contains(&rate),
            "{quality}: {rate} of its rate: {seen}"
        );
        // The pattern moves in every frame and is never of one colour.
        assert!(video.distinct * 2 > video.frames, "{seen}");
        assert!(video.least_variance > 100.0, "{seen}");
    }
    // The tone's own level is -20 dBov: 3,300 of 32,768.
    let rms = seen["audio"]["rms"].as_f64().unwrap_or(0.0);
    assert!((1_000.0..8_000.0).contains(&rms), "{seen}");
    let sent = publisher.leave().await.tx;
    assert!(sent.packets > 0 && sent.plis_received > 0, "{sent:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_sees_and_hears_the_publisher() {
    a_browser_sees_and_hears(VideoCodec::Vp8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_sees_h264() {
    a_browser_sees_and_hears(VideoCodec::H264).await;
}

async fn a_browser_sees_and_hears(codec: VideoCodec) {
    let _alone = alone().await;
    let Some(chromium) = tools::program(&["chromium", "chromium-browser", "google-chrome"]) else {
        skip!("chromium");
    };
    let Some(node) = tools::program(&["node"]) else {
        skip!("node");
    };
    let Some(modules) = tools::node_modules(&helper("package.json")) else {
        skip!("npm");
    };
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let engine = Engine::start(EngineConfig::default()).expect("the engine starts");
    let publisher = publisher(&engine, &server, codec).await;

    let mut command = client(&node, &server, "browser");
    command
        .arg(helper("browser.mjs"))
        .args([chromium, modules])
        .arg("3");
    let seen: Value = watched(command).await;
    let video = &seen["videos"][0];
    assert_eq!(video["width"], 1280, "{seen}");
    assert_eq!(video["height"], 720, "{seen}");
    assert!(video["frames"].as_u64() > Some(3 * 30 / 2), "{seen}");
    assert!(video["variance"].as_f64() > Some(100.0), "{seen}");
    assert!(video["distinct"].as_u64() > Some(5), "{seen}");
    let audio = &seen["audios"][0];
    assert!(audio["rms"].as_f64() > Some(0.02), "{seen}");
    assert!(audio["concealed"].as_f64() < Some(0.2), "{seen}");
    drop(publisher);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_python_sdk_publishes_is_received() {
    let _alone = alone().await;
    let Some(python) = tools::python(&helper("requirements.txt")) else {
        skip!("python3");
    };
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let mut command = client(&python, &server, "python");
    command.arg(helper("publish.py"));
    let publisher = published(command).await;

    let engine = Engine::start(EngineConfig::default()).expect("the engine starts");
    let everything = Subscribe::Everything;
    let subscriber = join(&engine, &server, "muster", Publish::default(), everything).await;
    // A second or so of both; frames are counted for video alone.
    let enough = |kind, packets, frames| {
        let tracks = subscriber.tracks();
        let mut tracks = tracks.iter().filter(|track| track.kind == kind);
        tracks.any(|track| track.packets >= packets && track.frames >= frames)
    };
    let both = || enough(TrackKind::Audio, 50, 0) && enough(TrackKind::Video, 20, 20);
    assert!(until(both).await, "{:?}", subscriber.tracks());
    for track in subscriber.tracks() {
        assert_eq!(&*track.publisher, "python");
        assert!(track.bytes > track.packets, "{track:?}");
        assert!(
            track.subscribe.is_some_and(|time| time < PATIENCE),
            "{track:?}"
        );
        if track.kind == TrackKind::Video {
            assert_eq!(track.received, Some((640, 360)), "{track:?}");
        }
    }
    let snapshot = subscriber.leave().await;
    assert_eq!(snapshot.rx.auth_failures, 0, "{snapshot:?}");
    assert_eq!(snapshot.rx.malformed, 0, "{snapshot:?}");
    drop(publisher);
}

/// Starts a helper that publishes, and waits until it does. It ends when dropped.
async fn published(mut command: Command) -> Child {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the client runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let told = tokio::time::timeout(PATIENCE, lines.next_line()).await;
    let line = told.expect("the client publishes in time").expect("a line");
    assert_eq!(line.as_deref(), Some("published"));
    child
}
