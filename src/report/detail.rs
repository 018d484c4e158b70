//! What the report of a large fleet says of each vantage: a few in full, all in brief.
//!
//! Everything is in full up to [`FULL_MAX`] probers. Beyond, each tier has the rows, the judgements
//! and the flows of the [`DETAILED_MAX`] vantages that say the most, and a brief row of each of the
//! others; what is left out is counted, and stands in the vantages' own reports.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

use super::combined::{BriefRow, Counts, FlowReport, LeftOut, Tier, VantageRow, Worst};
use crate::job::Vantage;

/// The most probers of which each is reported in full.
pub const FULL_MAX: u32 = 64;
/// Of a larger fleet, how many vantages are in each tier.
pub const DETAILED_MAX: usize = 16;
/// Of a larger fleet, how many flows are in each tier.
pub const FLOWS_MAX: usize = 256;

/// The rows of a tier, as many of them in full as the fleet's size allows.
pub struct Rows {
    large: bool,
    /// By label.
    full: BTreeMap<Vantage, Full>,
    brief: BTreeMap<Vantage, BriefRow>,
    /// How many flows there are to all of them.
    flows: usize,
}

/// A vantage in full.
struct Full {
    says: Says,
    row: VantageRow,
    /// What came to it.
    flows: Vec<FlowReport>,
}

/// How much a row says, the most first: bounds that its probers are over, what can't be judged of
/// them, and doubts.
type Says = (Reverse<u32>, Reverse<u32>, Reverse<[bool; 3]>);

impl Rows {
    /// None yet, of a fleet of so many probers.
    pub fn new(probers: u32) -> Self {
        Rows {
            large: probers > FULL_MAX,
            full: BTreeMap::new(),
            brief: BTreeMap::new(),
            flows: 0,
        }
    }

    /// Adds a vantage's, with the flows to it, how its probers were judged and the worst so far. Of
    /// a large fleet no more rows are kept than can be among those that say the most in the end.
    pub fn add(
        &mut self,
        row: VantageRow,
        flows: Vec<FlowReport>,
        verdicts: Counts,
        worst: &Worst,
    ) {
        let doubts = [
            !row.suspect.is_empty(),
            !row.missing.is_empty(),
            !row.clock.marked.is_empty(),
        ];
        let says = (
            Reverse(verdicts.failed),
            Reverse(verdicts.unknown),
            Reverse(doubts),
        );
        self.flows += flows.len();
        self.full
            .insert(row.vantage.clone(), Full { says, row, flows });
        // Sixteen and one for each figure are enough; now and then is often enough.
        if self.large && self.full.len() > 4 * DETAILED_MAX {
            let mut keep = self.most(None);
            keep.extend(holders(worst).cloned());
            self.shorten(&keep);
        }
    }

    /// The labels of those that say the most; the worst of a figure come before others that say as
    /// much.
    fn most(&self, worst: Option<&Worst>) -> BTreeSet<Vantage> {
        let is_worst = |label: &Vantage| worst.is_some_and(|w| holders(w).any(|v| v == label));
        let rows = self.full.iter();
        let mut rows: Vec<_> = rows
            .map(|(label, full)| (full.says, Reverse(is_worst(label)), label))
            .collect();
        rows.sort();
        let labels = rows.into_iter().take(DETAILED_MAX);
        labels.map(|(_, _, label)| label.clone()).collect()
    }

    /// Makes all others brief.
    fn shorten(&mut self, keep: &BTreeSet<Vantage>) {
        for (label, full) in std::mem::take(&mut self.full) {
            if keep.contains(&label) {
                self.full.insert(label, full);
            } else {
                self.brief.insert(label, BriefRow::of(&full.row));
            }
        }
    }

    /// Puts them into their tier, and makes that of a large fleet brief; says what that left out.
    pub fn fill(mut self, tier: &mut Tier) -> LeftOut {
        if self.large {
            let most = self.most(Some(&tier.worst));
            self.shorten(&most);
        }
        for full in self.full.into_values() {
            tier.rows.push(full.row);
            tier.flows.extend(full.flows);
        }
        tier.flows.sort_by(by_ends);
        tier.brief = self.brief.into_values().collect();
        if self.large {
            shorten(tier, self.flows)
        } else {
            LeftOut::default()
        }
    }
}

/// Whose figures are the worst.
fn holders(worst: &Worst) -> impl Iterator<Item = &Vantage> {
    let values = [
        &worst.rtt_p95_ms,
        &worst.loss_percent,
        &worst.latency_p95_ms,
    ];
    let values = values.into_iter().flatten().map(|at| &at.vantage);
    values.chain(worst.quality.as_ref().map(|at| &at.vantage))
}

/// From whom, then to whom.
fn by_ends(a: &FlowReport, b: &FlowReport) -> Ordering {
    (a.from.place_str(), &a.to).cmp(&(b.from.place_str(), &b.to))
}

/// Leaves the judgements of the vantages that are told of in full, and of `flows` to all vantages
/// the worst of those to them.
fn shorten(tier: &mut Tier, flows: usize) -> LeftOut {
    let rows = tier.rows.iter();
    let detailed: BTreeSet<&str> = rows.map(|row| row.vantage.as_str()).collect();
    let mut judgements = 0;
    for threshold in &mut tier.thresholds {
        let mut counts = Counts::default();
        for judgement in threshold.vantages.values() {
            counts.add(judgement.verdict);
        }
        let all = threshold.vantages.len();
        threshold
            .vantages
            .retain(|slot, _| detailed.contains(slot.place_str()));
        judgements += all - threshold.vantages.len();
        threshold.probers = Some(counts);
    }
    let kept = &mut tier.flows;
    if kept.len() > FLOWS_MAX {
        kept.sort_by(|a, b| ill(b).partial_cmp(&ill(a)).unwrap_or(Ordering::Equal));
        kept.truncate(FLOWS_MAX);
        kept.sort_by(by_ends);
    }
    let count = |n: usize| n as u64;
    LeftOut {
        rows: count(tier.brief.len()),
        judgements: count(judgements),
        flows: count(flows - tier.flows.len()),
        ..LeftOut::default()
    }
}

/// How bad a flow is: what did not come, then how long the rest took.
fn ill(flow: &FlowReport) -> (f64, u64, f64) {
    let missing = flow.receiving_percent.map_or(0.0, |p| 100.0 - p);
    let p95 = flow.latency.ms.map_or(f64::MIN, |ms| ms.p95);
    (missing, flow.lost, p95)
}

#[cfg(test)]
mod tests {
    use super::super::combine::combine;
    use super::super::sample;
    use super::*;

    /// A fleet of so many vantages of which one breaks the bounds of every tier after the second.
    fn fleet(vantages: u32) -> super::super::Combined {
        combine(&sample::fleet(vantages))
    }

    #[test]
    fn a_small_fleet_is_reported_in_full() {
        let all = fleet(FULL_MAX);
        assert_eq!(all.left_out, None);
        assert!(all.tiers.iter().all(|t| t.brief.is_empty()));
        assert!(all.tiers.iter().all(|t| t.rows.len() == 64));
    }

    #[test]
    fn of_a_large_fleet_each_vantage_is_there_once_and_the_rest_is_counted() {
        let all = fleet(FULL_MAX + 36);
        let left_out = all.left_out.as_ref().unwrap();
        assert_eq!(left_out.rows, 84 * all.tiers.len() as u64);
        for tier in &all.tiers {
            let rows = tier.rows.iter().map(|r| &r.vantage);
            let labels: BTreeSet<&Vantage> =
                rows.chain(tier.brief.iter().map(|r| &r.vantage)).collect();
            assert_eq!((tier.rows.len(), labels.len()), (DETAILED_MAX, 100));
            assert!(tier.flows.len() <= FLOWS_MAX);
            for threshold in &tier.thresholds {
                let counts = threshold.probers.unwrap();
                assert_eq!(counts.failed + counts.unknown + counts.held, 100);
                assert!(threshold.vantages.len() <= DETAILED_MAX);
            }
        }
        // Who broke a bound is among those that are told of in full.
        let last = all.tiers.last().unwrap();
        let broke = sample::fleet_broken();
        assert!(last.rows.iter().any(|r| r.vantage == broke));
        assert!(
            last.thresholds
                .iter()
                .any(|t| t.vantages.contains_key(&broke))
        );
    }

    #[test]
    fn what_a_vantage_adds_to_the_report_of_a_large_fleet_is_bounded() {
        let bytes = |vantages| serde_json::to_vec(&fleet(vantages)).unwrap().len();
        let (few, many) = (bytes(100), bytes(300));
        let tiers = sample::fleet(1).start.unwrap().tiers.len();
        let each = (many - few) / 200;
        assert!(each < tiers * 600 + 400, "{each} bytes for {tiers} tiers");
    }
}
