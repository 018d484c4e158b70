//! What participants cost as far as it can be told without a clock: allocations and system calls
//! per packet, memory per participant. Other builds and busy machines change none of it.

use std::time::{Duration, Instant};

use muster::job::Layout;
use muster::participant::spec::{AudioPublish, VideoPublish};
use muster::participant::{Engine, EngineConfig, Participant, ParticipantSpec, State, Subscribe};
use muster::secret::Secret;
use serde::{Deserialize, Serialize};

use crate::fixtures::allocations::{Counting, allocations};
use crate::fixtures::alone::alone;
use crate::fixtures::skip::skip;
use crate::fixtures::{livekit, own_process};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Subscribers that are measured.
const SUBSCRIBERS: usize = 20;

/// Allocations per received packet, over all threads of the process, reports, pings and consent
/// checks included. One for each packet alone would be more than one.
const ALLOCATIONS_MAX: f64 = 0.25;
/// System calls that receive or send, per received packet. One for each packet would be more than
/// one.
const CALLS_MAX: f64 = 0.6;
/// System calls that receive or send, per sent packet: 50 a second that send what is due, and some that
/// receive, for about 330 packets. One for each frame and each packet of sound would be more than 0.36.
const SENDING_CALLS_MAX: f64 = 0.25;
/// Bytes on the heap per subscriber with four tracks.
const HEAP_MAX: f64 = 150_000.0;
/// Resident bytes per subscriber with four tracks, of a build that is not optimized.
const RESIDENT_MAX: f64 = 250_000.0;

#[derive(Serialize, Deserialize)]
struct Input {
    url: String,
    tokens: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    packets: u64,
    allocations: u64,
    calls: u64,
    heap: i64,
    resident: u64,
    lost: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packet_costs_a_fraction_of_an_allocation_and_of_a_system_call() {
    let _alone = alone().await;
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let engine = Engine::start(EngineConfig::default()).expect("threads start");
    let publishers: Vec<_> = (0..2)
        .map(|n| {
            let identity = format!("publisher-{n}");
            let token = livekit::token(&server, "density", &identity);
            let mut spec = ParticipantSpec::new(server.url(), token, identity);
            spec.publish.audio = Some(AudioPublish::default());
            spec.publish.video = Some(VideoPublish::simulcast_720p());
            engine.join(spec)
        })
        .collect();
    until(&publishers, |p| p.snapshot().state.is_connected()).await;
    let token = |n| livekit::token(&server, "density", &format!("subscriber-{n}"));
    let tokens = (0..=SUBSCRIBERS).map(|n| token(n).expose().to_owned());
    let input = Input {
        url: server.url().to_owned(),
        tokens: tokens.collect(),
    };
    let name = "density::in_a_process_of_its_own";
    let before = sending(&engine, &publishers);
    let m: Measured = own_process::run(name, &input, Duration::from_secs(80)).await;
    let after = sending(&engine, &publishers);
    for publisher in publishers {
        publisher.leave().await;
    }
    let subscribers = SUBSCRIBERS as f64;
    let packets = m.packets as f64;
    let sent = (after.packets - before.packets) as f64;
    assert!(sent > 2_000.0, "too little to measure: {after:?}");
    assert!(
        packets > 200.0 * subscribers,
        "too little to measure: {m:?}"
    );
    let figures = [
        (
            "allocations per packet",
            m.allocations as f64 / packets,
            ALLOCATIONS_MAX,
        ),
        (
            "system calls per packet",
            m.calls as f64 / packets,
            CALLS_MAX,
        ),
        (
            "system calls per sent packet",
            (after.calls - before.calls) as f64 / sent,
            SENDING_CALLS_MAX,
        ),
        (
            "heap bytes per subscriber",
            m.heap as f64 / subscribers,
            HEAP_MAX,
        ),
        (
            "resident bytes per subscriber",
            m.resident as f64 / subscribers,
            RESIDENT_MAX,
        ),
    ];
    for (what, value, most) in figures {
        println!("{what}: {value:.3}, at most {most}");
    }
    for (what, value, most) in figures {
        assert!(
            value > 0.0 && value <= most,
            "{what}: {value}, {most} at most: {m:?}"
        );
    }
}

/// What an engine of publishers alone has done.
#[derive(Debug)]
struct Sending {
    packets: u64,
    calls: u64,
}

fn sending(engine: &Engine, publishers: &[Participant]) -> Sending {
    Sending {
        packets: publishers.iter().map(|p| p.snapshot().tx.packets).sum(),
        calls: engine.health().socket_calls,
    }
}

#[test]
#[ignore = "runs in a process of its own, by the test above"]
fn in_a_process_of_its_own() {
    own_process::told(measure);
}

async fn measure(input: Input) -> Measured {
    let engine = Engine::start(EngineConfig::default()).expect("threads start");
    let mut tokens = input.tokens.into_iter();
    let mut join = |n: usize| {
        let token = Secret::new(tokens.next().expect("a token for each"));
        let mut spec = ParticipantSpec::new(&input.url, token, format!("subscriber-{n}"));
        spec.subscribe = Subscribe::Layout(Layout::Speaker);
        engine.join(spec)
    };
    // What is made once for all is there after the first.
    let first = vec![join(0)];
    until(&first, receives).await;
    for participant in first {
        participant.leave().await;
    }
    let empty = (allocations().live, resident());
    let mut all = Vec::new();
    for n in 1..=SUBSCRIBERS {
        all.push(join(n));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until(&all, receives).await;
    // Keyframes were asked for, and buffers have their size.
    tokio::time::sleep(Duration::from_secs(5)).await;
    drain(&all);
    let full = (allocations().live, resident());
    let before = (
        allocations().calls,
        packets(&all),
        engine.health().socket_calls,
    );
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = (
        allocations().calls,
        packets(&all),
        engine.health().socket_calls,
    );
    Measured {
        packets: after.1 - before.1,
        allocations: after.0 - before.0,
        calls: after.2 - before.2,
        heap: full.0 - empty.0,
        resident: full.1.saturating_sub(empty.1),
        lost: all.iter().map(|p| p.snapshot().rx.lost).sum(),
    }
}

fn receives(participant: &Participant) -> bool {
    let snapshot = participant.snapshot();
    // Two cameras and two microphones.
    snapshot.state.is_connected() && snapshot.subscriptions_receiving == 4
}

/// Forgets what a prober reads once a second.
fn drain(all: &[Participant]) {
    for participant in all {
        drop(participant.drain_events());
        drop(participant.drain_samples());
    }
}

fn packets(all: &[Participant]) -> u64 {
    all.iter().map(|p| p.snapshot().rx.packets).sum()
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is there");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kb = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
    kb.expect("the kernel tells") * 1_024
}

async fn until(all: &[Participant], done: impl Fn(&Participant) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    for participant in all {
        while !done(participant) {
            let snapshot = participant.snapshot();
            let failed = matches!(snapshot.state, State::Failed(_));
            assert!(!failed && Instant::now() < deadline, "{snapshot:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
