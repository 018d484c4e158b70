//! What the report of a large fleet says of each vantage: a few in full, all in brief.
//!
//! Everything is in full up to [`FULL_MAX`] probers. Beyond, each tier has the rows, the judgements
//! and the flows of the [`DETAILED_MAX`] vantages that say the most, and a brief row of each of the
//! others; what is left out is counted, and stands in the vantages' own reports.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::combined::{BriefRow, Counts, FlowReport, LeftOut, Tier, VantageRow};
use crate::job::Vantage;
use crate::load::Verdict;

/// The most probers of which each is reported in full.
pub const FULL_MAX: u32 = 64;
/// Of a larger fleet, how many vantages are in each tier.
pub const DETAILED_MAX: usize = 16;
/// Of a larger fleet, how many flows are in each tier.
pub const FLOWS_MAX: usize = 256;

/// Makes a tier of a large fleet brief; says what that left out.
pub fn shorten(tier: &mut Tier, probers: u32) -> LeftOut {
    if probers <= FULL_MAX {
        return LeftOut::default();
    }
    let detailed = detailed(tier);
    let (rows, brief): (Vec<_>, Vec<_>) = std::mem::take(&mut tier.rows)
        .into_iter()
        .partition(|row| detailed.contains(row.vantage.as_str()));
    tier.rows = rows;
    tier.brief = brief.iter().map(BriefRow::of).collect();
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
    let flows = tier.flows.len();
    let mut kept = std::mem::take(&mut tier.flows);
    kept.retain(|flow| detailed.contains(flow.to.as_str()));
    if kept.len() > FLOWS_MAX {
        kept.sort_by(|a, b| {
            ill(b)
                .partial_cmp(&ill(a))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        kept.truncate(FLOWS_MAX);
        kept.sort_by(|a, b| (a.from.place_str(), &a.to).cmp(&(b.from.place_str(), &b.to)));
    }
    tier.flows = kept;
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

/// The vantages that say the most: those over a threshold first, then those in doubt, the worst of
/// each figure, and the first by label.
fn detailed(tier: &Tier) -> BTreeSet<String> {
    let mut judged: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for (slot, judgement) in tier.thresholds.iter().flat_map(|t| &t.vantages) {
        let (failed, unknown) = judged.entry(slot.place_str()).or_default();
        match judgement.verdict {
            Verdict::Failed => *failed += 1,
            Verdict::Unknown => *unknown += 1,
            Verdict::Held => {}
        }
    }
    let worst = &tier.worst;
    let times = [
        &worst.rtt_p95_ms,
        &worst.loss_percent,
        &worst.latency_p95_ms,
    ];
    let times = times.into_iter().flatten().map(|at| &at.vantage);
    let worst: BTreeSet<&Vantage> = times
        .chain(worst.quality.as_ref().map(|at| &at.vantage))
        .collect();
    let says = |row: &VantageRow| {
        let (failed, unknown) = judged
            .get(row.vantage.as_str())
            .copied()
            .unwrap_or_default();
        let doubts = [
            !row.suspect.is_empty(),
            !row.missing.is_empty(),
            !row.clock.marked.is_empty(),
            worst.contains(&row.vantage),
        ];
        (Reverse(failed), Reverse(unknown), Reverse(doubts))
    };
    let mut rows: Vec<_> = tier.rows.iter().map(|row| (says(row), row)).collect();
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    rows.iter()
        .take(DETAILED_MAX)
        .map(|(_, row)| row.vantage.to_string())
        .collect()
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
