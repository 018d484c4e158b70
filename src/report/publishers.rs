//! Which publishers are known to have sent all the while.
//!
//! A prober that dies takes its publishers with it, one that is starved or stopped sends nothing,
//! and the SFU goes on announcing their tracks for a while. Subscribers elsewhere wait in vain,
//! and that is not the SFU's failure. So what did not come counts against the SFU only if it is
//! from publishers whose own prober measured the tier to its end and was not short.

use std::collections::{BTreeMap, BTreeSet};

use super::flow::{Flow, Publisher};
use super::merge::TierMerge;
use super::tier::{Expected, Parts};
use crate::job::Vantage;

/// What is known of a tier's publishers.
#[derive(Clone, Debug, Default)]
pub struct Publishers {
    sound: BTreeSet<Vantage>,
    /// Why the others can't be relied on, in words that follow their label.
    doubted: BTreeMap<Vantage, String>,
    /// How many vantages there should be.
    expected: u32,
}

impl Publishers {
    /// By the parts of one tier.
    pub fn new(parts: &Parts, expected: Expected) -> Self {
        let mut publishers = Publishers {
            expected: expected.count,
            ..Publishers::default()
        };
        for vantage in expected.labels {
            let doubt = match parts.get(vantage) {
                None => Some("did not measure the tier to its end".to_owned()),
                Some(part) => part.publishers_in_doubt(),
            };
            if let Some(doubt) = doubt {
                publishers.doubted.insert(vantage.clone(), doubt);
            } else {
                publishers.sound.insert(vantage.clone());
            }
        }
        publishers
    }

    fn are_sound(&self, publisher: &Publisher) -> bool {
        match publisher {
            Publisher::Vantage(vantage) => self.sound.contains(vantage),
            Publisher::Other => false,
        }
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
