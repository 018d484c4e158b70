//! What participants went through: each phase of connecting, then what they saw and heard.

use std::collections::BTreeSet;

use super::super::table::table;
use super::{count, decimal, known, line, tier_name};
use crate::job::Vantage;
use crate::report::combined::{Combined, Figures, FlowReport, LatencyFigures, Tier};
use crate::report::flow::Publisher;

/// Vantages that the matrix has room for.
const MATRIX_MAX: usize = 8;

/// The phases of connecting in their order, with their column's head.
const PHASES: [(&str, &str); 9] = [
    ("dns", "DNS"),
    ("tcp", "TCP"),
    ("tls", "TLS"),
    ("websocket", "WebSocket"),
    ("join", "join"),
    ("ice", "ICE"),
    ("dtls", "DTLS"),
    ("first_packet", "1st packet"),
    ("first_frame", "1st frame"),
];

/// All tiers that were measured, by name.
fn measured(c: &Combined) -> impl Iterator<Item = (String, &Figures)> {
    let tiers = c.tiers.iter();
    tiers.filter_map(|t| Some((tier_name(t.tier), t.figures.as_ref()?)))
}

fn cells(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Each phase of connecting, and the round trip by what measured it.
pub fn connecting(c: &Combined) -> String {
    let mut head = cells(&["Connecting"]);
    head.extend(PHASES.iter().map(|(_, head)| (*head).to_owned()));
    head.extend(cells(&["rtt by ICE", "by RTCP"]));
    let mut rows = vec![head];
    let mut unit = cells(&["p95 ms"]);
    unit.resize(PHASES.len() + 3, String::new());
    rows.push(unit);
    for (name, f) in measured(c) {
        let phase = |phase: &str| decimal(f.phases_ms.get(phase).map(|d| d.p95), 1);
        let rtt = |by: &str| decimal(f.rtt_by_ms.get(by).map(|d| d.p95), 1);
        let mut row = vec![name];
        row.extend(PHASES.iter().map(|(name, _)| phase(name)));
        row.extend([rtt("ice"), rtt("rtcp")]);
        rows.push(row);
    }
    if rows.len() == 2 {
        return String::new();
    }
    let mut out = table(&rows);
    out.push_str("DNS to join follow each other; ICE and the firsts count from the dial, DTLS from ICE. Of who joined for the tier.\n");
    out
}

/// What subscribers got: latency, video, packets.
pub fn media(c: &Combined) -> String {
    let mut rows = vec![
        cells(&[
            "Media",
            "latency",
            "latency",
            "±",
            "fps",
            "fps",
            "freezes",
            "frozen",
            "missing",
            "lost",
            "own drops",
            "dupl.",
            "reord.",
        ]),
        cells(&[
            "",
            "p50 ms",
            "p95 ms",
            "ms",
            "mean",
            "min",
            "begun",
            "%",
            "before rtx %",
            "after %",
            "%",
            "",
            "",
        ]),
    ];
    for (name, f) in measured(c) {
        let (latency, video) = (&f.latency, f.video.as_ref());
        let fps = video.and_then(|v| v.frames_per_second);
        rows.push(vec![
            name,
            decimal(latency.ms.map(|d| d.p50), 1),
            decimal(latency.ms.map(|d| d.p95), 1),
            decimal(latency.plus_minus_ms, 1),
            decimal(fps.map(|d| d.mean), 1),
            decimal(fps.map(|d| d.min), 1),
            known(video.map(|v| v.freezes.to_string())),
            decimal(video.map(|v| v.frozen_percent), 2),
            decimal(f.loss_before_rtx_percent, 2),
            decimal(f.loss_percent, 2),
            decimal(f.own_drops_percent, 2),
            f.packets.duplicates.to_string(),
            f.packets.reordered.to_string(),
        ]);
    }
    if rows.len() == 2 {
        return String::new();
    }
    let mut out = table(&rows);
    let mut label = "Layers";
    for (name, f) in measured(c) {
        if let Some(layers) = layers(f) {
            out.push_str(&line(label, &format!("{name}: {layers}")));
            label = "";
        }
    }
    for (name, f) in measured(c) {
        if f.latency.contradictory > 0 {
            let text = format!(
                "{name}: {} frames came before they can have been sent, by the clocks; they are in no latency",
                f.latency.contradictory
            );
            out.push_str(&line("Clocks", &text));
        }
    }
    out
}

/// The share of video subscriptions' time in each layer, largest share first.
fn layers(f: &Figures) -> Option<String> {
    let all: u64 = f.layers.values().sum();
    let mut shares: Vec<(&String, u64)> = f.layers.iter().map(|(l, n)| (l, *n)).collect();
    shares.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let share = |n: u64| decimal(Some(n as f64 * 100.0 / all as f64), 0);
    let texts: Vec<String> = shares
        .iter()
        .map(|(layer, n)| format!("{layer} {} %", share(*n)))
        .collect();
    (all > 0).then(|| texts.join(", "))
}

/// End-to-end latency of the last tier, from each vantage to each.
pub fn matrix(c: &Combined) -> String {
    let last = c.tiers.iter().rev();
    let Some(tier) = last.into_iter().find(|t| t.flows.iter().any(has_latency)) else {
        return String::new();
    };
    let to: BTreeSet<&Vantage> = tier.flows.iter().map(|f| &f.to).collect();
    let from: BTreeSet<&Publisher> = tier.flows.iter().map(|f| &f.from).collect();
    let shown: Vec<&Vantage> = to.iter().copied().take(MATRIX_MAX).collect();
    let mut head = cells(&["Latency"]);
    head.extend(shown.iter().map(|to| format!("to {to}")));
    let mut rows = vec![head];
    for from in from.into_iter().take(MATRIX_MAX) {
        let mut row = vec![format!("from {from}")];
        row.extend(shown.iter().map(|to| cell(tier, from, to)));
        rows.push(row);
    }
    let mut out = table(&rows);
    out.push_str(&format!(
        "p95 ms in {}, from the publishers of a row to the subscribers of a column, ± what the clocks leave open.\n",
        tier_name(tier.tier)
    ));
    if let Some(more) = to.len().checked_sub(MATRIX_MAX).filter(|n| *n > 0) {
        let more = count(u32::try_from(more).unwrap_or(u32::MAX), "more vantage");
        out.push_str(&format!("The JSON report has {more}.\n"));
    }
    out
}

fn has_latency(flow: &FlowReport) -> bool {
    flow.latency.ms.is_some() || flow.latency.contradictory > 0
}

fn cell(tier: &Tier, from: &Publisher, to: &Vantage) -> String {
    let flow = tier.flows.iter().find(|f| f.from == *from && f.to == *to);
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
