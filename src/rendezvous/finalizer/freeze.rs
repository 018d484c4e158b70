//! From what was seen to what counts, and from what counts to the combined report: pure both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::parts::Content;
use super::view::{Found, View};
use crate::job::{Job, SCHEMA_MAJOR, Vantage, WriteId};
use crate::rendezvous::admission::Verdict;
use crate::rendezvous::document::{self, frozen};
use crate::rendezvous::keys::{Item, Revision, RunKey};
use crate::rendezvous::objects::{Abort, Frozen, Inputs, Start};
use crate::report::combined::{OtherRequests, Rejection};
use crate::report::part::ReportPart;
use crate::report::{CombineInputs, Combined, VantageState, combine};

/// What counts, as seen now. What differs from what the revision before it counted was
/// overwritten, and counts no more.
pub(super) fn freeze(
    view: &View,
    job: &Job,
    revision: Revision,
    write_id: WriteId,
    previous: Option<&Inputs>,
    requests: OtherRequests,
) -> Inputs {
    let (start, cancelled) = match view.verdict() {
        Some(Verdict::Start(start)) => (Some(&**start), None),
        Some(Verdict::Cancelled(reason)) => (None, Some(reason.clone())),
        None => (None, Some("no start was decided".to_owned())),
    };
    let mut parts = BTreeMap::new();
    let mut rejected = Vec::new();
    for (item, found) in &view.found {
        let (Item::Report(vantage) | Item::Tier(vantage, _)) = item else {
            continue;
        };
        if planted!(LostDoesNotCount) && !view.reports.contains_key(vantage) {
            continue;
        }
        let key = view.key(item.clone());
        let reason = match found {
            Found::Absent | Found::Body(..) => continue,
            Found::Refused(why) => why.clone(),
            Found::Part(part) => {
                let before = previous.and_then(|p| p.parts.get(&key.to_string()));
                match &part.judged {
                    Err(why) => why.clone(),
                    Ok(_) if before.is_some_and(|before| *before != part.frozen) => {
                        "it was overwritten".to_owned()
                    }
                    Ok(_) => {
                        parts.insert(key.to_string(), part.frozen);
                        continue;
                    }
                }
            }
        };
        rejected.push(Rejection {
            object: key.to_string(),
            vantage: Some(vantage.clone()),
            reason,
        });
    }
    for key in &view.strange {
        rejected.push(Rejection {
            object: key.clone(),
            vantage: None,
            reason: "it is no object of a run".to_owned(),
        });
    }
    if planted!(RejectsInSilence) {
        rejected.clear();
    }
    rejected.sort();
    Inputs {
        schema: SCHEMA_MAJOR,
        write_id,
        run: view.run.clone(),
        revision: revision.0,
        job: digest(view, &Item::Job).unwrap_or_else(|| frozen(b"")),
        start: digest(view, &Item::Start),
        cancelled,
        aborted: aborted(view),
        parts,
        rejected,
        vantages: vantages(view, job, start)
            .into_iter()
            .map(|v| (v.clone(), view.seen(start, &v)))
            .collect(),
        requests,
    }
}

fn digest(view: &View, item: &Item) -> Option<Frozen> {
    match view.found.get(item)? {
        Found::Body(body, _) => Some(frozen(body)),
        Found::Part(part) => Some(part.frozen),
        Found::Absent | Found::Refused(_) => None,
    }
}

fn aborted(view: &View) -> Option<String> {
    match view.found.get(&Item::Abort)? {
        Found::Absent | Found::Part(_) => None,
        Found::Refused(why) => Some(why.clone()),
        Found::Body(body, _) => Some(
            document::read::<Abort>(&view.key(Item::Abort), body)
                .map_or_else(|e| e.to_string(), |abort| abort.reason),
        ),
    }
}

/// Whoever takes part or tried to.
fn vantages(view: &View, job: &Job, start: Option<&Start>) -> BTreeSet<Vantage> {
    let mut all: BTreeSet<Vantage> = view.claims().into_keys().map(|(v, _)| v).collect();
    if let Some(start) = start {
        if start.roster.is_empty() {
            // With an open roster, those who were not among the first have no part in it.
            all = view.expected(job, start).into_iter().collect();
        }
        all.extend(start.roster.keys().cloned());
    }
    all
}

/// What has come that a revision neither counts nor lists.
pub(super) fn has_news(inputs: &Inputs, now: &Inputs) -> bool {
    let listed = |key: &String| inputs.rejected.iter().any(|r| r.object == *key);
    if planted!(LatePartIgnored) {
        return false;
    }
    now.parts
        .iter()
        .any(|(key, digest)| inputs.parts.get(key) != Some(digest) && !listed(key))
}

/// The objects that a revision is made of.
pub(super) fn needed(inputs: &Inputs) -> BTreeSet<Item> {
    inputs
        .parts
        .keys()
        .filter_map(|key| key.parse::<RunKey>().ok())
        .filter(|key| key.run == inputs.run)
        .map(|key| key.item)
        .collect()
}

/// The combined report of a revision: the same bytes whoever computes them. Nothing when an
/// object is no longer what was frozen.
pub(super) fn combined(view: &View, job: &Job, inputs: &Inputs) -> Option<Combined> {
    let same = |item: &Item, want: &Frozen| digest(view, item).as_ref() == Some(want);
    if !same(&Item::Job, &inputs.job) || digest(view, &Item::Start) != inputs.start {
        return None;
    }
    let start = match (&inputs.cancelled, view.verdict()) {
        (None, Some(Verdict::Start(start))) => Some(Start::clone(start)),
        _ => None,
    };
    let (mut packed, mut reports) = (Vec::new(), Vec::new());
    for (text, want) in &inputs.parts {
        let key: RunKey = text.parse().ok()?;
        if !same(&key.item, want) {
            return None;
        }
        let Some(Found::Part(part)) = view.found.get(&key.item) else {
            return None;
        };
        match part.judged.as_ref().ok()? {
            Content::Report(report, tiers) => {
                reports.push(ReportPart::clone(report));
                packed.extend(tiers.iter().cloned());
            }
            Content::Tier(tier) => packed.push(Arc::clone(tier)),
        }
    }
    Some(combine(&CombineInputs {
        job: job.clone(),
        start,
        cancelled: inputs.cancelled.clone(),
        aborted: inputs.aborted.clone(),
        tiers: vec![],
        reports,
        packed,
        vantages: inputs
            .vantages
            .iter()
            .map(|(v, seen)| {
                let state = VantageState {
                    claim: seen.claim.clone(),
                    ready: seen.ready,
                    last_heartbeat: seen.last_heartbeat,
                    last_phase: seen.last_phase.clone(),
                    build: seen.build.clone(),
                };
                (v.clone(), state)
            })
            .collect(),
        rejected: inputs.rejected.clone(),
        requests: inputs.requests,
    }))
}
