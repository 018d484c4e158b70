//! One tier's report: its rows, its figures, what decides it.

use std::borrow::Cow;
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
use super::sites::{self, Site, sites};
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

/// One prober's part with what follows from it alone.
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

    /// What it adds up to.
    pub fn sums(&self) -> &TierMerge {
        &self.sums
    }

    /// What its prober was short of.
    pub fn shortages(&self) -> &[Shortage] {
        &self.shortages
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

    /// Its row.
    pub fn row(&self, figures: Figures, clock: VantageClock) -> VantageRow {
        VantageRow {
            vantage: self.part.vantage.clone(),
            suspect: self.shortages.iter().map(ToString::to_string).collect(),
            measured_percent: figures::rounded(self.measured_percent()),
            clock,
            figures,
            generator: figures::generator(&self.part.generator),
            probers: vec![],
            missing: vec![],
        }
    }
}

/// Parts that count, by their slots' labels.
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
    let mut clocks = clocks::clocks(parts, terms);
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
    let sites = sites(parts, expected.labels);
    let bases = sites::sites(baseline, expected.labels);
    let bases: BTreeMap<&str, &Site> = bases.iter().map(|s| (s.place.as_str(), s)).collect();
    let figures: BTreeMap<Vantage, Figures> = sites
        .iter()
        .map(|site| (site.place.clone(), together(site, &latencies)))
        .collect();
    let gaps = gaps(parts, expected);
    let parties = Parties {
        sites: &sites,
        bases: &bases,
        publishers: &publishers,
        latencies: &latencies,
    };
    let thresholds: Vec<ThresholdReport> = thresholds
        .iter()
        .map(|t| threshold_report(t, plan.tier, parties, gaps.is_empty(), &total))
        .collect();
    let incomplete = (!gaps.is_empty()).then_some(Verdict::Unknown);
    let verdict = Verdict::all(thresholds.iter().map(|t| t.verdict).chain(incomplete));
    let (places, whole) = sites::complete(parts, expected.labels);
    // Slots that nobody took have no label, and a vantage each.
    let labels = u32::try_from(expected.labels.len()).unwrap_or(u32::MAX);
    let unnamed = expected.count.saturating_sub(labels);
    let worst = figures::worst(&figures);
    let across = figures::across(&figures);
    let rows = sites
        .iter()
        .zip(figures.into_values())
        .map(|(site, figures)| {
            let several = site.several();
            site.row(figures, |slot| {
                let clock = clocks.remove(slot).unwrap_or_default();
                // One prober's are its vantage's.
                let own = several.then(|| parts.get(slot)).flatten();
                let own = own.map(|m| figures::figures(m.sums(), of(&latencies, slot)));
                (own.unwrap_or_default(), clock)
            })
        })
        .collect();
    Tier {
        tier: plan.tier,
        subscribers: plan.subscribers,
        window: plan.window,
        verdict,
        reasons: reasons(verdict, &thresholds, gaps),
        vantages: whole,
        expected_vantages: places.saturating_add(unnamed),
        probers: Some(total.vantages),
        expected_probers: Some(expected.count),
        suspect: parts
            .iter()
            .filter(|(_, m)| !m.shortages.is_empty())
            .map(|(v, _)| v.clone())
            .collect(),
        started_apart_ms: apart.map(|(ms, _)| ms),
        started_apart_uncertainty_ms: apart.and_then(|(_, more)| more),
        worst,
        across,
        figures: (total.vantages > 0).then(|| figures::figures(&total, &latency)),
        thresholds,
        rows,
        flows: flow_reports(&cells),
    }
}

/// The latency of what came to a prober from all publishers.
fn of<'a>(latencies: &'a BTreeMap<&Vantage, Latency>, slot: &Vantage) -> &'a Latency {
    static NONE: std::sync::LazyLock<Latency> = std::sync::LazyLock::new(Latency::none);
    latencies.get(slot).unwrap_or(&NONE)
}

/// The figures of all probers of a vantage.
fn together(site: &Site, latencies: &BTreeMap<&Vantage, Latency>) -> Figures {
    if let [(slot, _)] = site.probers[..] {
        return figures::figures(&site.sums, of(latencies, slot));
    }
    let mut latency = Latency::none();
    for (slot, _) in &site.probers {
        latency.merge(of(latencies, slot));
    }
    figures::figures(&site.sums, &latency)
}

/// What went from the publishers of one slot to the subscribers of another.
struct Cell<'a> {
    from: &'a Publisher,
    to: &'a Vantage,
    flow: &'a Flow,
    latency: Latency,
}

/// All of them, those of two vantages together, row by row.
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
    cells.sort_by_key(|cell| (vantages(cell), cell.from, cell.to));
    cells
}

/// Which vantages it is from and to.
fn vantages<'a>(cell: &Cell<'a>) -> (&'a str, &'a str) {
    (cell.from.place_str(), cell.to.place_str())
}

/// A matrix of the vantages.
fn flow_reports(cells: &[Cell]) -> Vec<FlowReport> {
    let between = cells.chunk_by(|a, b| vantages(a) == vantages(b));
    between.filter_map(flow_report).collect()
}

fn flow_report(cells: &[Cell]) -> Option<FlowReport> {
    let (cell, more) = cells.split_first()?;
    let (mut flow, mut latency) = (Cow::Borrowed(cell.flow), Cow::Borrowed(&cell.latency));
    for other in more {
        flow.to_mut().merge(other.flow);
        latency.to_mut().merge(&other.latency);
    }
    let receiving = figures::percent(flow.subscriptions_receiving, flow.subscriptions_wanted);
    Some(FlowReport {
        from: cell.from.place(),
        to: cell.to.place(),
        receiving_percent: receiving.map(figures::rounded),
        lost: flow.lost,
        latency: figures::latency_figures(&latency),
        video: figures::video(&flow),
    })
}

/// Whose figures a tier is judged by.
#[derive(Clone, Copy)]
struct Parties<'a> {
    sites: &'a [Site<'a>],
    bases: &'a BTreeMap<&'a str, &'a Site<'a>>,
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
    let mut judged: BTreeMap<Vantage, Judgement> = BTreeMap::new();
    for site in parties.sites {
        let baseline = match parties.bases.get(site.place.as_str()) {
            _ if tier == 0 => Baseline::Itself,
            Some(base) => base.baseline(),
            None => Baseline::Missing,
        };
        for (slot, m) in &site.probers {
            if !verdict::concerns(threshold.metric, tier, m.sums(), &site.sums) {
                continue;
            }
            let evidence = Evidence {
                own: &m.sums,
                latency: parties.latencies.get(*slot),
                shortages: &m.shortages,
                publishers: parties.publishers,
                baseline,
            };
            judged.insert((*slot).clone(), verdict::judge(threshold, evidence));
        }
    }
    let unjudged = (!complete || judged.is_empty()).then_some(Verdict::Unknown);
    ThresholdReport {
        threshold: threshold.clone(),
        verdict: Verdict::all(judged.values().map(|j| j.verdict).chain(unjudged)),
        measured: verdict::text(verdict::measure(threshold.metric, total)),
        vantages: judged,
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

/// Which probers did not measure the tier.
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
    let several = expected.labels.iter().any(|v| v.prober().is_some());
    let who = if several { "probers" } else { "vantages" };
    let mut text = format!("measured by {came} of {} {who}", expected.count);
    if !lost.is_empty() {
        text.push_str(&format!(", not by {}", some(&lost)));
    }
    Some(text)
}
