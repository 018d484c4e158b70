//! From whatever arrived to the combined report: a pure function, the same for any order of
//! the parts.

use std::collections::BTreeMap;
use std::iter::repeat;
use std::sync::Arc;

use super::clocks::Terms;
use super::combined::{
    Combined, JobDigest, KneeReport, LeftOut, Level, OtherRequests, Recommended, Rejection,
    RunVerdict, Tier, Usage,
};
use super::measured::Used;
use super::packed::PackedTier;
use super::part::{ReportPart, TierPart};
use super::tier::{self, Expected, Parts};
use super::{accept, bill, figures, parallel, slots};
use crate::job::{ClaimId, Job, SCHEMA_MAJOR, Timestamp, Vantage, Workload};
use crate::load::{Knee, Verdict, headroom, locate};
use crate::rendezvous::objects::Start;
use crate::store::RequestCounts;

/// All that a combined report is made of.
#[derive(Clone, Debug)]
pub struct CombineInputs {
    /// The job.
    pub job: Job,
    /// The start, if the run did start.
    pub start: Option<Start>,
    /// Why the run was cancelled instead.
    pub cancelled: Option<String>,
    /// Why it was aborted.
    pub aborted: Option<String>,
    /// Every tier object that could be read.
    pub tiers: Vec<TierPart>,
    /// Every report that could be read. A tier that is in here and in `tiers` counts once.
    pub reports: Vec<ReportPart>,
    /// Tiers that were packed when they came, from tier objects and from reports.
    pub packed: Vec<Arc<PackedTier>>,
    /// What else is known of each vantage, by what lies in the bucket.
    pub vantages: BTreeMap<Vantage, VantageState>,
    /// Objects that were rejected before they got here.
    pub rejected: Vec<Rejection>,
    /// What others than the probers asked of the bucket.
    pub requests: OtherRequests,
}

/// What is known of a vantage beside its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VantageState {
    /// The claim that counts: the roster's, or the slot's first when the roster names none.
    pub claim: Option<ClaimId>,
    /// It became ready.
    pub ready: bool,
    /// When its last heartbeat was stored, by the bucket's clock.
    pub last_heartbeat: Option<Timestamp>,
    /// What it was doing then, in its own words.
    pub last_phase: Option<String>,
    /// muster's version and revision there, as it said before the start.
    pub build: Option<String>,
}

/// Combine whatever arrived.
pub fn combine(inputs: &CombineInputs) -> Combined {
    let job = &inputs.job;
    let mut rejected = inputs.rejected.clone();
    let reports = accept::reports(inputs, &mut rejected);
    let parts = accept::tiers(inputs, &mut rejected);
    rejected.sort();
    rejected.dedup();

    let labels = slots::labels(inputs);
    let expected = Expected {
        labels: &labels,
        count: slots::expected(inputs),
    };
    let none = Parts::new();
    let of_tier = |n: u32| parts.get(&n).unwrap_or(&none);
    let bases = tier::bases(of_tier(0), &labels, &job.thresholds);
    let plans = inputs.start.iter();
    let plans: Vec<_> = plans.flat_map(|s| s.tiers.iter().zip(repeat(s))).collect();
    let told = parallel::map(
        &plans,
        parts.values().map(Parts::len).sum(),
        |(plan, start)| {
            let terms = Terms {
                start,
                width_max: job.limits.clock_width.0,
            };
            let parts = of_tier(plan.tier);
            tier::report(plan, parts, &bases, expected, &job.thresholds, terms)
        },
    );
    let mut used = Used::default();
    let mut left_out = LeftOut::default();
    let mut marked: BTreeMap<Vantage, Vec<String>> = BTreeMap::new();
    let mut tiers = Vec::new();
    for told in told {
        used.merge(told.used);
        left_out.add(&told.left_out);
        for (vantage, marks) in told.marked {
            let known = marked.entry(vantage).or_default();
            for mark in marks {
                if !known.contains(&mark) {
                    known.push(mark);
                }
            }
        }
        tiers.push(told.tier);
    }

    let vantages = slots::slots(inputs, &parts, marked, &reports);
    let verdicts: Vec<Verdict> = tiers.iter().map(|t| t.verdict).collect();
    let located = locate(&verdicts);
    let capacity = located.capacity.and_then(|n| level(tier_of(&tiers, n)?));
    let (verdict, reasons) = run_verdict(inputs, &tiers);
    let usage = usage(&used, &reports, inputs.requests);
    Combined {
        schema: SCHEMA_MAJOR,
        run: job.run.clone(),
        verdict,
        reasons,
        aborted: inputs.aborted.clone(),
        knee: knee(located.knee, &tiers),
        capacity,
        recommended: capacity.map(|level| Recommended {
            headroom_percent: job.headroom_percent,
            subscribers: headroom(level.subscribers, job.headroom_percent),
            subscribers_per_vantage: headroom(level.subscribers_per_vantage, job.headroom_percent),
        }),
        job: digest(job),
        start_at: inputs.start.as_ref().map(|s| s.start_at),
        reference: inputs.start.as_ref().map(|s| s.reference),
        cost: bill::measured(job, &used, &reports, all_requests(&usage)),
        sfu: used.sfu.into_iter().collect(),
        usage,
        tiers,
        dropped: slots::dropped(&vantages),
        vantages,
        rejected,
        left_out: left_out.some(),
    }
}

pub(super) type TierParts = BTreeMap<u32, Parts>;

fn tier_of(tiers: &[Tier], n: u32) -> Option<&Tier> {
    tiers.iter().find(|t| t.tier == n)
}

/// The load of a tier that held, which all its vantages were asked for.
fn level(tier: &Tier) -> Option<Level> {
    let requested = tier.figures.as_ref()?.requested;
    let rows = tier.rows.iter().map(|r| r.figures.requested.subscribers);
    let rows = rows.chain(tier.brief.iter().map(|r| r.requested.subscribers));
    // A vantage that only publishes has none.
    let each = rows.filter(|n| *n > 0);
    Some(Level {
        tier: tier.tier,
        subscribers_per_vantage: each.min()?,
        subscribers: requested.subscribers,
        publishers: requested.publishers,
    })
}

fn run_verdict(inputs: &CombineInputs, tiers: &[Tier]) -> (RunVerdict, Vec<String>) {
    let of = |verdict| {
        tiers
            .iter()
            .filter(move |t| t.verdict == verdict)
            .map(move |t| format!("{} {}", tier_name(t.tier), verdict_words(verdict)))
    };
    let failed: Vec<String> = of(Verdict::Failed).collect();
    if !failed.is_empty() {
        return (RunVerdict::Failed, failed);
    }
    let cancelled = inputs.cancelled.iter().map(|r| format!("cancelled: {r}"));
    let aborted = inputs.aborted.iter().map(|r| format!("aborted: {r}"));
    let unstarted = (inputs.start.is_none() && inputs.cancelled.is_none())
        .then(|| "the run never started".to_owned());
    let reasons: Vec<String> = cancelled
        .chain(aborted)
        .chain(unstarted)
        .chain(of(Verdict::Unknown))
        .collect();
    if reasons.is_empty() && !tiers.is_empty() {
        (RunVerdict::Passed, reasons)
    } else {
        (RunVerdict::Incomplete, reasons)
    }
}

/// A tier as texts name it.
pub fn tier_name(tier: u32) -> String {
    match tier {
        0 => "the baseline".to_owned(),
        n => format!("tier {n}"),
    }
}

const fn verdict_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Held => "held",
        Verdict::Unknown => "can't be judged",
        Verdict::Failed => "failed",
    }
}

/// The knee with what its tier, or the tiers in doubt, say.
fn knee(knee: Knee, tiers: &[Tier]) -> KneeReport {
    let reasons = |n: u32| tier_of(tiers, n).map_or(&[][..], |t| t.reasons.as_slice());
    let doubts = |unclear: &[u32]| -> Vec<String> {
        let all = unclear.iter().flat_map(|n| {
            reasons(*n)
                .iter()
                .map(|r| format!("{}: {r}", tier_name(*n)))
        });
        all.collect()
    };
    let because = match &knee {
        Knee::NoneBroke => vec![],
        Knee::FirstBroke { tier } => reasons(*tier).to_vec(),
        Knee::Broke { tier, unclear } => {
            let mut because = reasons(*tier).to_vec();
            because.extend(doubts(unclear));
            because
        }
        Knee::Unknown { unclear } => doubts(unclear),
    };
    KneeReport { knee, because }
}

fn usage(
    used: &Used,
    reports: &BTreeMap<Vantage, &ReportPart>,
    other_requests: OtherRequests,
) -> Usage {
    Usage {
        participant_minutes: figures::rounded(used.participant_seconds as f64 / 60.0),
        bytes_in: used.packets.bytes,
        bytes_out: used.sent.bytes,
        requests: requests(reports),
        other_requests,
    }
}

/// Everybody's; nothing when the probers' aren't known.
fn all_requests(usage: &Usage) -> Option<RequestCounts> {
    let mut all = usage.requests?;
    let others = usage.other_requests;
    for counts in [others.coordinator, others.finalizer].into_iter().flatten() {
        all.merge(&counts);
    }
    Some(all)
}

/// The sum of what the reports counted; nothing when there is none, or one that did not count.
fn requests(reports: &BTreeMap<Vantage, &ReportPart>) -> Option<RequestCounts> {
    let mut sum: Option<RequestCounts> = None;
    for report in reports.values() {
        let counts = report.requests?;
        sum.get_or_insert_default().merge(&counts);
    }
    sum
}

fn digest(job: &Job) -> JobDigest {
    let Workload::SharedRoom {
        room,
        ramp,
        ramp_total,
        ..
    } = &job.workload;
    JobDigest {
        host: host(&job.url),
        room: room.clone(),
        fleet: job.vantages().all,
        probers: Some(job.fleet.size()),
        roles: job.roles.clone(),
        ramp: ramp.tiers().to_vec(),
        ramp_total: *ramp_total,
        duration: job.times.duration,
        settle: job.times.settle,
        video_publishers: job.media.video_publishers,
        audio_publishers: job.media.audio_publishers,
        simulcast: job.media.simulcast,
        video_codec: job.media.video_codec,
        layout: job.media.layout,
        thresholds: job.thresholds.clone(),
    }
}

/// The URL's host and port, without what a path or a query may hold.
fn host(url: &str) -> String {
    let Ok(url) = url::Url::parse(url) else {
        return String::new();
    };
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod several;
#[cfg(test)]
mod tests;
