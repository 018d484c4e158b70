//! What finalizers make of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{ensure, start};
use crate::job::Vantage;
use crate::load::Verdict;
use crate::rendezvous::document;
use crate::rendezvous::finalizer::Finished;
use crate::rendezvous::keys::{Item, Revision, RunKey};
use crate::rendezvous::objects::Inputs;
use crate::rendezvous::simulation::dice::Dice;
use crate::rendezvous::simulation::process::Machine;
use crate::rendezvous::simulation::replay;
use crate::rendezvous::simulation::scenario::Kind;
use crate::rendezvous::simulation::world::World;
use crate::report::Combined;
use crate::report::combined::{RunVerdict, SlotState};
use crate::report::part::{Outcome, TierPart};

/// Any order, duplication, concurrency or crash of finalizers gives byte-equal outputs per
/// revision, and a revision that could be read never changes.
pub(super) fn a_revision_is_the_same_bytes_whoever_makes_it(world: &World) -> Result<(), String> {
    if !world.scenario.atomic {
        return Ok(());
    }
    for create in &world.history.creates {
        let combined = matches!(create.key.item, Item::Combined(_));
        ensure(!combined || create.mine, || {
            format!("{} made other bytes for {}", create.process, create.key)
        })?;
    }
    for (p, finished) in finished(world) {
        let key = RunKey::new(&world.scenario.job.run, Item::Combined(finished.revision));
        let stored = world.bucket.peek(&key.key()).map(|o| o.body);
        ensure(stored.as_ref() == Some(&finished.body), || {
            format!("{p} was told another revision {}", finished.revision.0)
        })?;
    }
    Ok(())
}

fn finished(world: &World) -> impl Iterator<Item = (usize, &Finished)> {
    let all = world.history.finalized.iter();
    all.filter_map(|f| Some((f.process, f.result.as_ref().ok()?)))
}

fn last(world: &World) -> Option<&Finished> {
    finished(world).map(|(_, f)| f).max_by_key(|f| f.revision)
}

/// Outputs are pure functions of the job, the start and the inputs: who computes a revision from
/// these alone gets the same bytes.
pub(super) fn a_revision_is_made_of_what_was_frozen(world: &World) -> Result<(), String> {
    let Some(last) = last(world).filter(|_| sampled(world, 8)) else {
        return Ok(());
    };
    let run = &world.scenario.job.run;
    let Some(inputs) = inputs(world, Revision::FIRST) else {
        return Ok(());
    };
    let mut bucket = world.bucket.clone();
    bucket.retain(|key| match key.parse::<RunKey>().map(|key| key.item) {
        Ok(Item::Combined(_)) => false,
        Ok(Item::Inputs(revision)) => revision == Revision::FIRST,
        Ok(Item::Tier(..) | Item::Report(_)) => inputs.parts.contains_key(key),
        _ => true,
    });
    let key = RunKey::new(run, Item::Combined(Revision::FIRST)).key();
    let stored = world.bucket.peek(&key).map(|o| o.body);
    match replay::finalize(bucket, run, world.now) {
        Ok(again) => ensure(stored.is_none_or(|body| body == again.body), || {
            "the frozen inputs give another report".to_owned()
        }),
        Err(e) => Err(format!(
            "revision {} can't be made again: {e}",
            last.revision.0
        )),
    }
}

/// Whether a costly property is asked in this world.
fn sampled(world: &World, one_in: u64) -> bool {
    (world.scenario.seed / 10).is_multiple_of(one_in) && world.scenario.atomic
}

fn inputs(world: &World, revision: Revision) -> Option<Inputs> {
    let key = RunKey::new(&world.scenario.job.run, Item::Inputs(revision));
    document::read(&key, &world.bucket.peek(&key.key())?.body).ok()
}

/// The places of parts that stand in the bucket.
fn places(world: &World) -> impl Iterator<Item = RunKey> {
    let keys = world.bucket.all().filter_map(|(key, _)| key.parse().ok());
    keys.filter(|key: &RunKey| matches!(key.item, Item::Tier(..) | Item::Report(_)))
}

/// Each valid part counts once or is listed late (the next revision counts it); each rejected one
/// has its reason.
pub(super) fn each_part_counts_once_or_is_listed_with_its_reason(
    world: &World,
) -> Result<(), String> {
    let Some(last) = last(world).filter(|_| world.scenario.dark.is_none()) else {
        return Ok(());
    };
    let combined = &last.combined;
    for rejection in &combined.rejected {
        ensure(!rejection.reason.is_empty(), || {
            format!("{} is rejected without a reason", rejection.object)
        })?;
    }
    let counted = counted(combined);
    let listed: BTreeSet<&str> = combined
        .rejected
        .iter()
        .map(|r| r.object.as_str())
        .collect();
    for key in places(world) {
        let text = key.to_string();
        let (vantage, counts) = match &key.item {
            Item::Tier(v, n) => (v, counted.get(v).is_some_and(|tiers| tiers.contains(n))),
            Item::Report(v) => (v, reported(combined, v)),
            _ => continue,
        };
        let by_name = match &key.item {
            Item::Tier(v, n) => format!("tier {n} of {v}"),
            _ => format!("report of {vantage}"),
        };
        let forged = world.history.forged.contains(&text);
        let rejected = listed.contains(text.as_str()) || listed.contains(by_name.as_str());
        // The tiers count of who has a forged report: it has a property of its own.
        if forged && matches!(key.item, Item::Report(_)) {
            continue;
        }
        // One that comes when all is frozen makes no revision.
        ensure(counts != rejected || forged && !counts, || {
            format!("{text} counts: {counts}; is listed: {rejected}")
        })?;
    }
    Ok(())
}

fn counted(combined: &Combined) -> BTreeMap<Vantage, BTreeSet<u32>> {
    let slots = combined.vantages.iter();
    slots
        .filter_map(|s| Some((s.vantage.clone()?, s.tiers.iter().copied().collect())))
        .collect()
}

fn reported(combined: &Combined, vantage: &Vantage) -> bool {
    let mut slots = combined.vantages.iter();
    slots.any(|s| s.vantage.as_ref() == Some(vantage) && s.state != SlotState::Dropped)
}

/// Each slot is exactly one of complete, partial, dropped.
pub(super) fn each_slot_is_one_thing(world: &World) -> Result<(), String> {
    let Some(last) = last(world).filter(|_| world.scenario.dark.is_none()) else {
        return Ok(());
    };
    let slots = &last.combined.vantages;
    let labels: Vec<&Vantage> = slots.iter().filter_map(|v| v.vantage.as_ref()).collect();
    let once: BTreeSet<&Vantage> = labels.iter().copied().collect();
    ensure(once.len() == labels.len(), || {
        format!("a slot is two things: {labels:?}")
    })?;
    let expected = usize::try_from(world.scenario.job.fleet.size()).unwrap();
    ensure(slots.len() >= expected, || {
        format!("{} slots of {expected} are something", slots.len())
    })?;
    for (p, process) in world.processes.iter().enumerate() {
        let Machine::Prober(machine) = &process.machine else {
            continue;
        };
        let Some(Ok(ended)) = machine.end() else {
            continue;
        };
        let vantage = ended.claim.vantage();
        let slot = slots.iter().find(|v| v.vantage.as_ref() == Some(&vantage));
        let rejected = last.combined.rejected.iter();
        if rejected
            .clone()
            .any(|r| r.vantage.as_ref() == Some(&vantage))
        {
            continue;
        }
        let want = if ended.outcome == Outcome::Complete {
            SlotState::Complete
        } else {
            SlotState::Partial
        };
        let right = slot.is_some_and(|s| s.state == want && s.tiers == ended.tiers);
        ensure(right, || {
            format!(
                "{p} measured {:?}, {:?}, and is {slot:?}",
                ended.tiers, ended.outcome
            )
        })?;
    }
    Ok(())
}

/// A vantage of several probers has each of its slots in a tier, measured or missing, and what was
/// asked of it is what was asked of those that measured.
pub(super) fn a_vantage_is_all_of_its_probers(world: &World) -> Result<(), String> {
    let Some(last) = last(world) else {
        return Ok(());
    };
    let slots = world.scenario.job.fleet.named();
    for tier in &last.combined.tiers {
        for row in tier.rows.iter().filter(|row| !row.probers.is_empty()) {
            let of_place = |slot: &&Vantage| slot.place_str() == row.vantage.as_str();
            let all: BTreeSet<&Vantage> = slots.iter().filter(of_place).collect();
            let measured = row.probers.iter().map(|prober| &prober.vantage);
            let told: Vec<&Vantage> = measured.chain(&row.missing).collect();
            let once: BTreeSet<&Vantage> = told.iter().copied().collect();
            ensure(once == all && once.len() == told.len(), || {
                format!("tier {}: of {all:?} it tells of {told:?}", tier.tier)
            })?;
            let asked = row.probers.iter().map(|prober| prober.figures.requested);
            let sum = asked.fold((0, 0), |sum, one| {
                (sum.0 + one.publishers, sum.1 + one.subscribers)
            });
            let of_all = row.figures.requested;
            ensure(sum == (of_all.publishers, of_all.subscribers), || {
                format!(
                    "tier {} at {}: {sum:?} are {of_all:?}",
                    tier.tier, row.vantage
                )
            })?;
        }
    }
    Ok(())
}

/// No sample from outside a window counts.
pub(super) fn nothing_from_outside_a_window_counts(world: &World) -> Result<(), String> {
    let Some(last) = last(world) else {
        return Ok(());
    };
    let counted = counted(&last.combined);
    for key in places(world) {
        let Item::Tier(vantage, n) = &key.item else {
            continue;
        };
        if !counted.get(vantage).is_some_and(|tiers| tiers.contains(n)) {
            continue;
        }
        let Some(object) = world.bucket.peek(&key.key()) else {
            continue;
        };
        // Its slot's report has the one that counts.
        if world.history.forged.contains(&key.to_string()) {
            continue;
        }
        let Ok(part) = document::read::<TierPart>(&key, &object.body) else {
            continue;
        };
        let after = part.measured.to.saturating_since(part.window.to);
        ensure(after.as_secs() <= 1, || {
            format!("{key} counts, with {after:?} after its window")
        })?;
    }
    Ok(())
}

/// Taking parts away never turns fail or unknown into pass.
pub(super) fn taking_parts_away_makes_no_pass(world: &World) -> Result<(), String> {
    let passes = |c: &Combined| c.verdict == RunVerdict::Passed;
    if let Some(last) = last(world).filter(|f| passes(&f.combined)) {
        let slots = &last.combined.vantages;
        // A prober that measured every tier and lost but its report has all of its say.
        let all = last.combined.tiers.len();
        let short = slots.iter().find(|s| s.tiers.len() < all);
        ensure(short.is_none(), || format!("it passes without {short:?}"))?;
    }
    if !sampled(world, 6) || start(world).is_none() {
        return Ok(());
    }
    let run = &world.scenario.job.run;
    let mut bucket = world.bucket.clone();
    bucket.retain(|key| {
        let item = key.parse::<RunKey>().map(|key| key.item);
        !matches!(item, Ok(Item::Combined(_) | Item::Inputs(_)))
    });
    // Where nothing was in the way, the last revision counts all that came.
    let counted = last(world).filter(|_| world.scenario.dark.is_none());
    let all = match counted {
        Some(last) => last.combined.clone(),
        None => match replay::finalize(bucket.clone(), run, world.now) {
            Ok(all) => all.combined,
            Err(_) => return Ok(()),
        },
    };
    let mut dice = Dice(world.scenario.seed);
    let gone: BTreeSet<Vantage> = places(world)
        .filter_map(|key| match key.item {
            Item::Report(vantage) => dice.chance(50).then_some(vantage),
            _ => None,
        })
        .collect();
    bucket.retain(|key| match key.parse::<RunKey>().map(|key| key.item) {
        Ok(Item::Report(v)) => !gone.contains(&v),
        // Without its report a vantage's own tiers count: some of them go as well.
        Ok(Item::Tier(v, n)) => !gone.contains(&v) || n == 0,
        _ => true,
    });
    let Ok(fewer) = replay::finalize(bucket, run, world.now) else {
        return Ok(());
    };
    ensure(passes(&all) || !passes(&fewer.combined), || {
        format!("without {gone:?} the run passes")
    })?;
    for (before, after) in all.tiers.iter().zip(&fewer.combined.tiers) {
        let held = |verdict| verdict == Verdict::Held;
        ensure(held(before.verdict) || !held(after.verdict), || {
            format!("without {gone:?} tier {} holds", before.tier)
        })?;
    }
    Ok(())
}

/// Where only clocks are wrong, every slot measures every tier.
pub(super) fn a_calm_run_is_measured_whole(world: &World) -> Result<(), String> {
    if world.scenario.kind != Kind::Calm {
        return Ok(());
    }
    let Some(last) = last(world) else {
        return Err("there is no result".to_owned());
    };
    let slots = &last.combined.vantages;
    let short = slots.iter().find(|s| s.state != SlotState::Complete);
    match short {
        None => Ok(()),
        Some(slot) => Err(format!("{slot:?}")),
    }
}
