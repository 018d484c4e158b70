//! One tier's report: its rows, its figures, what decides it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::clocks::{self, Terms};
use super::combined::{Counts, Figures, FlowReport, Judgement, LeftOut, ThresholdReport, Tier};
use super::detail::Rows;
use super::figures::{self, Beside};
use super::flow::{Flow, Publisher};
use super::latency::{self, Latency};
use super::measured::{Measured, Used};
use super::merge::TierMerge;
use super::packed::PackedTier;
use super::publishers::Publishers;
use super::sites::{self, Site};
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

/// Parts that count, by their slots' labels.
pub type Parts = BTreeMap<Vantage, Arc<PackedTier>>;

/// Who should have measured a tier.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Their labels, as far as they are known.
    pub labels: &'a BTreeSet<Vantage>,
    /// How many they are, known or not.
    pub count: u32,
}

/// What a tier's parts say.
pub struct Told {
    /// Its report.
    pub tier: Tier,
    /// Why clocks were in doubt, by the slots whose they are.
    pub marked: BTreeMap<Vantage, Vec<String>>,
    /// What it used.
    pub used: Used,
    /// What the report leaves out of a large fleet.
    pub left_out: LeftOut,
}

/// The report of one tier. One vantage's parts are unpacked at a time.
pub fn report(
    plan: &TierPlan,
    parts: &Parts,
    bases: &Bases,
    expected: Expected,
    thresholds: &[Threshold],
    terms: Terms,
) -> Told {
    let mut clocks = clocks::clocks(parts, terms);
    let marked = clocks
        .iter()
        .filter(|(_, clock)| !clock.marked.is_empty())
        .map(|(slot, clock)| (slot.clone(), clock.marked.clone()))
        .collect();
    let apart = clocks::started_apart_ms(parts);
    let publishers = Publishers::new(parts, expected);
    let mut total = TierMerge::default();
    let mut latency = Latency::none();
    let mut used = Used::default();
    let mut judged: Vec<BTreeMap<Vantage, Judgement>> = vec![BTreeMap::new(); thresholds.len()];
    let mut rows = Rows::new(expected.count);
    let mut beside = Beside::default();
    for place in sites::places(parts, expected.labels) {
        let Some(site) = Site::of(place) else {
            continue;
        };
        total.merge_all_flows(site.sums());
        let cells = cells(&site, &publishers);
        let mut latencies: BTreeMap<&Vantage, Latency> = BTreeMap::new();
        for cell in &cells {
            let own = latencies.entry(cell.to).or_insert_with(Latency::none);
            own.merge(&cell.latency);
        }
        for own in latencies.values() {
            latency.merge(own);
        }
        for m in &site.probers {
            used.add(m);
        }
        let party = Party {
            site: &site,
            base: bases.get(&site.place),
            publishers: &publishers,
            latencies: &latencies,
        };
        let mut verdicts = Counts::default();
        for (n, (threshold, judged)) in thresholds.iter().zip(&mut judged).enumerate() {
            for (slot, judgement) in party.judgements(n, threshold, plan.tier) {
                verdicts.add(judgement.verdict);
                judged.insert(slot, judgement);
            }
        }
        let several = site.several();
        let row = site.row(together(&site, &latencies), |m| {
            let clock = clocks.remove(m.slot()).unwrap_or_default();
            // One prober's are its vantage's.
            let own = several.then(|| figures::figures(m.sums(), of(&latencies, m.slot())));
            (own.unwrap_or_default(), clock)
        });
        beside.add(&row.vantage, &row.figures);
        rows.add(row, flow_reports(&cells), verdicts, beside.worst());
    }
    let gaps = gaps(parts, expected);
    let thresholds: Vec<ThresholdReport> = thresholds
        .iter()
        .zip(judged)
        .map(|(threshold, judged)| threshold_report(threshold, judged, gaps.is_empty(), &total))
        .collect();
    let incomplete = (!gaps.is_empty()).then_some(Verdict::Unknown);
    let verdict = Verdict::all(thresholds.iter().map(|t| t.verdict).chain(incomplete));
    let (places, whole) = sites::complete(parts, expected.labels);
    // Slots that nobody took have no label, and a vantage each.
    let labels = u32::try_from(expected.labels.len()).unwrap_or(u32::MAX);
    let unnamed = expected.count.saturating_sub(labels);
    let mut tier = Tier {
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
            .filter(|(_, part)| !part.shortages.is_empty())
            .map(|(v, _)| v.clone())
            .collect(),
        started_apart_ms: apart.map(|(ms, _)| ms),
        started_apart_uncertainty_ms: apart.and_then(|(_, more)| more),
        worst: beside.worst().clone(),
        across: beside.across(),
        figures: (total.vantages > 0).then(|| figures::figures(&total, &latency)),
        thresholds,
        rows: vec![],
        brief: vec![],
        flows: vec![],
    };
    let left_out = rows.fill(&mut tier);
    used.counted(&total);
    Told {
        tier,
        marked,
        used,
        left_out,
    }
}

/// What bounds are relative to at each vantage, by tier 0's parts; a value per threshold.
pub type Bases = BTreeMap<Vantage, Vec<Baseline>>;

/// Of tier 0's parts.
pub fn bases(parts: &Parts, labels: &BTreeSet<Vantage>, thresholds: &[Threshold]) -> Bases {
    let relative = |t: &Threshold| matches!(t.bound, Bound::Baseline { .. });
    if !thresholds.iter().any(relative) {
        return Bases::new();
    }
    let sites = sites::places(parts, labels)
        .into_iter()
        .filter_map(Site::of);
    sites
        .map(|site| {
            let values = thresholds.iter().map(|t| site.baseline(t.metric));
            (site.place.clone(), values.collect())
        })
        .collect()
}

/// The latency of what came to a prober from all publishers.
fn of<'a>(latencies: &'a BTreeMap<&Vantage, Latency>, slot: &Vantage) -> &'a Latency {
    static NONE: std::sync::LazyLock<Latency> = std::sync::LazyLock::new(Latency::none);
    latencies.get(slot).unwrap_or(&NONE)
}

/// The figures of all probers of a vantage.
fn together(site: &Site, latencies: &BTreeMap<&Vantage, Latency>) -> Figures {
    if let [m] = &site.probers[..] {
        return figures::figures(site.sums(), of(latencies, m.slot()));
    }
    let mut latency = Latency::none();
    for m in &site.probers {
        latency.merge(of(latencies, m.slot()));
    }
    figures::figures(site.sums(), &latency)
}

/// What went from the publishers of one slot to the subscribers of another.
struct Cell<'a> {
    from: &'a Publisher,
    to: &'a Vantage,
    flow: &'a Flow,
    latency: Latency,
}

/// All of them to a vantage, those of two vantages together.
fn cells<'a>(site: &'a Site, publishers: &Publishers) -> Vec<Cell<'a>> {
    let flows = |m: &'a Measured| {
        let flows = m.sums().flows.iter();
        flows.map(move |(from, flow)| (from, m.slot(), flow))
    };
    let mut cells: Vec<Cell> = site
        .probers
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

/// Its column of the matrix of the vantages.
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

/// Whose figures a vantage is judged by.
#[derive(Clone, Copy)]
struct Party<'a> {
    site: &'a Site<'a>,
    base: Option<&'a Vec<Baseline>>,
    publishers: &'a Publishers,
    latencies: &'a BTreeMap<&'a Vantage, Latency>,
}

impl Party<'_> {
    /// Its probers by the job's `n`th threshold.
    fn judgements(
        self,
        n: usize,
        threshold: &Threshold,
        tier: u32,
    ) -> impl Iterator<Item = (Vantage, Judgement)> {
        let baseline = match self.base.and_then(|values| values.get(n)) {
            _ if tier == 0 => Baseline::Itself,
            Some(base) => *base,
            None => Baseline::Missing,
        };
        let concerned =
            self.site.probers.iter().filter(move |m| {
                verdict::concerns(threshold.metric, tier, m.sums(), self.site.sums())
            });
        concerned.map(move |m| {
            let evidence = Evidence {
                own: m.sums(),
                latency: self.latencies.get(m.slot()),
                shortages: &m.packed().shortages,
                publishers: self.publishers,
                baseline,
            };
            (m.slot().clone(), verdict::judge(threshold, evidence))
        })
    }
}

fn threshold_report(
    threshold: &Threshold,
    judged: BTreeMap<Vantage, Judgement>,
    complete: bool,
    total: &TierMerge,
) -> ThresholdReport {
    let unjudged = (!complete || judged.is_empty()).then_some(Verdict::Unknown);
    ThresholdReport {
        threshold: threshold.clone(),
        verdict: Verdict::all(judged.values().map(|j| j.verdict).chain(unjudged)),
        measured: verdict::text(verdict::measure(threshold.metric, total)),
        vantages: judged,
        probers: None,
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
        .chain(parts.values().filter_map(|part| gap(part)))
        .collect()
}

/// Why good figures of a part prove nothing, if they don't.
fn gap(part: &PackedTier) -> Option<String> {
    let vantage = &part.vantage;
    let measured = part.measured_percent;
    if measured < MEASURED_PERCENT {
        return Some(format!(
            "only {measured:.0} % of the window was measured at {vantage}"
        ));
    }
    if let Some(less_load) = part.shortages.iter().find(|s| s.lowers_load()) {
        return Some(format!("the prober itself {less_load} at {vantage}"));
    }
    let publishing = part.publishing_percent?;
    (publishing < PUBLISHING_PERCENT).then(|| {
        format!("only {publishing:.0} % of the publishers were connected at {vantage}, so subscribers had less to take")
    })
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
