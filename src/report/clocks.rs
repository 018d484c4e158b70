//! What the vantages knew of the clocks in a tier, and whose knowledge is in doubt.

use std::collections::BTreeMap;

use super::combined::{Interval, VantageClock};
use super::figures::rounded;
use super::part::TierClock;
use super::tier::Parts;
use crate::clock::{OffsetInterval, Reading, agreement};
use crate::job::Vantage;
use crate::rendezvous::objects::Start;
use crate::rendezvous::reference::{is_wider, too_wide};

/// What the clocks are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The start.
    pub start: &'a Start,
    /// How wide an interval may be.
    pub width_max: std::time::Duration,
}

/// Each vantage's clocks in a tier.
pub fn clocks(parts: &Parts, terms: Terms) -> BTreeMap<Vantage, VantageClock> {
    let readings: BTreeMap<Vantage, Reading> = parts
        .iter()
        .filter_map(|(v, m)| Some((v.clone(), m.clock.as_ref()?.opened.reading.clone())))
        .collect();
    let doubts = agreement(&readings).doubts;
    parts
        .iter()
        .map(|(vantage, m)| {
            let clock = match &m.clock {
                None => VantageClock {
                    marked: vec!["its part says nothing of its clocks".to_owned()],
                    ..VantageClock::default()
                },
                Some(clock) => {
                    let mut told = told(clock);
                    told.marked = marks(vantage, clock, terms);
                    told.marked
                        .extend(doubts.get(vantage).map(ToString::to_string));
                    told
                }
            };
            (vantage.clone(), clock)
        })
        .collect()
}

fn told(clock: &TierClock) -> VantageClock {
    let opened = &clock.opened;
    let node = &opened.reading.node;
    VantageClock {
        by: Some(opened.by),
        width_ms: Some(ms(opened.offset.width_us())),
        sfu: opened.reading.sfu.map(interval),
        bucket: opened.reading.bucket.map(interval),
        node: (!node.is_empty()).then(|| node.clone()),
        marked: vec![],
    }
}

/// What speaks against a vantage's clock, apart from what others say.
fn marks(vantage: &Vantage, clock: &TierClock, terms: Terms) -> Vec<String> {
    let opened = &clock.opened;
    let wide = is_wider(opened.offset, terms.width_max);
    let fell_back = opened.by != terms.start.reference;
    let before = terms.start.marked.get(vantage);
    let mut marks = Vec::new();
    if fell_back {
        let by = opened.by.name();
        marks.push(match before {
            Some(why) => format!("went by {by} clock: {why}"),
            None => format!("went by {by} clock, as its measure of the other was in doubt"),
        });
    }
    if wide {
        marks.push(too_wide(opened.offset, terms.width_max));
    }
    marks
}

fn ms(us: i64) -> f64 {
    rounded(us as f64 / 1e3)
}

fn interval(offset: OffsetInterval) -> Interval {
    Interval {
        lo_ms: ms(offset.lo_us),
        hi_ms: ms(offset.hi_us),
        width_ms: ms(offset.width_us()),
    }
}

/// From the first vantage's measuring to the last one's by their best guesses, and by how much
/// more two vantages may really have been apart, both in milliseconds. The latter is unknown when
/// one doesn't say how well it knew the time.
pub fn started_apart_ms(parts: &Parts) -> Option<(f64, Option<f64>)> {
    let starts = || parts.values().map(|m| m.measured.from.as_micros());
    let apart = starts().max()?.saturating_sub(starts().min()?);
    let (mut earliest, mut latest) = (Vec::new(), Vec::new());
    for (n, m) in parts.values().enumerate() {
        let from = m.measured.from.as_micros();
        let Some(clock) = &m.clock else {
            return Some((ms(apart), None));
        };
        let half = clock.opened.offset.width_us() / 2;
        earliest.push((from.saturating_sub(half), n));
        latest.push((from.saturating_add(half), n));
    }
    earliest.sort_unstable();
    latest.sort_unstable();
    // The two that are the furthest apart are two: one of them is the second in its list.
    let at_most = earliest
        .iter()
        .take(2)
        .flat_map(|(lo, a)| {
            let others = latest.iter().rev().take(2).filter(move |(_, b)| a != b);
            others.map(move |(hi, _)| hi.saturating_sub(*lo))
        })
        .max()
        .unwrap_or(0);
    Some((ms(apart), Some(ms(at_most.saturating_sub(apart).max(0)))))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::packed::PackedTier;
    use super::super::part::TierPart;
    use super::super::sample;
    use super::*;
    use crate::clock::ReferenceClock;

    const MAX: Duration = Duration::from_millis(100);

    fn judged(parts: &[TierPart], start: &Start) -> BTreeMap<String, Vec<String>> {
        let parts: Parts = parts
            .iter()
            .map(|p| (p.vantage.clone(), PackedTier::of(p.clone()).unwrap().into()))
            .collect();
        let terms = Terms {
            start,
            width_max: MAX,
        };
        clocks(&parts, terms)
            .into_iter()
            .map(|(v, c)| (v.to_string(), c.marked))
            .collect()
    }

    fn parts() -> [TierPart; 3] {
        ["a", "b", "c"].map(|label| sample::part(label, 1))
    }

    #[test]
    fn a_vantage_is_marked_for_what_speaks_against_it() {
        let mut start = sample::start(&sample::job());
        assert!(judged(&parts(), &start).values().all(Vec::is_empty));

        let mut all = parts();
        let [a, b, c] = &mut all;
        a.clock = None;
        let opened = &mut b.clock.as_mut().unwrap().opened;
        opened.offset.hi_us += 200_000;
        let opened = &mut c.clock.as_mut().unwrap().opened;
        opened.by = ReferenceClock::Bucket;
        start
            .marked
            .insert(c.vantage.clone(), "it was told to".into());
        let found = judged(&all, &start);
        for (label, says) in [
            ("a", "says nothing"),
            ("b", "201 ms wide, and the job allows 100 ms"),
            ("c", "went by the bucket's clock: it was told to"),
        ] {
            let [mark] = &found[label][..] else {
                panic!("{label}: {found:?}")
            };
            assert!(mark.contains(says), "{mark}");
        }
    }

    #[test]
    fn who_met_a_node_whose_clock_is_off_is_marked() {
        let start = sample::start(&sample::job());
        let mut all = parts();
        let reading = &mut all[1].clock.as_mut().unwrap().opened.reading;
        reading.node = "ND_other".into();
        let sfu = reading.sfu.as_mut().unwrap();
        (sfu.lo_us, sfu.hi_us) = (sfu.lo_us + 3_000_000, sfu.hi_us + 3_000_000);
        let found = judged(&all, &start);
        assert!(found["b"][0].contains("ND_other"), "{found:?}");
        assert!(found["a"].is_empty() && found["c"].is_empty());
    }

    #[test]
    fn how_far_apart_windows_started_is_known_as_well_as_the_clocks() {
        let apart = |all: &[TierPart]| {
            let parts: Parts = all
                .iter()
                .map(|p| (p.vantage.clone(), PackedTier::of(p.clone()).unwrap().into()))
                .collect();
            started_apart_ms(&parts)
        };
        let mut all = parts();
        all[2].measured.from = all[2].measured.from + Duration::from_millis(7);
        // Each is known within a millisecond.
        assert_eq!(apart(&all), Some((7.0, Some(1.0))));
        let opened = &mut all[0].clock.as_mut().unwrap().opened;
        (opened.offset.lo_us, opened.offset.hi_us) = (-50_000, 50_000);
        assert_eq!(apart(&all), Some((7.0, Some(50.5))));
        assert_eq!(apart(&all[..1]), Some((0.0, Some(0.0))));
        all[1].clock = None;
        assert_eq!(apart(&all), Some((7.0, None)));
        assert_eq!(apart(&[]), None);
    }
}
