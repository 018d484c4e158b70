//! What a start decision means to whoever reads it: all who read it decide alike.

use std::collections::BTreeMap;

use super::objects::{Decision, Start, StartDocument};
use crate::job::{ClaimId, Digested, Fleet, Job, Timestamp, Vantage};
use crate::load::Place;

/// A start decision as it stands in the bucket.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The run takes place.
    Start(Box<Start>),
    /// It doesn't, and why.
    Cancelled(String),
}

/// Judges a start by the job that it was decided on, and by when it was stored, on the bucket's
/// clock (`Last-Modified`, whole seconds).
pub fn verdict(document: &StartDocument, stored: Timestamp, job: &Digested<Job>) -> Verdict {
    match &document.decision {
        Decision::Cancel { reason } => Verdict::Cancelled(reason.clone()),
        Decision::Start(_) if document.job_sha256 != job.digest && !planted!(ChangedJobStarts) => {
            Verdict::Cancelled(format!(
                "its job was changed: the start was decided on a job.json with SHA-256 {}, and this one has {}",
                document.job_sha256, job.digest
            ))
        }
        Decision::Start(_) if stored > job.times.start_by && !planted!(LateStartCounts) => {
            Verdict::Cancelled(format!(
                "its start was stored at {stored}, after {}",
                job.times.start_by
            ))
        }
        Decision::Start(start) => Verdict::Start(Box::new(start.clone())),
    }
}

/// A claim's place in a started run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Which of those that take part it is.
    pub index: u32,
    /// How many take part.
    pub fleet_size: u32,
    /// Its place in the division of the load.
    pub place: Place,
}

/// Whether a claim takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It does.
    Seated(Seat),
    /// Another claim does for its vantage.
    Replaced,
    /// Its vantage does not take part.
    Outside,
    /// The roster is open: the slots' listing decides ([`seat_by_arrival`]).
    ByArrival,
}

/// What a start's roster says of a claim.
pub fn admission(start: &Start, job: &Job, claim: &ClaimId) -> Admission {
    if start.roster.is_empty() && matches!(job.fleet, Fleet::Expect(_)) {
        return Admission::ByArrival;
    }
    let Some(entry) = start.roster.get(&claim.vantage()) else {
        return Admission::Outside;
    };
    let named = match &entry.claim {
        Some(named) => named == claim,
        None => claim.k() == 0,
    };
    if named || planted!(AnyClaimLoads) {
        Admission::Seated(Seat {
            index: entry.index,
            fleet_size: u32::try_from(start.roster.len()).unwrap_or(u32::MAX),
            place: Place::of(job, &claim.vantage(), start.roster.keys()),
        })
    } else {
        Admission::Replaced
    }
}

/// How many vantages the job takes whatever their labels, if the start has them all.
pub fn full(start: &Start, job: &Job) -> Option<u32> {
    match job.fleet {
        Fleet::Expect(expect) => {
            let seats = u32::try_from(start.roster.len());
            // An open roster is filled by the first to come.
            (start.roster.is_empty() || seats == Ok(expect)).then_some(expect)
        }
        Fleet::Vantages(_) => None,
    }
}

/// With an open roster, the first claims take part, as many as the job expects: by when each
/// slot's first claim was stored, then by label. Claims after `accept_until` don't count.
pub fn seat_by_arrival(
    claims: &BTreeMap<(Vantage, u32), Timestamp>,
    job: &Job,
    claim: &ClaimId,
) -> Admission {
    if claim.k() != 0 {
        return Admission::Replaced;
    }
    let seated = seated_by_arrival(claims, job);
    match (0u32..).zip(&seated).find(|(_, v)| **v == claim.vantage()) {
        Some((index, _)) => Admission::Seated(Seat {
            index,
            fleet_size: job.fleet.size(),
            place: Place::alone(index, job.fleet.size()),
        }),
        None => Admission::Outside,
    }
}

/// The vantages of an open roster, the first to come first.
pub fn seated_by_arrival(claims: &BTreeMap<(Vantage, u32), Timestamp>, job: &Job) -> Vec<Vantage> {
    let mut first: Vec<(Timestamp, Vantage)> = claims
        .iter()
        .filter(|((v, k), at)| *k == 0 && job.fleet.admits(v) && **at <= job.times.accept_until)
        .map(|((v, _), at)| (*at, v.clone()))
        .collect();
    first.sort();
    first.truncate(usize::try_from(job.fleet.size()).unwrap_or(usize::MAX));
    first.into_iter().map(|(_, v)| v).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{JobSpec, SCHEMA_MAJOR, WriteId, sample};
    use crate::load::schedule;
    use crate::rendezvous::document;
    use crate::rendezvous::objects::{ReferenceClock, RosterEntry};

    fn job() -> Digested<Job> {
        let spec = JobSpec {
            expect: Some(2),
            ..JobSpec::default()
        };
        document::digested(sample::job(spec, Timestamp::from_micros(0))).unwrap()
    }

    fn start(job: &Job, roster: &[(&str, Option<u64>)]) -> Start {
        let at = job.times.start_by;
        Start {
            roster: roster
                .iter()
                .zip(0..)
                .map(|((label, nonce), index)| {
                    let vantage: Vantage = label.parse().unwrap();
                    let claim = nonce.map(|n| ClaimId::new(&vantage, 0, n));
                    let entry = RosterEntry {
                        claim,
                        public_key: None,
                        index,
                    };
                    (vantage, entry)
                })
                .collect(),
            start_at: at,
            tiers: schedule(job, at),
            reference: ReferenceClock::Bucket,
            offset: None,
            marked: BTreeMap::new(),
            asked: None,
        }
    }

    fn claim(label: &str, k: u32, nonce: u64) -> ClaimId {
        ClaimId::new(&label.parse().unwrap(), k, nonce)
    }

    #[test]
    fn a_start_that_came_late_is_none() {
        let job = job();
        let document = StartDocument {
            schema: SCHEMA_MAJOR,
            write_id: WriteId::from_u64(2),
            run: job.run.clone(),
            job_sha256: job.digest,
            decision: Decision::Start(start(&job, &[("a", Some(1))])),
        };
        let by = job.times.start_by;
        assert!(matches!(verdict(&document, by, &job), Verdict::Start(_)));
        let late = by.offset_micros(1_000_000);
        assert!(matches!(
            verdict(&document, late, &job),
            Verdict::Cancelled(_)
        ));
    }

    #[test]
    fn a_start_of_another_job_is_none() {
        let job = job();
        let document = StartDocument {
            schema: SCHEMA_MAJOR,
            write_id: WriteId::from_u64(2),
            run: job.run.clone(),
            job_sha256: job.digest,
            decision: Decision::Start(start(&job, &[("a", Some(1))])),
        };
        let mut changed = job.document.clone();
        changed.limits.max_participants += 1;
        let changed = document::digested(changed).unwrap();
        let by = job.times.start_by;
        assert!(matches!(verdict(&document, by, &job), Verdict::Start(_)));
        match verdict(&document, by, &changed) {
            Verdict::Cancelled(why) => assert!(why.contains("was changed"), "{why}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_the_claim_that_the_roster_names_is_seated() {
        let job = job();
        let start = start(&job, &[("a", Some(1)), ("b", None)]);
        let seat = |index| {
            Admission::Seated(Seat {
                index,
                fleet_size: 2,
                place: Place::alone(index, 2),
            })
        };
        for (c, want) in [
            (claim("a", 0, 1), seat(0)),
            (claim("a", 0, 2), Admission::Replaced),
            (claim("a", 1, 1), Admission::Replaced),
            (claim("b", 0, 9), seat(1)),
            (claim("b", 1, 9), Admission::Replaced),
            (claim("c", 0, 1), Admission::Outside),
        ] {
            assert_eq!(admission(&start, &job, &c), want, "{c}");
        }
    }

    #[test]
    fn an_open_roster_seats_the_first_to_come() {
        let job = job();
        assert_eq!(
            admission(&start(&job, &[]), &job, &claim("a", 0, 1)),
            Admission::ByArrival
        );
        let at = Timestamp::from_micros;
        let claims = [("c", 0, 1), ("b", 0, 2), ("a", 0, 2), ("c", 1, 0)]
            .map(|(v, k, t)| ((v.parse().unwrap(), k), at(t)))
            .into();
        assert_eq!(
            seat_by_arrival(&claims, &job, &claim("a", 0, 1)),
            Admission::Seated(Seat {
                index: 1,
                fleet_size: 2,
                place: Place::alone(1, 2),
            })
        );
        assert_eq!(
            seat_by_arrival(&claims, &job, &claim("b", 0, 1)),
            Admission::Outside
        );
        assert_eq!(
            seat_by_arrival(&claims, &job, &claim("c", 1, 1)),
            Admission::Replaced
        );
    }
}
