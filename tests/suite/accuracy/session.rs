//! A publisher of the test's own, with the official SDK and `lk` as its subscribers, in the scenes
//! that they have figures of.

use std::time::Duration;

use muster::local::LivekitServer;
use muster::participant::spec::{AudioPublish, VideoPublish};
use muster::participant::{Engine, EngineConfig, Participant, ParticipantSpec, Publish};

use super::Scene;
use super::others::{Lk, Others, Python};
use crate::fixtures::livekit;
use crate::fixtures::relay::Relay;

/// Where all meet.
pub const ROOM: &str = "accuracy";

/// What was in flight when a scene began has arrived, and every filter has settled.
const SETTLE: Duration = Duration::from_secs(2);
/// How long a scene is measured.
pub const SCENE: Duration = Duration::from_secs(7);

/// Runs the scenes in which the others say something.
pub async fn sessions(server: &LivekitServer, relay: &Relay, scenes: &[Scene]) -> Vec<Others> {
    let engine = Engine::start(EngineConfig::default()).expect("threads start");
    relay.set(scenes[0].conditions);
    let _publisher = join(&engine, server).await;
    let mut python = Python::join(server, relay).await;
    let program = Lk::find();
    let mut sessions = Vec::new();
    for scene in scenes {
        let (asks_python, asks_lk) = scene.others();
        let mut others = Others::default();
        if asks_python || asks_lk {
            relay.set(scene.conditions);
            tokio::time::sleep(SETTLE).await;
            let program = program.as_deref().filter(|_| asks_lk);
            let lk = program.map(|program| Lk::start(program, server, relay));
            if let Some(python) = &mut python {
                others.python = Some(python.watch().await);
            }
            if let Some(lk) = lk {
                others.lk = Some(lk.ended(relay).await);
            }
        }
        sessions.push(others);
    }
    sessions
}

async fn join(engine: &Engine, server: &LivekitServer) -> Participant {
    let name = "publisher";
    let token = livekit::token(server, ROOM, name);
    let mut spec = ParticipantSpec::new(server.url(), token, name);
    spec.publish = Publish {
        audio: Some(AudioPublish::default()),
        video: Some(VideoPublish::simulcast_720p()),
        source: 1,
    };
    let participant = engine.join(spec);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !participant.snapshot().state.is_connected() {
        let now = std::time::Instant::now();
        assert!(now < deadline, "{:?}", participant.snapshot());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    participant
}
