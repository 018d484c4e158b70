//! What a tier comes to, from made-up participants.

use super::*;
use crate::job::Timestamp;

fn seen(n: u32, state: State, rx: RxTotals) -> Seen {
    Seen {
        id: (Role::Subscriber, n),
        new: true,
        snapshot: Snapshot {
            state,
            rx,
            ..Snapshot::default()
        },
        tracks: Vec::new(),
    }
}

fn heading() -> Heading {
    let window = Window {
        from: Timestamp::from_micros(0),
        to: Timestamp::from_micros(2_000_000),
    };
    let vantage: Vantage = "iad".parse().unwrap();
    Heading {
        run: "r".parse().unwrap(),
        job_sha256: Digest::of(b"job"),
        claim: ClaimId::new(&vantage, 0, 1),
        vantage,
        write_id: WriteId::from_u64(1),
        plan: TierPlan {
            tier: 1,
            subscribers: 2,
            settle_from: Timestamp::from_micros(-1),
            window,
        },
        measured: window,
        clock: None,
        requested: Headcount {
            publishers: 0,
            subscribers: 2,
        },
        stamp_offset_us: Some(900),
    }
}

#[test]
fn only_what_falls_inside_the_window_counts() {
    let before = RxTotals {
        expected: 1_000,
        lost: 100,
        bytes: 1,
        ..RxTotals::default()
    };
    let after = RxTotals {
        expected: 2_000,
        lost: 110,
        bytes: 250_001,
        ..before
    };
    let mut tally = Tally::default();
    tally.open(&[seen(0, State::Connected, before)], HostSample::default());
    tally.second(&[seen(0, State::Connected, after)], EngineHealth::default());
    let part = tally.close(
        heading(),
        &[
            seen(0, State::Connected, after),
            seen(1, State::Connecting, RxTotals::default()),
        ],
        HostSample::default(),
        2.0,
    );
    assert_eq!((part.packets.expected, part.packets.lost), (1_000, 10));
    assert_eq!(part.loss_ppm.count(), 1);
    assert_eq!(part.bitrate_in_kbps.max().map(|k| k / 10), Some(100)); // 1,000 kbit/s
    assert_eq!(part.connected.subscribers, [Some(1)]);
    assert_eq!(part.failures.get("still_connecting"), Some(&1));
    assert_eq!(part.generator.cpu_available_ms, 4_000);
    assert_eq!(part.generator.cpu_ms, None);
}

fn with_track(packets: u64, state: State) -> Seen {
    let mut s = seen(0, state, RxTotals::default());
    s.snapshot.subscriptions_wanted = 1;
    s.tracks = vec![TrackSnapshot {
        sid: "TR_1".into(),
        publisher: "p".into(),
        muted: false,
        kind: crate::participant::snapshot::TrackKind::Audio,
        wanted: None,
        received: None,
        packets,
        bytes: 0,
        lost: 0,
        frames: 0,
        freezes: 0,
        freeze_us: 0,
        counted_at: None,
        subscribe: None,
    }];
    s
}

#[test]
fn round_trips_are_told_apart_by_what_measured_them() {
    let mut tally = Tally::default();
    tally.samples(&Samples {
        rtt_us: vec![1_000, 2_000],
        rtcp_rtt_us: vec![5_000],
        ..Samples::default()
    });
    let part = tally.close(heading(), &[], HostSample::default(), 1.0);
    assert_eq!(part.rtt_us.count(), 3);
    let counts = ["ice", "rtcp"].map(|by| part.rtt_by_us[by].count());
    assert_eq!((counts, part.stamp_offset_us), ([2, 1], Some(900)));
}

#[test]
fn a_track_that_stalls_is_receiving_only_in_the_seconds_before() {
    let mut tally = Tally::default();
    let up = |packets| [with_track(packets, State::Connected)];
    tally.open(&up(10), HostSample::default());
    for packets in [60, 110, 110, 110] {
        tally.second(&up(packets), EngineHealth::default());
    }
    let part = tally.close(heading(), &up(110), HostSample::default(), 1.0);
    assert_eq!(
        (part.subscriptions_receiving, part.subscriptions_wanted),
        (2, 4)
    );
}

#[test]
fn who_is_lost_in_the_last_second_was_not_connected_in_it() {
    let mut tally = Tally::default();
    tally.open(&[with_track(1, State::Connected)], HostSample::default());
    tally.second(&[with_track(2, State::Connected)], EngineHealth::default());
    let gone = with_track(3, State::Left);
    tally.second(std::slice::from_ref(&gone), EngineHealth::default());
    let part = tally.close(heading(), &[gone], HostSample::default(), 1.0);
    assert_eq!(part.connected.subscribers, [Some(1), Some(0)]);
    assert_eq!(
        (part.subscriptions_receiving, part.subscriptions_wanted),
        (1, 2)
    );
}

#[test]
fn a_second_that_nobody_looked_at_is_unknown() {
    let mut tally = Tally::default();
    let up = |packets| [with_track(packets, State::Connected)];
    tally.open(&up(10), HostSample::default());
    tally.second(&up(20), EngineHealth::default());
    tally.missed(&up(90), EngineHealth::default());
    tally.second(&up(90), EngineHealth::default());
    let part = tally.close(heading(), &up(90), HostSample::default(), 1.0);
    assert_eq!(part.connected.subscribers, [Some(1), None, Some(1)]);
    assert_eq!(
        (part.subscriptions_receiving, part.subscriptions_wanted),
        (1, 2),
        "what came meanwhile came in no second"
    );
}

#[test]
fn own_drops_are_not_the_paths_loss() {
    let after = RxTotals {
        expected: 1_000,
        missing_before_rtx: 30,
        missing_own: 25,
        lost: 12,
        lost_own: 10,
        own_buffer_drops: 40,
        ..RxTotals::default()
    };
    let tally = Tally::default();
    let part = tally.close(
        heading(),
        &[seen(0, State::Connected, after)],
        HostSample::default(),
        1.0,
    );
    let p = &part.packets;
    assert_eq!((p.missing_own, p.own_drops), (25, 10));
    assert_eq!(part.generator.receive_drops, 40, "also of RTCP and STUN");
    assert_eq!(
        (part.loss_ppm.count(), part.loss_ppm.max()),
        (1, Some(2_007))
    );
}
