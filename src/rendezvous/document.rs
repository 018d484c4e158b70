//! Reading and writing a run's documents: the schema's version first, then the place it belongs to.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::RendezvousError;
use super::keys::{Item, RunKey};
use super::objects::{Abort, Frozen, Inputs, Live, Ready, Slot, StartDocument};
use crate::job::{ClaimId, Digest, Digested, Job, RunId, SCHEMA_MAJOR, SCHEMA_OLDEST};
use crate::report::part::{ReportPart, TierPart};
use crate::signature::SigningKey;

/// A document with a schema version and a place of its own.
pub trait Document: Serialize + DeserializeOwned + Clone + 'static {
    /// The major version of its schema.
    fn schema(&self) -> u32;

    /// The run that it says it belongs to.
    fn run(&self) -> &RunId;

    /// Whether it says it is the object at this key: a copy from elsewhere is not.
    fn is_at(&self, item: &Item) -> bool;
}

/// Reads a document from the body found at `key`. Unknown fields are ignored.
///
/// # Errors
/// [`RendezvousError::TooNew`] for a greater major version, else [`RendezvousError::Malformed`].
pub fn read<T: Document>(key: &RunKey, body: &[u8]) -> Result<T, RendezvousError> {
    #[cfg(test)]
    let document: T = super::simulation::remembered(body, || parse(key, body))?;
    #[cfg(not(test))]
    let document: T = parse(key, body)?;
    let other_run = *document.run() != key.run && !planted!(TakesReplays);
    let elsewhere = !document.is_at(&key.item) && !planted!(TakesCopies);
    if other_run || elsewhere {
        return Err(malformed(key, "it was written for another place"));
    }
    Ok(document)
}

/// A body's document, if its schema is one that this build reads.
fn parse<T: Document>(key: &RunKey, body: &[u8]) -> Result<T, RendezvousError> {
    #[derive(Deserialize)]
    struct Versioned {
        schema: u32,
    }
    // Large ones are read once: of another schema, the fields may be others as well.
    let read = serde_json::from_slice::<T>(body);
    let schema = match &read {
        Ok(document) => document.schema(),
        Err(_) => {
            let versioned: Versioned =
                serde_json::from_slice(body).map_err(|e| malformed(key, e))?;
            versioned.schema
        }
    };
    if schema > SCHEMA_MAJOR && !planted!(ReadsAnySchema) {
        return Err(RendezvousError::TooNew {
            key: key.to_string(),
            schema,
        });
    }
    if schema < SCHEMA_OLDEST {
        return Err(malformed(key, format!("schema {schema} was never written")));
    }
    read.map_err(|e| malformed(key, e))
}

fn malformed(key: &RunKey, why: impl ToString) -> RendezvousError {
    RendezvousError::Malformed {
        key: key.to_string(),
        why: why.to_string(),
    }
}

/// The same, with the body's digest.
///
/// # Errors
/// As [`read`].
pub fn read_digested<T: Document>(
    key: &RunKey,
    body: &[u8],
) -> Result<Digested<T>, RendezvousError> {
    Ok(Digested {
        document: read(key, body)?,
        digest: Digest::of(body),
    })
}

/// A document that is still to be written, with the digest of its body.
///
/// # Errors
/// As [`write()`].
pub fn digested<T: Document>(document: T) -> Result<Digested<T>, RendezvousError> {
    let digest = Digest::of(&write(&document)?);
    Ok(Digested { document, digest })
}

/// The body of a part, signed for its place.
///
/// # Errors
/// As [`write()`].
pub fn write_signed<T: Document>(
    part: &T,
    place: &RunKey,
    claim: &ClaimId,
    key: &SigningKey,
) -> Result<Bytes, RendezvousError> {
    let body = key
        .sign(&place.to_string(), claim, &json(part)?)
        .ok_or_else(|| RendezvousError::Internal(format!("{place} can't be signed")))?;
    #[cfg(test)]
    super::simulation::written(&body, part);
    Ok(body)
}

/// A document's body.
///
/// # Errors
/// Never for muster's own types; a number that JSON can't write would be one.
pub fn write<T: Document>(document: &T) -> Result<Bytes, RendezvousError> {
    let body = json(document).map(Bytes::from)?;
    #[cfg(test)]
    super::simulation::written(&body, document);
    Ok(body)
}

fn json<T: Document>(document: &T) -> Result<Vec<u8>, RendezvousError> {
    serde_json::to_vec(document).map_err(|e| RendezvousError::Malformed {
        key: document.run().to_string(),
        why: e.to_string(),
    })
}

/// A body's digest.
pub fn frozen(body: &[u8]) -> Frozen {
    Frozen {
        sha256: Digest::of(body),
        bytes: body.len() as u64,
    }
}

macro_rules! document {
    ($type:ty, |$this:ident, $item:ident| $is_at:expr) => {
        impl Document for $type {
            fn schema(&self) -> u32 {
                self.schema
            }
            fn run(&self) -> &RunId {
                &self.run
            }
            fn is_at(&self, $item: &Item) -> bool {
                let $this = self;
                $is_at
            }
        }
    };
}

document!(Job, |_this, item| matches!(item, Item::Job));
document!(StartDocument, |_this, item| matches!(item, Item::Start));
document!(Abort, |_this, item| matches!(item, Item::Abort));
document!(Slot, |this, item| matches!(item, Item::Slot(v, k)
    if *v == this.vantage && *v == this.claim.vantage() && *k == this.claim.k()));
document!(Ready, |this, item| matches!(item, Item::Ready(c)
    if *c == this.claim && this.vantage == c.vantage()));
document!(
    Live,
    |this, item| matches!(item, Item::Live(v) if *v == this.vantage)
);
document!(TierPart, |this, item| matches!(item, Item::Tier(v, n)
    if *v == this.vantage && *n == this.tier));
document!(ReportPart, |this, item| matches!(item, Item::Report(v)
    if *v == this.vantage && this.tiers.iter().all(|t| t.vantage == *v
        && t.claim == this.claim && t.run == this.run && t.job_sha256 == this.job_sha256)));
document!(
    Inputs,
    |this, item| matches!(item, Item::Inputs(r) if r.0 == this.revision)
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{ClaimId, WriteId};

    fn slot() -> (RunKey, Slot) {
        let vantage = "iad".parse().unwrap();
        let run = "r1".parse().unwrap();
        let slot = Slot {
            schema: SCHEMA_MAJOR,
            write_id: WriteId::from_u64(1),
            claim: ClaimId::new(&vantage, 0, 7),
            public_key: SigningKey::from_seed([1; 32]).unwrap().public(),
            build: "test".into(),
            run,
            vantage,
        };
        let key = RunKey::new(&slot.run, Item::Slot(slot.vantage.clone(), 0));
        (key, slot)
    }

    #[test]
    fn unknown_fields_are_ignored_and_other_majors_refused() {
        let (key, slot) = slot();
        let mut json = serde_json::to_value(&slot).unwrap();
        json["shoe_size"] = 43.into();
        let text = json.to_string();
        assert_eq!(read::<Slot>(&key, text.as_bytes()), Ok(slot));
        json["schema"] = 2.into();
        let e = read::<Slot>(&key, json.to_string().as_bytes()).unwrap_err();
        assert!(matches!(e, RendezvousError::TooNew { schema: 2, .. }));
        assert!(read::<Slot>(&key, b"{").is_err());
    }

    #[test]
    fn a_copy_from_elsewhere_is_none() {
        let (key, slot) = slot();
        let body = write(&slot).unwrap();
        for item in [
            Item::Slot("sjc".parse().unwrap(), 0),
            Item::Slot("iad".parse().unwrap(), 1),
        ] {
            assert!(read::<Slot>(&RunKey::new(&slot.run, item), &body).is_err());
        }
        let other = RunKey::new(&"r2".parse().unwrap(), key.item.clone());
        assert!(read::<Slot>(&other, &body).is_err());
        assert!(read::<Slot>(&key, &body).is_ok());
    }
}
