//! Participants of the test's own, with the official SDK and `lk` beside them, in all scenes.

use std::time::Duration;

use muster::local::LivekitServer;
use muster::participant::spec::{AudioPublish, VideoPublish};
use muster::participant::{Engine, EngineConfig, Participant, ParticipantSpec, Publish, Subscribe};

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

/// What a participant saw of one scene.
pub struct Session {
    /// When.
    pub span: Span,
    /// The median of the one-way times from publisher to subscriber.
    pub latency_ms: f64,
    /// The least of the publisher's round trips by RTCP.
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
    let publisher = join(&engine, server, "publisher", true).await;
    let subscriber = join(&engine, server, "subscriber", false).await;
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
        for participant in [&publisher, &subscriber] {
            let _ = participant.drain_samples();
        }
        let from = relay::now();
        let python_told = match &mut python {
            Some(python) => Some(python.watch().await),
            None => {
                tokio::time::sleep(SCENE).await;
                None
            }
        };
        let window = from..relay::now();
        let latency = subscriber.drain_samples().latency;
        let latency_ms = latency.iter().map(|l| l.us as f64 / 1e3).collect();
        let rtcp = publisher.drain_samples().rtcp_rtt_us;
        let rtcp_rtts_ms = rtcp.iter().map(|us| f64::from(*us) / 1e3);
        let lk = match lk {
            Some(lk) => Some(lk.ended(relay).await),
            None => None,
        };
        let span = Span {
            window,
            flows: before..own_flows,
            ssrcs: Vec::new(),
        };
        let session = Session {
            span,
            latency_ms: truth::median(latency_ms),
            rtcp_rtt_ms: truth::least(rtcp_rtts_ms),
        };
        sessions.push((
            session,
            Others {
                python: python_told,
                lk,
            },
        ));
    }
    sessions
}

async fn join(engine: &Engine, server: &LivekitServer, name: &str, publishes: bool) -> Participant {
    let token = livekit::token(server, ROOM, name);
    let mut spec = ParticipantSpec::new(server.url(), token, name);
    if publishes {
        spec.publish = Publish {
            audio: Some(AudioPublish::default()),
            video: Some(VideoPublish::simulcast_720p()),
            source: 1,
        };
    } else {
        spec.subscribe = Subscribe::Everything;
    }
    let participant = engine.join(spec);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let is_up = || {
        let s = participant.snapshot();
        s.state.is_connected() && (publishes || s.subscriptions_receiving == 2)
    };
    while !is_up() {
        let now = std::time::Instant::now();
        assert!(now < deadline, "{:?}", participant.snapshot());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    participant
}
