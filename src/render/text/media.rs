//! What participants went through: each phase of connecting, then what they saw and heard.

use super::super::table::table;
use super::{decimal, known, line, tier_name};
use crate::report::combined::{Combined, Figures};

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
