//! One tier's report: its rows, its figures, what decides it.

use std::collections::{BTreeMap, BTreeSet};

use super::clocks::{self, Terms};
use super::combined::{
    Figures, FlowReport, Judgement, ThresholdReport, Tier, VantageClock, VantageRow,
};
use super::figures;
use super::flow::{Flow, Publisher};
use super::latency::{self, Latency};
use super::merge::TierMerge;
use super::part::TierPart;
use super::publishers::Publishers;
use super::suspect::{Shortage, shortages};
use super::verdict::{self, Baseline, Evidence};
use crate::job::threshold::Bound;
use crate::job::{Threshold, Vantage};
use crate::load::{TierPlan, Verdict};

/// The least part of the window that a vantage must have measured for its tier to hold, in
/// percent: the edges of a window are found by a clock that is read once a tick.
pub const MEASURED_PERCENT: f64 = 90.0;

/// The least share of its publishers that a vantage must have had in the room for a tier to be
/// the load that was asked for: the default bound on `connected`.
const PUBLISHING_PERCENT: f64 = 99.0;

/// How many vantages a reason names before it counts the rest.
const NAMED_MAX: usize = 3;

/// One vantage's part with what follows from it alone.
pub struct Measured<'a> {
    part: &'a TierPart,
    sums: TierMerge,
    shortages: Vec<Shortage>,
}

impl<'a> Measured<'a> {
    /// From a part that counts.
    pub fn new(part: &'a TierPart) -> Self {
        Self {
            part,
            sums: TierMerge::of(part),
            shortages: shortages(part),
        }
    }

    /// The part itself.
    pub fn part(&self) -> &'a TierPart {
        self.part
    }

    /// The part of the planned window that was measured, in percent.
    fn measured_percent(&self) -> f64 {
        let planned = self.part.window;
        let measured = self.part.measured;
        let whole = planned.to.saturating_since(planned.from).as_secs_f64();
        let from = measured.from.max(planned.from);
        let to = measured.to.min(planned.to);
        let series = &self.part.connected.publishers;
        let missed = series.iter().filter(|second| second.is_none()).count() as f64;
        let inside = (to.saturating_since(from).as_secs_f64() - missed).max(0.0);
        if whole > 0.0 {
            inside * 100.0 / whole
        } else {
            0.0
        }
    }

    /// Why good figures of this part prove nothing, if they don't.
    fn gap(&self) -> Option<String> {
        let vantage = &self.part.vantage;
        let measured = self.measured_percent();
        if measured < MEASURED_PERCENT {
            return Some(format!(
                "only {measured:.0} % of the window was measured at {vantage}"
            ));
        }
        if let Some(less_load) = self.shortages.iter().find(|s| s.lowers_load()) {
            return Some(format!("the prober itself {less_load} at {vantage}"));
        }
        let publishing = self.publishing_percent()?;
        (publishing < PUBLISHING_PERCENT).then(|| {
            format!("only {publishing:.0} % of the publishers were connected at {vantage}, so subscribers had less to take")
        })
    }

    /// Why its publishers may not have sent all that they should, in words that follow the
    /// vantage's label.
    pub fn publishers_in_doubt(&self) -> Option<String> {
        let measured = self.measured_percent();
        if measured < MEASURED_PERCENT {
            return Some(format!("measured only {measured:.0} % of the window"));
        }
        let short = self.shortages.first()?;
        Some(format!("its prober itself {short}"))
    }

    /// Publishers connected of those asked for, over the seconds measured; `None` when none were.
    fn publishing_percent(&self) -> Option<f64> {
        let series = &self.part.connected.publishers;
        let seconds = series.iter().flatten();
        let asked = u64::from(self.part.requested.publishers) * seconds.clone().count() as u64;
        let connected: u64 = seconds.copied().map(u64::from).sum();
        (asked > 0).then(|| connected as f64 * 100.0 / asked as f64)
    }

    fn row(&self, figures: Figures, clock: VantageClock) -> VantageRow {
        VantageRow {
            vantage: self.part.vantage.clone(),
            suspect: self.shortages.iter().map(ToString::to_string).collect(),
            measured_percent: figures::rounded(self.measured_percent()),
            clock,
            figures,
            generator: figures::generator(self.part),
        }
    }
}

/// Parts that count, by vantage.
pub type Parts<'a> = BTreeMap<Vantage, Measured<'a>>;

/// Who should have measured a tier.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Their labels, as far as they are known.
    pub labels: &'a BTreeSet<Vantage>,
    /// How many they are, known or not.
    pub count: u32,
}

/// The report of one tier. `baseline` is tier 0's parts.
pub fn report(
    plan: &TierPlan,
    parts: &Parts,
    baseline: &Parts,
    expected: Expected,
    thresholds: &[Threshold],
    terms: Terms,
) -> Tier {
    let clocks = clocks::clocks(parts, terms);
    let apart = clocks::started_apart_ms(parts);
    let mut total = TierMerge::default();
    for m in parts.values() {
        total.merge(&m.sums);
    }
    let publishers = Publishers::new(parts, expected);
    let cells = cells(parts, &publishers);
    let mut latency = Latency::none();
    let mut latencies: BTreeMap<&Vantage, Latency> = BTreeMap::new();
    for cell in &cells {
        let own = latencies.entry(cell.to).or_insert_with(Latency::none);
        own.merge(&cell.latency);
        latency.merge(&cell.latency);
    }
    let none = Latency::none();
    let figures: BTreeMap<Vantage, Figures> = parts
        .iter()
        .map(|(v, m)| {
            let latency = latencies.get(v).unwrap_or(&none);
            (v.clone(), figures::figures(&m.sums, latency))
        })
        .collect();
    let gaps = gaps(parts, expected);
    let parties = Parties {
        parts,
        baseline,
        publishers: &publishers,
        latencies: &latencies,
    };
    let thresholds: Vec<ThresholdReport> = thresholds
        .iter()
        .map(|t| threshold_report(t, plan.tier, parties, gaps.is_empty(), &total))
        .collect();
    let incomplete = (!gaps.is_empty()).then_some(Verdict::Unknown);
    let verdict = Verdict::all(thresholds.iter().map(|t| t.verdict).chain(incomplete));
    Tier {
        tier: plan.tier,
        subscribers: plan.subscribers,
        window: plan.window,
        verdict,
        reasons: reasons(verdict, &thresholds, gaps),
        vantages: total.vantages,
        expected_vantages: expected.count,
        suspect: parts
            .iter()
            .filter(|(_, m)| !m.shortages.is_empty())
            .map(|(v, _)| v.clone())
            .collect(),
        started_apart_ms: apart.map(|(ms, _)| ms),
        started_apart_uncertainty_ms: apart.and_then(|(_, more)| more),
        worst: figures::worst(&figures),
        across: figures::across(&figures),
        figures: (total.vantages > 0).then(|| figures::figures(&total, &latency)),
        thresholds,
        rows: parts
            .values()
            .zip(figures.into_values())
            .zip(clocks.into_values())
            .map(|((m, f), clock)| m.row(f, clock))
            .collect(),
        flows: cells.iter().map(flow_report).collect(),
    }
}

/// A place in the matrix of publishers and subscribers.
struct Cell<'a> {
    from: &'a Publisher,
    to: &'a Vantage,
    flow: &'a Flow,
    latency: Latency,
}

/// All of them, row by row.
fn cells<'a>(parts: &'a Parts, publishers: &Publishers) -> Vec<Cell<'a>> {
    let flows = |(to, m): (&'a Vantage, &'a Measured)| {
        m.sums
            .flows
            .iter()
            .map(move |(from, flow)| (from, to, flow))
    };
    let mut cells: Vec<Cell> = parts
        .iter()
        .flat_map(flows)
        .map(|(from, to, flow)| Cell {
            from,
            to,
            flow,
            latency: latency::between(from, to, flow, publishers),
        })
        .collect();
    cells.sort_by_key(|cell| (cell.from, cell.to));
    cells
}

fn flow_report(cell: &Cell) -> FlowReport {
    let flow = cell.flow;
    let receiving = figures::percent(flow.subscriptions_receiving, flow.subscriptions_wanted);
    FlowReport {
        from: cell.from.clone(),
        to: cell.to.clone(),
        receiving_percent: receiving.map(figures::rounded),
        lost: flow.lost,
        latency: figures::latency_figures(&cell.latency),
        video: figures::video(flow),
    }
}

/// Whose figures a tier is judged by.
#[derive(Clone, Copy)]
struct Parties<'a> {
    parts: &'a Parts<'a>,
    baseline: &'a Parts<'a>,
    publishers: &'a Publishers,
    latencies: &'a BTreeMap<&'a Vantage, Latency>,
}

fn threshold_report(
    threshold: &Threshold,
    tier: u32,
    parties: Parties,
    complete: bool,
    total: &TierMerge,
) -> ThresholdReport {
    let vantages: BTreeMap<Vantage, Judgement> = parties
        .parts
        .iter()
        .map(|(vantage, m)| {
            let baseline = match parties.baseline.get(vantage) {
                _ if tier == 0 => Baseline::Itself,
                Some(b) if b.shortages.is_empty() => Baseline::Fit(&b.sums),
                Some(b) => Baseline::Suspect(&b.sums),
                None => Baseline::Missing,
            };
            let evidence = Evidence {
                own: &m.sums,
                latency: parties.latencies.get(vantage),
                shortages: &m.shortages,
                publishers: parties.publishers,
                baseline,
            };
            (vantage.clone(), verdict::judge(threshold, evidence))
        })
        .collect();
    let incomplete = (!complete).then_some(Verdict::Unknown);
    ThresholdReport {
        threshold: threshold.clone(),
        verdict: Verdict::all(vantages.values().map(|j| j.verdict).chain(incomplete)),
        measured: verdict::text(verdict::measure(threshold.metric, total)),
        vantages,
    }
}

/// Why a tier did not hold, in words.
fn reasons(verdict: Verdict, thresholds: &[ThresholdReport], gaps: Vec<String>) -> Vec<String> {
    let of = |wanted: Verdict| {
        thresholds.iter().filter_map(move |t| {
            let judged = t.vantages.iter().filter(|(_, j)| j.verdict == wanted);
            let relative = matches!(t.threshold.bound, Bound::Baseline { .. });
            let at: Vec<String> = judged.map(|(v, j)| at_vantage(v, j, relative)).collect();
            (!at.is_empty()).then(|| format!("{}: {}", t.threshold, some(&at)))
        })
    };
    match verdict {
        Verdict::Held => vec![],
        Verdict::Failed => of(Verdict::Failed).collect(),
        Verdict::Unknown => gaps.into_iter().chain(of(Verdict::Unknown)).collect(),
    }
}

fn at_vantage(vantage: &Vantage, judgement: &Judgement, relative: bool) -> String {
    let Judgement {
        measured, bound, ..
    } = judgement;
    match &judgement.unknown_because {
        Some(because) if measured == verdict::UNKNOWN => format!("{because} at {vantage}"),
        Some(because) => format!("{measured} at {vantage}, where {because}"),
        // Other bounds stand in the threshold itself.
        None if relative => format!("{measured} at {vantage} (bound {bound})"),
        None => format!("{measured} at {vantage}"),
    }
}

/// The first few, and how many more.
fn some(texts: &[String]) -> String {
    let (named, rest) = texts.split_at(texts.len().min(NAMED_MAX));
    let mut text = named.join("; ");
    if !rest.is_empty() {
        text.push_str(&format!("; and at {} more", rest.len()));
    }
    text
}

/// What keeps a tier from holding, whatever was measured.
fn gaps(parts: &Parts, expected: Expected) -> Vec<String> {
    missing(parts, expected)
        .into_iter()
        .chain(parts.values().filter_map(Measured::gap))
        .collect()
}

/// Which vantages did not measure the tier.
fn missing(parts: &Parts, expected: Expected) -> Option<String> {
    let came = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    if came >= expected.count || planted!(MissingIsNoMatter) {
        return None;
    }
    let lost: Vec<String> = expected
        .labels
        .iter()
        .filter(|v| !parts.contains_key(*v))
        .map(ToString::to_string)
        .collect();
    let mut text = format!("measured by {came} of {} vantages", expected.count);
    if !lost.is_empty() {
        text.push_str(&format!(", not by {}", some(&lost)));
    }
    Some(text)
}
