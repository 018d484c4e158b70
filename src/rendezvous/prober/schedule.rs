//! What a prober may do in the time that it has: which tiers it joins, until when it may load.

use std::time::Duration;

use super::LocalTier;
use crate::clock::RunClock;
use crate::job::{Job, Timestamp};
use crate::load::{TierPlan, join_time};
use crate::prober::headcount;
use crate::rendezvous::admission::Seat;
use crate::rendezvous::reference::Clocks;

/// No load from then on: the first time that may be the hard deadline, or the process' own end.
pub(super) fn stop_at(
    job: &Job,
    must_end_by: Option<Timestamp>,
    clocks: &Clocks,
    now: Timestamp,
) -> Timestamp {
    let deadline = clocks.bucket.first_local(now, job.times.hard_deadline);
    must_end_by.map_or(deadline, |t| t.min(deadline))
}

/// Tiers as texts name them.
pub(super) fn tier_names(tiers: &[u32]) -> String {
    let names: Vec<String> = tiers
        .iter()
        .map(|n| match n {
            0 => "the baseline".to_owned(),
            n => format!("tier {n}"),
        })
        .collect();
    names.join(", ")
}

/// The tiers that a prober can still join properly by its clock: from the first on for which all
/// of its participants can join, at the job's rate, before the window opens. Of an earlier one it
/// abstains: half of them there would be load that nobody counts.
pub(super) fn joinable(
    tiers: &[TierPlan],
    clock: &RunClock,
    job: &Job,
    seat: Seat,
) -> Vec<LocalTier> {
    let (offset, now) = (clock.offset, clock.at);
    let late = match tiers.first() {
        Some(first) if planted!(LateShiftsWindows) => {
            now.saturating_since(offset.to_local(first.settle_from))
        }
        _ => Duration::ZERO,
    };
    tiers
        .iter()
        .map(|plan| LocalTier {
            plan: *plan,
            settle_from: if planted!(JoinsAtOnce) {
                now
            } else {
                offset.to_local(plan.settle_from) + late
            },
            from: offset.to_local(plan.window.from) + late,
            to: offset.to_local(plan.window.to) + late,
        })
        .skip_while(|tier| {
            let all = headcount(job, &tier.plan, seat.place);
            let joins = all.publishers.saturating_add(all.subscribers);
            let begin = now.max(tier.settle_from);
            begin + join_time(job.limits.join_rate, joins) > tier.from
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{OffsetInterval, Reading, ReferenceClock};
    use crate::job::JobSpec;
    use crate::load::{Place, schedule};
    use crate::rendezvous::sample::{T0, job};

    /// The first tier that a prober joins when it comes `late_ms` after the start of a run whose
    /// tiers settle for 5 s and last for 20.
    fn first_joined(ramp: &str, late_ms: u64) -> Option<u32> {
        let job = job(JobSpec {
            ramp: Some(ramp.parse().unwrap()),
            ..JobSpec::default()
        });
        let tiers = schedule(&job, T0);
        let seat = Seat {
            index: 0,
            fleet_size: 1,
            place: Place::alone(0, 1),
        };
        let clock = RunClock {
            at: T0 + Duration::from_millis(late_ms),
            by: ReferenceClock::Bucket,
            offset: OffsetInterval { lo_us: 0, hi_us: 0 },
            reading: Reading::default(),
        };
        let joined = joinable(&tiers, &clock, &job, seat);
        joined.first().map(|tier| tier.plan.tier)
    }

    #[test]
    fn a_late_prober_joins_the_first_tier_that_it_can_be_whole_in() {
        // At 20 joins a second, with a second to connect: 81 joins take 5 s.
        for (ramp, late_ms, first) in [
            ("10,25,50", 0, Some(0)),
            // Two participants take 1.05 s of the baseline's 5.
            ("10,25,50", 3_950, Some(0)),
            ("10,25,50", 3_951, Some(1)),
            // Tier 2's settle period begins at 50 s; 26 participants take 2.25 s.
            ("10,25,50", 52_750, Some(2)),
            ("10,25,50", 52_751, Some(3)),
            // 80 subscribers and the publisher fill the settle period to the last.
            ("80,100", 25_000, Some(1)),
            // None of them, if it would take 5.05 s or more.
            ("80,100", 25_001, None),
            ("10,80,20", 50_001, Some(3)),
        ] {
            assert_eq!(first_joined(ramp, late_ms), first, "{ramp} {late_ms}");
        }
    }
}
