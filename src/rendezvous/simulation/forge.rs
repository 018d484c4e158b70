//! Bodies that nobody of the run wrote, put where a part of it could stand.

use bytes::Bytes;

use super::dice::Dice;
use super::memory;
use super::process::signing_key;
use super::properties;
use super::sfu;
use super::world::World;
use crate::job::{ClaimId, Digest, Vantage};
use crate::load::TierPlan;
use crate::rendezvous::document::{self, Document};
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::objects::{Slot, Start};
use crate::report::part::{Outcome, ReportPart, TierPart};
use crate::signature::SigningKey;
use crate::store::Key;

/// A body that is none of the run's own doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forgery {
    /// A part of another place, as it stands there.
    Copied,
    /// A part of another run, by the slot's own key.
    Replayed,
    /// A part by an earlier claim to the slot, which died and was taken over.
    EarlierClaim,
    /// A right part with nobody's signature, with that of another slot, with none.
    WronglySigned,
    AnothersKey,
    Unsigned,
    /// A right part, but for its schema, and for its size.
    TooNew,
    TooLarge,
    Garbage,
    /// At a key that no run has.
    Strange,
}

pub(super) const FORGERIES: [Forgery; 10] = [
    Forgery::Copied,
    Forgery::Replayed,
    Forgery::EarlierClaim,
    Forgery::WronglySigned,
    Forgery::AnothersKey,
    Forgery::Unsigned,
    Forgery::TooNew,
    Forgery::TooLarge,
    Forgery::Garbage,
    Forgery::Strange,
];

/// What a forged body passes itself off as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guise {
    Tier,
    Report,
}

/// Puts a forgery into the bucket, if there is a place for it; says where.
pub(super) fn forge(world: &mut World, forgery: Forgery, guise: Guise) -> Option<String> {
    let job = world.scenario.job.clone();
    let run = &job.run;
    let start = properties::start(world)?;
    let (claim, plan) = vacant(world, &start, guise)?;
    let place = RunKey::new(run, guise.item(claim.vantage(), plan.tier));
    let mut part = sfu::part(&job, &claim, &plan);
    let key = world.signer(&claim)?;
    let mut size = None;
    let body = match forgery {
        Forgery::Copied => copy(world, &claim, guise)?,
        Forgery::Replayed => {
            part.run = "another".parse().unwrap();
            part.job_sha256 = Digest::of(b"another");
            let there = RunKey::new(&part.run, place.item.clone());
            signed(guise, part, &there, &key)
        }
        Forgery::EarlierClaim => {
            let first = RunKey::new(run, Item::Slot(claim.vantage(), 0));
            let slot: Slot = document::read(&first, &world.bucket.peek(&first.key())?.body).ok()?;
            let key = world.signer(&slot.claim).filter(|_| slot.claim != claim)?;
            part.claim = slot.claim;
            signed(guise, part, &place, &key)
        }
        Forgery::WronglySigned => signed(guise, part, &place, &signing_key(0xbad)),
        Forgery::AnothersKey => {
            let all = start
                .roster
                .values()
                .filter_map(|entry| entry.claim.as_ref());
            let mut others = all.filter(|other| other.vantage() != claim.vantage());
            let key = others.find_map(|other| world.signer(other))?;
            signed(guise, part, &place, &key)
        }
        Forgery::Unsigned => unsigned(guise, part),
        Forgery::TooNew => {
            part.schema += 1;
            signed(guise, part, &place, &key)
        }
        Forgery::TooLarge => {
            size = Some(place.limit().0 + 1);
            signed(guise, part, &place, &key)
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

/// Writes another job over the run's, once that is there.
pub(super) fn rewrite_job(world: &mut World) {
    let key = RunKey::new(&world.scenario.job.run, Item::Job).key();
    if world.bucket.peek(&key).is_none() {
        return;
    }
    let mut job = world.scenario.job.document.clone();
    job.headroom_percent += 1;
    job.media.video_publishers += 1;
    let body = document::write(&job).unwrap();
    world.bucket.write(world.now, &key, body);
}

impl Guise {
    fn item(self, vantage: Vantage, tier: u32) -> Item {
        match self {
            Guise::Tier => Item::Tier(vantage, tier),
            Guise::Report => Item::Report(vantage),
        }
    }
}

/// A tier or a report that its prober has not written, and whose prober is dead: if there is no
/// such tier, that of a living one.
fn vacant(world: &World, start: &Start, guise: Guise) -> Option<(ClaimId, TierPlan)> {
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
            let place = RunKey::new(run, guise.item(vantage.clone(), plan.tier));
            if world.bucket.peek(&place.key()).is_none() {
                vacant.push((claim.clone(), *plan));
            }
        }
    }
    let dead = |claim: &ClaimId| {
        let mut alive = world.processes.iter().filter(|p| p.alive && !p.ended);
        !alive.any(|p| p.key.as_ref().is_some_and(|k| is_of(claim, k)))
    };
    if guise == Guise::Report || vacant.iter().any(|(claim, _)| dead(claim)) {
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

/// A part as it stands elsewhere: another tier of the same slot, or of another; another's report.
fn copy(world: &World, claim: &ClaimId, guise: Guise) -> Option<Bytes> {
    let parts = || {
        let genuine = world
            .bucket
            .all()
            .filter(|(k, _)| !world.history.forged.contains(*k));
        genuine.filter_map(
            |(key, body)| match (guise, key.parse::<RunKey>().ok()?.item) {
                (Guise::Tier, Item::Tier(vantage, _)) | (Guise::Report, Item::Report(vantage)) => {
                    Some((vantage, body.clone()))
                }
                _ => None,
            },
        )
    };
    let own = parts().find(|(vantage, _)| *vantage == claim.vantage());
    own.or_else(|| parts().next()).map(|(_, body)| body)
}

fn signed(guise: Guise, part: TierPart, place: &RunKey, key: &SigningKey) -> Bytes {
    fn sign<T: Document>(part: &T, claim: &ClaimId, place: &RunKey, key: &SigningKey) -> Bytes {
        let body = document::write_signed(part, place, claim, key).unwrap();
        memory::forget::<T>(&body);
        body
    }
    let claim = part.claim.clone();
    match guise {
        Guise::Tier => sign(&part, &claim, place, key),
        Guise::Report => sign(&report(part), &claim, place, key),
    }
}

fn unsigned(guise: Guise, part: TierPart) -> Bytes {
    fn write<T: Document>(part: &T) -> Bytes {
        let body = document::write(part).unwrap();
        memory::forget::<T>(&body);
        body
    }
    match guise {
        Guise::Tier => write(&part),
        Guise::Report => write(&report(part)),
    }
}

/// The report of a prober that measured one tier.
fn report(part: TierPart) -> ReportPart {
    ReportPart {
        schema: part.schema,
        write_id: part.write_id.clone(),
        run: part.run.clone(),
        job_sha256: part.job_sha256,
        vantage: part.vantage.clone(),
        claim: part.claim.clone(),
        finished_at: part.window.to,
        outcome: Outcome::Complete,
        stops: Vec::new(),
        build: "forged".to_owned(),
        requests: None,
        function: None,
        tiers: vec![part],
    }
}
