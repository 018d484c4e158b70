//! Which publishers are known to have sent all the while.
//!
//! A prober that dies takes its publishers with it, one that is starved or stopped sends nothing,
//! and the SFU goes on announcing their tracks for a while. Subscribers elsewhere wait in vain,
//! and that is not the SFU's failure. So what did not come counts against the SFU only if it is
//! from publishers whose own prober measured the tier to its end and was not short.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::flow::{Flow, Publisher};
use super::merge::TierMerge;
use super::packed::PackedTier;
use super::part::TierClock;
use super::tier::{Expected, MEASURED_PERCENT, Parts};
use crate::clock::OffsetInterval;
use crate::job::Vantage;
use crate::measure::Histogram;

/// What is known of a tier's publishers.
#[derive(Clone, Debug, Default)]
pub struct Publishers {
    sound: BTreeSet<Vantage>,
    /// Why the others can't be relied on, in words that follow their label.
    doubted: BTreeMap<Vantage, String>,
    /// What was known of the clocks, and what was added for stamps, in microseconds.
    clocks: BTreeMap<Vantage, (TierClock, i64)>,
    /// How many vantages there should be.
    expected: u32,
}

/// Why a prober's publishers may not have sent all that they should, in words that follow the
/// vantage's label.
fn in_doubt(part: &PackedTier) -> Option<String> {
    let measured = part.measured_percent;
    if measured < MEASURED_PERCENT {
        return Some(format!("measured only {measured:.0} % of the window"));
    }
    let short = part.shortages.first()?;
    Some(format!("its prober itself {short}"))
}

impl Publishers {
    /// By the parts of one tier.
    pub fn new(parts: &Parts, expected: Expected) -> Self {
        let clock = |(vantage, part): (&Vantage, &Arc<PackedTier>)| {
            let clock = part.clock.clone().filter(TierClock::is_known)?;
            Some((vantage.clone(), (clock, part.stamp_offset_us?)))
        };
        let mut publishers = Publishers {
            expected: expected.count,
            clocks: parts.iter().filter_map(clock).collect(),
            ..Publishers::default()
        };
        for vantage in expected.labels {
            let doubt = match parts.get(vantage) {
                None => Some("did not measure the tier to its end".to_owned()),
                Some(part) => in_doubt(part),
            };
            if let Some(doubt) = doubt {
                publishers.doubted.insert(vantage.clone(), doubt);
            } else {
                publishers.sound.insert(vantage.clone());
            }
        }
        publishers
    }

    /// Whether these can be relied on.
    pub fn are_sound(&self, publisher: &Publisher) -> bool {
        match publisher {
            Publisher::Vantage(vantage) => self.sound.contains(vantage),
            Publisher::Other => false,
        }
    }

    /// What a time between two vantages' stamps is too long by, by what their clocks were really
    /// apart; `None` when that isn't known. Within one prober it is the same clock.
    pub fn clock_error(&self, from: &Publisher, to: &Vantage) -> Option<OffsetInterval> {
        let from = match from {
            Publisher::Vantage(from) => from,
            Publisher::Other => return None,
        };
        if from == to {
            return Some(OffsetInterval { lo_us: 0, hi_us: 0 });
        }
        let (there, added_there) = self.clocks.get(from)?;
        let (here, added_here) = self.clocks.get(to)?;
        let added = added_here.saturating_sub(*added_there);
        let ahead = here.ahead_of(there);
        Some(OffsetInterval {
            lo_us: ahead.lo_us.saturating_add(added),
            hi_us: ahead.hi_us.saturating_add(added),
        })
    }

    /// Whether every vantage's can be relied on.
    fn all_sound(&self) -> bool {
        self.sound.len() >= usize::try_from(self.expected).unwrap_or(usize::MAX)
            && self.doubted.is_empty()
    }

    /// A sum over the flows from publishers that can be relied on. What a part tells of no
    /// publisher counts if all of them can; `whole` is the sum with it.
    fn reliable(&self, m: &TierMerge, whole: u64, of: fn(&Flow) -> u64) -> u64 {
        let sum = |a: u64, (_, flow): (_, &Flow)| a.saturating_add(of(flow));
        let reliable = m.flows.iter().filter(|(p, _)| self.are_sound(p));
        let reliable = reliable.fold(0, sum);
        let rest = whole.saturating_sub(m.flows.iter().fold(0, sum));
        let rest = if self.all_sound() { rest } else { 0 };
        reliable.saturating_add(rest).min(whole)
    }

    /// Subscriptions without packets although their publishers sent, over the seconds.
    pub fn surely_missing(&self, m: &TierMerge) -> u64 {
        let missing = m
            .subscriptions_wanted
            .saturating_sub(m.subscriptions_receiving);
        self.reliable(m, missing, Flow::missing)
    }

    /// Packets lost on the path or in the SFU, and not for want of a publisher that sends them.
    /// All own drops are taken to be among them.
    pub fn surely_lost(&self, m: &TierMerge) -> u64 {
        let lost = self.reliable(m, m.packets.lost, |flow| flow.lost);
        let own_drops = m.packets.lost.saturating_sub(m.lost_on_path);
        lost.saturating_sub(own_drops)
    }

    /// Time that video was frozen, in microseconds, and not for want of a publisher that sends.
    pub fn surely_frozen_us(&self, m: &TierMerge) -> u64 {
        let sum = |a: u64, f: &Flow| a.saturating_add(f.freeze_us);
        let sound = m.flows.iter().filter(|(p, _)| self.are_sound(p));
        sound.map(|(_, flow)| flow).fold(0, sum)
    }

    /// The frame rates that subscribers got from publishers that can be relied on, and from the
    /// others as many that are as high as can be.
    pub fn frame_rates_at_best(&self, m: &TierMerge) -> Histogram {
        let mut best = Histogram::new();
        for (publisher, flow) in &m.flows {
            if self.are_sound(publisher) {
                best.merge(&flow.frame_rate_milli);
            } else {
                best.record_n(Histogram::HIGH, flow.frame_rate_milli.count());
            }
        }
        best
    }

    /// Why what came from the publishers is no evidence against the SFU, in words; `None` when it
    /// is.
    pub fn doubt(&self, m: &TierMerge) -> Option<String> {
        let taken = m.flows.iter().filter(|(_, f)| f.subscriptions_wanted > 0);
        let mut doubts: Vec<String> = taken
            .filter(|(publisher, _)| !self.are_sound(publisher))
            .map(|(publisher, _)| match publisher {
                Publisher::Vantage(vantage) => match self.doubted.get(vantage) {
                    Some(doubt) => format!("{vantage} published and {doubt}"),
                    None => format!("{vantage} published, which has no place in this run"),
                },
                Publisher::Other => "others published, who are not measured".to_owned(),
            })
            .collect();
        if m.flows.is_empty() && !self.all_sound() {
            doubts.push(
                "publishers can't be told apart, of whom not all can be relied on".to_owned(),
            );
        }
        (!doubts.is_empty()).then(|| doubts.join("; "))
    }

    /// The same as [`Publishers::doubt`], also of publishers of whom nothing is taken any more:
    /// the SFU's quality lags behind, as it is taken over some seconds.
    pub fn lasting_doubt(&self, m: &TierMerge) -> Option<String> {
        self.doubt(m).or_else(|| {
            let (vantage, doubt) = self.doubted.first_key_value()?;
            Some(format!("{vantage} publishes and {doubt}"))
        })
    }
}
