//! Where a process finds the run's reference clock: by the SFU's if it can rely on its measure,
//! else by the bucket's.

use std::collections::BTreeMap;
use std::time::Duration;

use super::objects::{Ready, ReferenceClock, Start};
use crate::clock::{
    Agreement, Estimate, OffsetAt, OffsetInterval, Reading, RunClock, Sample, agreement,
};
use crate::job::{Timestamp, Vantage};

/// The same clock minus itself.
const NONE: OffsetInterval = OffsetInterval { lo_us: 0, hi_us: 0 };

/// `Last-Modified` has this grain, so an object is as much older than it says.
const STORED_GRAIN: Duration = Duration::from_secs(1);

/// The clocks that a process measures.
#[derive(Clone, Debug, Default)]
pub struct Clocks {
    /// The bucket's.
    pub bucket: Estimate,
    /// The SFU's.
    pub sfu: Estimate,
    /// The node of the SFU that it met; empty when unknown.
    pub node: String,
}

impl Clocks {
    /// Takes readings of the SFU's clock in, and which node the process met.
    pub fn pongs(&mut self, samples: &[Sample], node: &str) {
        for sample in samples {
            self.sfu.add(sample);
        }
        if !node.is_empty() {
            node.clone_into(&mut self.node);
        }
    }

    /// Both as known at a local time.
    pub fn reading(&self, now: Timestamp) -> Reading {
        Reading {
            sfu: self.sfu.at(now),
            node: self.node.clone(),
            bucket: self.bucket.at(now),
        }
    }

    /// The bucket's time at a local time, by the midpoint; local time when it was never read.
    pub fn bucket_now(&self, now: Timestamp) -> Timestamp {
        self.bucket.assumed(now).to_other(now)
    }

    /// The run's time, as this process knows it at a local time.
    ///
    /// It goes by the SFU's clock if that is the reference and nothing speaks against it: the
    /// start marks this vantage, its measure is wider than `width_max`, or what it read was seen
    /// to jump, as another node's clock would.
    pub fn run(
        &self,
        start: &Start,
        vantage: Option<&Vantage>,
        width_max: Duration,
        now: Timestamp,
    ) -> RunClock {
        let clock = |by, offset| RunClock {
            at: now,
            by,
            offset,
            reading: self.reading(now),
        };
        let bucket = self.bucket.assumed(now);
        let sfu = self.sfu.at(now);
        let (Some(sfu), ReferenceClock::Sfu) = (sfu, start.reference) else {
            let by_bucket = reference_minus_bucket(start, bucket.to_other(now));
            return clock(ReferenceClock::Bucket, by_bucket.plus(bucket));
        };
        let Some(known) = start.offset else {
            return clock(ReferenceClock::Sfu, sfu);
        };
        let marked = vantage.is_some_and(|v| start.marked.contains_key(v));
        let by_bucket = known.seen_at(bucket.to_other(now)).plus(bucket);
        let wide = is_wider(sfu, width_max) && by_bucket.width_us() < sfu.width_us();
        let never_read = self.bucket.at(now).is_none();
        if never_read || !(marked || wide || self.sfu.steps() > 0) {
            clock(ReferenceClock::Sfu, sfu)
        } else {
            clock(ReferenceClock::Bucket, by_bucket)
        }
    }
}

/// The reference clock minus the bucket's, at a time of the bucket's.
pub fn reference_minus_bucket(start: &Start, bucket_now: Timestamp) -> OffsetInterval {
    start.offset.map_or(NONE, |known| known.seen_at(bucket_now))
}

/// When the last window has surely ended, by the bucket's clock.
pub fn end_by_bucket(start: &Start) -> Timestamp {
    let last = start.tiers.last().map_or(start.start_at, |t| t.window.to);
    // Until then the clocks may drift apart as far as `last` is ahead, on whichever of them.
    reference_minus_bucket(start, last).latest_local(last)
}

/// Whether an interval is wider than a job allows.
pub fn is_wider(interval: OffsetInterval, width_max: Duration) -> bool {
    i128::from(interval.width_us()) > i128::try_from(width_max.as_micros()).unwrap_or(i128::MAX)
}

/// How wide an interval is and may be, in words.
pub fn too_wide(interval: OffsetInterval, width_max: Duration) -> String {
    format!(
        "its interval is {:.0} ms wide, and the job allows {:.0} ms",
        interval.width_us() as f64 / 1e3,
        width_max.as_secs_f64() * 1e3
    )
}

/// What a start says of the clocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// The clock that its times are on.
    pub clock: ReferenceClock,
    /// That clock minus the bucket's.
    pub offset: Option<OffsetAt>,
    /// Who goes by the bucket's clock all the same, and why.
    pub marked: BTreeMap<Vantage, String>,
}

impl Reference {
    /// The clock minus the bucket's; none for the bucket's own.
    pub fn offset(&self) -> OffsetInterval {
        self.offset.map_or(NONE, |known| known.offset)
    }

    /// The SFU's clock when all of these met one node and most agree on it, else the bucket's.
    /// Each document comes with when it was stored; `own` is what the coordinator read itself.
    pub fn decide(
        readies: &[&(Ready, Timestamp)],
        own: &Reading,
        width_max: Duration,
        bucket_now: Timestamp,
    ) -> Reference {
        let mut readings: BTreeMap<Option<Vantage>, Reading> = readies
            .iter()
            .map(|(ready, stored)| {
                let age = bucket_now.saturating_since(*stored) + STORED_GRAIN;
                (Some(ready.vantage.clone()), ready.reading().aged(age))
            })
            .collect();
        // A coordinator that met another node says nothing of the probers' one.
        if own.bucket.is_some() && readings.values().all(|r| r.node == own.node) {
            readings.insert(None, own.clone());
        }
        let Agreement {
            sfu_minus_bucket,
            doubts,
        } = agreement(&readings);
        let Some(offset) = sfu_minus_bucket else {
            return Reference::default();
        };
        let mut marked: BTreeMap<Vantage, String> = doubts
            .into_iter()
            .filter_map(|(who, doubt)| Some((who?, doubt.to_string())))
            .collect();
        for (ready, _) in readies {
            if let Some(sfu) = ready.sfu_offset.filter(|i| is_wider(*i, width_max)) {
                let why = too_wide(sfu, width_max);
                marked.entry(ready.vantage.clone()).or_insert(why);
            }
        }
        if planted!(NobodyIsMarked) {
            marked.clear();
        }
        if marked.len() * 2 > readies.len() {
            return Reference::default();
        }
        Reference {
            clock: ReferenceClock::Sfu,
            offset: Some(OffsetAt {
                at: bucket_now,
                offset,
            }),
            marked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{ClaimId, SCHEMA_MAJOR, WriteId};

    const MAX: Duration = Duration::from_millis(100);
    const T0: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn interval(lo_us: i64, hi_us: i64) -> OffsetInterval {
        OffsetInterval { lo_us, hi_us }
    }

    fn ready(label: &str, node: &str, sfu: OffsetInterval) -> (Ready, Timestamp) {
        let vantage: Vantage = label.parse().unwrap();
        let ready = Ready {
            schema: SCHEMA_MAJOR,
            write_id: WriteId::from_u64(1),
            run: "r1".parse().unwrap(),
            claim: ClaimId::new(&vantage, 0, 7),
            vantage,
            build: "test".into(),
            sfu_offset: Some(sfu),
            sfu_node: node.into(),
            bucket_offset: Some(interval(0, 1_000)),
            must_end_by: None,
            transport: None,
            unfit: None,
            function: None,
        };
        (ready, T0)
    }

    fn decide(readies: &[(Ready, Timestamp)]) -> Reference {
        let all: Vec<_> = readies.iter().collect();
        Reference::decide(&all, &Reading::default(), MAX, T0)
    }

    #[test]
    fn the_sfu_s_clock_needs_one_node() {
        let near = interval(5_000, 6_000);
        let found = decide(&[ready("a", "N", near), ready("b", "N", near)]);
        assert_eq!(found.clock, ReferenceClock::Sfu);
        // A second of grain makes it wider by twice 500 us.
        assert_eq!(
            (found.offset().lo_us, found.offset().hi_us),
            (3_000 - 2, 7_000 + 2)
        );
        let found = decide(&[ready("a", "N", near), ready("b", "M", near)]);
        assert_eq!(found, Reference::default());
        let found = decide(&[ready("a", "", near)]);
        assert_eq!(found.clock, ReferenceClock::Bucket);
    }

    #[test]
    fn who_is_too_wide_or_does_not_agree_is_marked() {
        let near = interval(5_000, 6_000);
        let (off, wide) = (interval(900_000, 901_000), interval(-90_000, 90_000));
        let all = ["a", "b", "c"].map(|label| ready(label, "N", near));
        let found = decide(&[&all[..], &[ready("d", "N", off), ready("e", "N", wide)]].concat());
        assert_eq!(found.clock, ReferenceClock::Sfu);
        let marked: Vec<&str> = found.marked.keys().map(Vantage::as_str).collect();
        assert_eq!(marked, ["d", "e"]);
        let why = found.marked.values().last().unwrap();
        assert!(why.contains("180 ms wide"), "{why}");
        assert_eq!(decide(&[ready("e", "N", wide)]), Reference::default());
    }

    /// The SFU's clock is 5 s ahead of the bucket's, which is a minute ahead of this process'.
    fn known() -> (Clocks, Start) {
        let mut clocks = Clocks::default();
        clocks
            .bucket
            .add(&Sample::date(T0, T0.as_micros() / 1_000_000 + 60, T0));
        let ms = T0.as_micros() / 1_000 + 65_300;
        clocks.pongs(&[Sample::pong(T0, ms, T0 + Duration::from_millis(2))], "N");
        let start = Start {
            roster: BTreeMap::new(),
            start_at: T0,
            tiers: vec![],
            reference: ReferenceClock::Sfu,
            offset: Some(OffsetAt {
                at: T0.offset_micros(60_000_000),
                offset: interval(4_990_000, 5_010_000),
            }),
            marked: BTreeMap::new(),
            asked: None,
        };
        (clocks, start)
    }

    #[test]
    fn who_can_t_go_by_the_sfu_s_clock_goes_by_the_bucket_s() {
        let (mut clocks, mut start) = known();
        let me: Vantage = "a".parse().unwrap();
        let by = |clocks: &Clocks, start: &Start, now| {
            let clock = clocks.run(start, Some(&me), MAX, now);
            let true_offset = 65_300_000;
            let i = clock.offset;
            assert!(i.lo_us <= true_offset && true_offset <= i.hi_us, "{i:?}");
            clock.by
        };
        let soon = T0 + Duration::from_secs(1);
        assert_eq!(by(&clocks, &start, soon), ReferenceClock::Sfu);
        // An hour makes both as wide; the bucket's, read again, is the narrower.
        let hour = T0 + Duration::from_secs(3_600);
        assert_eq!(by(&clocks, &start, hour), ReferenceClock::Sfu);
        start.marked.insert(me.clone(), "why".into());
        assert_eq!(by(&clocks, &start, soon), ReferenceClock::Bucket);
        start.marked.clear();
        // Another node's clock, a second off.
        let ms = soon.as_micros() / 1_000 + 66_300;
        clocks.pongs(&[Sample::pong(soon, ms, soon)], "M");
        assert_eq!(by(&clocks, &start, soon), ReferenceClock::Bucket);
    }

    #[test]
    fn without_a_reading_local_time_stands_in() {
        let (_, mut start) = known();
        start.reference = ReferenceClock::Bucket;
        start.offset = None;
        let clock = Clocks::default().run(&start, None, MAX, T0);
        assert_eq!((clock.by, clock.offset), (ReferenceClock::Bucket, NONE));
    }
}
