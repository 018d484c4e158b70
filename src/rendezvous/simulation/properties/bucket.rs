//! What stands in the bucket.

use std::collections::BTreeMap;

use super::ensure;
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::simulation::world::World;

/// Each create settles, finally, as one's own or another's.
pub(super) fn each_create_settles_finally(world: &World) -> Result<(), String> {
    if !world.scenario.atomic {
        return Ok(());
    }
    for create in &world.history.creates {
        if world.scenario.rewritten.is_some() && create.key.item == Item::Job {
            continue;
        }
        let stands = world.bucket.peek(&create.key.key()).map(|o| o.body);
        let is_mine = stands.as_ref() == Some(&create.body);
        ensure(is_mine == create.mine, || {
            format!(
                "{} is told that {} is its own: {}",
                create.process, create.key, create.mine
            )
        })?;
    }
    Ok(())
}

/// No tier of a slot has two accepted bodies.
pub(super) fn no_tier_has_two_accepted_bodies(world: &World) -> Result<(), String> {
    let mut accepted: BTreeMap<&RunKey, usize> = BTreeMap::new();
    for create in &world.history.creates {
        if create.mine && matches!(create.key.item, Item::Tier(..) | Item::Report(_)) {
            let before = accepted.insert(&create.key, create.process);
            ensure(before.is_none_or(|p| p == create.process), || {
                format!(
                    "{} is both {before:?}'s and {}'s",
                    create.key, create.process
                )
            })?;
        }
    }
    Ok(())
}

/// Only heartbeats are written over: a revision that could be read never changes, nor does
/// anything else.
pub(super) fn what_was_written_once_never_changes(world: &World) -> Result<(), String> {
    if let Some(key) = world.history.overwritten.first() {
        return Err(format!("{key} is written over"));
    }
    let may_change = |key: &str| {
        let by_others = world.scenario.rewritten.is_some() && key.ends_with("/job.json");
        key.contains("/live/") || by_others
    };
    let changed = world.bucket.rewritten.iter().find(|key| !may_change(key));
    match changed {
        Some(key) if world.scenario.atomic => Err(format!("{key} changed")),
        _ => Ok(()),
    }
}
