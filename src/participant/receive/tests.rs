//! A server that holds the keys and lies: what it sends is authentic, and makes no sense.

use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::job::Timestamp;
use crate::participant::keys::pair_for_tests;
use crate::participant::rtp::sequence;
use proptest::prelude::*;

/// Four tracks: one with retransmissions in a stream of its own, one muted, one not described.
const OFFER: &str = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96 97 98\r\na=mid:0\r\n\
    a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 goog-remb\r\na=rtpmap:97 rtx/90000\r\n\
    a=fmtp:97 apt=96\r\na=rtpmap:98 H264/90000\r\na=extmap:3 \
    http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\na=ssrc-group:FID 1 2\r\n\
    a=ssrc:1 msid:PA TR_v\r\na=ssrc:2 msid:PA TR_v\r\na=ssrc:3 msid:PA TR_h\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=rtpmap:111 opus/48000/2\r\n\
    a=ssrc:4 msid:PA TR_a\r\n";

fn offer_with(group: &str) -> String {
    OFFER.replace("FID 1 2", group)
}

#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
fn start() -> Moment {
    let wall = Timestamp::from_micros(1_700_000_000_000_000);
    Moment {
        at: Instant::now(),
        wall,
        shared: wall,
    }
}

/// A packet, as a fuzzer has it.
#[derive(Clone, Debug)]
struct Lie {
    first: u8,
    second: u8,
    jump: i16,
    timestamp: u32,
    ssrc: u32,
    body: Vec<u8>,
    wait_ms: u16,
    stamped: bool,
}

fn lie(ssrcs: impl Strategy<Value = u32>) -> impl Strategy<Value = Lie> {
    (
        prop_oneof![Just(0x80u8), Just(0x90), Just(0xa0), 0x80u8..0xc0],
        prop_oneof![
            Just(96u8),
            Just(97),
            Just(98),
            Just(111),
            Just(0xe0),
            any::<u8>()
        ],
        prop_oneof![4 => Just(1i16), 1 => -40i16..40, 1 => any::<i16>()],
        any::<u32>(),
        ssrcs,
        proptest::collection::vec(any::<u8>(), 0..60),
        prop_oneof![Just(5u16), 0u16..2_000],
        any::<bool>(),
    )
        .prop_map(
            |(first, second, jump, timestamp, ssrc, body, wait_ms, stamped)| Lie {
                first,
                second,
                jump,
                timestamp,
                ssrc,
                body,
                wait_ms,
                stamped,
            },
        )
}

struct World {
    now: Moment,
    receiver: Receiver,
    ours: Srtp,
    theirs: Srtp,
    highest: BTreeMap<u32, u64>,
    compounds: Compounds,
}

impl World {
    fn new() -> Self {
        let now = start();
        let (ours, theirs) = pair_for_tests();
        let mut receiver = Receiver::new(7, now.at, Duration::ZERO);
        receiver.describe(Description::parse(OFFER, &HashMap::new()));
        receiver.mute(&"TR_a".into(), true);
        Self {
            now,
            receiver,
            ours,
            theirs,
            highest: BTreeMap::new(),
            compounds: Compounds::default(),
        }
    }

    /// Sends a packet as the server would, sealed under its true index.
    fn send(&mut self, lie: &Lie) {
        let wait = Duration::from_millis(lie.wait_ms.into());
        self.now.at += wait;
        self.now.wall = self.now.wall + wait;
        let last = self.highest.get(&lie.ssrc).copied();
        let index = match last {
            Some(last) => match last.checked_add_signed(lie.jump.into()) {
                Some(index) => index,
                None => return,
            },
            None => u64::from(lie.jump.cast_unsigned()),
        };
        let mut packet = vec![lie.first, lie.second];
        packet.extend(sequence::low(index).to_be_bytes());
        packet.extend(lie.timestamp.to_be_bytes());
        packet.extend(lie.ssrc.to_be_bytes());
        packet.extend(&lie.body);
        if lie.stamped {
            let stamp = Stamp {
                source: 1,
                sequence: 2,
                unix_us: i64::from(lie.jump) << 48,
            };
            packet.extend(stamp.encode());
        }
        let Some(header) = Header::parse(&packet) else {
            self.receiver.packet(&self.ours, &mut packet, self.now);
            return;
        };
        assert!(
            self.theirs
                .seal_rtp(&mut packet, 0, header.len, lie.ssrc, index)
        );
        let before = self.receiver.totals.packets;
        self.receiver.packet(&self.ours, &mut packet, self.now);
        if self.receiver.totals.packets > before {
            self.highest
                .insert(lie.ssrc, last.map_or(index, |last| last.max(index)));
        }
        self.receiver.poll(self.now.at, None, &mut self.compounds);
        for compound in self.compounds.iter() {
            assert!(compound.len() <= rtcp::COMPOUND_LEN, "{}", compound.len());
        }
        self.compounds.clear();
        self.receiver
            .latency()
            .for_each(|(_, samples)| samples.clear());
    }

    fn check(&self) {
        let t = &self.receiver.totals;
        assert_eq!(
            t.missing_before_rtx,
            t.recovered + t.pending + t.lost,
            "{t:?}"
        );
        assert!(self.receiver.streams.len() <= MAX_STREAMS);
        assert!(self.receiver.tracks.len() <= MAX_TRACKS);
        assert!(t.expected >= t.pending + t.lost, "{t:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn authentic_nonsense_is_accounted_for(
        lies in proptest::collection::vec((lie(1u32..7), 0usize..40), 1..200),
    ) {
        let mut world = World::new();
        // Who repairs whom, the other way round and itself: the server changes its mind.
        let offers = [OFFER.to_owned(), offer_with("FID 2 1"), offer_with("FID 1 1")];
        for (lie, offer) in &lies {
            if let Some(offer) = offers.get(*offer) {
                world.receiver.describe(Description::parse(offer, &HashMap::new()));
            }
            world.send(lie);
            world.check();
        }
        for _ in world.receiver.tracks() {}
    }
}

#[test]
fn thousands_of_streams_are_cut_off_and_counted() {
    let mut world = World::new();
    let streams = (1..=3_000).map(|ssrc| format!("a=ssrc:{ssrc} msid:PA TR_{ssrc}\r\n"));
    let offer = OFFER.replace(
        "m=audio",
        &format!("{}m=audio", streams.collect::<String>()),
    );
    let description = Description::parse(&offer, &HashMap::new());
    world.receiver.describe(description);
    let packet = |ssrc, wait_ms| Lie {
        first: 0x80,
        second: 96,
        jump: 1,
        timestamp: 0,
        ssrc,
        body: vec![0; 20],
        wait_ms,
        stamped: false,
    };
    for ssrc in 1..=3_000 {
        world.send(&packet(ssrc, 0));
    }
    let t = &world.receiver.totals;
    assert_eq!((t.packets, t.over_limit), (512, 3_000 - 512));
    world.check();
    // All want a report, and a keyframe: more than a datagram has room for.
    for _ in 0..8 {
        world.send(&packet(1, 1_000));
    }
    let t = &world.receiver.totals;
    assert!(t.plis_sent > 500 && t.remb_bps.is_some(), "{t:?}");
}

#[test]
fn thousands_of_tracks_are_cut_off_and_counted() {
    let mut world = World::new();
    for ssrc in 0..400 {
        world.send(&Lie {
            first: 0x80,
            second: 111,
            jump: 1,
            timestamp: 0,
            ssrc,
            body: vec![0; 20],
            wait_ms: 0,
            stamped: false,
        });
    }
    // The server renames all of its tracks again and again.
    for round in 0..20 {
        let mut sdp = String::from("v=0\r\nm=audio 9 x 111\r\n");
        for ssrc in 0..400 {
            sdp.push_str(&format!("a=ssrc:{ssrc} msid:PA TR_{round}_{ssrc}\r\n"));
            world
                .receiver
                .mute(&format!("TR_{round}_{ssrc}").into(), true);
        }
        let description = Description::parse(&sdp, &HashMap::new());
        world.receiver.describe(description);
        world.check();
    }
    assert!(world.receiver.totals.over_limit > 3_000);
    assert!(world.receiver.muted.len() <= MAX_TRACKS);
}

#[test]
fn jumps_over_all_sequence_numbers_hold_little() {
    let mut world = World::new();
    for n in 0..2_000 {
        world.send(&Lie {
            first: 0x80,
            second: 0xe0,
            jump: i16::MAX,
            timestamp: n,
            ssrc: 1,
            body: vec![0x10, 0, 0, 0, 0x9d, 0x01, 0x2a, 0, 5, 0xd0, 2],
            wait_ms: 1,
            stamped: true,
        });
        world.check();
    }
    let t = &world.receiver.totals;
    assert!(t.lost > 2_000 * 32_000 && t.pending <= 512, "{t:?}");
}

#[test]
fn a_gap_has_a_deadline_of_its_own() {
    let mut world = World::new();
    assert_eq!(world.receiver.deadlines(), (None, None));
    for (jump, gap) in [(1, false), (1, false), (2, true)] {
        world.send(&Lie {
            first: 0x80,
            second: 96,
            jump,
            timestamp: 0,
            ssrc: 1,
            body: vec![0; 20],
            wait_ms: 5,
            stamped: false,
        });
        let (report, nack) = world.receiver.deadlines();
        assert!(report.is_some());
        assert_eq!(nack, gap.then(|| world.now.at + stream::NACK_DELAY));
    }
}
