//! Which processes speak of one clock: the largest set of intervals that share a value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{OffsetInterval, Reading};

/// Why a process' reading of the SFU's clock can't be relied upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It did not read the SFU's clock.
    NoPong,
    /// It did not read the bucket's clock, which the others' readings are compared by.
    NoDate,
    /// What it read is another clock than the others': off by this much at least, in microseconds.
    Off {
        /// The node that answered it.
        node: String,
        /// Microseconds ahead of what the others read; negative when behind.
        by_us: i64,
    },
    /// No clock was read by most.
    Split {
        /// The node that answered it.
        node: String,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::NoPong => f.write_str("it did not read the SFU's clock"),
            Doubt::NoDate => f.write_str("it did not read the bucket's clock"),
            Doubt::Off { node, by_us } => {
                let way = if *by_us < 0 { "behind" } else { "ahead of" };
                let ms = by_us.unsigned_abs() as f64 / 1e3;
                write!(
                    f,
                    "the clock of node {node}, which it met, is {ms:.1} ms or more {way} what the others read"
                )
            }
            Doubt::Split { node } => write!(
                f,
                "the clock of node {node}, which it met, is not what most others read"
            ),
        }
    }
}

/// What several processes say of the SFU's clock together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement<K> {
    /// The SFU's clock minus the bucket's, when all met one node and most agree on it.
    pub sfu_minus_bucket: Option<OffsetInterval>,
    /// Who can't be relied upon in this, and why.
    pub doubts: BTreeMap<K, Doubt>,
}

/// Compares readings that were taken, or aged to, about the same time.
///
/// Two processes that met one node may still have read two clocks: a balancer's nodes answer
/// pings themselves, and name the node that has the room.
pub fn agreement<K: Ord + Clone>(readings: &BTreeMap<K, Reading>) -> Agreement<K> {
    let mut doubts = BTreeMap::new();
    let mut compared: BTreeMap<K, OffsetInterval> = BTreeMap::new();
    for (who, reading) in readings {
        match (reading.sfu, reading.bucket) {
            (None, _) => drop(doubts.insert(who.clone(), Doubt::NoPong)),
            (_, None) => drop(doubts.insert(who.clone(), Doubt::NoDate)),
            (Some(sfu), Some(bucket)) => drop(compared.insert(who.clone(), sfu.minus(bucket))),
        }
    }
    let Some((members, offset)) = largest(&compared) else {
        return Agreement {
            sfu_minus_bucket: None,
            doubts,
        };
    };
    let most = members.len() * 2 > compared.len();
    for (who, here) in &compared {
        let node = || {
            readings
                .get(who)
                .map_or_else(String::new, |r| r.node.clone())
        };
        let doubt = match (most, members.contains(who)) {
            (true, true) => continue,
            (true, false) if here.lo_us > offset.hi_us => Doubt::Off {
                node: node(),
                by_us: here.lo_us.saturating_sub(offset.hi_us),
            },
            (true, false) => Doubt::Off {
                node: node(),
                by_us: here.hi_us.saturating_sub(offset.lo_us),
            },
            (false, _) => Doubt::Split { node: node() },
        };
        doubts.insert(who.clone(), doubt);
    }
    let nodes: BTreeSet<&str> = readings.values().map(|r| r.node.as_str()).collect();
    let one_node = nodes.len() == 1 && !nodes.contains("");
    Agreement {
        sfu_minus_bucket: (one_node && members.len() * 2 > readings.len()).then_some(offset),
        doubts,
    }
}

/// The largest set of intervals that all hold one value, and the values that they all hold
/// (K. Marzullo, 1984). Of several sets of that size, the one with the least values.
fn largest<K: Ord + Clone>(
    intervals: &BTreeMap<K, OffsetInterval>,
) -> Option<(BTreeSet<K>, OffsetInterval)> {
    // At the same value, intervals begin before others end.
    let mut edges: Vec<(i64, bool)> = intervals
        .values()
        .flat_map(|i| [(i.lo_us, false), (i.hi_us, true)])
        .collect();
    edges.sort_unstable();
    let (mut open, mut most, mut at) = (0u32, 0u32, None);
    for (value, ends) in edges {
        if ends {
            open = open.saturating_sub(1);
            continue;
        }
        open += 1;
        if open > most {
            (most, at) = (open, Some(value));
        }
    }
    let at = at?;
    let members = || {
        intervals
            .iter()
            .filter(|(_, i)| i.lo_us <= at && at <= i.hi_us)
    };
    let lo_us = members().map(|(_, i)| i.lo_us).max()?;
    let hi_us = members().map(|(_, i)| i.hi_us).min()?;
    let names = members().map(|(who, _)| who.clone()).collect();
    Some((names, OffsetInterval { lo_us, hi_us }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn interval(lo_us: i64, hi_us: i64) -> OffsetInterval {
        OffsetInterval { lo_us, hi_us }
    }

    fn reading(node: &str, sfu: (i64, i64), bucket: (i64, i64)) -> Reading {
        Reading {
            sfu: Some(interval(sfu.0, sfu.1)),
            node: node.into(),
            bucket: Some(interval(bucket.0, bucket.1)),
        }
    }

    fn said(of: &[(&str, Reading)]) -> Agreement<String> {
        agreement(&of.iter().map(|(n, r)| ((*n).into(), r.clone())).collect())
    }

    #[test]
    fn all_who_met_one_node_sharpen_its_offset() {
        // Each process' own clock is wrong in its own way; the difference is the node's.
        let all = said(&[
            ("a", reading("N", (5_000, 6_000), (0, 1_000))),
            ("b", reading("N", (-93_500, -92_500), (-99_000, -98_000))),
        ]);
        assert_eq!(all.sfu_minus_bucket, Some(interval(4_500, 6_000)));
        assert!(all.doubts.is_empty());
    }

    #[test]
    fn the_one_who_reads_another_clock_is_named() {
        let near = |us| reading("N", (us, us + 1_000), (us, us + 1_000));
        let mut off = near(7);
        off.sfu = Some(interval(50_000, 51_000));
        off.node = "M".into();
        let all = said(&[("a", near(0)), ("b", near(900)), ("c", off.clone())]);
        assert_eq!(all.sfu_minus_bucket, None, "two nodes");
        let doubt = all.doubts.get("c").unwrap().to_string();
        assert!(
            doubt.contains("node M") && doubt.contains("48.0 ms"),
            "{doubt}"
        );
        assert_eq!(all.doubts.len(), 1);
        off.node = "N".into();
        let all = said(&[("a", near(0)), ("b", near(900)), ("c", off.clone())]);
        assert!(all.sfu_minus_bucket.is_some(), "two of three agree");
        assert!(all.doubts.contains_key("c"));
        let all = said(&[("a", near(0)), ("c", off)]);
        assert_eq!((all.sfu_minus_bucket, all.doubts.len()), (None, 2));
    }

    #[test]
    fn who_did_not_look_has_no_say() {
        let blind = Reading::default();
        let mut undated = reading("N", (0, 1), (0, 1));
        undated.bucket = None;
        let all = said(&[("a", blind), ("b", undated)]);
        assert_eq!(all.doubts.get("a"), Some(&Doubt::NoPong));
        assert_eq!(all.doubts.get("b"), Some(&Doubt::NoDate));
        assert_eq!(all.sfu_minus_bucket, None);
    }

    proptest! {
        /// The sweep finds what trying every value finds.
        #[test]
        fn no_value_is_held_by_more(spans in prop::collection::vec((0i64..60, 0i64..20), 1..12)) {
            let all: BTreeMap<usize, OffsetInterval> = spans
                .iter()
                .enumerate()
                .map(|(n, (lo, width))| (n, interval(*lo, lo + width)))
                .collect();
            let (members, both) = largest(&all).unwrap();
            let held = |at: i64| all.values().filter(|i| i.lo_us <= at && at <= i.hi_us).count();
            let best = (0..90).map(held).max().unwrap();
            prop_assert_eq!(members.len(), best);
            prop_assert!(both.lo_us <= both.hi_us);
            prop_assert!((both.lo_us..=both.hi_us).all(|at| held(at) == best));
        }
    }
}
