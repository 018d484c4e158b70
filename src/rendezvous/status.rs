//! Where a run stands, from what lies in the bucket: pure.
//!
//! A started run's windows are read as if they were on the bucket's clock, which may be off by
//! the difference between the SFU's clock and the bucket's: this is for people to look at, no
//! decision hangs on it. What does ([`Status::load_is_over`]) goes by the job's hard deadline.

use std::collections::BTreeSet;

use serde::Serialize;

use super::admission::{Verdict, verdict};
use super::document;
use super::keys::{Item, Revision, RunKey};
use super::objects::{Abort, Start, StartDocument};
use crate::job::{Job, RunId, Timestamp, Vantage};
use crate::report::Combined;
use crate::report::combined::RunVerdict;
use crate::store::{Listing, Object};

/// What was read of a run; what is absent was not there.
#[derive(Clone, Debug, Default)]
pub struct Glimpse {
    /// All of its objects.
    pub listing: Listing,
    /// `job.json`.
    pub job: Option<Object>,
    /// `start.json`.
    pub start: Option<Object>,
    /// `abort.json`.
    pub abort: Option<Object>,
    /// The newest combined report.
    pub combined: Option<Combined>,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum State {
    /// It takes probers.
    Open,
    /// Its start is decided, and lies ahead.
    Starting,
    /// A tier settles or is measured.
    Running {
        /// Which; 0 is the baseline.
        tier: u32,
    },
    /// The last window is over, and reports may still come.
    Collecting,
    /// All its times are over, and nobody has combined what came.
    Over,
    /// It has a combined report.
    Combined {
        /// The newest revision.
        revision: u32,
        /// That one's verdict, if it could be read.
        verdict: Option<RunVerdict>,
        /// The run was aborted.
        aborted: bool,
    },
    /// Somebody pulled the kill switch.
    Aborted {
        /// In their words.
        reason: String,
    },
    /// It was cancelled instead of started.
    Cancelled {
        /// Why.
        reason: String,
    },
    /// It was never started, and no longer can be.
    NeverStarted,
    /// Its job can't be read.
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// A run, looked at from outside.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// The run.
    pub run: RunId,
    /// Where it stands.
    #[serde(flatten)]
    pub state: State,
    /// When its job was stored, on the bucket's clock.
    pub since: Option<Timestamp>,
    /// How many vantages take part; unknown without a job.
    pub expected: Option<u32>,
    /// Who has taken a slot.
    pub claimed: BTreeSet<Vantage>,
    /// Who has tried its path: it is ready, or has declined.
    pub ready: BTreeSet<Vantage>,
    /// Whose report is there.
    pub reported: BTreeSet<Vantage>,
    /// How many objects it has in the bucket.
    pub objects: usize,
    /// When the newest of them was stored, on the bucket's clock.
    pub touched: Option<Timestamp>,
    /// The job, if it can be read.
    #[serde(skip)]
    pub job: Option<Job>,
    /// The start decision, if the run takes place.
    #[serde(skip)]
    pub start: Option<Box<Start>>,
}

impl Status {
    /// Where `run` stands at `now`, on the bucket's clock.
    pub fn of(run: &RunId, seen: &Glimpse, now: Timestamp) -> Status {
        let mut status = Status {
            run: run.clone(),
            state: State::Over,
            since: seen.job.as_ref().map(|o| o.last_modified),
            expected: None,
            claimed: BTreeSet::new(),
            ready: BTreeSet::new(),
            reported: BTreeSet::new(),
            objects: seen.listing.objects.len(),
            touched: seen.listing.objects.iter().map(|o| o.last_modified).max(),
            job: None,
            start: None,
        };
        let mut revision = None;
        for entry in &seen.listing.objects {
            match entry.key.parse::<RunKey>().map(|key| key.item) {
                Ok(Item::Slot(vantage, _)) => drop(status.claimed.insert(vantage)),
                Ok(Item::Ready(claim)) => drop(status.ready.insert(claim.vantage())),
                Ok(Item::Report(vantage)) => drop(status.reported.insert(vantage)),
                Ok(Item::Combined(r)) => revision = revision.max(Some(r)),
                _ => {}
            }
        }
        let job = match &seen.job {
            None => Err("it has no job.json".to_owned()),
            Some(object) => {
                document::read_digested::<Job>(&RunKey::new(run, Item::Job), &object.body)
                    .map_err(|e| e.to_string())
            }
        };
        let job = match job {
            Ok(job) => job,
            Err(reason) => {
                status.state = State::Unreadable { reason };
                return status;
            }
        };
        status.expected = Some(job.fleet.size());
        let decided = seen.start.as_ref().map(|object| {
            let key = RunKey::new(run, Item::Start);
            match document::read::<StartDocument>(&key, &object.body) {
                Ok(document) => verdict(&document, object.last_modified, &job),
                Err(e) => Verdict::Cancelled(e.to_string()),
            }
        });
        status.state = state(run, seen, &job, decided.as_ref(), revision, now);
        status.start = match decided {
            Some(Verdict::Start(start)) => Some(start),
            _ => None,
        };
        status.job = Some(job.document);
        status
    }

    /// Until when probers of the run may put on load, on the bucket's clock: its hard deadline and
    /// the grace, whatever else is known. Without a readable job nothing is known.
    pub fn load_until(&self) -> Option<Timestamp> {
        let times = &self.job.as_ref()?.times;
        Some(times.hard_deadline + times.grace.0)
    }

    /// Whether no prober of the run can put on load any more, at `now` on the bucket's clock. False
    /// where nothing is known.
    pub fn load_is_over(&self, now: Timestamp) -> bool {
        self.load_until().is_some_and(|until| now > until)
    }

    /// Whether nothing more will come of the run by itself.
    pub fn is_terminal(&self) -> bool {
        match self.state {
            State::Open | State::Starting | State::Running { .. } | State::Collecting => false,
            State::Over
            | State::Combined { .. }
            | State::Aborted { .. }
            | State::Cancelled { .. }
            | State::NeverStarted
            | State::Unreadable { .. } => true,
        }
    }
}

fn state(
    run: &RunId,
    seen: &Glimpse,
    job: &Job,
    decided: Option<&Verdict>,
    revision: Option<Revision>,
    now: Timestamp,
) -> State {
    if let Some(Revision(revision)) = revision {
        let combined = seen.combined.as_ref();
        return State::Combined {
            revision,
            verdict: combined.map(|c| c.verdict),
            aborted: combined.is_some_and(|c| c.aborted.is_some()),
        };
    }
    if let Some(object) = &seen.abort {
        let key = RunKey::new(run, Item::Abort);
        let reason = match document::read::<Abort>(&key, &object.body) {
            Ok(abort) => abort.reason,
            Err(e) => e.to_string(),
        };
        return State::Aborted { reason };
    }
    let start = match decided {
        Some(Verdict::Start(start)) => start,
        Some(Verdict::Cancelled(reason)) => {
            return State::Cancelled {
                reason: reason.clone(),
            };
        }
        None if now <= job.times.start_by || planted!(OpenForEver) => return State::Open,
        None => return State::NeverStarted,
    };
    if now < start.start_at {
        return State::Starting;
    }
    if let Some(tier) = start.tiers.iter().find(|tier| now < tier.window.to) {
        return State::Running { tier: tier.tier };
    }
    let last = start.tiers.last().map_or(start.start_at, |t| t.window.to);
    if now < last + job.times.grace.0 {
        State::Collecting
    } else {
        State::Over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{ClaimId, Digest, JobSpec, Ramp, SCHEMA_MAJOR, Span, WriteId, sample};
    use crate::load::schedule;
    use crate::rendezvous::objects::Decision;
    use crate::store::Entry;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_micros((1_800_000_000 + s) * 1_000_000)
    }

    fn job() -> Job {
        let spec = JobSpec {
            vantages: Some(vec!["iad".parse().unwrap(), "sjc".parse().unwrap()]),
            ramp: Ramp::new(&[1, 2, 3]).ok(),
            timeout: Some(Span::secs(60)),
            ..JobSpec::default()
        };
        sample::job(spec, at(0))
    }

    fn stored<T: document::Document>(document: &T, s: i64) -> Option<Object> {
        Some(Object {
            body: document::write(document).unwrap(),
            etag: None,
            last_modified: at(s),
        })
    }

    fn start(job: &Job, s: i64) -> StartDocument {
        StartDocument {
            schema: SCHEMA_MAJOR,
            write_id: WriteId::from_u64(2),
            run: job.run.clone(),
            job_sha256: Digest::of(&document::write(job).unwrap()),
            decision: Decision::Start(Start {
                roster: [].into(),
                start_at: at(s),
                tiers: schedule(job, at(s)),
                reference: Default::default(),
                offset: None,
                marked: [].into(),
                asked: None,
            }),
        }
    }

    fn glimpse(items: &[Item]) -> Glimpse {
        let run: RunId = "r1".parse().unwrap();
        let entry = |item: &Item| Entry {
            key: RunKey::new(&run, item.clone()).to_string(),
            size: 1,
            last_modified: at(1),
        };
        Glimpse {
            listing: Listing {
                objects: items.iter().map(entry).collect(),
                prefixes: vec![],
            },
            job: stored(&job(), 0),
            ..Glimpse::default()
        }
    }

    fn state_at(seen: &Glimpse, s: i64) -> State {
        Status::of(&"r1".parse().unwrap(), seen, at(s)).state
    }

    #[test]
    fn a_run_goes_from_open_to_over() {
        let mut seen = glimpse(&[Item::Job]);
        let start_by = job()
            .times
            .start_by
            .saturating_since(at(0))
            .as_secs()
            .cast_signed();
        assert_eq!(state_at(&seen, 1), State::Open);
        assert_eq!(state_at(&seen, start_by), State::Open);
        assert_eq!(state_at(&seen, start_by + 1), State::NeverStarted);

        seen.start = stored(&start(&job(), 20), 10);
        // Each tier settles for 5 s and is measured for 20 s; 3 tiers and the baseline.
        for (s, state) in [
            (11, State::Starting),
            (20, State::Running { tier: 0 }),
            (44, State::Running { tier: 0 }),
            (45, State::Running { tier: 1 }),
            (119, State::Running { tier: 3 }),
            (120, State::Collecting),
            (149, State::Collecting),
            (150, State::Over),
        ] {
            assert_eq!(state_at(&seen, s), state, "{s}");
        }
        let late = stored(&start(&job(), 20), start_by + 1);
        seen.start = late;
        assert!(matches!(state_at(&seen, 25), State::Cancelled { .. }));
    }

    #[test]
    fn an_abort_and_a_result_are_final() {
        let mut seen = glimpse(&[Item::Job, Item::Abort]);
        seen.start = stored(&start(&job(), 20), 10);
        let abort = Abort {
            schema: SCHEMA_MAJOR,
            write_id: WriteId::from_u64(3),
            run: "r1".parse().unwrap(),
            reason: "enough".into(),
        };
        seen.abort = stored(&abort, 30);
        let aborted = State::Aborted {
            reason: "enough".into(),
        };
        assert_eq!(state_at(&seen, 31), aborted);
        let more = glimpse(&[Item::Combined(Revision(1)), Item::Combined(Revision(2))]);
        seen.listing = more.listing;
        let combined = State::Combined {
            revision: 2,
            verdict: None,
            aborted: false,
        };
        assert_eq!(state_at(&seen, 31), combined);
    }

    #[test]
    fn load_is_over_only_by_a_job_that_can_be_read() {
        let mut seen = glimpse(&[Item::Job]);
        let run: RunId = "r1".parse().unwrap();
        let end = job().times.hard_deadline + job().times.grace.0;
        assert!(!Status::of(&run, &seen, end).load_is_over(end));
        let later = end + std::time::Duration::from_secs(1);
        assert!(Status::of(&run, &seen, later).load_is_over(later));
        seen.job = None;
        let status = Status::of(&run, &seen, later);
        assert!(!status.load_is_over(later));
        assert!(matches!(status.state, State::Unreadable { .. }));
    }

    #[test]
    fn who_has_come_is_told_by_the_listing() {
        let iad: Vantage = "iad".parse().unwrap();
        let claim = ClaimId::new(&iad, 0, 7);
        let seen = glimpse(&[
            Item::Job,
            Item::Slot(iad.clone(), 0),
            Item::Slot("sjc".parse().unwrap(), 0),
            Item::Ready(claim),
            Item::Report(iad.clone()),
        ]);
        let status = Status::of(&"r1".parse().unwrap(), &seen, at(1));
        assert_eq!(status.expected, Some(2));
        assert_eq!(status.claimed.len(), 2);
        assert_eq!(status.ready, [iad.clone()].into());
        assert_eq!(status.reported, [iad].into());
        assert_eq!((status.objects, status.touched), (5, Some(at(1))));
    }
}
