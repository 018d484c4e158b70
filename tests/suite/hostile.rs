//! A server that means harm: whatever it sends, a participant fails with a cause or goes on, its
//! memory is bounded, and its neighbours in the same process see nothing of it.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use livekit_protocol as proto;
use muster::job::Layout;
use muster::participant::spec::{AudioPublish, Publish};
use muster::participant::{Engine, EngineConfig, Participant, ParticipantSpec, State, Subscribe};
use muster::secret::Secret;
use prost::Message as _;
use proto::signal_response::Message as Signal;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;

use crate::fixtures::allocations::{allocations, forget_peak};
use crate::fixtures::alone::alone;
use crate::fixtures::skip::skip;
use crate::fixtures::{livekit, own_process};

type Socket = WebSocketStream<TcpStream>;

/// What a server may do, by the first part of the URL's path.
const ATTACKS: [&str; 18] = [
    "silence",
    "no-http",
    "endless-headers",
    "garbage",
    "huge-frame",
    "endless-fragments",
    "bomb",
    "flood",
    "absurd-join",
    "absurd-tracks",
    "absurd-names",
    "absurd-offer",
    "huge-offer",
    "many-sections",
    "offers",
    "candidates",
    "answers-unasked",
    "closes-at-once",
];

/// How long a hostile server has: every participant has its cause by then, or goes on.
const TIME: Duration = Duration::from_secs(20);

/// The most that the process may allocate at once beyond what it had before, in bytes: messages of
/// up to 16 MiB, decoded, for a few of them at the same time.
const PEAK_MAX: i64 = 150_000_000;
/// And what may be left when they are gone.
const LEFT_MAX: i64 = 5_000_000;

#[derive(Serialize, Deserialize)]
struct Input {
    url: String,
    hostile: String,
    tokens: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    /// By attack: the cause's name, or the state.
    ends: Vec<(String, String)>,
    /// Neighbours that are connected and receive at the end.
    neighbours: usize,
    /// Packets that they have lost.
    lost: u64,
    /// Bytes allocated at once, at most, beyond those at the beginning.
    peak: i64,
    /// And in the end, with all hostile ones gone.
    left: i64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_server_harms_its_own_participant_alone() {
    let _alone = alone().await;
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let token = |n: usize| livekit::token(&server, "peaceful", &format!("neighbour-{n}"));
    // In this process, whose memory nobody measures.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = tokio::spawn(serve(listener));
    let input = Input {
        url: server.url().to_owned(),
        hostile: format!("ws://{address}"),
        tokens: (0..4).map(|n| token(n).expose().to_owned()).collect(),
    };
    let name = "hostile::in_a_process_of_its_own";
    let m: Measured = own_process::run(name, &input, Duration::from_secs(85)).await;
    serving.abort();
    assert_eq!((m.neighbours, m.lost), (3, 0), "{m:?}");
    assert!(m.peak < PEAK_MAX && m.left < LEFT_MAX, "{m:?}");
    for (attack, end) in &m.ends {
        let expected: &[&str] = match attack.as_str() {
            "silence" => &["join_timeout", "tcp"],
            "no-http" | "endless-headers" => &["signal_closed", "websocket_refused"],
            "garbage" | "bomb" | "flood" | "absurd-offer" | "huge-offer" | "many-sections" => {
                &["protocol"]
            }
            "huge-frame" | "endless-fragments" | "closes-at-once" => &["signal_closed"],
            // Taken, and too many of them.
            "offers" => &["protocol"],
            // Taken, and lead nowhere.
            "candidates" => &["ice_timeout"],
            // These fail as what they are: a session that never comes up.
            _ => &["ice_timeout", "protocol"],
        };
        assert!(expected.contains(&end.as_str()), "{attack}: {end}: {m:?}");
    }
}

#[test]
#[ignore = "runs in a process of its own, by the test above"]
fn in_a_process_of_its_own() {
    own_process::told(measure);
}

async fn measure(input: Input) -> Measured {
    let engine = Engine::start(EngineConfig::default()).expect("threads start");
    let mut neighbours: Vec<_> = input
        .tokens
        .iter()
        .enumerate()
        .map(|(n, token)| {
            let token = Secret::new(token.clone());
            let mut spec = ParticipantSpec::new(&input.url, token, format!("neighbour-{n}"));
            match n {
                0 => spec.publish.audio = Some(AudioPublish::default()),
                _ => spec.subscribe = Subscribe::Layout(Layout::Speaker),
            }
            engine.join(spec)
        })
        .collect();
    let publisher = neighbours.remove(0);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !neighbours.iter().all(receives) {
        assert!(Instant::now() < deadline, "the neighbours did not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = allocations().live;
    forget_peak();
    let mut hostile = Vec::new();
    for attack in ATTACKS {
        let url = format!("{}/{attack}", input.hostile);
        let mut spec = ParticipantSpec::new(url, Secret::new("a.b.c"), attack);
        spec.connect_timeout = Duration::from_secs(8);
        spec.subscribe = Subscribe::Everything;
        spec.publish = Publish {
            audio: Some(AudioPublish::default()),
            ..Publish::default()
        };
        hostile.push((attack, engine.join(spec)));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let deadline = Instant::now() + TIME;
    let lives = |(_, p): &(&str, Participant)| !matches!(p.snapshot().state, State::Failed(_));
    while hostile.iter().any(lives) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut ends = Vec::new();
    for (attack, participant) in hostile {
        let snapshot = participant.snapshot();
        let end = match &snapshot.state {
            State::Failed(failure) => failure.cause.name().to_owned(),
            other => format!("{other:?}"),
        };
        ends.push((attack.to_owned(), end));
        participant.leave().await;
    }
    let peak = allocations().peak - before;
    // What is still on its way through sockets is forgotten with them.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let measured = Measured {
        ends,
        neighbours: neighbours.iter().filter(|p| receives(p)).count(),
        lost: neighbours.iter().map(|p| p.snapshot().rx.lost).sum(),
        peak,
        left: allocations().live - before,
    };
    for neighbour in neighbours {
        neighbour.leave().await;
    }
    publisher.leave().await;
    measured
}

/// Connected, and packets still come.
fn receives(participant: &Participant) -> bool {
    let snapshot = participant.snapshot();
    snapshot.state.is_connected() && snapshot.subscriptions_receiving == 1
}

async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(attack(stream));
    }
}

/// Does what the path asks for. Nothing here fails: the other side may hang up at any time.
async fn attack(stream: TcpStream) {
    let mut head = [0; 256];
    let Ok(length) = stream.peek(&mut head).await else {
        return;
    };
    let head = String::from_utf8_lossy(&head[..length]).into_owned();
    let attack = ATTACKS
        .into_iter()
        .find(|attack| head.starts_with(&format!("GET /{attack}/rtc?")))
        .unwrap_or("silence");
    match attack {
        "silence" => tokio::time::sleep(TIME).await,
        "no-http" => raw(stream, b"", b"\xff\x00\x0d\x0a").await,
        "endless-headers" => {
            let status = b"HTTP/1.1 101 Switching Protocols\r\n";
            raw(stream, status, b"X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaa\r\n").await;
        }
        attack => {
            let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
                return;
            };
            let _ = signal(attack, &mut socket).await;
            if attack != "closes-at-once" {
                // Who does not listen either.
                tokio::time::sleep(TIME).await;
            }
        }
    }
}

/// Writes a beginning, then a line until nobody reads on.
async fn raw(mut stream: TcpStream, first: &[u8], line: &[u8]) {
    let mut request = [0; 4_096];
    let _ = stream.read(&mut request).await;
    if stream.write_all(first).await.is_ok() {
        for _ in 0..1_000_000 {
            if stream.write_all(line).await.is_err() {
                return;
            }
        }
    }
}

type Sent = Result<(), tokio_tungstenite::tungstenite::Error>;

async fn signal(attack: &str, socket: &mut Socket) -> Sent {
    match attack {
        "garbage" => {
            for n in 0..1_000_u32 {
                send_bytes(socket, vec![0xff; usize::try_from(n).unwrap_or(0) + 1]).await?;
            }
        }
        "huge-frame" => send_bytes(socket, vec![0; 100_000_000]).await?,
        "endless-fragments" => return fragments(socket).await,
        "bomb" => {
            // Eight million empty participants in a join.
            let mut bytes = vec![0x0a];
            prost::encoding::encode_varint(16_000_000, &mut bytes);
            bytes.extend([0x1a, 0].repeat(8_000_000));
            send_bytes(socket, bytes).await?;
        }
        "flood" => {
            join(socket).await?;
            for _ in 0..2_000_000 {
                send(socket, Signal::Pong(7)).await?;
            }
        }
        "absurd-join" => {
            let absurd = proto::JoinResponse {
                ping_interval: i32::MAX,
                ping_timeout: i32::MIN,
                subscriber_primary: true,
                server_version: "v".repeat(1_000_000),
                ..proto::JoinResponse::default()
            };
            for _ in 0..10 {
                send(socket, Signal::Join(absurd.clone())).await?;
            }
        }
        "absurd-tracks" => {
            join(socket).await?;
            for batch in 0..100 {
                send(socket, update(batch, 1_000, 20)).await?;
            }
        }
        "absurd-names" => {
            join(socket).await?;
            for batch in 0..20 {
                send(socket, update(batch, 1, 1_000_000)).await?;
            }
        }
        "absurd-offer" => {
            join(socket).await?;
            offer(socket, "m=video 9 x\r\na=ssrc:\r\n\u{1b}[2J".repeat(100)).await?;
        }
        "huge-offer" => {
            join(socket).await?;
            offer(
                socket,
                "a=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\n".repeat(200_000),
            )
            .await?;
        }
        "many-sections" => {
            join(socket).await?;
            for _ in 0..2 {
                offer(socket, sections(1_000)).await?;
            }
            offer(socket, sections(15_000)).await?;
        }
        "offers" => {
            join(socket).await?;
            for _ in 0..2_000 {
                offer(socket, sections(50)).await?;
            }
        }
        "candidates" => {
            join(socket).await?;
            offer(socket, sections(1)).await?;
            for n in 0..5_000 {
                let port = n % 60_000 + 1;
                let candidate =
                    format!(r#"{{"candidate":"candidate:{n} 1 udp 1 127.0.0.1 {port} typ host"}}"#);
                let trickle = proto::TrickleRequest {
                    candidate_init: candidate,
                    target: proto::SignalTarget::Subscriber.into(),
                    ..proto::TrickleRequest::default()
                };
                send(socket, Signal::Trickle(trickle)).await?;
            }
        }
        "answers-unasked" => {
            join(socket).await?;
            for _ in 0..1_000 {
                let answer = proto::SessionDescription {
                    r#type: "answer".into(),
                    sdp: sections(3),
                    ..proto::SessionDescription::default()
                };
                send(socket, Signal::Answer(answer)).await?;
            }
        }
        _ => join(socket).await?,
    }
    Ok(())
}

async fn send_bytes(socket: &mut Socket, bytes: Vec<u8>) -> Sent {
    socket.send(Frame::Binary(bytes.into())).await
}

async fn send(socket: &mut Socket, message: Signal) -> Sent {
    let response = proto::SignalResponse {
        message: Some(message),
    };
    send_bytes(socket, response.encode_to_vec()).await
}

/// A join like any other.
async fn join(socket: &mut Socket) -> Sent {
    let join = proto::JoinResponse {
        participant: Some(proto::ParticipantInfo {
            sid: "PA_victim".into(),
            ..proto::ParticipantInfo::default()
        }),
        subscriber_primary: true,
        ping_interval: 5,
        ping_timeout: 15,
        ..proto::JoinResponse::default()
    };
    send(socket, Signal::Join(join)).await
}

/// A participant with so many tracks, whose names are so long.
fn update(batch: usize, tracks: usize, name: usize) -> Signal {
    let track = |n: usize| proto::TrackInfo {
        sid: format!("TR_{batch}_{n}_{}", "x".repeat(name)),
        r#type: proto::TrackType::Video.into(),
        muted: n.is_multiple_of(2),
        ..proto::TrackInfo::default()
    };
    let participant = proto::ParticipantInfo {
        sid: format!("PA_{batch}"),
        identity: format!("p{batch}"),
        tracks: (0..tracks).map(track).collect(),
        ..proto::ParticipantInfo::default()
    };
    Signal::Update(proto::ParticipantUpdate {
        participants: vec![participant],
    })
}

/// A description of so many sections, which can be taken.
fn sections(count: usize) -> String {
    let mids: String = (0..count).map(|n| format!(" {n}")).collect();
    let fingerprint = ["AB"; 32].join(":");
    let mut sdp = format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-ufrag:ufrag\r\n\
         a=ice-pwd:passwordpasswordpassword\r\na=fingerprint:sha-256 {fingerprint}\r\n\
         a=group:BUNDLE{mids}\r\n",
    );
    for n in 0..count {
        sdp.push_str(&format!(
            "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:{n}\r\na=sendrecv\r\n\
             a=rtcp-mux\r\na=setup:actpass\r\na=rtpmap:111 opus/48000/2\r\na=ssrc:{n} msid:PA TR_{n}\r\n"
        ));
    }
    sdp
}

async fn offer(socket: &mut Socket, sdp: String) -> Sent {
    let offer = proto::SessionDescription {
        r#type: "offer".into(),
        sdp,
        ..proto::SessionDescription::default()
    };
    send(socket, Signal::Offer(offer)).await
}

/// A message that never ends.
async fn fragments(socket: &mut Socket) -> Sent {
    use tokio_tungstenite::tungstenite::protocol::frame::Frame as Raw;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    let filler = vec![0; 65_536];
    for n in 0..2_000 {
        let code = if n == 0 { Data::Binary } else { Data::Continue };
        let raw = Raw::message(filler.clone(), OpCode::Data(code), false);
        socket.send(Frame::Frame(raw)).await?;
    }
    // The other side hangs up before.
    while let Some(Ok(_)) = socket.next().await {}
    Ok(())
}
