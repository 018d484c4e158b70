//! What the probers knew of the clocks, and how far apart their windows opened.

use super::{count, decimal, known, line, of_probers, table, tier_name};
use crate::report::combined::{Combined, Tier, VantageClock};

/// A row per prober, each figure at its worst, and the tier whose windows opened furthest apart.
pub fn clocks(c: &Combined) -> String {
    let row = |cells: [&str; 5]| cells.map(str::to_owned).to_vec();
    let mut rows = vec![
        row(["Clocks", "window", "SFU", "bucket", ""]),
        row(["", "± ms", "± ms", "± ms", "went by"]),
    ];
    for (vantage, own) in of_probers(c) {
        let own: Vec<&VantageClock> = own.iter().map(|r| &r.clock).collect();
        let half = |width: fn(&VantageClock) -> Option<f64>| {
            let widest = own.iter().filter_map(|clock| width(clock));
            decimal(widest.reduce(f64::max).map(|w| w / 2.0), 1)
        };
        let mut by: Vec<&str> = own.iter().filter_map(|c| Some(c.by?.name())).collect();
        by.dedup();
        rows.push(vec![
            format!("  {vantage}"),
            half(|c| c.width_ms),
            half(|c| c.sfu.map(|i| i.width_ms)),
            half(|c| c.bucket.map(|i| i.width_ms)),
            known((!by.is_empty()).then(|| by.join(", then "))),
        ]);
    }
    let mut out = if rows.len() > 2 {
        table(&rows)
    } else {
        String::new()
    };
    out.push_str(&apart(c));
    out
}

fn apart(c: &Combined) -> String {
    let of = |t: &Tier| Some((t.started_apart_ms?, t.started_apart_uncertainty_ms));
    let apart = c.tiers.iter().filter(|t| windows(t) > 1);
    let apart = apart.filter_map(|t| Some((of(t)?, t)));
    let Some(((ms, more), tier)) = apart.max_by(|(a, _), (b, _)| a.0.total_cmp(&b.0)) else {
        return String::new();
    };
    let more = match more {
        Some(more) => format!(
            "by the clocks' widths up to {} ms more",
            decimal(Some(more), 1)
        ),
        None => "how much more is unknown".to_owned(),
    };
    let text = format!(
        "{} opened within {} ms of each other ({more}), worst in {}",
        count(windows(tier), "window"),
        decimal(Some(ms), 1),
        tier_name(tier.tier)
    );
    line("Windows", &text)
}

/// How many probers measured a tier.
fn windows(tier: &Tier) -> u32 {
    tier.probers.unwrap_or(tier.vantages)
}
