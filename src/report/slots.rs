//! What became of each slot: complete, partial or dropped.

use std::collections::{BTreeMap, BTreeSet};

use super::combine::{CombineInputs, TierParts, VantageState, tier_name};
use super::combined::{Dropped, SlotState, VantageReport};
use super::part::{Outcome, ReportPart, Stop};
use crate::job::{ClaimId, Fleet, Vantage};

/// The labels that may take part, as far as they are known.
pub fn labels(inputs: &CombineInputs) -> BTreeSet<Vantage> {
    let roster = inputs.start.iter().flat_map(|s| s.roster.keys());
    let mut labels: BTreeSet<Vantage> = roster.cloned().collect();
    match &inputs.job.fleet {
        Fleet::Vantages(named) => labels.extend(named.iter().cloned()),
        // With an open roster, whoever took a slot.
        Fleet::Expect(_) if labels.is_empty() => {
            let taken = inputs.vantages.iter().filter(|(_, s)| s.claim.is_some());
            labels.extend(taken.map(|(v, _)| v.clone()));
        }
        Fleet::Expect(_) => {}
    }
    labels
}

/// How many vantages must measure a tier for it to be complete.
pub fn expected(inputs: &CombineInputs) -> u32 {
    let known = u32::try_from(labels(inputs).len()).unwrap_or(u32::MAX);
    inputs.job.fleet.size().max(known)
}

/// The claim whose parts count at a vantage; `None` when any does.
pub fn claim<'a>(inputs: &'a CombineInputs, vantage: &Vantage) -> Option<&'a ClaimId> {
    let start = inputs.start.as_ref();
    start
        .and_then(|s| s.roster.get(vantage))
        .and_then(|entry| entry.claim.as_ref())
        .or_else(|| inputs.vantages.get(vantage)?.claim.as_ref())
}

/// Every slot with what became of it, by the `parts` and the `reports` that count; `marked` says
/// why clocks were in doubt.
pub fn slots(
    inputs: &CombineInputs,
    parts: &TierParts,
    mut marked: BTreeMap<Vantage, Vec<String>>,
    reports: &BTreeMap<Vantage, &ReportPart>,
) -> Vec<VantageReport> {
    let planned = inputs.start.as_ref().map_or(0, |s| s.tiers.len());
    let mut counted: BTreeMap<&Vantage, Vec<u32>> = BTreeMap::new();
    for (tier, parts) in parts {
        for vantage in parts.keys() {
            counted.entry(vantage).or_default().push(*tier);
        }
    }
    let mut slots: Vec<VantageReport> = labels(inputs)
        .into_iter()
        .map(|vantage| {
            let measured = counted.remove(&vantage).unwrap_or_default();
            let marked = marked.remove(&vantage).unwrap_or_default();
            let report = reports.get(&vantage);
            let (state, reason) = match report {
                Some(_) if planned > 0 && measured.len() == planned => (SlotState::Complete, None),
                Some(report) => (
                    SlotState::Partial,
                    Some(stopped(report, &measured, planned)),
                ),
                None => {
                    let state = inputs.vantages.get(&vantage);
                    (SlotState::Dropped, Some(lost(inputs, state, &measured)))
                }
            };
            VantageReport {
                claim: claim(inputs, &vantage).cloned(),
                state,
                reason,
                tiers: measured,
                incidents: report.map(|r| stops(r, inputs)).unwrap_or_default(),
                marked,
                build: report.map(|r| r.build.clone()).or_else(|| {
                    inputs
                        .vantages
                        .get(&vantage)
                        .and_then(|state| state.build.clone())
                }),
                vantage: Some(vantage),
            }
        })
        .collect();
    let free = usize::try_from(expected(inputs)).unwrap_or(usize::MAX);
    slots.resize_with(free.max(slots.len()), || VantageReport {
        vantage: None,
        claim: None,
        state: SlotState::Dropped,
        reason: Some("nobody took this slot".to_owned()),
        tiers: vec![],
        incidents: vec![],
        marked: vec![],
        build: None,
    });
    slots
}

/// When a prober's process did not run, in words.
fn stops(report: &ReportPart, inputs: &CombineInputs) -> Vec<String> {
    let plans = || inputs.start.iter().flat_map(|s| &s.tiers);
    let text = |stop: &Stop| {
        // It stopped in a second of which only the beginning is known.
        let tier = plans().rev().find(|plan| plan.settle_from <= stop.from);
        let place = match tier {
            None => "before the start".to_owned(),
            Some(plan) => format!("in {}", tier_name(plan.tier)),
        };
        format!("stopped for {:.0} s {place}", stop.length.0.as_secs_f64())
    };
    report.stops.iter().map(text).collect()
}

fn stopped(report: &ReportPart, measured: &[u32], planned: usize) -> String {
    let to_the_end = measured.last().map(|n| *n as usize + 1) == Some(planned);
    match &report.outcome {
        Outcome::Stopped { reason } if to_the_end => reason.clone(),
        Outcome::Stopped { reason } => format!("stopped: {reason}"),
        Outcome::Complete => "reported, but not all of its tiers count".to_owned(),
    }
}

fn lost(inputs: &CombineInputs, state: Option<&VantageState>, tiers: &[u32]) -> String {
    let Some(state) = state.filter(|s| s.claim.is_some()) else {
        return if tiers.is_empty() {
            "never claimed its slot".to_owned()
        } else {
            "sent no report".to_owned()
        };
    };
    let mut text = match tiers {
        _ if inputs.start.is_none() => "took its slot, but the run never started".to_owned(),
        [] if !state.ready => "claimed its slot and never became ready".to_owned(),
        [] => "was ready and measured no tier".to_owned(),
        [one] => format!("measured tier {one}, then sent no report"),
        [first, .., last] => format!("measured tiers {first} to {last}, then sent no report"),
    };
    if let Some(at) = state.last_heartbeat {
        text.push_str(&format!("; last heard of at {at}"));
        if let Some(phase) = &state.last_phase {
            text.push_str(&format!(" ({phase})"));
        }
    }
    text
}

/// Of all slots, those that were lost.
pub fn dropped(slots: &[VantageReport]) -> Vec<Dropped> {
    slots
        .iter()
        .filter(|s| s.state == SlotState::Dropped)
        .map(|s| Dropped {
            vantage: s.vantage.clone(),
            reason: s.reason.clone().unwrap_or_default(),
            tiers: s.tiers.clone(),
        })
        .collect()
}
