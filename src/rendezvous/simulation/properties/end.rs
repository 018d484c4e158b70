//! How a run ends, whatever befell it.

use super::ensure;
use crate::job::{Timestamp, Workload};
use crate::rendezvous::coordinator::{Cleanup, End};
use crate::rendezvous::keys::{Item, RunKey, list_run};
use crate::rendezvous::simulation::process::Machine;
use crate::rendezvous::simulation::scenario::{Kind, end_of};
use crate::rendezvous::simulation::world::World;
use crate::rendezvous::status::{Glimpse, Status};

/// Whatever happened, each process ends.
pub(super) fn every_world_ends(world: &World) -> Result<(), String> {
    ensure(!world.endless, || "it goes on for ever".into())?;
    let on = world.processes.iter().position(|p| p.alive && !p.ended);
    match on {
        None => Ok(()),
        Some(p) => Err(format!(
            "{p} ({:?}) never ends",
            world.processes[p].casting.role
        )),
    }
}

/// Where the run stands at `now`, for those worlds in which that is asked.
pub(in crate::rendezvous::simulation) fn status(world: &World, now: Timestamp) -> Option<Status> {
    let asked =
        world.scenario.kind == Kind::Extinct || (world.scenario.seed / 10).is_multiple_of(4);
    if !asked {
        return None;
    }
    let run = &world.scenario.job.run;
    let object = |item| world.bucket.peek(&RunKey::new(run, item).key());
    let seen = Glimpse {
        listing: world.bucket.list(&list_run(run), now),
        job: object(Item::Job),
        start: object(Item::Start),
        abort: object(Item::Abort),
        combined: None,
    };
    Some(Status::of(run, &seen, now))
}

/// With all processes dead the run's state is terminal by deadline plus grace.
pub(super) fn the_state_is_terminal_by_deadline_plus_grace(world: &World) -> Result<(), String> {
    match &world.status_at_end {
        Some(status) if !status.is_terminal() => Err(format!("it is {:?}", status.state)),
        _ => Ok(()),
    }
}

/// A single trigger after that is enough for a result.
pub(super) fn a_trigger_after_the_end_is_enough(world: &World) -> Result<(), String> {
    let key = RunKey::new(&world.scenario.job.run, Item::Job).key();
    let over = end_of(&world.scenario.job);
    // A coordinator that was stopped may write a job when all its times are over.
    if world
        .bucket
        .peek(&key)
        .is_none_or(|job| job.last_modified >= over)
    {
        return Ok(());
    }
    for p in world.triggers() {
        let ends = world.history.finalized.iter().find(|f| f.process == p);
        match ends.map(|f| &f.result) {
            Some(Ok(_)) => {}
            Some(Err(e)) => return Err(format!("trigger {p}: {e}")),
            None => return Err(format!("trigger {p} has no result")),
        }
    }
    Ok(())
}

/// No owned room outlives its timeouts: whoever sees that all is in deletes it, and all
/// participants leave, so that the SFU closes what was empty for long enough.
pub(super) fn no_owned_room_outlives_its_timeouts(world: &World) -> Result<(), String> {
    let Workload::SharedRoom { existing_room, .. } = &world.scenario.job.workload;
    let deleted = |p: usize| world.history.deleted.iter().any(|(by, ..)| *by == p);
    for (p, process) in world.processes.iter().enumerate() {
        if let Machine::Coordinator(machine) = &process.machine
            && (matches!(machine.end(), Some(End::Over { .. }))
                || (p == 0
                    && machine.cleanup() != Cleanup::Keep
                    && matches!(machine.end(), Some(End::Failed(_)))))
            && process.ended
        {
            ensure(*existing_room || deleted(p), || {
                format!("{p} saw the end and left the room behind")
            })?;
        }
    }
    let stays = world.history.loads.iter().find(|load| load.to.is_none());
    match stays {
        None => Ok(()),
        Some(load) => Err(format!("{} never leaves the room", load.orders.claim)),
    }
}
