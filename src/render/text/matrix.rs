//! End-to-end latency, from the publishers of each vantage to the subscribers of each.

use std::collections::BTreeMap;

use super::super::table::table;
use super::{count, decimal, known, tier_name};
use crate::job::Vantage;
use crate::report::combined::{Combined, FlowReport, LatencyFigures};
use crate::report::flow::Publisher;

/// Rows, and columns, that there is room for.
const MOST: usize = 8;

/// That of the last tier that has any.
pub fn matrix(c: &Combined) -> String {
    let mut last_first = c.tiers.iter().rev();
    let Some(tier) = last_first.find(|t| t.flows.iter().any(has_latency)) else {
        return String::new();
    };
    let from = Side::of(&tier.flows, |flow| &flow.from);
    let to = Side::of(&tier.flows, |flow| &flow.to);
    let mut head = vec!["Latency".to_owned()];
    head.extend(to.shown.iter().map(|to| format!("to {to}")));
    let mut rows = vec![head];
    for from in from.shown {
        let mut row = vec![format!("from {from}")];
        row.extend(to.shown.iter().map(|to| cell(&tier.flows, from, to)));
        rows.push(row);
    }
    let mut out = table(&rows);
    out.push_str(&format!(
        "p95 ms in {}, from the publishers of a row to the subscribers of a column, ± what the clocks leave open.\n",
        tier_name(tier.tier)
    ));
    let more = [(from.more, "more row"), (to.more, "more column")];
    let more = more.into_iter().filter(|(n, _)| *n > 0);
    let more: Vec<String> = more
        .map(|(n, what)| count(u32::try_from(n).unwrap_or(u32::MAX), what))
        .collect();
    if !more.is_empty() {
        out.push_str(&format!(
            "Shown are those with the highest; the JSON report has {} (tiers[].flows).\n",
            more.join(" and ")
        ));
    }
    if let Some(flows) = c.left_out.as_ref().map(|l| l.flows).filter(|n| *n > 0) {
        out.push_str(&format!(
            "Of all tiers, {flows} more flows stand in the probers' own reports (left_out in the JSON report).\n"
        ));
    }
    out
}

/// Who is at one end of the flows.
struct Side<'a, T> {
    /// Those with the highest latency, by name.
    shown: Vec<&'a T>,
    /// How many there are beside these.
    more: usize,
}

impl<'a, T: Ord> Side<'a, T> {
    fn of(flows: &'a [FlowReport], end: impl Fn(&'a FlowReport) -> &'a T) -> Self {
        let mut highest: BTreeMap<&T, f64> = BTreeMap::new();
        for flow in flows {
            let p95 = flow.latency.ms.map_or(f64::NEG_INFINITY, |ms| ms.p95);
            let so_far = highest.entry(end(flow)).or_insert(p95);
            *so_far = so_far.max(p95);
        }
        let mut ranked: Vec<(&T, f64)> = highest.into_iter().collect();
        // Of equals the first by name, as the sort is stable.
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let more = ranked.len().saturating_sub(MOST);
        ranked.truncate(MOST);
        let mut shown: Vec<&T> = ranked.into_iter().map(|(end, _)| end).collect();
        shown.sort();
        Self { shown, more }
    }
}

fn has_latency(flow: &FlowReport) -> bool {
    flow.latency.ms.is_some() || flow.latency.contradictory > 0
}

fn cell(flows: &[FlowReport], from: &Publisher, to: &Vantage) -> String {
    let flow = flows.iter().find(|f| f.from == *from && f.to == *to);
    known(flow.and_then(|flow| latency(&flow.latency)))
}

fn latency(l: &LatencyFigures) -> Option<String> {
    let p95 = decimal(Some(l.ms?.p95), 1);
    Some(match l.plus_minus_ms {
        Some(0.0) => p95,
        Some(error) => format!("{p95} ±{}", decimal(Some(error), 1)),
        None => format!("{p95} ±?"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::combine::combine;
    use crate::report::sample::{healthy, publisher, vantage};

    /// A run whose last tier has the flows of so many publishers to so many subscribers; what comes
    /// from or goes to later ones takes longer, but for the very last publisher's, which is unknown.
    fn of(publishers: usize, subscribers: usize) -> Combined {
        let mut c = combine(&healthy());
        let tier = c.tiers.last_mut().unwrap();
        let flow = tier.flows[0].clone();
        tier.flows.clear();
        for p in 0..publishers {
            for s in 0..subscribers {
                let mut flow = flow.clone();
                flow.from = publisher(&format!("p{p:02}"));
                flow.to = vantage(&format!("s{s:02}"));
                let last = p + 1 == publishers;
                let mut ms = flow.latency.ms.take().filter(|_| !last);
                if let Some(ms) = &mut ms {
                    ms.p95 = (100 * p + s) as f64;
                }
                flow.latency.ms = ms;
                tier.flows.push(flow);
            }
        }
        c
    }

    /// The names of its rows, those of its columns, and what is said below.
    fn read(text: &str) -> (Vec<&str>, Vec<&str>, Vec<&str>) {
        let mut lines = text.lines();
        let head = lines.next().unwrap_or_default();
        let columns = head.split("to ").skip(1).map(str::trim).collect();
        let (rows, below): (Vec<&str>, Vec<&str>) = lines.partition(|l| l.starts_with("from "));
        let rows = rows.iter().filter_map(|row| row.split(' ').nth(1));
        (rows.collect(), columns, below)
    }

    #[test]
    fn what_fits_is_shown_whole() {
        let text = matrix(&of(8, 8));
        let (rows, columns, below) = read(&text);
        assert_eq!(
            (rows.len(), columns.len(), below.len()),
            (8, 8, 1),
            "{text}"
        );
    }

    #[test]
    fn of_more_the_highest_are_shown_and_the_rest_counted() {
        let text = matrix(&of(11, 9));
        let (rows, columns, below) = read(&text);
        let highest = ["p02", "p03", "p04", "p05", "p06", "p07", "p08", "p09"];
        assert_eq!(rows, highest, "{text}");
        let highest = ["s01", "s02", "s03", "s04", "s05", "s06", "s07", "s08"];
        assert_eq!(columns, highest, "{text}");
        assert!(text.contains("908.0"), "the highest of all: {text}");
        let more = "the JSON report has 3 more rows and 1 more column (tiers[].flows).";
        assert!(below[1].ends_with(more), "{text}");
    }

    #[test]
    fn rows_alone_that_are_too_many_are_not_lost_in_silence() {
        let text = matrix(&of(9, 2));
        let (rows, _, below) = read(&text);
        assert_eq!(rows.len(), 8);
        assert!(
            below[1].ends_with("has 1 more row (tiers[].flows)."),
            "{text}"
        );
    }
}
