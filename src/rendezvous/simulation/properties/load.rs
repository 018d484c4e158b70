//! Who puts on load.

use std::collections::BTreeMap;

use super::{ensure, on, start};
use crate::clock::OffsetInterval;
use crate::job::{Fleet, Vantage, Workload};
use crate::rendezvous::admission::seated_by_arrival;
use crate::rendezvous::coordinator::{self, claims};
use crate::rendezvous::keys::{Folder, Item, RunKey};
use crate::rendezvous::objects::Slot;
use crate::rendezvous::simulation::bucket::{Answer, Call};
use crate::rendezvous::simulation::history::Load;
use crate::rendezvous::simulation::process::Machine;
use crate::rendezvous::simulation::world::World;
use crate::rendezvous::{RendezvousError, document};

/// Load on a slot comes only from the claim that the roster names, also with non-atomic creates
/// and paused processes.
pub(super) fn only_the_claim_that_the_roster_names_loads(world: &World) -> Result<(), String> {
    let start = start(world);
    for load in loads(world) {
        let claim = &load.orders.claim;
        let Some(start) = &start else {
            return Err(format!("{claim} loads without a valid start"));
        };
        let vantage = claim.vantage();
        let open = start.roster.is_empty() && matches!(load.orders.job.fleet, Fleet::Expect(_));
        let first = claim.k() == 0 && holds_its_slot(world, load);
        let seated = match start.roster.get(&vantage).map(|entry| &entry.claim) {
            Some(Some(named)) => named == claim,
            Some(None) => first,
            None => open && first && arrived(world).contains(&vantage),
        };
        ensure(seated, || format!("{claim} loads unseated"))?;
    }
    Ok(())
}

fn loads(world: &World) -> impl Iterator<Item = &Load> {
    let all = world.history.loads.iter();
    all.filter(|load| !on(world, load).is_empty())
}

fn holds_its_slot(world: &World, load: &Load) -> bool {
    let claim = &load.orders.claim;
    let item = Item::Slot(claim.vantage(), claim.k());
    let key = RunKey::new(&load.orders.job.run, item);
    let object = world.bucket.peek(&key.key());
    let slot = object.and_then(|o| document::read::<Slot>(&key, &o.body).ok());
    slot.is_some_and(|slot| slot.claim == *claim)
}

fn arrived(world: &World) -> Vec<Vantage> {
    let list = Call::List(Folder::Slots.list(&world.scenario.job.run));
    match world.bucket.clone().answer(world.now, list, false) {
        Answer::Listed(Ok(listing)) => seated_by_arrival(&claims(&listing), &world.scenario.job),
        _ => Vec::new(),
    }
}

/// No identity is live twice: a vantage's participants are one process'.
pub(super) fn no_identity_is_live_twice(world: &World) -> Result<(), String> {
    let mut by_vantage: BTreeMap<Vantage, Vec<&Load>> = BTreeMap::new();
    for load in &world.history.loads {
        let vantage = load.orders.claim.vantage();
        by_vantage.entry(vantage).or_default().push(load);
    }
    for (vantage, loads) in by_vantage {
        for (n, one) in loads.iter().enumerate() {
            for other in &loads[n + 1..] {
                let both = on(world, one)
                    .iter()
                    .any(|a| on(world, other).iter().any(|b| a.0 < b.1 && b.0 < a.1));
                ensure(!both, || {
                    format!(
                        "{} and {} both load for {vantage}",
                        one.process, other.process
                    )
                })?;
            }
        }
    }
    Ok(())
}

/// No join (self-test apart) before a valid start's settle period, after a cancel, or by a start
/// that came after `start_by`.
pub(super) fn nobody_joins_before_the_settle_period_of_a_valid_start(
    world: &World,
) -> Result<(), String> {
    let start = start(world);
    for load in loads(world) {
        let claim = &load.orders.claim;
        let first = start.as_ref().and_then(|s| s.tiers.first());
        let Some(first) = first else {
            return Err(format!("{claim} joins though no start counts"));
        };
        let width = load.reference.map_or(0, OffsetInterval::width_us);
        let shown = load.from.offset_micros(load.reference_us);
        // The midpoint of an interval is wrong by half its width at most; clocks drift meanwhile.
        let earliest = first.settle_from.offset_micros(-width / 2 - 50_000);
        ensure(shown >= earliest, || {
            format!("{claim} joins at {shown}, before {}", first.settle_from)
        })?;
    }
    Ok(())
}

/// All who read `start.json` decide alike, whoever was killed or delayed.
pub(super) fn all_who_read_the_start_decide_alike(world: &World) -> Result<(), String> {
    // Who read a job that was changed meanwhile has another start's verdict, which is a cancel.
    if !world.scenario.atomic || world.scenario.rewritten.is_some() {
        return Ok(());
    }
    let started = start(world).is_some();
    for (p, process) in world.processes.iter().enumerate() {
        let decided = match &process.machine {
            Machine::Prober(machine) => match machine.end() {
                Some(Err(RendezvousError::Cancelled { .. })) => Some(false),
                Some(Ok(_)) => Some(true),
                Some(Err(
                    RendezvousError::StartedWithout { .. } | RendezvousError::Declined { .. },
                )) => Some(true),
                _ => None,
            },
            Machine::Coordinator(machine) => match machine.end() {
                Some(coordinator::End::Over { .. } | coordinator::End::Detached(_)) => Some(true),
                Some(coordinator::End::Failed(
                    RendezvousError::Cancelled { .. }
                    | RendezvousError::NobodyCame { .. }
                    | RendezvousError::NobodyReady { .. },
                )) if world.bucket_has(Item::Start) => Some(false),
                _ => None,
            },
            Machine::Aborter(_) => None,
            Machine::Finalizer(machine) => match machine.end() {
                Some(Ok(finished)) => Some(finished.combined.start_at.is_some()),
                _ => None,
            },
        };
        ensure(decided.is_none_or(|d| d == started), || {
            format!("{p} decides that the run started: {decided:?}; it did: {started}")
        })?;
    }
    Ok(())
}

/// No foreign room is deleted, and none with participants.
pub(super) fn only_an_empty_room_of_the_runs_own_is_deleted(world: &World) -> Result<(), String> {
    let Workload::SharedRoom {
        room,
        existing_room,
        ..
    } = &world.scenario.job.workload;
    for (_, at, deleted) in &world.history.deleted {
        ensure(deleted == room && !existing_room, || {
            format!("{deleted} is deleted, which the run did not create")
        })?;
        if !world.scenario.atomic {
            continue;
        }
        for load in &world.history.loads {
            let later = on(world, load).into_iter().any(|(_, to)| to > *at);
            ensure(!later, || {
                format!("the room is deleted under {}", load.orders.claim)
            })?;
        }
    }
    Ok(())
}
