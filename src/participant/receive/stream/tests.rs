//! Gaps, repairs, reports of one stream.

use super::*;
use proptest::prelude::*;

const VP8: Kind = Kind {
    kind: TrackKind::Video,
    codec: Codec::Vp8,
    clock_rate: 90_000,
    nack: true,
};

fn header(index: u64) -> Header {
    let mut bytes = Vec::new();
    crate::participant::rtp::Outgoing {
        payload_type: 96,
        marker: true,
        sequence: sequence::low(index),
        timestamp: u32::try_from(index * 3_600).unwrap(),
        ssrc: 1,
        extensions: &[],
    }
    .write(&mut bytes);
    Header::parse(&bytes).unwrap()
}

struct Bench {
    stream: Stream,
    totals: RxTotals,
    own: OwnDrops,
    start: Instant,
}

impl Bench {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs some instant to start from"
    )]
    fn new(first: u64) -> Self {
        let start = Instant::now();
        let stream = Stream::new(1, first, VP8, start);
        Self {
            stream,
            totals: RxTotals::default(),
            own: OwnDrops::default(),
            start,
        }
    }
    fn come(&mut self, index: u64, ms: u64) -> Brought {
        let at = self.start + Duration::from_millis(ms);
        self.stream.packet(
            &header(index),
            b"x",
            index,
            at,
            &mut self.own,
            &mut self.totals,
        )
    }
    /// A retransmission in a stream of its own.
    fn repair(&mut self, index: u64, ms: u64) -> Brought {
        let at = self.start + Duration::from_millis(ms);
        let (own, totals) = (&mut self.own, &mut self.totals);
        self.stream
            .repaired(sequence::low(index), true, b"x", at, own, totals)
    }
    fn drop_own(&mut self, datagrams: u64, ms: u64) {
        let at = self.start + Duration::from_millis(ms);
        self.own.dropped(datagrams, at);
    }
    fn nacks(&mut self, ms: u64) -> Vec<u16> {
        let mut ask = Vec::new();
        let now = self.start + Duration::from_millis(ms);
        self.stream.due_nacks(now, None, &mut self.totals, &mut ask);
        ask
    }
    fn check(&self) {
        let t = &self.totals;
        assert_eq!(
            t.expected,
            self.stream.received + t.pending + t.lost,
            "{t:?}"
        );
        assert_eq!(
            t.missing_before_rtx,
            t.recovered + t.pending + t.lost,
            "{t:?}"
        );
        assert!(t.lost_own <= t.lost.min(t.missing_own), "{t:?}");
        assert!(t.missing_own <= t.missing_before_rtx, "{t:?}");
        assert!(self.stream.repaired <= t.recovered, "{t:?}");
        assert_eq!(self.stream.lost(), t.lost);
    }
}

#[test]
fn a_gap_is_asked_for_and_then_recovered() {
    let mut b = Bench::new(65_534);
    b.come(65_534, 0);
    assert!(b.come(65_537, 40).gaps);
    assert_eq!(b.nacks(45), [0u16; 0]);
    assert_eq!(b.nacks(50), [65_535, 0]);
    assert_eq!(b.nacks(60), [0u16; 0], "not again at once");
    b.come(65_535, 70);
    assert_eq!((b.totals.recovered, b.totals.pending), (1, 1));
    assert_eq!(b.nacks(150), [0]);
    assert_eq!(b.nacks(1_040), [0u16; 0]);
    assert_eq!((b.totals.lost, b.totals.missing_before_rtx), (1, 2));
    b.check();
}

#[test]
fn reordering_is_neither_missing_nor_recovered() {
    let mut b = Bench::new(5);
    for (index, ms) in [(5, 0), (7, 1), (6, 2), (7, 3)] {
        b.come(index, ms);
    }
    let t = &b.totals;
    assert_eq!((t.reordered, t.duplicates, t.missing_before_rtx), (1, 1, 0));
    b.check();
}

#[test]
fn a_report_tells_the_loss_of_its_interval() {
    let mut b = Bench::new(1);
    for index in (1..=100).filter(|i| i % 4 != 0 || *i == 100) {
        b.come(index, index);
    }
    let block = b.stream.report(b.start);
    assert_eq!((block.lost, block.fraction_lost), (24, 61));
    b.come(101, 200);
    assert_eq!(b.stream.report(b.start).fraction_lost, 0);
}

#[test]
fn what_died_in_the_buffer_here_is_told_apart_also_when_it_is_repaired() {
    let mut b = Bench::new(1);
    b.come(1, 0);
    b.come(3, 10);
    b.drop_own(2, 20);
    b.come(7, 20);
    let t = &b.totals;
    assert_eq!((t.missing_before_rtx, t.missing_own), (4, 2));
    b.nacks(35);
    b.repair(4, 40);
    b.repair(6, 40);
    b.nacks(1_100);
    let t = &b.totals;
    assert_eq!((t.recovered, t.lost, t.lost_own), (2, 2, 1));
    assert_eq!(t.missing_own, 2, "also the one that came again");
    b.check();
}

#[test]
fn a_jump_past_all_gaps_puts_the_first_ones_down_to_drops() {
    let mut b = Bench::new(1);
    b.come(1, 0);
    b.drop_own(600, 5);
    b.come(1_002, 5);
    let t = &b.totals;
    assert_eq!((t.missing_own, t.lost, t.lost_own), (600, 488, 488));
    b.nacks(2_000);
    assert_eq!((b.totals.lost, b.totals.lost_own), (1_000, 600));
    b.check();
}

#[test]
fn a_late_original_is_reordered_although_its_repair_came() {
    for original_first in [true, false] {
        let mut b = Bench::new(1);
        b.stream.has_repairs = true;
        b.come(1, 0);
        b.drop_own(1, 5);
        b.come(3, 10);
        assert_eq!(b.nacks(20), [2]);
        if original_first {
            b.come(2, 40);
            b.repair(2, 50);
        } else {
            b.repair(2, 40);
            b.come(2, 50);
        }
        let t = &b.totals;
        assert_eq!((t.reordered, t.recovered, t.duplicates), (1, 0, 0), "{t:?}");
        assert_eq!((t.missing_before_rtx, t.missing_own), (0, 0));
        assert_eq!(b.stream.report(b.start).lost, 0);
        b.check();
        b.come(5, 60);
        assert_eq!(b.totals.missing_own, 1, "it was another that was dropped");
        b.come(2, 70);
        b.repair(2, 70);
        assert_eq!(b.totals.duplicates, 2);
        b.check();
    }
}

#[test]
fn an_original_that_comes_when_it_was_given_up_was_late() {
    let mut b = Bench::new(1);
    b.stream.has_repairs = true;
    b.come(1, 0);
    b.drop_own(1, 5);
    b.come(3, 10);
    b.nacks(1_100);
    assert_eq!((b.totals.lost, b.totals.lost_own), (1, 1));
    b.come(2, 1_200);
    let t = &b.totals;
    assert_eq!((t.lost, t.lost_own, t.missing_own), (0, 0, 0));
    assert_eq!((t.reordered, t.recovered), (1, 0));
    b.check();
}

#[test]
fn a_repair_that_nobody_asked_for_is_one() {
    let mut b = Bench::new(1);
    b.stream.has_repairs = true;
    b.come(1, 0);
    b.come(3, 10);
    b.repair(2, 12);
    let t = &b.totals;
    assert_eq!((t.recovered, t.reordered, t.missing_before_rtx), (1, 0, 1));
    b.check();
}

#[test]
fn the_report_of_a_stream_leaves_repairs_to_the_stream_that_they_came_in() {
    let mut b = Bench::new(1);
    b.stream.has_repairs = true;
    for index in (1..=100).filter(|i| i % 4 != 0 || *i == 100) {
        b.come(index, index);
        b.nacks(index);
    }
    for index in (1..100).filter(|i| i % 4 == 0) {
        b.repair(index, 100);
    }
    assert_eq!((b.totals.recovered, b.totals.lost), (24, 0));
    let block = b.stream.report(b.start);
    assert_eq!((block.lost, block.fraction_lost), (24, 61));
}

#[test]
fn retransmissions_have_an_order_of_their_own_however_many_come() {
    let kind = Kind {
        codec: Codec::Rtx,
        ..VP8
    };
    let b = Bench::new(0);
    let mut repairs = Stream::new(2, 65_000, kind, b.start);
    for index in 65_000..165_000u64 {
        let place = repairs.index(sequence::low(index));
        assert_eq!(place, Some(index));
        if index % 10 != 3 {
            assert!(repairs.repair(index));
            assert!(!repairs.repair(index));
        }
    }
    let block = repairs.report(b.start);
    assert_eq!((block.lost, block.fraction_lost), (10_000, 25));
    assert_eq!(block.highest, 164_999);
}

/// What happens to a stream in a moment.
#[derive(Clone, Copy, Debug)]
enum Step {
    Come(i64),
    Repair(i64),
    DropOwn(u64),
}

fn step() -> impl Strategy<Value = (Step, u64)> {
    let event = prop_oneof![
        6 => (1i64..4).prop_map(Step::Come),
        2 => (-30i64..30).prop_map(Step::Come),
        1 => (30i64..1_500).prop_map(Step::Come),
        3 => (-30i64..3).prop_map(Step::Repair),
        1 => (1u64..40).prop_map(Step::DropOwn),
    ];
    (event, 0u64..60)
}

proptest! {
    #[test]
    fn every_packet_is_accounted_for(
        first in 0u64..70_000,
        has_repairs: bool,
        steps in proptest::collection::vec(step(), 1..300),
    ) {
        let mut b = Bench::new(first);
        b.stream.has_repairs = has_repairs;
        b.come(first, 0);
        let (mut index, mut ms) = (first, 0);
        for (step, wait) in steps {
            ms += wait;
            match step {
                Step::Come(by) => {
                    index = index.saturating_add_signed(by);
                    b.come(index, ms);
                }
                Step::Repair(by) => {
                    b.repair(index.saturating_add_signed(by), ms);
                }
                Step::DropOwn(datagrams) => b.drop_own(datagrams, ms),
            }
            b.nacks(ms);
            b.check();
        }
        prop_assert!(b.stream.gaps.len() <= MAX_GAPS);
    }
}
