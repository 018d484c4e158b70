//! What became of the slots that aren't as they should be.

use super::{line, ranges};
use crate::job::Vantage;
use crate::report::combined::{Combined, SlotState, VantageReport};

/// A paragraph for each that was lost or fell short, that something befell, or whose clock was in
/// doubt.
pub fn slots(c: &Combined) -> String {
    let mut out = String::new();
    for slot in &c.vantages {
        let label = match slot.state {
            SlotState::Complete if slot.incidents.is_empty() => None,
            SlotState::Complete => Some("Complete"),
            SlotState::Partial => Some("Partial"),
            SlotState::Dropped => Some("Dropped"),
        };
        if let Some(label) = label {
            out.push_str(&line(label, &what(slot)));
        }
        for mark in &slot.marked {
            out.push_str(&line(
                "Marked",
                &format!("{}: its clock: {mark}", name(slot)),
            ));
        }
    }
    out
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
