//! Participants in rooms of a real livekit-server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_api::access_token::{AccessToken, VideoGrants};
use muster::job::{Layout, VideoCodec};
use muster::local::LivekitServer;
use muster::participant::spec::{AudioPublish, VideoPublish};
use muster::participant::{
    Cause, Engine, EngineConfig, Event, Faults, Participant, ParticipantSpec, Snapshot, State,
    Subscribe,
};
use muster::secret::Secret;

use crate::fixtures::alone::alone;
use crate::fixtures::skip::skip;
use crate::fixtures::{livekit, ports};

fn spec(server: &LivekitServer, room: &str, identity: &str) -> ParticipantSpec {
    let token = livekit::token(server, room, identity);
    ParticipantSpec::new(server.url(), token, identity)
}

fn publisher(server: &LivekitServer, room: &str, identity: &str) -> ParticipantSpec {
    let mut spec = spec(server, room, identity);
    spec.publish.audio = Some(AudioPublish::default());
    spec.publish.video = Some(VideoPublish::simulcast_720p());
    spec.publish.source = 7;
    spec
}

fn subscriber(server: &LivekitServer, room: &str, identity: &str) -> ParticipantSpec {
    let mut spec = spec(server, room, identity);
    spec.subscribe = Subscribe::Layout(Layout::Speaker);
    spec
}

async fn until(
    participant: &Participant,
    what: &str,
    done: impl Fn(&Snapshot) -> bool,
) -> Snapshot {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let snapshot = participant.snapshot();
        if done(&snapshot) {
            return snapshot;
        }
        assert!(Instant::now() < deadline, "not {what}: {snapshot:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn connected(participant: &Participant) -> Snapshot {
    until(participant, "connected", |s| s.state.is_connected()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn participant_counts_are_plausible() {
    counts_are_plausible(VideoCodec::Vp8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn participant_counts_are_plausible_with_h264() {
    counts_are_plausible(VideoCodec::H264).await;
}

async fn counts_are_plausible(codec: VideoCodec) {
    let _alone = alone().await;
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let engine = engine(Faults::default());
    let mut publisher = publisher(&server, "plain", "publisher");
    let simulcast = true;
    publisher.publish.video = Some(VideoPublish { simulcast, codec });
    let publisher = engine.join(publisher);
    connected(&publisher).await;
    let subscribers: Vec<_> = (0..5)
        .map(|i| engine.join(subscriber(&server, "plain", &format!("subscriber-{i}"))))
        .collect();
    for subscriber in &subscribers {
        connected(subscriber).await;
    }
    tokio::time::sleep(Duration::from_secs(8)).await;
    for subscriber in subscribers {
        let events = subscriber.drain_events();
        let started = events
            .iter()
            .filter(|e| matches!(e, Event::TrackSubscribed { .. }))
            .count();
        assert_eq!(started, 2, "{events:?}");
        let samples = subscriber.drain_samples();
        let tracks = subscriber.tracks();
        assert!(
            tracks.iter().any(|t| t.received == Some((1280, 720))),
            "{tracks:?}"
        );
        for track in &tracks {
            // 20 ms of Opus a packet, and 30 frames of video a second.
            assert!(track.frames > 150 && track.lost == 0, "{track:?}");
            assert!(track.counted_at.is_some(), "{track:?}");
        }
        for track in &tracks {
            // Of H.264 too, whose stamps are in other packets than the frames' ends.
            let of_frames = samples.latency.get(&track.sid).map_or(0, Vec::len) as u64;
            assert!(of_frames * 10 > track.frames * 9, "{of_frames} {track:?}");
        }
        let of_tracks = |sid: &Arc<str>| tracks.iter().any(|t| t.sid == *sid);
        let s = subscriber.leave().await;
        let rx = &s.rx;
        assert_eq!(s.state, State::Left);
        assert_eq!((s.subscriptions_wanted, s.subscriptions_receiving), (2, 2));
        assert_eq!(rx.auth_failures, 0, "{rx:?}");
        assert_eq!(rx.malformed, 0, "{rx:?}");
        assert_eq!(
            rx.expected,
            rx.packets - rx.duplicates + rx.pending + rx.lost,
            "{rx:?}"
        );
        assert!(
            rx.packets > 800 && rx.frames > 150 && rx.keyframes > 0,
            "{rx:?}"
        );
        assert!(rx.stamps > rx.frames && rx.stamps_malformed == 0, "{rx:?}");
        assert!(rx.reports_sent >= 6 && rx.jitter_us.is_some(), "{rx:?}");
        let mut latency = samples.latency.values().flatten().peekable();
        assert!(latency.peek().is_some() && latency.all(|l| l.source == 7));
        assert!(samples.latency.keys().all(of_tracks));
        assert!(!samples.clock.is_empty() && !samples.rtt_us.is_empty());
        let server = s.server.expect("the server tells its version");
        assert!(
            !server.version.is_empty() && !server.node_id.is_empty(),
            "{server:?}"
        );
        let p = &s.phases;
        assert!(
            p.tls.is_none() && p.dns.is_some() && p.websocket.is_some(),
            "{p:?}"
        );
        assert!(p.joined <= p.ice && p.ice <= p.connected, "{p:?}");
        assert!(p.dtls.is_some() && p.dtls <= p.connected, "{p:?}");
        assert!(
            samples.rtcp_rtt_us.is_empty(),
            "only publishers get reports"
        );
        assert!(
            p.first_packet <= p.first_frame && p.first_frame.is_some(),
            "{p:?}"
        );
    }
    let samples = publisher.drain_samples();
    assert!(!samples.rtcp_rtt_us.is_empty() && !samples.rtt_us.is_empty());
    let s = publisher.leave().await;
    let tx = &s.tx;
    assert!(tx.packets > 1_500 && tx.frames > 600, "{tx:?}");
    assert!(tx.reports_received > 0 && tx.plis_received > 0, "{tx:?}");
    assert_eq!(tx.send_failures, 0);
    assert_eq!(engine.health().own_buffer_drops, 0);
}

fn engine(faults: Faults) -> Engine {
    let config = EngineConfig {
        faults,
        ..EngineConfig::default()
    };
    Engine::start(config).expect("threads start")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn participant_gets_back_what_was_dropped_on_its_way() {
    let _alone = alone().await;
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let clean = engine(Faults::default());
    let lossy = engine(Faults {
        drop_received_ppm: 20_000,
        seed: 1,
        ..Faults::default()
    });
    let publisher = clean.join(publisher(&server, "down", "publisher"));
    connected(&publisher).await;
    let subscriber = lossy.join(subscriber(&server, "down", "subscriber"));
    connected(&subscriber).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let rx = subscriber.leave().await.rx;
    let missing = rx.missing_before_rtx * 1_000 / rx.expected;
    assert!((10..35).contains(&missing), "{missing} per mille {rx:?}");
    assert!(rx.recovered * 10 >= rx.missing_before_rtx * 8, "{rx:?}");
    assert!(rx.nacks_sent >= rx.recovered, "{rx:?}");
    assert_eq!((rx.auth_failures, rx.own_buffer_drops), (0, 0), "{rx:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn participant_takes_the_blame_for_what_its_own_buffer_dropped() {
    let _alone = alone().await;
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let roomy = engine(Faults::default());
    // Room for a few packets: a keyframe of a tick is too much.
    let tight = Engine::start(EngineConfig {
        recv_buffer_bytes: 4_096,
        ..EngineConfig::default()
    })
    .expect("threads start");
    let publisher = roomy.join(publisher(&server, "tight", "publisher"));
    connected(&publisher).await;
    let subscriber = tight.join(subscriber(&server, "tight", "subscriber"));
    connected(&subscriber).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let rx = subscriber.leave().await.rx;
    assert!(
        rx.own_buffer_drops > 20 && rx.missing_before_rtx > 20,
        "{rx:?}"
    );
    assert!(rx.recovered > 0, "some of it came again: {rx:?}");
    // The path is loopback: it loses nothing.
    let not_own = rx.missing_before_rtx - rx.missing_own;
    assert!(not_own * 50 <= rx.missing_before_rtx, "{rx:?}");
    assert!(rx.lost - rx.lost_own <= not_own, "{rx:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn participant_sends_again_what_was_dropped_on_the_way_to_the_server() {
    let _alone = alone().await;
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let clean = engine(Faults::default());
    let lossy = engine(Faults {
        drop_sent_ppm: 20_000,
        seed: 1,
        ..Faults::default()
    });
    let publisher = lossy.join(publisher(&server, "up", "publisher"));
    connected(&publisher).await;
    let subscriber = clean.join(subscriber(&server, "up", "subscriber"));
    connected(&subscriber).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let rx = subscriber.leave().await.rx;
    let tx = publisher.leave().await.tx;
    assert!(tx.nacks_received > 0 && tx.retransmitted > 0, "{tx:?}");
    // What the server got back, it passed on.
    assert!(rx.recovered + rx.reordered > 0, "{rx:?}");
    assert!(rx.lost * 100 < rx.expected, "{rx:?}");
    assert!(rx.frames > 200, "{rx:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn participant_failures_have_their_cause() {
    let _alone = alone().await;
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let engine = engine(Faults::default());
    let good = subscriber(&server, "causes", "me");
    let other_key = AccessToken::with_api_key(server.key(), &"wrong".repeat(10))
        .with_identity("me")
        .with_grants(VideoGrants {
            room_join: true,
            room: "causes".to_owned(),
            ..VideoGrants::default()
        })
        .to_jwt()
        .expect("a token can be signed");
    for (name, url, token) in [
        (
            "unauthorized",
            server.url().to_owned(),
            Secret::new(other_key),
        ),
        (
            "tcp",
            format!("ws://127.0.0.1:{}", ports::free_tcp()),
            good.token.clone(),
        ),
        ("dns", "ws://sfu.invalid".to_owned(), good.token.clone()),
        (
            "tls",
            server.url().replace("ws:", "wss:"),
            good.token.clone(),
        ),
        ("url", "sfu.example.com".to_owned(), good.token.clone()),
        (
            "websocket_refused",
            format!("{}/nowhere", server.url()),
            good.token.clone(),
        ),
    ] {
        let participant = engine.join(ParticipantSpec {
            url,
            token,
            ..good.clone()
        });
        let failed = |s: &Snapshot| matches!(s.state, State::Failed(_));
        let snapshot = until(&participant, "failed", failed).await;
        let State::Failed(failure) = snapshot.state else {
            panic!("{snapshot:?}");
        };
        assert_eq!(failure.cause.name(), name, "{failure}");
        participant.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn participant_that_is_pushed_out_is_no_longer_connected() {
    let _alone = alone().await;
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let engine = engine(Faults::default());
    let first = engine.join(subscriber(&server, "twins", "twin"));
    connected(&first).await;
    let second = engine.join(subscriber(&server, "twins", "twin"));
    let snapshot = until(&first, "failed", |s| !s.state.is_connected()).await;
    let State::Failed(failure) = snapshot.state else {
        panic!("{snapshot:?}");
    };
    let reason = "duplicate_identity".to_owned();
    assert_eq!(failure.cause, Cause::Kicked { reason });
    connected(&second).await;
}

/// Passes TCP on to the server until it is told to cut all connections.
async fn proxy(server: &LivekitServer, cut: tokio::sync::watch::Receiver<u32>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let target = server.url().trim_start_matches("ws://").to_owned();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let (target, mut cut) = (target.clone(), cut.clone());
            tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(target)
                    .await
                    .expect("the server");
                cut.mark_unchanged();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = cut.changed() => {}
                }
            });
        }
    });
    format!("ws://{address}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn participant_resumes_after_its_signalling_connection_was_cut() {
    let _alone = alone().await;
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let engine = engine(Faults::default());
    let (cut, cuts) = tokio::sync::watch::channel(0);
    let url = proxy(&server, cuts).await;
    let publisher = engine.join(publisher(&server, "resume", "publisher"));
    connected(&publisher).await;
    let through_proxy = ParticipantSpec {
        url,
        ..subscriber(&server, "resume", "subscriber")
    };
    let subscriber = engine.join(through_proxy);
    connected(&subscriber).await;
    until(&subscriber, "receiving", |s| s.rx.frames > 10).await;
    cut.send(1).expect("the proxy runs");
    let resumed = until(&subscriber, "resumed", |s| s.reconnects == 1).await;
    assert!(resumed.state.is_connected());
    // Media went on, and the room still reaches it.
    let late = engine.join(self::publisher(&server, "resume", "late"));
    until(&subscriber, "subscribed to what came later", |s| {
        s.subscriptions_receiving == 4 && s.rx.frames > resumed.rx.frames + 30
    })
    .await;
    let rx = subscriber.leave().await.rx;
    assert_eq!((rx.auth_failures, rx.lost), (0, 0), "{rx:?}");
    drop((publisher, late));
}
