//! The job document: what to do, resolved; immutable once written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fleet::fleet;
use super::{
    Fleet, JobError, JobSpec, Layout, Media, Ramp, RunId, Span, Threshold, Timestamp, Vantage,
    VantageRole, WriteId, threshold,
};
use crate::cost::{self, Bill, Function, Prices};
use crate::signature::PublicKey;

/// The schema that this build writes. A greater major version is refused.
pub const SCHEMA_MAJOR: u32 = 1;
/// The oldest that it reads.
pub const SCHEMA_OLDEST: u32 = 1;

/// What this build knows of that a job may need.
pub const KNOWN: [&str; 1] = [ROLES];
/// A job with [`Job::roles`]: who doesn't know of them would publish from everywhere.
const ROLES: &str = "roles";

/// From the decided start to the first joins, so that every prober has read it.
pub const START_LEAD: Duration = Duration::from_secs(5);
/// How long a start may be decided after the wait for slots has ended.
pub const START_SLACK: Duration = Duration::from_secs(30);
/// How far ahead a start may be fixed: as long as the URLs of a store can be signed (SigV4's
/// `X-Amz-Expires`).
pub const START_AHEAD_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How long participants may take to leave after the last window.
pub const LEAVE_ALLOWANCE: Duration = Duration::from_secs(10);

/// The kind of load. More kinds come beside this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Workload {
    /// One room that all vantages ramp together.
    SharedRoom {
        /// The room's name.
        room: String,
        /// The room existed before the run, so the run neither creates nor deletes it.
        existing_room: bool,
        /// Subscribers of each tier.
        ramp: Ramp,
        /// The ramp's numbers are totals, divided over the vantages.
        ramp_total: bool,
    },
}

/// When things happen; everything that a prober must know to stop by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// How long each tier is measured.
    pub duration: Span,
    /// How long each tier has to join before it is measured.
    pub settle: Span,
    /// Slots are taken until then.
    pub accept_until: Timestamp,
    /// A start decided after this counts as none.
    pub start_by: Timestamp,
    /// A start that was fixed with the job.
    pub start_at: Option<Timestamp>,
    /// No load after this, whatever the bucket says.
    pub hard_deadline: Timestamp,
    /// How long after the last window reports may come.
    pub grace: Span,
}

/// What a job can't exceed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// The most participants of the whole fleet.
    pub max_participants: u32,
    /// Joins per second and prober.
    pub join_rate: u32,
    /// How wide an interval may be in which a clock's offset is known to lie, before whoever goes
    /// by it is marked.
    #[serde(default = "default_clock_width")]
    pub clock_width: Span,
    /// The most that the run may be estimated to cost, in the currency of its prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost: Option<f64>,
}

/// The step threshold of `ntpd`: what is off by more counts as wrong there, not as imprecise.
pub const CLOCK_WIDTH: Span = Span(Duration::from_millis(128));

const fn default_clock_width() -> Span {
    CLOCK_WIDTH
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Major version of the schema.
    pub schema: u32,
    /// Tells this write from another with the same content.
    pub write_id: WriteId,
    /// The run's id.
    pub run: RunId,
    /// When the coordinator resolved it, as [`Origin::now`] says.
    pub created_at: Timestamp,
    /// The SFU's URL.
    pub url: String,
    /// Who takes part.
    pub fleet: Fleet,
    /// What the vantages are there for that don't both publish and subscribe.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<Vantage, VantageRole>,
    /// What a prober must know of to carry this job out, beside what every build of this schema
    /// does: by [`KNOWN`]. One that doesn't takes no part.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub needs: BTreeSet<String>,
    /// The kind of load.
    pub workload: Workload,
    /// What is sent and taken.
    pub media: Media,
    /// What decides whether a tier held.
    pub thresholds: Vec<Threshold>,
    /// Recommended level as a percentage of the capacity.
    pub headroom_percent: u32,
    /// When.
    pub times: Times,
    /// How much at most.
    pub limits: Limits,
    /// What things cost.
    #[serde(default)]
    pub prices: Prices,
    /// The functions that its probers run in; others run elsewhere.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub functions: BTreeMap<Vantage, Function>,
    /// The vantages that take part by ticket alone, each with the key that its parts are signed
    /// with. The others make a key themselves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ticket_keys: BTreeMap<Vantage, PublicKey>,
}

/// What only the edge knows when a job is resolved.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The run's id.
    pub run: RunId,
    /// Tells this write from others.
    pub write_id: WriteId,
    /// Now, by the coordinator's clock: by the bucket's if that is known to be another.
    pub now: Timestamp,
}

impl Job {
    /// Fill in the defaults, check everything.
    pub fn resolve(spec: JobSpec, origin: Origin) -> Result<Job, JobError> {
        let url = sfu_url(spec.url)?;
        let (fleet, roles) = fleet(spec.vantages, spec.expect)?;
        let ramp = spec.ramp.unwrap_or_default();
        let ramp_total = spec.ramp_total.unwrap_or(false);
        if ramp_total && spec.start_at.is_some() && matches!(fleet, Fleet::Expect(_)) {
            return Err(JobError::SharesUnknown);
        }
        let media = Media {
            video_publishers: spec.video_publishers.unwrap_or(1),
            audio_publishers: spec.audio_publishers.unwrap_or(1),
            simulcast: spec.simulcast.unwrap_or(true),
            video_codec: spec.video_codec.unwrap_or_default(),
            layout: spec.layout.unwrap_or(Layout::Speaker),
            allow_tcp: spec.allow_tcp.unwrap_or(false),
        };
        let limits = Limits {
            max_participants: in_range(
                "max_participants",
                spec.max_participants,
                1_000,
                1,
                1_000_000,
                "1 to 1000000",
            )?,
            join_rate: in_range("join_rate", spec.join_rate, 20, 1, 1_000, "1 to 1000")?,
            clock_width: clock_width(spec.clock_width)?,
            max_cost: spec.max_cost,
        };
        let duration = span("duration", spec.duration, 20, 1, 3_600, "1s to 1h")?;
        let settle = span("settle", spec.settle, 5, 1, 600, "1s to 10m")?;
        let timeout = span("timeout", spec.timeout, 600, 1, 86_400, "1s to 24h")?;
        let grace = span("grace", spec.grace, 30, 1, 3_600, "1s to 1h")?;
        let headroom_percent = in_range(
            "headroom_percent",
            spec.headroom_percent,
            70,
            1,
            100,
            "1 to 100",
        )?;

        let tiers = u32::try_from(ramp.tiers().len()).unwrap_or(u32::MAX);
        let workload = Workload::SharedRoom {
            room: room(spec.room, &origin.run)?,
            existing_room: spec.existing_room.unwrap_or(false),
            ramp,
            ramp_total,
        };
        let load = (settle.0 + duration.0) * (tiers + 1) + LEAVE_ALLOWANCE;
        let times = match spec.start_at {
            Some(at) if at < origin.now + START_LEAD => return Err(JobError::StartPassed(at)),
            Some(at) if at > origin.now + START_AHEAD_MAX => {
                return Err(JobError::Range {
                    what: "start_at",
                    value: at.to_string(),
                    range: "at most 7 days ahead",
                });
            }
            Some(at) => Times {
                duration,
                settle,
                accept_until: at,
                start_by: at,
                start_at: Some(at),
                hard_deadline: at + load,
                grace,
            },
            None => {
                let accept_until = origin.now + timeout.0;
                let start_by = accept_until + START_SLACK;
                Times {
                    duration,
                    settle,
                    accept_until,
                    start_by,
                    start_at: None,
                    hard_deadline: start_by + START_LEAD + load,
                    grace,
                }
            }
        };
        let job = Job {
            schema: SCHEMA_MAJOR,
            write_id: origin.write_id,
            run: origin.run,
            created_at: origin.now,
            url,
            fleet,
            needs: roles
                .keys()
                .next()
                .map(|_| ROLES.to_owned())
                .into_iter()
                .collect(),
            roles,
            workload,
            media,
            thresholds: spec.thresholds.unwrap_or_else(threshold::defaults),
            headroom_percent,
            times,
            limits,
            prices: spec.prices.unwrap_or_default(),
            functions: BTreeMap::new(),
            ticket_keys: BTreeMap::new(),
        };
        job.check_roles()?;
        job.check_size()?;
        job.check_settle()?;
        job.check_cost()?;
        Ok(job)
    }

    /// The same with probers that are functions.
    ///
    /// # Errors
    /// When it costs too much now.
    pub fn in_functions(self, functions: BTreeMap<Vantage, Function>) -> Result<Job, JobError> {
        let job = Job { functions, ..self };
        job.check_cost()?;
        Ok(job)
    }

    /// What the run will cost, as far as its plan tells.
    pub fn estimate(&self) -> Bill {
        cost::bill(&self.prices, &cost::used(self))
    }

    /// What it needs that this build doesn't know of.
    pub fn unknown_needs(&self) -> impl Iterator<Item = &str> {
        let needs = self.needs.iter().map(String::as_str);
        needs.filter(|need| !KNOWN.contains(need))
    }

    fn check_cost(&self) -> Result<(), JobError> {
        let estimate = self.estimate();
        match self.limits.max_cost {
            // A maximum that is no number allows nothing.
            Some(max) if estimate.total > max || max.is_nan() => Err(JobError::TooDear {
                estimate: estimate.text(),
                max: max.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

/// An SFU's URL as LiveKit's clients take it: `ws` or `wss`, no slash at the end.
///
/// # Errors
/// [`JobError::NoUrl`] without one or with an empty one, [`JobError::Url`] for anything else.
pub fn sfu_url(url: Option<String>) -> Result<String, JobError> {
    let text = url.filter(|u| !u.is_empty()).ok_or(JobError::NoUrl)?;
    let parsed = url::Url::parse(&text).map_err(|_| JobError::Url(text.clone()))?;
    let scheme = match parsed.scheme() {
        "ws" | "http" => "ws",
        "wss" | "https" => "wss",
        _ => return Err(JobError::Url(text)),
    };
    if parsed.host_str().is_none() || !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(JobError::Url(text));
    }
    let rest = parsed.as_str().split_once(':').map_or("", |(_, r)| r);
    Ok(format!("{scheme}:{}", rest.trim_end_matches('/')))
}

fn room(room: Option<String>, run: &RunId) -> Result<String, JobError> {
    let room = room.unwrap_or_else(|| format!("muster-{run}"));
    // LiveKit's own limit on room names (`limit.max_room_name_length`).
    if room.is_empty() || room.len() > 256 || room.chars().any(char::is_control) {
        return Err(JobError::Range {
            what: "room",
            value: room,
            range: "1 to 256 bytes without control characters",
        });
    }
    Ok(room)
}

fn in_range(
    what: &'static str,
    value: Option<u32>,
    default: u32,
    min: u32,
    max: u32,
    range: &'static str,
) -> Result<u32, JobError> {
    let v = value.unwrap_or(default);
    if (min..=max).contains(&v) {
        Ok(v)
    } else {
        Err(JobError::Range {
            what,
            value: v.to_string(),
            range,
        })
    }
}

fn span(
    what: &'static str,
    value: Option<Span>,
    default_s: u64,
    min_s: u64,
    max_s: u64,
    range: &'static str,
) -> Result<Span, JobError> {
    let v = value.unwrap_or(Span::secs(default_s));
    if v < Span::secs(min_s) || v > Span::secs(max_s) || v.0.subsec_nanos() != 0 {
        return Err(JobError::Range {
            what,
            value: v.to_string(),
            range: if v.0.subsec_nanos() != 0 {
                "whole seconds"
            } else {
                range
            },
        });
    }
    Ok(v)
}

fn clock_width(width: Option<Span>) -> Result<Span, JobError> {
    let v = width.unwrap_or(CLOCK_WIDTH);
    if v.0 < Duration::from_millis(1) || v.0 > Duration::from_secs(10) {
        return Err(JobError::Range {
            what: "clock_width",
            value: v.to_string(),
            range: "1ms to 10s",
        });
    }
    Ok(v)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin {
            run: "r1".parse().unwrap(),
            write_id: WriteId::from_u64(7),
            now: Timestamp::from_micros(1_700_000_000_000_000),
        }
    }

    fn spec() -> JobSpec {
        JobSpec {
            url: Some("wss://sfu.example".into()),
            expect: Some(3),
            ramp: Some("10,25,50".parse().unwrap()),
            ..JobSpec::default()
        }
    }

    #[test]
    fn defaults_fill_the_rest() {
        let job = Job::resolve(spec(), origin()).unwrap();
        assert_eq!(job.peak_participants(), 3 * (50 + 1));
        assert_eq!(job.times.duration, Span::secs(20));
        assert_eq!(job.headroom_percent, 70);
        assert_eq!(job.limits.clock_width, CLOCK_WIDTH);
        let text = serde_json::to_string(&job).unwrap();
        assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), job);
    }

    #[test]
    fn each_wrong_spec_names_its_fault() {
        type Change = fn(&mut JobSpec);
        let cases: &[(Change, &str)] = &[
            (|s| s.url = None, "--url"),
            (|s| s.url = Some("ftp://x".into()), "ftp://x"),
            (|s| s.expect = None, "--vantages"),
            (|s| s.expect = Some(0), "expect is 0"),
            (
                |s| s.ramp = Some("1000".parse().unwrap()),
                "--max-participants is 1000",
            ),
            (|s| s.ramp = Some("200".parse().unwrap()), "--join-rate 20"),
            (
                |s| {
                    s.ramp = Some("2".parse().unwrap());
                    s.ramp_total = Some(true);
                },
                "leaves some of 3",
            ),
            (|s| s.headroom_percent = Some(0), "headroom_percent is 0"),
            (
                |s| s.clock_width = Some(Span::secs(11)),
                "clock_width is 11s",
            ),
            (
                |s| s.duration = Some(Span(Duration::from_millis(1500))),
                "whole seconds",
            ),
            (
                |s| s.start_at = Some(Timestamp::from_micros(0)),
                "has passed",
            ),
            (
                |s| s.start_at = Some(Timestamp::from_micros(i64::MAX)),
                "at most 7 days ahead",
            ),
            (
                |s| s.vantages = Some(vec!["a".parse().unwrap(), "a:2".parse().unwrap()]),
                "`a` is named twice",
            ),
            (
                |s| s.vantages = Some(vec!["a".parse().unwrap()]),
                "contradicts",
            ),
        ];
        for (change, part) in cases {
            let mut s = spec();
            change(&mut s);
            let e = Job::resolve(s, origin())
                .map(|_| ())
                .unwrap_err()
                .to_string();
            assert!(e.contains(part), "{e} lacks {part}");
        }
    }

    #[test]
    fn a_ramp_that_cannot_be_joined_in_time_is_refused() {
        // 500 a tier at 100 a second, and the last has a second to connect: 5.99 s.
        for (settle, refused) in [(6, false), (5, true)] {
            let mut s = spec();
            s.ramp = Some("501,1001".parse().unwrap());
            s.max_participants = Some(10_000);
            s.join_rate = Some(100);
            s.settle = Some(Span::secs(settle));
            let answer = Job::resolve(s, origin());
            assert_eq!(answer.is_err(), refused, "{settle}: {answer:?}");
            if let Err(e) = answer {
                assert!(e.to_string().contains("takes 5s 990ms"), "{e}");
            }
        }
    }

    #[test]
    fn a_total_is_not_multiplied() {
        let mut s = spec();
        s.ramp_total = Some(true);
        assert_eq!(
            Job::resolve(s, origin()).unwrap().peak_participants(),
            50 + 3
        );
    }
}
