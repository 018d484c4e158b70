//! The start decision: when the wait for the slots ends, who takes part, and when it begins.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Estimate;
use crate::job::{Fleet, Job, START_LEAD, Timestamp};
use crate::load::schedule;
use crate::rendezvous::exchange::start_lead;
use crate::rendezvous::objects::{Decision, ReferenceClock, Start};
use crate::rendezvous::reference::Clocks;
use crate::rendezvous::roster::{Call, Gathered, entries};
use crate::rendezvous::{LEASE, RendezvousError};

/// Where the wait for the slots stands.
pub(super) fn call(job: &Job, gathered: &Gathered, bucket: &Estimate, now: Timestamp) -> Call {
    // Better a moment too long than a slot too few: the wait is over when it surely is.
    let over = bucket.surely_past(now, job.times.accept_until);
    let silent = bucket.assumed(now).to_other(now) - LEASE;
    gathered.call(&job.fleet, over, silent)
}

/// What to write: a start for those who are ready, or a cancel.
pub(super) fn decision(
    job: &Job,
    gathered: &Gathered,
    clocks: &Clocks,
    now: Timestamp,
) -> Decision {
    let bucket = &clocks.bucket;
    if let Some(start_at) = job.times.start_at {
        let named = match &job.fleet {
            Fleet::Vantages(named) => named
                .iter()
                .map(|v| (v.clone(), (None, job.ticket_keys.get(v).copied())))
                .collect(),
            Fleet::Expect(_) => BTreeMap::new(),
        };
        return Decision::Start(Start {
            roster: entries(named),
            start_at,
            tiers: schedule(job, start_at),
            reference: ReferenceClock::Bucket,
            offset: None,
            marked: BTreeMap::new(),
            asked: None,
        });
    }
    match call(job, gathered, bucket, now) {
        Call::Start(roster) => {
            let bucket_now = clocks.bucket_now(now);
            let waited = gathered
                .ready_since(&roster)
                .map_or(Duration::ZERO, |since| bucket_now.saturating_since(since));
            // The hard deadline counts on a start no later than this.
            let latest = job.times.start_by + START_LEAD;
            let at = (bucket_now + start_lead(waited).max(START_LEAD)).min(latest);
            let at = if planted!(StartsAtOnce) {
                bucket_now
            } else {
                at
            };
            let own = clocks.reading(now);
            let width_max = job.limits.clock_width.0;
            let reference = gathered.reference(&roster, &own, width_max, bucket_now);
            let start_at = reference.offset().to_other(at);
            Decision::Start(Start {
                roster: entries(
                    roster
                        .into_iter()
                        .map(|(v, c)| {
                            let key = gathered.keys.get(&c).copied();
                            (v, (Some(c), key))
                        })
                        .collect(),
                ),
                start_at,
                tiers: schedule(job, start_at),
                reference: reference.clock,
                offset: reference.offset,
                marked: reference.marked,
                asked: None,
            })
        }
        call => Decision::Cancel {
            reason: no_start(job, call).to_string(),
        },
    }
}

/// Why a run did not start.
pub(super) fn no_start(job: &Job, call: Call) -> RendezvousError {
    let run = job.run.clone();
    match call {
        Call::NobodyReady(reasons) => RendezvousError::NobodyReady { run, reasons },
        _ => RendezvousError::NobodyCame {
            run,
            waited: job.times.accept_until.saturating_since(job.created_at),
        },
    }
}
