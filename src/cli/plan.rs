//! `muster plan`: what a run would do.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::args::{FleetArgs, Format, JobArgs, StartArgs};
use super::lambda::LambdaArgs;
use super::{edge, guards, output};
use crate::cost::Bill;
use crate::error::Error;
use crate::exit::Exit;
use crate::job::{Fleet, Job, JobSpec, Origin, Ramp, Timestamp, Vantage, VantageRole, Workload};
use crate::load::{Place, schedule};

/// `muster plan`
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    fleet: FleetArgs,
    #[command(flatten)]
    job: JobArgs,
    #[command(flatten)]
    start: StartArgs,
    #[command(flatten)]
    lambda: LambdaArgs,

    /// How the plan looks [default: text]
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "text",
        hide_default_value = true
    )]
    format: Format,
}

/// What flags that they share with `local` default to in `run` and `plan`.
pub const DEFAULTS: [(&str, &str); 5] = [
    ("url", "the job file's, else LIVEKIT_URL"),
    ("ramp", "10,25,50"),
    ("duration", "20s"),
    ("timeout", "10m"),
    ("grace", "30s"),
];

/// The ramp of `run` and `plan` when neither flag nor file names one.
const DEFAULT_RAMP: [u32; 3] = [10, 25, 50];

/// What a job has when nobody says otherwise, beside a job's own defaults.
pub(crate) fn defaults() -> JobSpec {
    JobSpec {
        url: std::env::var("LIVEKIT_URL").ok().filter(|v| !v.is_empty()),
        ramp: Ramp::new(&DEFAULT_RAMP).ok(),
        ..JobSpec::default()
    }
}

/// The job that flags, job file and environment make together.
pub fn job(
    fleet: &FleetArgs,
    job: &JobArgs,
    start: &StartArgs,
    origin: Origin,
    defaults: JobSpec,
) -> Result<Job, Error> {
    let spec = start.over(fleet.over(job.spec(defaults)?), origin.now);
    let resolved = Job::resolve(spec, origin)?;
    guards::cloud(&resolved, job.cloud_agreement)?;
    Ok(resolved)
}

/// Prints the plan.
pub fn run(args: &Args) -> Result<Exit, Error> {
    let fleet = args.lambda.fleet(&args.fleet);
    let defaults = args.lambda.over(defaults());
    let origin = edge::origin(None);
    let job = job(&fleet, &args.job, &args.start, origin, defaults)?;
    let job = args.lambda.planned(job)?;
    let plan = Plan::of(&job);
    output::print(&match args.format {
        Format::Text => plan.text(),
        Format::Json => serde_json::to_string_pretty(&plan)
            .map_err(|e| Error::new(Exit::Internal, e.to_string()))?,
    })?;
    Ok(Exit::Passed)
}

/// A job with everything that follows from it.
#[derive(Serialize)]
struct Plan<'a> {
    job: &'a Job,
    tiers: Vec<Tier>,
    /// The most participants at once, over the whole fleet.
    peak_participants: u64,
    /// What it will cost, estimated.
    cost: Bill,
}

#[derive(Serialize)]
struct Tier {
    /// 0 is the baseline.
    tier: u32,
    /// Subscribers of each prober, in the order of their slots' labels.
    shares: Vec<u32>,
    /// Subscribers over all vantages.
    subscribers: u64,
    /// Publishers over all vantages.
    publishers: u64,
    /// Joins begin, in seconds after the start.
    settle_from_s: u64,
    /// The window opens, in seconds after the start.
    from_s: u64,
    /// The window closes, in seconds after the start.
    to_s: u64,
}

impl Plan<'_> {
    fn of(job: &Job) -> Plan<'_> {
        let places = Place::all(job);
        let publishers = job.publishers();
        let zero = Timestamp::from_micros(0);
        let after = |t: Timestamp| t.saturating_since(zero).as_secs();
        let tiers = schedule(job, zero)
            .into_iter()
            .map(|plan| {
                let share = |p: &Place| p.subscribers(job, plan.tier, plan.subscribers);
                let shares: Vec<u32> = places.iter().map(share).collect();
                Tier {
                    tier: plan.tier,
                    subscribers: shares.iter().copied().map(u64::from).sum(),
                    shares,
                    publishers,
                    settle_from_s: after(plan.settle_from),
                    from_s: after(plan.window.from),
                    to_s: after(plan.window.to),
                }
            })
            .collect();
        Plan {
            job,
            tiers,
            peak_participants: job.peak_participants(),
            cost: job.estimate(),
        }
    }

    fn text(&self) -> String {
        let job = self.job;
        let Workload::SharedRoom {
            room,
            existing_room,
            ..
        } = &job.workload;
        let fleet = match &job.fleet {
            Fleet::Vantages(slots) => {
                let named = |slot: &Vantage| match job.role(slot) {
                    VantageRole::Both => slot.to_string(),
                    role => format!("{slot} ({}s)", role.name()),
                };
                slots.iter().map(named).collect::<Vec<_>>().join(", ")
            }
            Fleet::Expect(n) => format!("any {n}"),
        };
        let thresholds: Vec<String> = job.thresholds.iter().map(ToString::to_string).collect();
        let start = match job.times.start_at {
            Some(at) => format!("at {at}"),
            None => format!(
                "when all slots are taken, at the latest {}",
                job.times.start_by
            ),
        };
        let rows = [
            ("SFU", job.url.clone()),
            (
                "room",
                format!(
                    "{room}{}",
                    if *existing_room {
                        " (existing, kept)"
                    } else {
                        ""
                    }
                ),
            ),
            ("vantages", fleet),
            (
                "publishers",
                format!(
                    "{} per vantage: {} {} video{}, {} audio",
                    job.media.publishers(),
                    job.media.video_publishers,
                    job.media.video_codec,
                    if job.media.simulcast {
                        " in three layers"
                    } else {
                        ""
                    },
                    job.media.audio_publishers,
                ),
            ),
            ("layout", job.media.layout.to_string()),
            ("thresholds", thresholds.join(", ")),
            (
                "headroom",
                format!(
                    "{}% of the capacity is the recommended level",
                    job.headroom_percent
                ),
            ),
            ("start", start),
            ("no load after", job.times.hard_deadline.to_string()),
            (
                "grace",
                format!("{} for reports after the last window", job.times.grace),
            ),
            (
                "peak",
                format!(
                    "{} participants of at most {}, {} joins/s per vantage",
                    self.peak_participants, job.limits.max_participants, job.limits.join_rate
                ),
            ),
            ("cost", format!("about {}", self.cost.text())),
        ];
        let mut text = String::new();
        for (name, value) in rows {
            let _ = writeln!(text, "{name:<14} {value}");
        }
        let _ = writeln!(
            text,
            "\n{:<9} {:>12} {:>12} {:>11} {:>8} {:>8}",
            "tier", "per prober", "subscribers", "publishers", "joins", "measured"
        );
        for tier in &self.tiers {
            let name = match tier.tier {
                0 => "baseline".to_owned(),
                n => n.to_string(),
            };
            let _ = writeln!(
                text,
                "{name:<9} {:>12} {:>12} {:>11} {:>8} {:>8} to {}",
                each(&tier.shares),
                tier.subscribers,
                tier.publishers,
                when(job.times.start_at, tier.settle_from_s),
                when(job.times.start_at, tier.from_s),
                when(job.times.start_at, tier.to_s),
            );
        }
        let count = match job.times.start_at {
            Some(_) => "Times are UTC.",
            None => "Seconds count from the start.",
        };
        let _ = writeln!(text, "\n{count} Nothing was written.");
        text
    }
}

/// `25s` after a start that is still open; `07:14:04` after one that is fixed, whose day is in
/// the plan already.
fn when(start: Option<Timestamp>, after_s: u64) -> String {
    let Some(start) = start else {
        return format!("{after_s}s");
    };
    let at = (start + Duration::from_secs(after_s)).to_string();
    let time = at.split(['T', '.']).nth(1);
    time.map_or_else(|| at.clone(), str::to_owned)
}

/// `7` when all shares are alike, else `3 to 4`.
fn each(shares: &[u32]) -> String {
    let (min, max) = (shares.iter().min(), shares.iter().max());
    match (min, max) {
        (Some(min), Some(max)) if min == max => min.to_string(),
        (Some(min), Some(max)) => format!("{min} to {max}"),
        _ => "none".to_owned(),
    }
}
