//! A publisher of the test's own, with the official SDK and `lk` as its subscribers, in all scenes.

use std::time::Duration;

use muster::local::LivekitServer;
use muster::participant::spec::{AudioPublish, VideoPublish};
use muster::participant::{Engine, EngineConfig, Participant, ParticipantSpec, Publish};

use super::others::{Lk, Others, Python};
use super::{Figure, Scene, Span, truth};
use crate::fixtures::livekit;
use crate::fixtures::relay::{self, Relay};

/// Where all meet.
pub const ROOM: &str = "accuracy";

/// What was in flight when a scene began has arrived, and every filter has settled.
const SETTLE: Duration = Duration::from_secs(2);
/// How long a scene is measured.
pub const SCENE: Duration = Duration::from_secs(8);

/// What the publisher saw of one scene.
pub struct Session {
    /// Which packets this is about.
    pub span: Span,
    /// The least of its round trips by RTCP.
    pub rtcp_rtt_ms: f64,
}

/// Runs all scenes.
pub async fn sessions(
    server: &LivekitServer,
    relay: &Relay,
    scenes: &[Scene],
) -> Vec<(Session, Others)> {
    let engine = Engine::start(EngineConfig::default()).expect("threads start");
    relay.set(scenes[0].conditions);
    let before = relay.flows();
    let publisher = join(&engine, server).await;
    let own_flows = relay.flows();
    let mut python = Python::join(server, own_flows, relay).await;
    let program = Lk::find();
    let mut sessions = Vec::new();
    for scene in scenes {
        relay.set(scene.conditions);
        tokio::time::sleep(SETTLE).await;
        let is_lossy = |f: &Figure| matches!(f, Figure::Loss(_));
        let lk = scene.figures.iter().any(is_lossy);
        let lk = program.as_deref().filter(|_| lk);
        let lk = lk.map(|program| Lk::start(program, server, relay));
        let _ = publisher.drain_samples();
        let from = relay::now();
        let python_told = match &mut python {
            Some(python) => Some(python.watch().await),
            None => {
                tokio::time::sleep(SCENE).await;
                None
            }
        };
        let span = Span {
            window: from..relay::now(),
            flows: before..own_flows,
            ssrcs: Vec::new(),
        };
        let rtcp = publisher.drain_samples().rtcp_rtt_us;
        let rtcp_rtts_ms = rtcp.iter().map(|us| f64::from(*us) / 1e3);
        let session = Session {
            span,
            rtcp_rtt_ms: truth::least(rtcp_rtts_ms),
        };
        let lk = match lk {
            Some(lk) => Some(lk.ended(relay).await),
            None => None,
        };
        let others = Others {
            python: python_told,
            lk,
        };
        sessions.push((session, others));
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
