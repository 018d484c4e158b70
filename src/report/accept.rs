//! Which parts count: each once, from the claim that the roster names, of this run and its
//! windows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::combine::{CombineInputs, TierParts};
use super::combined::Rejection;
use super::packed::PackedTier;
use super::part::ReportPart;
use super::slots;
use crate::job::{ClaimId, RunId, SCHEMA_MAJOR, Vantage};

/// How far a window's edge may be missed by a prober that looks at its figures once a second.
const EDGE: Duration = Duration::from_secs(1);

/// The report of each vantage that counts.
pub fn reports<'a>(
    inputs: &'a CombineInputs,
    rejected: &mut Vec<Rejection>,
) -> BTreeMap<Vantage, &'a ReportPart> {
    let labels = slots::labels(inputs);
    let mut accepted: BTreeMap<Vantage, &ReportPart> = BTreeMap::new();
    for report in &inputs.reports {
        let vantage = &report.vantage;
        let origin = Origin {
            schema: report.schema,
            run: &report.run,
            vantage,
            claim: &report.claim,
        };
        let reason = origin
            .reason(inputs, &labels)
            .or_else(|| settle(&mut accepted, vantage, &report));
        if let Some(reason) = reason {
            rejected.push(Rejection {
                object: format!("report of {vantage}"),
                vantage: Some(vantage.clone()),
                reason,
            });
        }
    }
    accepted
}

/// The parts that count, by tier and vantage.
pub fn tiers(inputs: &CombineInputs, rejected: &mut Vec<Rejection>) -> TierParts {
    let labels = slots::labels(inputs);
    let mut accepted = TierParts::new();
    let mut reject = |vantage: &Vantage, tier: u32, reason: String| {
        rejected.push(Rejection {
            object: format!("tier {tier} of {vantage}"),
            vantage: Some(vantage.clone()),
            reason,
        });
    };
    let mut accept = |part: Arc<PackedTier>, reject: &mut dyn FnMut(&Vantage, u32, String)| {
        let reason = tier_reason(&part, inputs, &labels).or_else(|| {
            let of_tier = accepted.entry(part.tier).or_default();
            settle(of_tier, &part.vantage, &part)
        });
        if let Some(reason) = reason {
            reject(&part.vantage, part.tier, reason);
        }
    };
    for part in &inputs.packed {
        accept(Arc::clone(part), &mut reject);
    }
    let in_reports = inputs.reports.iter().flat_map(|r| &r.tiers);
    for part in inputs.tiers.iter().chain(in_reports) {
        match PackedTier::of(part.clone()) {
            Ok(packed) => accept(Arc::new(packed), &mut reject),
            Err(e) => reject(&part.vantage, part.tier, e.to_string()),
        }
    }
    accepted
}

/// Accept a body of a vantage once. Of two that differ, the one whose JSON sorts first counts,
/// so that the order of arrival decides nothing; says so when there are two.
fn settle<T: Body + Clone>(
    accepted: &mut BTreeMap<Vantage, T>,
    vantage: &Vantage,
    body: &T,
) -> Option<String> {
    let Some(other) = accepted.get(vantage) else {
        accepted.insert(vantage.clone(), body.clone());
        return None;
    };
    if other == body {
        return None;
    }
    if body.json() < other.json() {
        accepted.insert(vantage.clone(), body.clone());
    }
    Some("two bodies differ, and only one counts".to_owned())
}

/// What came, and may come twice.
trait Body: PartialEq {
    /// As it was sent.
    fn json(&self) -> String;
}

impl Body for &ReportPart {
    fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Body for Arc<PackedTier> {
    fn json(&self) -> String {
        serde_json::to_string(&self.part()).unwrap_or_default()
    }
}

/// Why a tier part doesn't count, if it doesn't.
fn tier_reason(
    part: &PackedTier,
    inputs: &CombineInputs,
    labels: &BTreeSet<Vantage>,
) -> Option<String> {
    let origin = Origin {
        schema: part.schema,
        run: &part.run,
        vantage: &part.vantage,
        claim: &part.claim,
    };
    origin.reason(inputs, labels).or_else(|| {
        let mut plans = inputs.start.iter().flat_map(|s| &s.tiers);
        match plans.find(|p| p.tier == part.tier) {
            None => Some("the run has no such tier".to_owned()),
            Some(plan) if plan.window != part.window => {
                Some("its window is not the run's".to_owned())
            }
            Some(_) => outside(part),
        }
    })
}

/// Why a part has samples from outside its window, if it has. A process that was stopped closes a
/// window only when it goes on.
fn outside(part: &PackedTier) -> Option<String> {
    let (window, measured) = (part.window, part.measured);
    let before = window.from.saturating_since(measured.from);
    let after = measured.to.saturating_since(window.to);
    let most = before.max(after);
    (most > EDGE && !planted!(OutsideCounts))
        .then(|| format!("it measured {:.1} s beyond its window", most.as_secs_f64()))
}

/// What a part says of where it comes from.
struct Origin<'a> {
    schema: u32,
    run: &'a RunId,
    vantage: &'a Vantage,
    claim: &'a ClaimId,
}

impl Origin<'_> {
    /// Why it doesn't count, if it doesn't.
    fn reason(&self, inputs: &CombineInputs, labels: &BTreeSet<Vantage>) -> Option<String> {
        if self.schema > SCHEMA_MAJOR {
            return Some(format!(
                "its schema is version {}, and this build reads {SCHEMA_MAJOR}",
                self.schema
            ));
        }
        if self.run != &inputs.job.run {
            return Some(format!("it belongs to run {}", self.run));
        }
        if !labels.contains(self.vantage) {
            return Some(format!("{} has no place in this run", self.vantage));
        }
        match slots::claim(inputs, self.vantage) {
            Some(claim) if claim != self.claim => Some(format!(
                "claim {} has the slot, and {} sent it",
                claim, self.claim
            )),
            _ => None,
        }
    }
}
