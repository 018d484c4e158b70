//! Two peers that publish to and receive from each other, on simulated time and network.

use super::*;
use crate::job::{Timestamp, VideoCodec};
use crate::participant::rtp;
use crate::participant::snapshot::TrackKind;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const TICK: Duration = Duration::from_millis(5);

/// A publisher and, in the server's place, a subscriber.
struct World {
    start: Moment,
    elapsed: Duration,
    publisher: Peer,
    subscriber: Peer,
    outbox: Outbox,
    /// Of the publisher's RTP, every so manyth is lost.
    lose_every: Option<u32>,
    /// What the last packets of the publisher's frames take longer than the others.
    hold_last: Duration,
    held: Vec<(Duration, Vec<u8>)>,
    /// Media come once more, from a stranger's address.
    replay: bool,
    /// How far media's source ports have moved.
    moved: u16,
    sent: u32,
    lost: u64,
    failures: Vec<Failure>,
}

fn config(role: Role, port: u16, start: Moment) -> PeerConfig {
    PeerConfig {
        transport: Transport::Udp,
        role,
        local: SocketAddr::from(([127, 0, 0, 1], port)),
        seed: port.into(),
        stamp_source: 5,
        beats: Beats::new(start.at),
    }
}

impl World {
    fn new() -> Self {
        Self::of(VideoCodec::Vp8)
    }

    #[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
    fn of(codec: VideoCodec) -> Self {
        let start = Moment {
            at: Instant::now(),
            wall: Timestamp::from_micros(1_700_000_000_000_000),
            shared: Timestamp::from_micros(1_700_000_000_000_000),
        };
        let mut outbox = Outbox::default();
        let mut peer = |role, port| {
            let peer = Peer::new(config(role, port, start), start, &mut outbox);
            peer.unwrap_or_else(|e| panic!("{e}"))
        };
        let publisher = peer(Role::Publisher, 1_000);
        let subscriber = peer(Role::Subscriber, 2_000);
        let mut world = Self {
            start,
            elapsed: Duration::ZERO,
            publisher,
            subscriber,
            outbox,
            lose_every: None,
            hold_last: Duration::ZERO,
            replay: false,
            moved: 0,
            held: Vec::new(),
            sent: 0,
            lost: 0,
            failures: Vec::new(),
        };
        let track = |cid: &str, kind| PublishTrack {
            cid: cid.to_owned(),
            kind,
            simulcast: false,
            codec,
            discontinuous: false,
        };
        let tracks = vec![
            track("voice", TrackKind::Audio),
            track("camera", TrackKind::Video),
        ];
        let (now, outbox) = (world.now(), &mut world.outbox);
        world
            .publisher
            .command(Command::Publish(tracks), now, outbox);
        world
    }

    fn now(&self) -> Moment {
        Moment {
            at: self.start.at + self.elapsed,
            wall: self.start.wall + self.elapsed,
            shared: self.start.shared + self.elapsed,
        }
    }

    /// Lets time pass in ticks; what is sent arrives at once.
    fn run(&mut self, time: Duration) {
        let until = self.elapsed + time;
        while self.elapsed < until {
            self.elapsed += TICK;
            let now = self.now();
            self.release();
            self.signal();
            self.publisher.timeout(now, &mut self.outbox);
            self.deliver(Role::Subscriber);
            self.subscriber.timeout(now, &mut self.outbox);
            self.deliver(Role::Publisher);
        }
    }

    /// Carries descriptions between the two.
    fn signal(&mut self) {
        let now = self.now();
        while let Some(event) = self.publisher.next_event() {
            match event {
                PeerEvent::Offer(sdp) => {
                    let offer = Command::Offer {
                        sdp,
                        id: 1,
                        mid_to_track: HashMap::new(),
                    };
                    self.subscriber.command(offer, now, &mut self.outbox);
                    self.deliver(Role::Publisher);
                }
                PeerEvent::Failed(failure) => self.failures.push(failure),
                _ => {}
            }
        }
        while let Some(event) = self.subscriber.next_event() {
            match event {
                PeerEvent::Answer { sdp, .. } => {
                    let answer = Command::Answer(sdp);
                    self.publisher.command(answer, now, &mut self.outbox);
                    self.deliver(Role::Subscriber);
                }
                PeerEvent::Failed(failure) => self.failures.push(failure),
                _ => {}
            }
        }
    }

    /// Lets those go on that were held for long enough.
    fn release(&mut self) {
        let now = self.now();
        let from = SocketAddr::from(([127, 0, 0, 1], 1_000));
        let held = std::mem::take(&mut self.held);
        for (due, mut datagram) in held {
            if due > self.elapsed {
                self.held.push((due, datagram));
                continue;
            }
            let subscriber = &mut self.subscriber;
            subscriber.datagram(&mut datagram, from, now, now, &mut self.outbox);
        }
        self.deliver(Role::Publisher);
    }

    /// Delivers the outbox, and the answers to it, until nothing is left.
    fn deliver(&mut self, to: Role) {
        let mut to = to;
        while self.outbox.len() > 0 {
            let now = self.now();
            let datagrams = self.outbox.runs(0, 1);
            let datagrams: Vec<Vec<u8>> = datagrams.map(|run| run.bytes.to_vec()).collect();
            self.outbox.clear();
            for mut datagram in datagrams {
                let is_rtp = rtp::Datagram::of(&datagram) == rtp::Datagram::Rtp;
                if is_rtp && to == Role::Subscriber {
                    self.sent += 1;
                    if self
                        .lose_every
                        .is_some_and(|every| self.sent.is_multiple_of(every))
                    {
                        self.lost += 1;
                        continue;
                    }
                    let marker = datagram.get(1).is_some_and(|byte| byte & 0x80 != 0);
                    if marker && !self.hold_last.is_zero() {
                        self.held.push((self.elapsed + self.hold_last, datagram));
                        continue;
                    }
                }
                let (peer, from) = match to {
                    Role::Subscriber => (&mut self.subscriber, 1_000),
                    Role::Publisher => (&mut self.publisher, 2_000),
                };
                let is_media = rtp::Datagram::of(&datagram) != rtp::Datagram::Other;
                let port = if is_media { from + self.moved } else { from };
                let from = SocketAddr::from(([127, 0, 0, 1], port));
                let mut again = datagram.clone();
                peer.datagram(&mut datagram, from, now, now, &mut self.outbox);
                if self.replay && is_media {
                    let stranger = SocketAddr::from(([127, 0, 0, 1], 9));
                    peer.datagram(&mut again, stranger, now, now, &mut self.outbox);
                }
            }
            to = match to {
                Role::Subscriber => Role::Publisher,
                Role::Publisher => Role::Subscriber,
            };
        }
    }

    /// One-way times of the publisher's video so far, in microseconds.
    fn latency_us(&mut self) -> Vec<i64> {
        let by_track = self.subscriber.receiver.latency();
        let video = by_track.filter(|(sid, _)| ***sid == *"camera");
        let samples = video.flat_map(|(_, samples)| std::mem::take(samples));
        samples.map(|sample| sample.us).collect()
    }

    fn connected() -> Self {
        Self::connected_with(VideoCodec::Vp8)
    }

    fn connected_with(codec: VideoCodec) -> Self {
        let mut world = Self::of(codec);
        world.run(Duration::from_secs(2));
        assert!(world.failures.is_empty(), "{:?}", world.failures);
        assert!(world.publisher.connected && world.subscriber.connected);
        world
    }
}

#[test]
fn every_packet_sent_is_counted_once() {
    let mut world = World::connected();
    world.run(Duration::from_secs(5));
    let (tx, rx) = (
        world.publisher.sender.totals(),
        world.subscriber.receiver.totals(),
    );
    assert!(tx.packets > 500, "{tx:?}");
    assert_eq!((rx.packets, rx.bytes), (tx.packets, tx.bytes));
    assert_eq!(rx.expected, tx.packets);
    assert_eq!(
        (rx.lost, rx.pending, rx.auth_failures, rx.malformed),
        (0, 0, 0, 0)
    );
    // Audio frames are packets, and have stamps as well.
    assert_eq!(rx.stamps, tx.frames);
    assert!(rx.frames > 100 && rx.keyframes > 0, "{rx:?}");
    assert!(tx.reports_received > 0, "{tx:?}");
    assert!(world.publisher.rtt.is_some_and(|rtt| rtt <= TICK));
    assert!(world.failures.is_empty());
}

#[test]
fn who_has_no_keys_moves_no_media() {
    let mut world = World::connected();
    let stranger = SocketAddr::from(([127, 0, 0, 1], 9));
    let now = world.now();
    for datagram in [&[0x80, 96][..], &[0x80, 200][..]] {
        let datagram = [datagram, &[7; 40]].concat();
        for peer in [&mut world.publisher, &mut world.subscriber] {
            peer.datagram(&mut datagram.clone(), stranger, now, now, &mut world.outbox);
        }
    }
    // What was authentic once is not for another.
    let remotes = |world: &World| [world.publisher.remote, world.subscriber.remote];
    let at = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
    assert_eq!(remotes(&world), [at(2_000), at(1_000)]);
    assert_eq!(world.subscriber.receiver.totals().auth_failures, 2);
    world.replay = true;
    world.run(Duration::from_secs(1));
    assert_eq!(remotes(&world), [at(2_000), at(1_000)]);
    assert!(world.subscriber.receiver.totals().duplicates > 50);
}

#[test]
fn the_server_s_media_are_followed_to_another_address() {
    let mut world = World::connected();
    world.moved = 5;
    world.run(Duration::from_secs(3));
    let moved = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
    assert_eq!(world.publisher.remote, moved(2_005), "by its reports");
    assert_eq!(world.subscriber.remote, moved(1_005), "by its media");
}

#[test]
fn losses_are_seen_and_repaired() {
    let mut world = World::connected();
    world.lose_every = Some(20);
    world.run(Duration::from_secs(10));
    world.lose_every = None;
    world.run(Duration::from_secs(2));
    let (tx, rx) = (
        world.publisher.sender.totals(),
        world.subscriber.receiver.totals(),
    );
    assert!(world.lost > 50);
    assert_eq!(
        rx.missing_before_rtx,
        rx.recovered + rx.pending + rx.lost,
        "{rx:?}"
    );
    // Lost retransmissions aside, what was lost went missing, and came again.
    let missing = rx.missing_before_rtx;
    assert!(
        missing <= world.lost && missing * 10 > world.lost * 8,
        "{missing} of {}",
        world.lost
    );
    assert!(
        rx.recovered > 0 && tx.retransmitted >= rx.recovered,
        "{rx:?} {tx:?}"
    );
    assert_eq!(rx.pending, 0, "{rx:?}");
}

#[test]
fn latency_is_that_of_the_last_packet_with_either_codec() {
    for codec in [VideoCodec::Vp8, VideoCodec::H264] {
        let mut world = World::connected_with(codec);
        world.latency_us();
        let (tx, rx) = (
            *world.publisher.sender.totals(),
            *world.subscriber.receiver.totals(),
        );
        world.hold_last = 3 * TICK;
        world.run(Duration::from_secs(10));
        let sent = *world.publisher.sender.totals();
        // A frame that takes several bursts leaves over several beats.
        assert!(
            sent.packets - tx.packets > 2 * (sent.frames - tx.frames),
            "{sent:?}"
        );
        let latency = world.latency_us();
        let frames = world.subscriber.receiver.totals().frames - rx.frames;
        assert!(latency.len() as u64 >= frames && frames > 250, "{frames}");
        assert!(
            latency.iter().all(|us| *us == 15_000),
            "{codec:?} {latency:?}"
        );
    }
}

#[test]
fn latency_of_what_came_again_counts_with_either_codec() {
    for codec in [VideoCodec::Vp8, VideoCodec::H264] {
        let mut world = World::connected_with(codec);
        world.latency_us();
        let before = world.subscriber.receiver.totals().frames;
        world.lose_every = Some(20);
        world.run(Duration::from_secs(10));
        let frames = world.subscriber.receiver.totals().frames - before;
        let latency = world.latency_us();
        assert!(
            latency.len() as u64 * 100 >= frames * 95,
            "{codec:?} {frames}"
        );
        let late = latency.iter().filter(|us| **us > 0).count();
        assert!(late > 5, "{codec:?} {late} of {}", latency.len());
    }
}

#[test]
fn nothing_that_comes_panics_or_passes_for_authentic() {
    let mut world = World::connected();
    let now = world.now();
    let from = SocketAddr::from(([127, 0, 0, 1], 1_000));
    let ssrc = world.publisher.sender.ssrcs().next().unwrap_or_default();
    let before = *world.subscriber.receiver.totals();
    let strategy = (
        prop_oneof![Just(0x80u8), Just(0x90), any::<u8>()],
        prop_oneof![Just(96u8), Just(200), Just(205), any::<u8>()],
        any::<bool>(),
        proptest::collection::vec(any::<u8>(), 0..100),
    );
    let mut runner = TestRunner::new(Config::with_cases(2_000));
    let peer = std::cell::RefCell::new((&mut world.subscriber, &mut world.outbox));
    let run = runner.run(&strategy, |(first, second, ours, mut bytes)| {
        if let [a, b, rest @ ..] = &mut bytes[..] {
            (*a, *b) = (first, second);
            if let (true, Some(at)) = (ours, rest.get_mut(6..10)) {
                at.copy_from_slice(&ssrc.to_be_bytes());
            }
        }
        let (peer, outbox) = &mut *peer.borrow_mut();
        peer.datagram(&mut bytes, from, now, now, outbox);
        outbox.clear();
        Ok(())
    });
    run.unwrap_or_else(|e| panic!("{e}"));
    let after = world.subscriber.receiver.totals();
    assert_eq!(after.packets, before.packets);
    assert!(after.auth_failures + after.malformed > 100, "{after:?}");
    world.run(Duration::from_secs(1));
    assert!(world.subscriber.receiver.totals().packets > before.packets);
    assert!(world.failures.is_empty(), "{:?}", world.failures);
}

#[test]
fn descriptions_that_make_no_sense_fail_with_a_cause() {
    for sdp in ["", "v=0", "v=0\r\nm=video 9 x 1\r\n", "m=\u{0}\r\na=ssrc:"] {
        let mut world = World::new();
        let (now, outbox) = (world.now(), &mut world.outbox);
        let offer = Command::Offer {
            sdp: sdp.to_owned(),
            id: 1,
            mid_to_track: HashMap::new(),
        };
        world.subscriber.command(offer, now, outbox);
        let event = world.subscriber.next_event();
        let Some(PeerEvent::Failed(failure)) = event else {
            panic!("{sdp:?}: {event:?}");
        };
        assert_eq!(failure.cause, Cause::Protocol);
        assert!(world.subscriber.is_closed());
    }
}

#[test]
fn a_packet_that_was_changed_on_its_way_counts_for_nothing() {
    let mut world = World::connected();
    // What the publisher sends in a second, as it left.
    let mut caught = Vec::new();
    for _ in 0..200 {
        world.elapsed += TICK;
        let now = world.now();
        world.publisher.timeout(now, &mut world.outbox);
        caught.extend(world.outbox.runs(0, 1).map(|run| run.bytes.to_vec()));
        world.deliver(Role::Subscriber);
    }
    let before = *world.subscriber.receiver.totals();
    let now = world.now();
    let from = SocketAddr::from(([127, 0, 0, 1], 1_000));
    let is_media = |d: &&Vec<u8>| rtp::Datagram::of(d) != rtp::Datagram::Other;
    let mut changed = 0;
    for (n, datagram) in caught.iter().filter(is_media).enumerate() {
        // Beyond the first bytes, which say what kind of datagram it is.
        let mut flipped = datagram.clone();
        let bit = 16 + n * 37 % (flipped.len() * 8 - 16);
        flipped[bit / 8] ^= 1 << (bit % 8);
        let cut = datagram[..2 + n * 13 % (datagram.len() - 2)].to_vec();
        for mut bytes in [flipped, cut] {
            let subscriber = &mut world.subscriber;
            subscriber.datagram(&mut bytes, from, now, now, &mut world.outbox);
            world.outbox.clear();
            changed += 1;
        }
    }
    let after = *world.subscriber.receiver.totals();
    let refused = after.auth_failures + after.malformed - before.auth_failures - before.malformed;
    assert!(changed > 100, "{changed}");
    assert_eq!((after.packets, refused), (before.packets, changed));
    assert!(world.failures.is_empty(), "{:?}", world.failures);
}

proptest! {
    #![proptest_config(Config::with_cases(200))]
    /// A server that holds the keys may lie in its reports, and ask for anything.
    #[test]
    fn authentic_reports_that_lie_do_no_harm(
        reports in proptest::collection::vec(
            (198u8..208, 0u8..32, proptest::collection::vec(any::<u8>(), 0..120), any::<u16>()),
            1..20,
        ),
    ) {
        let mut world = World::connected();
        let (ours, mut theirs) = keys::pair_for_tests();
        let ssrc = world.publisher.sender.ssrcs().next().unwrap_or_default();
        world.publisher.srtp = Some(ours);
        let from = SocketAddr::from(([127, 0, 0, 1], 2_000));
        for (kind, count, body, lie) in reports {
            let words = body.len() / 4 + 1;
            let honest = u16::try_from(words + 1).unwrap_or(u16::MAX);
            let length = if lie < 6_000 { lie } else { honest };
            let mut packet = vec![0x80 | count, kind];
            packet.extend(length.to_be_bytes());
            packet.extend(9u32.to_be_bytes());
            packet.extend(ssrc.to_be_bytes());
            packet.extend(&body[..body.len() / 4 * 4]);
            prop_assert!(theirs.seal_rtcp(&mut packet, 0));
            let now = world.now();
            world.publisher.datagram(&mut packet, from, now, now, &mut world.outbox);
            // A NACK brings at most what is remembered, however much it asks for.
            prop_assert!(world.outbox.len() <= 17 * 40);
            world.outbox.clear();
        }
        prop_assert!(!world.publisher.is_closed());
    }
}
