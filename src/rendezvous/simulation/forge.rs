//! Bodies that nobody of the run wrote, put where a part of it could stand.

use bytes::Bytes;

use super::dice::Dice;
use super::memory;
use super::process::signing_key;
use super::properties;
use super::scenario::Forgery;
use super::sfu;
use super::world::World;
use crate::job::{ClaimId, Digest};
use crate::load::TierPlan;
use crate::rendezvous::document;
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::objects::{Slot, Start};
use crate::report::part::TierPart;
use crate::signature::SigningKey;
use crate::store::Key;

/// Puts a forgery into the bucket, if there is a place for it; says where.
pub(super) fn forge(world: &mut World, forgery: Forgery) -> Option<String> {
    let job = world.scenario.job.clone();
    let run = &job.run;
    let start = properties::start(world)?;
    let (claim, plan) = vacant(world, &start)?;
    let place = RunKey::new(run, Item::Tier(claim.vantage(), plan.tier));
    let mut part = sfu::part(&job, &claim, &plan);
    let key = world.signer(&claim)?;
    let mut size = None;
    let body = match forgery {
        Forgery::Copied => copy(world, &claim)?,
        Forgery::Replayed => {
            part.run = "another".parse().unwrap();
            part.job_sha256 = Digest::of(b"another");
            let there = RunKey::new(&part.run, place.item.clone());
            signed(&part, &there, &key)
        }
        Forgery::EarlierClaim => {
            let first = RunKey::new(run, Item::Slot(claim.vantage(), 0));
            let slot: Slot = document::read(&first, &world.bucket.peek(&first.key())?.body).ok()?;
            let key = world.signer(&slot.claim).filter(|_| slot.claim != claim)?;
            part.claim = slot.claim;
            signed(&part, &place, &key)
        }
        Forgery::WronglySigned => signed(&part, &place, &signing_key(0xbad)),
        Forgery::TooNew => {
            part.schema += 1;
            signed(&part, &place, &key)
        }
        Forgery::TooLarge => {
            size = Some(place.limit().0 + 1);
            signed(&part, &place, &key)
        }
        Forgery::Garbage => Bytes::from_static(b"{\"schema\":1,\"tier\":"),
        Forgery::Strange => {
            let key: Key = format!("runs/{run}/tiers/job.exe").parse().ok()?;
            world.bucket.write(world.now, &key, Bytes::new());
            return Some(key.as_str().to_owned());
        }
    };
    world
        .bucket
        .write_sized(world.now, &place.key(), body, size);
    Some(place.to_string())
}

/// A tier that its prober has not written, and if there is one, whose prober is dead.
fn vacant(world: &World, start: &Start) -> Option<(ClaimId, TierPlan)> {
    let run = &world.scenario.job.run;
    let mut vacant = Vec::new();
    for (vantage, entry) in &start.roster {
        let first = RunKey::new(run, Item::Slot(vantage.clone(), 0));
        let slot = || {
            let body = world.bucket.peek(&first.key())?.body;
            Some(document::read::<Slot>(&first, &body).ok()?.claim)
        };
        let Some(claim) = entry.claim.clone().or_else(slot) else {
            continue;
        };
        for plan in &start.tiers {
            let place = RunKey::new(run, Item::Tier(vantage.clone(), plan.tier));
            if world.bucket.peek(&place.key()).is_none() {
                vacant.push((claim.clone(), *plan));
            }
        }
    }
    let dead = |claim: &ClaimId| {
        let mut alive = world.processes.iter().filter(|p| p.alive && !p.ended);
        !alive.any(|p| p.key.as_ref().is_some_and(|k| is_of(claim, k)))
    };
    if vacant.iter().any(|(claim, _)| dead(claim)) {
        vacant.retain(|(claim, _)| dead(claim));
    }
    let nth =
        Dice(world.scenario.seed ^ world.now.as_micros().unsigned_abs()).roll(vacant.len() as u64);
    vacant.into_iter().nth(usize::try_from(nth).ok()?)
}

/// Whether a claim was made with a key.
pub(super) fn is_of(claim: &ClaimId, key: &SigningKey) -> bool {
    ClaimId::new(&claim.vantage(), claim.k(), key.public().nonce()) == *claim
}

/// A part as it stands elsewhere: another tier of the same slot, or of another.
fn copy(world: &World, claim: &ClaimId) -> Option<Bytes> {
    let tiers = || {
        let genuine = world
            .bucket
            .all()
            .filter(|(k, _)| !world.history.forged.contains(*k));
        genuine.filter_map(|(key, body)| match key.parse::<RunKey>().ok()?.item {
            Item::Tier(vantage, _) => Some((vantage, body.clone())),
            _ => None,
        })
    };
    let own = tiers().find(|(vantage, _)| *vantage == claim.vantage());
    own.or_else(|| tiers().next()).map(|(_, body)| body)
}

fn signed(part: &TierPart, place: &RunKey, key: &SigningKey) -> Bytes {
    let body = document::write_signed(part, place, &part.claim, key).unwrap();
    memory::forget::<TierPart>(&body);
    body
}
