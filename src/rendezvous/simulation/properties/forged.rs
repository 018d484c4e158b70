//! What bodies that nobody of the run wrote come to.

use super::ensure;
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::simulation::replay;
use crate::rendezvous::simulation::world::World;
use crate::report::Combined;
use crate::signature::SigningKey;

/// Copied, replayed, oversized, wrongly signed or too new bodies change nothing but the list of
/// rejections.
pub(super) fn a_forged_body_changes_the_rejections_alone(world: &World) -> Result<(), String> {
    let forged = &world.history.forged;
    if forged.is_empty() {
        return Ok(());
    }
    let run = &world.scenario.job.run;
    let mut with = world.bucket.clone();
    with.retain(|key| {
        let item = key.parse::<RunKey>().map(|key| key.item);
        !matches!(item, Ok(Item::Combined(_) | Item::Inputs(_)))
    });
    let mut without = with.clone();
    without.retain(|key| !forged.contains(key));
    let with = replay::finalize(with, run, world.now);
    let without = replay::finalize(without, run, world.now);
    let (Ok(with), Ok(mut without)) = (with, without) else {
        return Err("a forged body stands in the way of a result".to_owned());
    };
    for key in forged {
        let mut rejected = with.combined.rejected.iter();
        let listed = rejected.any(|r| r.object == *key);
        // In the place of a tier that its slot's report has, nobody looks.
        ensure(listed || reported(&without.combined, key), || {
            format!("{key} is not among {:?}", with.combined.rejected)
        })?;
    }
    without
        .combined
        .rejected
        .clone_from(&with.combined.rejected);
    ensure(without.combined == with.combined, || {
        format!("{forged:?} changed the report")
    })
}

/// Whether the slot's report has the tier at this key, and it counts or is rejected by its name.
fn reported(combined: &Combined, key: &str) -> bool {
    let Ok(Item::Tier(vantage, n)) = key.parse::<RunKey>().map(|key| key.item) else {
        return false;
    };
    let by_name = format!("tier {n} of {vantage}");
    let mut slots = combined.vantages.iter();
    slots.any(|s| s.vantage.as_ref() == Some(&vantage) && s.tiers.contains(&n))
        || combined.rejected.iter().any(|r| r.object == by_name)
}

/// Who has no ticket for a slot that is given by ticket does not take it, and puts no load on it.
pub(super) fn a_slot_with_a_ticket_is_its_holder_s(world: &World) -> Result<(), String> {
    for load in &world.history.loads {
        let claim = &load.orders.claim;
        let given = world.scenario.job.ticket_keys.get(&claim.vantage());
        let key = world.processes[load.process].key.as_ref();
        ensure(
            given.is_none_or(|k| Some(*k) == key.map(SigningKey::public)),
            || format!("{claim} loads without its slot's ticket"),
        )?;
    }
    Ok(())
}
