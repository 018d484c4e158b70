//! When load ends, and what clocks say.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ensure, on, start};
use crate::clock::{MAX_DRIFT_PPM, OffsetInterval};
use crate::job::Timestamp;
use crate::rendezvous::LEASE;
use crate::rendezvous::objects::ReferenceClock;
use crate::rendezvous::simulation::history::Load;
use crate::rendezvous::simulation::scenario::BEGIN;
use crate::rendezvous::simulation::world::World;

/// An abort is looked for every 8.5 s, and at once when a heartbeat is refused, of which there is
/// one every 5 s: with the answers on the way that is less than this.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);
/// An answer that came within five seconds may have left just before the abort.
const STILL_UNDER_WAY: Duration = Duration::from_secs(6);
/// For an answer that is waited for in vain, and participants that leave.
const SLACK: Duration = Duration::from_secs(2);

/// With the bucket reachable, load is 0 within a poll plus a heartbeat of an abort; when answers
/// are lost, within the lease.
pub(super) fn an_abort_ends_the_load(world: &World) -> Result<(), String> {
    let Some(aborted) = world.history.aborted_at else {
        return Ok(());
    };
    let within = if world.is_calm() {
        NOTICED_WITHIN
    } else {
        LEASE + SLACK
    };
    for load in &world.history.loads {
        for (from, to) in on(world, load) {
            // Who goes on after a stop asks then, if its lease has not ended.
            let asks = aborted.max(from).min(aborted + LEASE);
            ensure(to <= asks + within, || {
                format!(
                    "{} loads for {:?} after the abort",
                    load.orders.claim,
                    to.saturating_since(aborted)
                )
            })?;
        }
        ensure(load.ordered <= aborted + STILL_UNDER_WAY, || {
            format!("{} begins to load after the abort", load.orders.claim)
        })?;
    }
    Ok(())
}

/// With the bucket reachable, each prober that took a slot has left within ten seconds of an abort,
/// whatever it waited for.
pub(super) fn who_waits_leaves_within_ten_seconds_of_an_abort(world: &World) -> Result<(), String> {
    let Some(aborted) = world.history.aborted_at.filter(|_| world.is_calm()) else {
        return Ok(());
    };
    for (p, claimed) in &world.history.claimed {
        let process = &world.processes[*p];
        if !process.alive {
            continue;
        }
        // Who is stopped hears of it when it goes on.
        let goes_on = process.casting.clock.stopped.map(|(_, to)| BEGIN + to);
        let hears = goes_on.map_or(aborted, |t| t.max(aborted)).max(*claimed);
        let left = world.history.ended.get(p).copied();
        let left = left.unwrap_or(world.now).max(hears);
        ensure(left <= hears + NOTICED_WITHIN, || {
            let late = left.saturating_since(hears);
            format!("{p} is still there {late:?} after the abort")
        })?;
    }
    Ok(())
}

/// With the bucket silent or refusing for ever, load is 0 within the lease.
pub(super) fn a_silent_bucket_ends_the_load(world: &World) -> Result<(), String> {
    let Some(dark) = &world.scenario.dark else {
        return Ok(());
    };
    for load in &world.history.loads {
        for (_, to) in on(world, load) {
            ensure(to <= BEGIN + dark.after + LEASE + SLACK, || {
                format!("{} loads on in silence until {to}", load.orders.claim)
            })?;
        }
    }
    Ok(())
}

/// No load after the hard deadline plus the clock's width, under suspends, steps of an hour and
/// 500 ppm of drift.
pub(super) fn no_load_after_the_hard_deadline(world: &World) -> Result<(), String> {
    for load in &world.history.loads {
        let width =
            Duration::from_micros(load.reference.map_or(0, |i| i.width_us().unsigned_abs()));
        let deadline = load.orders.job.times.hard_deadline + width + SLACK;
        for (_, to) in on(world, load) {
            ensure(to <= deadline, || {
                format!("{} loads until {to}, after {deadline}", load.orders.claim)
            })?;
        }
    }
    Ok(())
}

/// The true offset always lies in the stated interval.
pub(super) fn the_true_offset_lies_in_the_interval(world: &World) -> Result<(), String> {
    for reading in &world.history.readings {
        let (p, clock, truth) = (reading.process, reading.clock, reading.truth_us);
        let Some(said) = reading.said else {
            return Err(format!("{p} loads without having read the {clock}'s clock"));
        };
        ensure(said.lo_us <= truth && truth <= said.hi_us, || {
            format!("{p}: the {clock}'s offset {truth} us is not in {said:?}")
        })?;
    }
    Ok(())
}

/// A prober whose node's clock is off by more is marked.
pub(super) fn who_meets_another_clock_is_marked(world: &World) -> Result<(), String> {
    let Some(start) = start(world).filter(|s| s.reference == ReferenceClock::Sfu) else {
        return Ok(());
    };
    for load in &world.history.loads {
        let stray = world.scenario.stray;
        let is_stray = stray.is_some_and(|(p, _)| p == load.process);
        let vantage = load.orders.claim.vantage();
        ensure(!is_stray || start.marked.contains_key(&vantage), || {
            format!("{vantage} goes by another node's clock ({stray:?} us) and is not marked")
        })?;
    }
    Ok(())
}

/// The windows of two unmarked probers start within the sum of their widths.
pub(super) fn windows_open_together(world: &World) -> Result<(), String> {
    let marked = start(world).map_or_else(BTreeMap::new, |start| start.marked);
    let loads = world.history.loads.iter();
    let tiers = loads
        .filter(|load| !marked.contains_key(&load.orders.claim.vantage()))
        .flat_map(|load| load.opens.iter().map(move |o| (o.0, o.1, load)));
    let mut by_tier: BTreeMap<u32, Vec<(Timestamp, &Load)>> = BTreeMap::new();
    for (tier, at, load) in tiers {
        by_tier.entry(tier).or_default().push((at, load));
    }
    for (tier, opens) in by_tier {
        // Each two of them: the one that opens last at the soonest, by its own width, and the one
        // that opens first at the latest.
        let room = |at: Timestamp, load: &Load| {
            Duration::from_micros(width(load).unsigned_abs()) + drift(load, at)
        };
        let last = opens.iter().max_by_key(|(at, load)| *at - room(*at, load));
        let first = opens.iter().min_by_key(|(at, load)| *at + room(*at, load));
        let Some(((first, a), (last, b))) = first.zip(last) else {
            continue;
        };
        let (apart, allowed) = (
            last.saturating_since(*first),
            room(*first, a) + room(*last, b),
        );
        ensure(apart <= allowed, || {
            format!(
                "tier {tier} opens {apart:?} apart at {} and {}, {allowed:?} allowed",
                a.orders.claim, b.orders.claim
            )
        })?;
    }
    Ok(())
}

fn width(load: &Load) -> i64 {
    load.reference.map_or(0, OffsetInterval::width_us)
}

/// What clocks may drift from the order to a window, and a microsecond's grain.
fn drift(load: &Load, at: Timestamp) -> Duration {
    at.saturating_since(load.ordered) * MAX_DRIFT_PPM / 1_000_000 + Duration::from_micros(100)
}

/// No prober shifts a window.
pub(super) fn no_prober_shifts_a_window(world: &World) -> Result<(), String> {
    for load in &world.history.loads {
        for (tier, (_, opens)) in load.orders.tiers.iter().zip(&load.opens) {
            let shown = opens.offset_micros(load.reference_us);
            let want = tier.plan.window.from;
            let off = shown
                .saturating_since(want)
                .max(want.saturating_since(shown));
            let half = Duration::from_micros((width(load) / 2).unsigned_abs());
            ensure(off <= half + drift(load, *opens), || {
                format!(
                    "{} opens tier {} {off:?} off",
                    load.orders.claim, tier.plan.tier
                )
            })?;
        }
    }
    Ok(())
}
