//! The combined report as JSON: its own fields in their order.

use crate::report::Combined;

/// Pretty-printed, with a newline at the end.
pub fn json(combined: &Combined) -> String {
    // Strings, numbers and maps with string keys: nothing in a report can fail to serialize.
    let mut text = serde_json::to_string_pretty(combined).unwrap_or_default();
    text.push('\n');
    text
}
