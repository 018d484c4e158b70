//! The combined report for a terminal: up to 118 columns, unknown shown as `-`.

mod clocks;
mod few;
mod matrix;
mod media;
mod slots;

use std::collections::{BTreeMap, BTreeSet};

use super::table::{paragraph, table};
use crate::job::{Quality, Vantage};
use crate::load::{Knee, Verdict};
use crate::participant::Transport;
use crate::report::combined::{Combined, Figures, Level, Range, RunVerdict, Tier, VantageRow};
use crate::store::RequestCounts;

/// Where the text of the summary's lines begins.
const INDENT: usize = 13;

/// The whole report.
pub fn text(c: &Combined) -> String {
    let sections = [
        head(c),
        tiers(c),
        media::media(c),
        matrix::matrix(c),
        media::connecting(c),
        notes(c),
        thresholds(c),
        probers(c),
        clocks::clocks(c),
        summary(c),
    ];
    let filled: Vec<String> = sections.into_iter().filter(|s| !s.is_empty()).collect();
    filled.join("\n")
}

fn line(label: &str, text: &str) -> String {
    paragraph(label, INDENT, text)
}

fn head(c: &Combined) -> String {
    let job = &c.job;
    let mut out = line("Run", &format!("{}, room {}", c.run, job.room));
    let sfu: Vec<String> = c
        .sfu
        .iter()
        .map(|s| {
            let mut text = format!("LiveKit {} {}, node {}", s.version, s.edition, s.node);
            if !s.region.is_empty() {
                text.push_str(&format!(" in {}", s.region));
            }
            text
        })
        .collect();
    let sfu = if sfu.is_empty() {
        "unknown: nothing was measured there".to_owned()
    } else {
        sfu.join("; ")
    };
    out.push_str(&line("SFU", &format!("{}: {sfu}", job.host)));
    let ramp: Vec<String> = job.ramp.iter().map(u32::to_string).collect();
    let ramp = match (ramp.is_empty(), job.ramp_total) {
        (true, _) => "the baseline alone".to_owned(),
        (false, true) => format!("ramp {} subscribers in total", ramp.join(",")),
        (false, false) => format!("ramp {} subscribers per vantage", ramp.join(",")),
    };
    let mut fleet = count(job.fleet, "vantage");
    if let Some(probers) = job.probers.filter(|n| *n != job.fleet) {
        fleet.push_str(&format!(" with {}", count(probers, "prober")));
    }
    let roles = job.roles.iter();
    for (vantage, role) in roles {
        fleet.push_str(&format!(", {vantage} to {} alone", role.name()));
    }
    let load = format!(
        "{fleet}, {ramp}, {} each after {} to settle; per vantage {} and {}; layout {}",
        job.duration,
        job.settle,
        count(job.video_publishers, "video publisher"),
        count(job.audio_publishers, "audio publisher"),
        job.layout,
    );
    out.push_str(&line("Load", &load));
    out
}

/// `1 vantage`, `3 vantages`.
fn count(n: u32, noun: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {noun}{s}")
}

const COLUMNS: [[&str; 2]; 14] = [
    ["", ""],
    ["vantages", ""],
    ["subs", "asked"],
    ["subs", "conn"],
    ["publ", "conn"],
    ["join", "p95 ms"],
    ["connect", "p95 ms"],
    ["track", "p95 ms"],
    ["rtt", "p95 ms"],
    ["loss", "%"],
    ["jitter", "p95 ms"],
    ["quality", ""],
    ["in", "Mbit/s"],
    ["", "verdict"],
];

fn tiers(c: &Combined) -> String {
    if c.tiers.is_empty() {
        return String::new();
    }
    let mut rows: Vec<Vec<String>> = [0, 1]
        .map(|i| {
            let cells = COLUMNS.iter().filter_map(|c| c.get(i));
            cells.map(|s| (*s).to_owned()).collect()
        })
        .to_vec();
    let large = few::is_large(c);
    for tier in &c.tiers {
        rows.push(tier_row(tier));
        // A single prober's row would say the same again.
        if tier.expected_probers.unwrap_or(tier.expected_vantages) > 1 {
            let shown = tier.rows.iter().filter(|row| !large || is_worst(tier, row));
            rows.extend(shown.map(vantage_row));
        }
    }
    let mut out = table(&rows);
    if large {
        out.push_str("Of each tier, the vantages with the worst rtt, loss, latency and quality; the JSON report has all.\n");
    }
    if c.tiers.iter().any(|t| t.rows.len() > 1) {
        out.push_str("conn: really connected in every second. A tier's rtt, loss and quality are its worst vantage's.\n");
    }
    if c.tiers
        .iter()
        .any(|t| t.rows.iter().any(|r| !r.probers.is_empty()))
    {
        out.push_str("vantages: those of a tier all of whose probers measured it; in a vantage's row its probers that did.\n");
    }
    out
}

/// Whether a tier's worst figure is this vantage's.
fn is_worst(tier: &Tier, row: &VantageRow) -> bool {
    let worst = &tier.worst;
    let values = [
        &worst.rtt_p95_ms,
        &worst.loss_percent,
        &worst.latency_p95_ms,
    ];
    let values = values.into_iter().flatten().map(|at| &at.vantage);
    let quality = worst.quality.as_ref().map(|at| &at.vantage);
    values.chain(quality).any(|vantage| *vantage == row.vantage)
}

fn tier_name(tier: u32) -> String {
    match tier {
        0 => "baseline".to_owned(),
        n => format!("tier {n}"),
    }
}

fn tier_row(tier: &Tier) -> Vec<String> {
    let worst = &tier.worst;
    let mut row = vec![
        tier_name(tier.tier),
        format!("{}/{}", tier.vantages, tier.expected_vantages),
    ];
    row.extend(match &tier.figures {
        Some(figures) => cells(
            figures,
            tier.probers.unwrap_or(tier.vantages),
            worst.rtt_p95_ms.as_ref().map(|w| w.value),
            worst.loss_percent.as_ref().map(|w| w.value),
            worst.quality.as_ref().map(|w| w.value),
        ),
        None => vec!["-".to_owned(); COLUMNS.len() - 3],
    });
    row.push(tier.verdict.name().to_owned());
    row
}

fn vantage_row(row: &VantageRow) -> Vec<String> {
    let f = &row.figures;
    let (came, missing) = (row.probers.len(), row.missing.len());
    let probers = u32::try_from(came.max(1)).unwrap_or(u32::MAX);
    let (rtt_p95_ms, quality) = (f.rtt_ms.map(|d| d.p95), f.quality);
    let mut cells = cells(f, probers, rtt_p95_ms, f.loss_percent, quality);
    let of_several = match came {
        0 => String::new(),
        _ => format!("{came}/{}", came + missing),
    };
    let mut out = vec![format!("  {}", row.vantage), of_several];
    out.append(&mut cells);
    out.push(if row.suspect.is_empty() {
        String::new()
    } else {
        "suspect".to_owned()
    });
    out
}

fn cells(
    f: &Figures,
    probers: u32,
    rtt_p95_ms: Option<f64>,
    loss_percent: Option<f64>,
    quality: Option<Quality>,
) -> Vec<String> {
    // The sum of some probers is a lower bound of the sum of all.
    let bound = if f.connected.vantages < probers {
        ">="
    } else {
        ""
    };
    let least = |r: Option<Range>| known(r.map(|r| format!("{bound}{}", r.min)));
    vec![
        f.requested.subscribers.to_string(),
        least(f.connected.subscribers),
        format!(
            "{}/{}",
            least(f.connected.publishers),
            f.requested.publishers
        ),
        decimal(f.join_ms.map(|d| d.p95), 1),
        decimal(f.connect_ms.map(|d| d.p95), 1),
        decimal(f.track_subscribe_ms.map(|d| d.p95), 1),
        decimal(rtt_p95_ms, 1),
        decimal(loss_percent, 2),
        decimal(f.jitter_ms.map(|d| d.p95), 1),
        known(quality.map(|q| q.name().to_owned())),
        decimal(f.bitrate_in_mbps, 1),
    ]
}

fn known(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// A number with so many decimals; one too small for them says so instead of becoming 0.
fn decimal(value: Option<f64>, decimals: usize) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    let text = format!("{value:.decimals$}");
    let nothing = format!("{:.decimals$}", 0.0);
    if value > 0.0 && text == nothing {
        let least = 0.1f64.powi(i32::try_from(decimals).unwrap_or(0));
        return format!("<{least:.decimals$}");
    }
    text
}

/// What the table can't show: failures, suspects, lost vantages, rejections.
fn notes(c: &Combined) -> String {
    let mut out = String::new();
    for tier in &c.tiers {
        let name = tier_name(tier.tier);
        if let Some(failures) = failures(tier) {
            out.push_str(&line("Failures", &format!("{name}: {failures}")));
        }
        if let Some(bad) = tier.figures.as_ref().and_then(|f| f.bad_input)
            && !bad.is_empty()
        {
            out.push_str(&line("Bad input", &format!("{name}: {bad}")));
        }
        if few::is_large(c) && !tier.suspect.is_empty() {
            let labels: Vec<&str> = tier.suspect.iter().map(Vantage::as_str).collect();
            let text = format!(
                "{name}: the probers at {} themselves",
                few::names(c, &labels)
            );
            out.push_str(&line("Suspect", &text));
            continue;
        }
        for row in tier.prober_rows().filter(|r| !r.suspect.is_empty()) {
            let why = row.suspect.join(", ");
            let text = format!("{name}: the prober at {} itself {why}", row.vantage);
            out.push_str(&line("Suspect", &text));
        }
    }
    let rows = c.tiers.iter().flat_map(|tier| &tier.rows);
    let by_tcp: BTreeSet<&str> = rows.filter(uses_tcp).map(|r| r.vantage.as_str()).collect();
    if !by_tcp.is_empty() {
        let mut vantages: Vec<&str> = by_tcp.into_iter().collect();
        if few::is_large(c) {
            vantages = vec!["some vantages"];
        }
        let text = format!(
            "{} over TCP, for UDP is closed there: what the network loses is late instead",
            vantages.join(", ")
        );
        out.push_str(&line("Path", &text));
    }
    out.push_str(&slots::slots(c));
    let rejected = c.rejected.iter();
    let rejected = rejected.map(|r| ("Rejected", format!("{}: {}", r.object, r.reason)));
    out.push_str(&few::paragraphs(c, rejected));
    out
}

fn uses_tcp(row: &&VantageRow) -> bool {
    let tcp = Transport::Tcp.name();
    row.figures.transports.get(tcp).is_some_and(|n| *n > 0)
}

fn failures(tier: &Tier) -> Option<String> {
    let figures = tier.figures.as_ref()?;
    let causes: Vec<String> = figures
        .failures
        .iter()
        .filter(|(_, n)| **n > 0)
        .map(|(cause, n)| {
            let at = tier.rows.iter().filter_map(|r| {
                let n = r.figures.failures.get(cause).filter(|n| **n > 0)?;
                Some(format!("{} {n}", r.vantage))
            });
            let at: Vec<String> = at.collect();
            // Of a large fleet, not every row is there.
            let others = if tier.brief.is_empty() {
                ""
            } else {
                ", others"
            };
            format!("{cause} {n} ({}{others})", at.join(", "))
        })
        .collect();
    (!causes.is_empty()).then(|| causes.join("; "))
}

/// `0-2, 5`.
fn ranges(sorted: &[u32]) -> String {
    let mut spans: Vec<(u32, u32)> = Vec::new();
    for n in sorted {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == *n => *last = *n,
            _ => spans.push((*n, *n)),
        }
    }
    let texts: Vec<String> = spans
        .iter()
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
        .collect();
    texts.join(", ")
}

fn thresholds(c: &Combined) -> String {
    let mut out = String::new();
    let width = c.job.thresholds.iter().map(|t| t.to_string().len()).max();
    for (i, threshold) in c.job.thresholds.iter().enumerate() {
        let in_tier = |t: &Tier| t.thresholds.get(i).map(|r| (t.tier, r.verdict));
        let verdicts: Vec<(u32, Verdict)> = c.tiers.iter().filter_map(in_tier).collect();
        let text: Vec<String> = [Verdict::Held, Verdict::Failed, Verdict::Unknown]
            .into_iter()
            .filter_map(|verdict| {
                let of = verdicts.iter().filter(|(_, v)| *v == verdict);
                let tiers: Vec<u32> = of.map(|(tier, _)| *tier).collect();
                (!tiers.is_empty()).then(|| format!("{} in {}", verdict.name(), ranges(&tiers)))
            })
            .collect();
        if text.is_empty() {
            continue;
        }
        let label = if out.is_empty() { "Thresholds" } else { "" };
        let threshold = format!("{:<w$}", threshold.to_string(), w = width.unwrap_or(0));
        out.push_str(&line(label, &format!("{threshold}  {}", text.join("; "))));
    }
    if !out.is_empty() {
        out.push_str(&line(
            "",
            "(0 is the baseline; every vantage is judged by its own figures)",
        ));
    }
    out
}

/// The rows of each prober, by its slot's label; of a large fleet, of those that the last tier
/// tells of.
fn of_probers(c: &Combined) -> BTreeMap<&Vantage, Vec<&VantageRow>> {
    let mut probers: BTreeMap<&Vantage, Vec<&VantageRow>> = BTreeMap::new();
    for row in c.tiers.iter().flat_map(Tier::prober_rows) {
        probers.entry(&row.vantage).or_default().push(row);
    }
    if few::is_large(c) {
        let last = c.tiers.iter().rev().find(|tier| !tier.rows.is_empty());
        let told: BTreeSet<&Vantage> = last
            .iter()
            .flat_map(|tier| tier.prober_rows())
            .map(|row| &row.vantage)
            .collect();
        probers.retain(|vantage, _| told.contains(vantage));
    }
    probers
}

/// The probers' own health, each at its worst.
fn probers(c: &Combined) -> String {
    let mut rows: Vec<Vec<String>> = vec![
        [
            "Probers",
            "CPU",
            "waiting for CPU",
            "tick lag",
            "memory",
            "own drops",
            "build",
        ]
        .map(str::to_owned)
        .to_vec(),
        [
            "",
            "max %",
            "max %",
            "max p99 ms",
            "max MiB",
            "datagrams",
            "",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    let builds: BTreeMap<&Vantage, Option<&String>> = c
        .vantages
        .iter()
        .filter_map(|slot| Some((slot.vantage.as_ref()?, slot.build.as_ref())))
        .collect();
    for (vantage, own) in of_probers(c) {
        let own: Vec<_> = own.iter().map(|r| &r.generator).collect();
        let max = |values: Vec<Option<f64>>| values.into_iter().flatten().reduce(f64::max);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let drops = own
            .iter()
            .fold(0u64, |a, g| a.saturating_add(g.receive_drops));
        rows.push(vec![
            format!("  {vantage}"),
            decimal(max(own.iter().map(|g| g.cpu_percent).collect()), 1),
            decimal(max(own.iter().map(|g| g.run_delay_percent).collect()), 1),
            decimal(
                max(own.iter().map(|g| Some(g.tick_lag_ms?.p99)).collect()),
                1,
            ),
            decimal(
                max(own.iter().map(|g| g.resident_bytes.map(mib)).collect()),
                1,
            ),
            drops.to_string(),
            known(builds.get(vantage).copied().flatten().cloned()),
        ]);
    }
    if rows.len() > 2 {
        table(&rows)
    } else {
        String::new()
    }
}

fn summary(c: &Combined) -> String {
    let mut out = line("Capacity", &capacity(c));
    out.push_str(&line("Knee", &knee(c)));
    for because in &c.knee.because {
        out.push_str(&paragraph("", INDENT + 2, because));
    }
    if let Some(r) = &c.recommended {
        let text = format!(
            "at most {} in total, at most {} at a vantage: {} % of the capacity, each rounded down",
            count(r.subscribers, "subscriber"),
            r.subscribers_per_vantage,
            r.headroom_percent
        );
        out.push_str(&line("Recommended", &text));
    }
    let used = format!(
        "{:.1} participant-minutes, {} received, {} sent, in the windows",
        c.usage.participant_minutes,
        bytes(c.usage.bytes_in),
        bytes(c.usage.bytes_out)
    );
    out.push_str(&line("Used", &used));
    if let Some(cost) = &c.cost {
        out.push_str(&line("Cost", &cost.text()));
    }
    let others = c.usage.other_requests;
    let by = [
        ("probers", c.usage.requests),
        ("coordinator", others.coordinator),
        ("finalizer", others.finalizer),
    ];
    let said: Vec<String> = by
        .iter()
        .filter_map(|(who, requests)| Some(format!("{who} {}", asked(requests.as_ref()?))))
        .collect();
    if !said.is_empty() {
        out.push_str(&line(
            "Requests",
            &format!("to the bucket: {}", said.join("; ")),
        ));
    }
    let verdict = match c.verdict {
        RunVerdict::Passed => "passed: every tier held".to_owned(),
        RunVerdict::Failed => format!("failed: {}", c.reasons.join("; ")),
        RunVerdict::Incomplete => format!("incomplete: {}", c.reasons.join("; ")),
    };
    out.push_str(&line("Verdict", &verdict));
    out
}

/// What was asked of the bucket.
fn asked(requests: &RequestCounts) -> String {
    let RequestCounts {
        reads,
        lists,
        creates,
        heartbeats,
        deletes,
    } = requests;
    let kinds = [
        ("read", reads),
        ("listing", lists),
        ("create", creates),
        ("delete", deletes),
    ];
    let kinds: Vec<String> = kinds
        .iter()
        .filter(|(_, n)| **n > 0)
        .map(|(kind, n)| format!("{n} {kind}{}", if **n == 1 { "" } else { "s" }))
        .collect();
    let all = requests.beside_heartbeats();
    let beats = if *heartbeats > 0 {
        format!(" and {heartbeats} heartbeats")
    } else {
        String::new()
    };
    format!("{all}{beats} ({})", kinds.join(", "))
}

fn level(level: &Level) -> String {
    format!(
        "{} per vantage, {} in total, beside {}",
        count(level.subscribers_per_vantage, "subscriber"),
        level.subscribers,
        count(level.publishers, "publisher")
    )
}

fn capacity(c: &Combined) -> String {
    match (&c.capacity, &c.knee.knee) {
        (Some(l), Knee::NoneBroke) => {
            format!("at least tier {}, the whole ramp: {}", l.tier, level(l))
        }
        (Some(l), Knee::Unknown { .. }) => format!("at least tier {}: {}", l.tier, level(l)),
        (Some(l), _) => format!("tier {}: {}", l.tier, level(l)),
        (None, Knee::FirstBroke { .. }) => "unknown: below the first tier".to_owned(),
        (None, Knee::NoneBroke) => "unknown: only the baseline was measured".to_owned(),
        (None, _) => "unknown: no tier is known to have held".to_owned(),
    }
}

fn knee(c: &Combined) -> String {
    match &c.knee.knee {
        Knee::NoneBroke if c.job.ramp.is_empty() => "none: the baseline held".to_owned(),
        Knee::NoneBroke => "none: every tier held, so it lies beyond this ramp".to_owned(),
        Knee::FirstBroke { tier: 0 } => "the baseline already broke".to_owned(),
        Knee::FirstBroke { tier } => format!("tier {tier}, the first, already broke"),
        Knee::Broke { tier, unclear } if unclear.is_empty() => format!("tier {tier} broke"),
        Knee::Broke { tier, unclear } => format!(
            "at or before tier {tier}, which broke; before it can't be judged: {}",
            ranges(unclear)
        ),
        Knee::Unknown { unclear } if unclear.is_empty() => {
            "unknown: nothing was measured".to_owned()
        }
        Knee::Unknown { unclear } => {
            format!(
                "unknown: no tier failed, and these can't be judged: {}",
                ranges(unclear)
            )
        }
    }
}

/// Decimal units, as for bit rates.
fn bytes(n: u64) -> String {
    let n = n as f64;
    match n {
        n if n < 1e6 => format!("{:.1} kB", n / 1e3),
        n if n < 1e9 => format!("{:.1} MB", n / 1e6),
        n => format!("{:.2} GB", n / 1e9),
    }
}

#[cfg(test)]
mod tests;
