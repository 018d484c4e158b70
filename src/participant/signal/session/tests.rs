//! A server that says what makes no sense: a session does little of it, and never goes wrong.

use super::*;
use crate::job::{Layout, Timestamp};
use crate::participant::spec::AudioPublish;
use proptest::prelude::*;
use prost::Message as _;

#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
fn start() -> Moment {
    let wall = Timestamp::from_micros(1_700_000_000_000_000);
    Moment {
        at: Instant::now(),
        wall,
        shared: wall,
    }
}

fn session(now: Moment, subscribe: Subscribe) -> (Session, Arc<Shared>) {
    let mut spec = ParticipantSpec::new("ws://sfu", Secret::new("token"), "me");
    spec.subscribe = subscribe;
    spec.publish.audio = Some(AudioPublish::default());
    spec.probe_clock = true;
    let shared = Arc::<Shared>::default();
    let session = Session::new(Arc::new(spec), Arc::clone(&shared), now.at);
    (session, shared)
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c]",
        Just("PA_me".to_owned()),
        Just("me".to_owned()),
        ".{0,12}",
        "x{250,300}"
    ]
}

fn participant() -> impl Strategy<Value = proto::ParticipantInfo> {
    let track =
        (name(), any::<i32>(), any::<bool>()).prop_map(|(sid, kind, muted)| proto::TrackInfo {
            sid,
            r#type: kind.rem_euclid(5) - 1,
            muted,
            ..proto::TrackInfo::default()
        });
    let tracks = proptest::collection::vec(track, 0..6);
    (name(), name(), any::<i32>(), tracks).prop_map(|(sid, identity, state, tracks)| {
        proto::ParticipantInfo {
            sid,
            identity,
            state: state.rem_euclid(6) - 1,
            tracks,
            ..proto::ParticipantInfo::default()
        }
    })
}

fn description() -> impl Strategy<Value = proto::SessionDescription> {
    (
        ".{0,40}",
        any::<u32>(),
        proptest::collection::hash_map(name(), name(), 0..4),
    )
        .prop_map(|(sdp, id, mid_to_track_id)| proto::SessionDescription {
            sdp,
            id,
            mid_to_track_id,
            ..proto::SessionDescription::default()
        })
}

/// Anything that a server may say.
fn signal() -> impl Strategy<Value = Response> {
    let participants = || proptest::collection::vec(participant(), 0..4);
    prop_oneof![
        (
            participants(),
            any::<i32>(),
            any::<i32>(),
            any::<bool>(),
            name()
        )
            .prop_map(
                |(others, ping_interval, ping_timeout, subscriber_primary, sid)| {
                    Response::Join(proto::JoinResponse {
                        other_participants: others,
                        ping_interval,
                        ping_timeout,
                        subscriber_primary,
                        participant: Some(proto::ParticipantInfo {
                            sid,
                            ..proto::ParticipantInfo::default()
                        }),
                        ..proto::JoinResponse::default()
                    })
                }
            ),
        participants().prop_map(|participants| {
            Response::Update(proto::ParticipantUpdate { participants })
        }),
        description().prop_map(Response::Offer),
        description().prop_map(Response::Answer),
        (".{0,60}", any::<i32>()).prop_map(|(candidate_init, target)| {
            Response::Trickle(proto::TrickleRequest {
                candidate_init,
                target,
                ..proto::TrickleRequest::default()
            })
        }),
        name().prop_map(|candidate| {
            let candidate_init = serde_json::json!({ "candidate": candidate }).to_string();
            Response::Trickle(proto::TrickleRequest {
                candidate_init,
                ..proto::TrickleRequest::default()
            })
        }),
        name().prop_map(|cid| {
            Response::TrackPublished(proto::TrackPublishedResponse { cid, track: None })
        }),
        (any::<i64>(), any::<i64>()).prop_map(|(last_ping_timestamp, timestamp)| {
            Response::PongResp(proto::Pong {
                last_ping_timestamp,
                timestamp,
            })
        }),
        (name(), any::<i32>()).prop_map(|(participant_sid, quality)| {
            Response::ConnectionQuality(proto::ConnectionQualityUpdate {
                updates: vec![proto::ConnectionQualityInfo {
                    participant_sid,
                    quality,
                    ..proto::ConnectionQualityInfo::default()
                }],
            })
        }),
        (any::<i32>(), any::<i32>()).prop_map(|(reason, action)| {
            Response::Leave(proto::LeaveRequest {
                reason,
                action: action.rem_euclid(4),
                ..proto::LeaveRequest::default()
            })
        }),
        Just(Response::Reconnect(proto::ReconnectResponse::default())),
        name().prop_map(Response::RefreshToken),
        any::<i32>().prop_map(|reason| {
            Response::RequestResponse(proto::RequestResponse {
                reason,
                ..proto::RequestResponse::default()
            })
        }),
    ]
}

proptest! {
    #[test]
    fn whatever_a_server_says_is_survived(
        signals in proptest::collection::vec((signal(), 0u64..40_000), 0..60),
        everything: bool,
    ) {
        let mut now = start();
        let subscribe = if everything { Subscribe::Everything } else { Subscribe::Layout(Layout::Speaker) };
        let (mut session, shared) = session(now, subscribe);
        for (signal, wait_ms) in signals {
            let wait = Duration::from_millis(wait_ms);
            now.at += wait;
            now.wall = now.wall + wait;
            // As it comes from the wire.
            let bytes = proto::SignalResponse { message: Some(signal) }.encode_to_vec();
            let decoded = proto::SignalResponse::decode(&bytes[..]).unwrap();
            session.message(decoded.message.unwrap(), now);
            session.timeout(now);
            let mut done = 0;
            while session.next_action().is_some() {
                done += 1;
            }
            prop_assert!(done < 200, "{done} actions for one message");
            let _ = session.next_deadline();
        }
        session.leave();
        let snapshot = shared.snapshot();
        prop_assert!(!matches!(snapshot.state, State::Connecting | State::Connected));
        prop_assert!(shared.tracks().len() <= 60 * 4 * 6);
    }
}

#[test]
fn tracks_beyond_thousands_are_refused_and_counted() {
    let now = start();
    let (mut session, shared) = session(now, Subscribe::Everything);
    session.message(Response::Join(proto::JoinResponse::default()), now);
    for batch in 0..10 {
        let track = |n: usize| proto::TrackInfo {
            sid: format!("TR_{batch}_{n}"),
            ..proto::TrackInfo::default()
        };
        let participants = vec![proto::ParticipantInfo {
            sid: format!("PA_{batch}"),
            tracks: (0..1_000).map(track).collect(),
            ..proto::ParticipantInfo::default()
        }];
        session.message(
            Response::Update(proto::ParticipantUpdate { participants }),
            now,
        );
    }
    let snapshot = shared.snapshot();
    assert_eq!(shared.tracks().len(), 4_096);
    assert_eq!(snapshot.tracks_refused, 10_000 - 4_096);
}

#[test]
fn a_connection_that_breaks_whenever_it_is_resumed_is_given_up() {
    let mut now = start();
    let (mut session, shared) = session(now, Subscribe::Nothing);
    session.message(Response::Join(proto::JoinResponse::default()), now);
    let mut dials = 0;
    while !matches!(shared.snapshot().state, State::Failed(_)) {
        session.connection_lost("cut", now.at);
        session.message(
            Response::Reconnect(proto::ReconnectResponse::default()),
            now,
        );
        now.at += Duration::from_millis(100);
        dials += 1;
        assert!(dials < 10, "it is dialled for ever");
    }
}
