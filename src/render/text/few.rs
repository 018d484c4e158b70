//! A large fleet's report stays readable: of each kind of thing the first few, and how many more.

use std::collections::BTreeMap;

use super::{Combined, line};
use crate::report::FULL_MAX;

/// Of a large fleet, how many lines of a kind there are.
const LINES_MAX: usize = 8;

/// Whether this is the report of a large fleet.
pub fn is_large(c: &Combined) -> bool {
    c.job.probers.unwrap_or(c.job.fleet) > FULL_MAX
}

/// A paragraph for each text, under its label.
pub fn paragraphs(c: &Combined, texts: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let most = if is_large(c) { LINES_MAX } else { usize::MAX };
    let mut out = String::new();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (label, text) in texts {
        let n = seen.entry(label).or_default();
        *n += 1;
        if *n <= most {
            out.push_str(&line(label, &text));
        }
    }
    for (label, n) in seen {
        if let Some(more) = n.checked_sub(most).filter(|more| *more > 0) {
            out.push_str(&line(
                label,
                &format!("and {more} more, in the JSON report"),
            ));
        }
    }
    out
}

/// Names in a row.
pub fn names(c: &Combined, names: &[&str]) -> String {
    let most = if is_large(c) { LINES_MAX } else { names.len() };
    let (first, rest) = names.split_at(most.min(names.len()));
    match rest.len() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
