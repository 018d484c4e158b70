//! How much is asked of the bucket, and that all of it ends.

use super::ensure;
use crate::rendezvous::simulation::scenario::Role;
use crate::rendezvous::simulation::world::World;

/// A prober's requests beside its heartbeats, when none fails.
pub(in crate::rendezvous::simulation) const PER_PROBER: u64 = 60;
/// With failures: each is tried again.
const PER_PROBER_IN_STORMS: u64 = 250;
/// The requests of a second: one of each prober, and the coordinators'.
const PER_SECOND: u32 = 100;

/// Request budgets hold per prober.
pub(super) fn a_prober_asks_little(world: &World) -> Result<(), String> {
    let most = if world.is_calm() {
        PER_PROBER
    } else {
        PER_PROBER_IN_STORMS
    };
    for (p, process) in world.processes.iter().enumerate() {
        if let Role::Prober(vantage) = &process.casting.role {
            let asked = world.history.requests(p);
            ensure(asked.beside_heartbeats() <= most, || {
                format!("{p} ({vantage}) asks {asked:?}")
            })?;
        }
    }
    Ok(())
}

/// Request budgets hold per second of the fleet.
pub(super) fn a_fleet_asks_little_in_any_second(world: &World) -> Result<(), String> {
    let probers = world
        .processes
        .iter()
        .filter(|p| matches!(p.casting.role, Role::Prober(_)))
        .count();
    let most = PER_SECOND + u32::try_from(probers).unwrap();
    let seconds = world.history.each_second.iter();
    match seconds.enumerate().find(|(_, n)| **n > most) {
        None => Ok(()),
        Some((second, n)) => Err(format!("{n} requests in second {second}, at most {most}")),
    }
}

/// Request budgets hold for the finalizer under duplicated events: each trigger asks for what
/// there is, once.
pub(super) fn a_trigger_reads_each_object_once(world: &World) -> Result<(), String> {
    let objects = world.bucket.all().count() as u64;
    for p in world.triggers() {
        let asked = world.history.requests(p);
        ensure(asked.beside_heartbeats() <= objects + 10, || {
            format!("trigger {p} asks {asked:?} for {objects} objects")
        })?;
    }
    Ok(())
}
