//! Bodies that nobody of the run wrote, put where nobody writes.

use bytes::Bytes;

use super::memory;
use super::process::signing_key;
use super::scenario::{Forgery, label};
use super::world::World;
use crate::job::Vantage;
use crate::rendezvous::document;
use crate::rendezvous::keys::{Item, RunKey};
use crate::report::part::TierPart;
use crate::signature::SigningKey;
use crate::store::Key;

/// Puts a forgery into the bucket, if there is something to forge; says where.
pub(super) fn forge(world: &mut World, forgery: Forgery) -> Option<String> {
    let run = world.scenario.job.run.clone();
    let (source, body) = world.bucket.all().find_map(|(key, body)| {
        let key: RunKey = key.parse().ok()?;
        matches!(key.item, Item::Tier(..)).then(|| (key, body.clone()))
    })?;
    let Item::Tier(owner, _) = source.item.clone() else {
        return None;
    };
    let part: TierPart = document::read(&source, &body).ok()?;
    let place = |n: u32| RunKey::new(&run, Item::Tier(owner.clone(), n));
    let mut size = None;
    let (key, body) = match forgery {
        // As it is, at the place of a vantage that takes no part.
        Forgery::Copied => {
            let ghost: Vantage = label(99);
            (RunKey::new(&run, Item::Tier(ghost, part.tier)), body)
        }
        Forgery::Replayed => {
            let mut part = part;
            part.run = "another".parse().unwrap();
            part.tier = 71;
            (place(71), signed(&part, &place(71)))
        }
        Forgery::WronglySigned => {
            let mut part = part;
            part.tier = 72;
            (place(72), signed(&part, &place(72)))
        }
        Forgery::TooNew => {
            let mut part = part;
            (part.tier, part.schema) = (73, 2);
            let signer = world.signer(&part.claim)?;
            (place(73), signed_by(&part, &place(73), &signer))
        }
        Forgery::TooLarge => {
            size = Some(place(74).limit().0 + 1);
            (place(74), body)
        }
        Forgery::Garbage => (place(75), Bytes::from_static(b"{\"schema\":1,\"tier\":")),
        Forgery::Strange => {
            let key: Key = format!("runs/{run}/tiers/job.exe").parse().ok()?;
            world.bucket.write(world.now, &key, body);
            return Some(key.as_str().to_owned());
        }
    };
    world.bucket.write_sized(world.now, &key.key(), body, size);
    Some(key.to_string())
}

/// By a key that no slot has.
fn signed(part: &TierPart, place: &RunKey) -> Bytes {
    signed_by(part, place, &signing_key(0xbad))
}

fn signed_by(part: &TierPart, place: &RunKey, key: &SigningKey) -> Bytes {
    let body = document::write_signed(part, place, &part.claim, key).unwrap();
    memory::forget::<TierPart>(&body);
    body
}
