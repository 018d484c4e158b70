//! What became of the slots that aren't as they should be, and of vantages that have several.

use std::collections::BTreeMap;

use super::{few, line, ranges};
use crate::job::Vantage;
use crate::report::combined::{Combined, SlotState, VantageReport};

/// A paragraph for each that was lost or fell short, that something befell, or whose clock was in
/// doubt.
pub fn slots(c: &Combined) -> String {
    let mut texts = Vec::new();
    for slot in &c.vantages {
        let label = match slot.state {
            SlotState::Complete if slot.incidents.is_empty() => None,
            SlotState::Complete => Some("Complete"),
            SlotState::Partial => Some("Partial"),
            SlotState::Dropped => Some("Dropped"),
        };
        if let Some(label) = label {
            texts.push((label, what(slot)));
        }
        for mark in &slot.marked {
            texts.push(("Marked", format!("{}: its clock: {mark}", name(slot))));
        }
    }
    let mut out = few::paragraphs(c, texts);
    out.push_str(&builds(c));
    let several = several(c).into_iter();
    let several = several.map(|(place, slots)| ("Probers", together(&place, &slots)));
    out.push_str(&few::paragraphs(c, several));
    out
}

/// Whose build each is, where they differ.
fn builds(c: &Combined) -> String {
    let mut builds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for slot in &c.vantages {
        if let Some(build) = &slot.build {
            builds.entry(build).or_default().push(name(slot));
        }
    }
    if builds.len() < 2 {
        return String::new();
    }
    let each = builds
        .iter()
        .map(|(build, slots)| format!("{build} at {}", few::names(c, slots)));
    line("Builds", &each.collect::<Vec<_>>().join("; "))
}

/// The slots of each vantage that has several.
fn several(c: &Combined) -> BTreeMap<Vantage, Vec<&VantageReport>> {
    let mut places: BTreeMap<Vantage, Vec<&VantageReport>> = BTreeMap::new();
    for slot in &c.vantages {
        if let Some(label) = slot.vantage.as_ref().filter(|v| v.prober().is_some()) {
            places.entry(label.place()).or_default().push(slot);
        }
    }
    places
}

/// How many probers of a vantage there were to the end, and which were not.
fn together(place: &Vantage, slots: &[&VantageReport]) -> String {
    let of = |state: SlotState, word: &str| {
        let slots = slots.iter().filter(|slot| slot.state == state);
        let labels: Vec<&str> = slots.map(|slot| name(slot)).collect();
        (!labels.is_empty()).then(|| format!(", {word} {}", labels.join(", ")))
    };
    let complete = slots
        .iter()
        .filter(|slot| slot.state == SlotState::Complete);
    let mut text = format!("{place}: {} of {} complete", complete.count(), slots.len());
    text.extend(of(SlotState::Partial, "partial"));
    text.extend(of(SlotState::Dropped, "dropped"));
    text
}

fn name(slot: &VantageReport) -> &str {
    slot.vantage.as_ref().map_or("a slot", Vantage::as_str)
}

fn what(slot: &VantageReport) -> String {
    let said: Vec<&str> = slot
        .reason
        .iter()
        .chain(&slot.incidents)
        .map(String::as_str)
        .collect();
    let mut text = format!("{}: {}", name(slot), said.join("; "));
    if !slot.tiers.is_empty() && slot.state != SlotState::Complete {
        text.push_str(&format!(
            "; what it measured counts (tiers {})",
            ranges(&slot.tiers)
        ));
    }
    text
}
