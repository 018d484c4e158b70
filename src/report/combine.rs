//! From whatever arrived to the combined report: a pure function, the same for any order of
//! the parts.

use std::collections::BTreeMap;

use super::combined::{Combined, JobDigest, KneeReport, Rejection, RunVerdict, Usage};
use super::part::{ReportPart, TierPart};
use super::slots;
use crate::job::{ClaimId, Job, SCHEMA_MAJOR, Timestamp, Vantage, Workload};
use crate::load::Knee;
use crate::rendezvous::objects::Start;

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
    /// What else is known of each vantage, by what lies in the bucket.
    pub vantages: BTreeMap<Vantage, VantageState>,
    /// Objects that were rejected before they got here.
    pub rejected: Vec<Rejection>,
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
}

/// Combine whatever arrived.
pub fn combine(inputs: &CombineInputs) -> Combined {
    let job = &inputs.job;
    let vantages = slots::slots(inputs, &BTreeMap::new(), &BTreeMap::new());
    let dropped = slots::dropped(&vantages);
    Combined {
        schema: SCHEMA_MAJOR,
        run: job.run.clone(),
        verdict: RunVerdict::Incomplete,
        reasons: inputs.cancelled.iter().cloned().collect(),
        aborted: inputs.aborted.clone(),
        knee: KneeReport {
            knee: Knee::Unknown { unclear: vec![] },
            because: vec![],
        },
        capacity: None,
        recommended: None,
        job: digest(job),
        start_at: inputs.start.as_ref().map(|s| s.start_at),
        reference: inputs.start.as_ref().map(|s| s.reference),
        sfu: vec![],
        tiers: vec![],
        vantages,
        dropped,
        rejected: inputs.rejected.clone(),
        usage: Usage::default(),
    }
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
        fleet: job.fleet.size(),
        ramp: ramp.tiers().to_vec(),
        ramp_total: *ramp_total,
        duration: job.times.duration,
        settle: job.times.settle,
        video_publishers: job.media.video_publishers,
        audio_publishers: job.media.audio_publishers,
        simulcast: job.media.simulcast,
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
