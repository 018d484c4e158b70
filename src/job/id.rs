//! The names of runs, vantages, claims.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Timestamp;

/// Why a text can't be an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: {rule}")]
pub struct IdError {
    what: &'static str,
    text: String,
    rule: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $ok:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text of this id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(s: &str) -> Result<Self, IdError> {
                let ok: fn(&str) -> bool = $ok;
                if ok(s) {
                    Ok(Self(s.to_owned()))
                } else {
                    Err(IdError { what: $what, text: s.to_owned(), rule: $rule })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

fn word(s: &str, max: usize) -> bool {
    for b in s.as_bytes() {
        if !matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-') {
            return false;
        }
    }
    !s.is_empty() && s.len() <= max && !s.starts_with('-')
}

fn lower_hex(b: u8) -> bool {
    b.is_ascii_digit() || (b'a'..=b'f').contains(&b)
}

id!(
    /// One execution of one job. Ids that muster makes sort by time
    /// (`20261122-071339-4f9c2a`).
    RunId,
    "run id",
    "use 1 to 64 of a-z, 0-9 and -, starting with a letter or digit",
    |s| word(s, 64)
);

id!(
    /// The label of a place that probes from (`iad`, `eu-west-1`), which is its slot's as well
    /// when it has one prober; or of the slot of one of its several probers (`iad/1`). Unique
    /// within a run.
    Vantage,
    "vantage label",
    "use 1 to 40 of a-z, 0-9 and -, starting with a letter or digit; then /0 to /999 for one of its several probers",
    |s| match s.split_once(PROBER) {
        None => word(s, LABEL_MAX),
        Some((place, prober)) => word(place, LABEL_MAX) && number(prober).is_some_and(|n| n < PROBERS_MAX),
    }
);

id!(
    /// A prober's claim to its slot, unique per process (`iad.0.9f8e7d6c5b4a`; of slot `iad/1`
    /// it is `iad_1.0.9f8e7d6c5b4a`).
    ClaimId,
    "claim",
    "it reads {vantage}.{k}.{12 digits of 0-9 and a-f}",
    |s| {
        let mut parts = s.rsplitn(3, '.');
        let (nonce, k, vantage) = (parts.next(), parts.next(), parts.next());
        nonce.is_some_and(|n| n.len() == 12 && n.bytes().all(lower_hex))
            && k.is_some_and(|k| number(k).is_some())
            && vantage.is_some_and(|v| Vantage::from_name(v).is_some())
    }
);

/// What stands between a vantage's label and the number of one of its probers.
const PROBER: char = '/';
/// What stands there in an object's key, a claim, a participant's identity. No label has it.
const PROBER_IN_NAMES: char = '_';
/// The most bytes of a vantage's own label.
const LABEL_MAX: usize = 40;
/// The most probers of one vantage.
pub const PROBERS_MAX: u32 = 1_000;

/// A number in its one spelling.
pub(crate) fn number(text: &str) -> Option<u32> {
    let other = text.starts_with('+') || text.len() > 1 && text.starts_with('0');
    if other { None } else { text.parse().ok() }
}

impl Vantage {
    /// The vantage itself: `iad` of `iad/1`.
    #[must_use]
    pub fn place(&self) -> Vantage {
        Vantage(self.place_str().to_owned())
    }

    /// The same as text.
    pub fn place_str(&self) -> &str {
        self.0
            .split_once(PROBER)
            .map_or(&self.0, |(place, _)| place)
    }

    /// Which of its vantage's several probers this slot is for, from 0; `None` when it is the
    /// vantage itself.
    pub fn prober(&self) -> Option<u32> {
        number(self.0.split_once(PROBER)?.1)
    }

    /// The slots of this vantage when it has so many probers: its own label if it is one.
    pub fn slots(&self, probers: u32) -> Vec<Vantage> {
        let place = self.place_str();
        match probers {
            1 => vec![self.place()],
            n => (0..n)
                .map(|k| Vantage(format!("{place}{PROBER}{k}")))
                .collect(),
        }
    }

    /// As it stands in keys, claims and identities, where `/` would be a folder: `iad_1`.
    pub fn name(&self) -> String {
        match self.0.split_once(PROBER) {
            None => self.0.clone(),
            Some((place, prober)) => format!("{place}{PROBER_IN_NAMES}{prober}"),
        }
    }

    /// The beginning that the names of a vantage's several slots share, and no other's has.
    pub fn slots_prefix(&self) -> String {
        format!("{}{PROBER_IN_NAMES}", self.place_str())
    }

    /// The label whose name this is.
    pub fn from_name(name: &str) -> Option<Vantage> {
        // A name has no `/`, and a label no `_`: each is read back as it was.
        let label = match name.split_once(PROBER_IN_NAMES) {
            None if name.contains(PROBER) => return None,
            None => name.to_owned(),
            Some((place, prober)) => format!("{place}{PROBER}{prober}"),
        };
        label.parse().ok()
    }
}

impl RunId {
    /// The id of a run that begins at `now`; `nonce` tells it from others of the same second.
    pub fn new(now: Timestamp, nonce: u32) -> Self {
        let second: String = now
            .to_string()
            .chars()
            .filter(|c| c.is_ascii_digit() || *c == 'T')
            .take("20261122T071339".len())
            .map(|c| if c == 'T' { '-' } else { c })
            .collect();
        RunId(format!("{second}-{:06x}", nonce & 0xff_ffff))
    }
}

impl ClaimId {
    /// The `k`-th claim to a vantage's slot, by the process that drew `nonce`.
    pub fn new(vantage: &Vantage, k: u32, nonce: u64) -> Self {
        ClaimId(format!(
            "{}.{k}.{:012x}",
            vantage.name(),
            nonce & 0xffff_ffff_ffff
        ))
    }

    /// The slot's label.
    pub fn vantage(&self) -> Vantage {
        // A claim that exists names a label.
        let name = self.parts().0;
        match name.split_once(PROBER_IN_NAMES) {
            None => Vantage(name.to_owned()),
            Some((place, prober)) => Vantage(format!("{place}{PROBER}{prober}")),
        }
    }

    /// Which claim to its slot this is, from 0.
    pub fn k(&self) -> u32 {
        self.parts().1.parse().unwrap_or(u32::MAX)
    }

    fn parts(&self) -> (&str, &str) {
        let mut parts = self.0.rsplitn(3, '.').skip(1);
        let k = parts.next().unwrap_or_default();
        (parts.next().unwrap_or_default(), k)
    }
}

/// Tells one write of a document from another with the same content, so that a create that
/// answers "exists" can be recognised as one's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WriteId(String);

impl WriteId {
    /// From 64 random bits.
    pub fn from_u64(n: u64) -> Self {
        WriteId(format!("{n:016x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_its_vantages_label_and_a_number() {
        let slot: Vantage = "eu-west-1/12".parse().unwrap();
        assert_eq!(
            (slot.place().as_str(), slot.prober()),
            ("eu-west-1", Some(12))
        );
        assert_eq!(Vantage::from_name(&slot.name()), Some(slot.clone()));
        let claim = ClaimId::new(&slot, 3, 7);
        assert_eq!(claim.as_str(), "eu-west-1_12.3.000000000007");
        assert_eq!(claim.as_str().parse(), Ok(claim.clone()));
        assert_eq!((claim.vantage(), claim.k()), (slot, 3));
        let iad: Vantage = "iad".parse().unwrap();
        assert_eq!(
            (iad.place(), iad.prober(), iad.name().as_str()),
            (iad.clone(), None, "iad")
        );
        assert_eq!(iad.slots(1), std::slice::from_ref(&iad));
        let labels: Vec<String> = iad.slots(2).iter().map(ToString::to_string).collect();
        assert_eq!(labels, ["iad/0", "iad/1"]);
        for bad in [
            "iad/", "/0", "iad/01", "iad/1000", "iad/-1", "iad/+1", "iad/0/1", "iad_0", "iad/a",
        ] {
            assert!(bad.parse::<Vantage>().is_err(), "{bad}");
        }
        for bad in ["iad/0", "iad_01", "iad__0", "_0", "iad_"] {
            assert_eq!(Vantage::from_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn run_ids_sort_by_time() {
        let at = |us| Timestamp::from_micros(us);
        let id = RunId::new(at(1_795_331_619_250_000), 0x4f_9c2a);
        assert_eq!(id.as_str(), "20261122-071339-4f9c2a");
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        assert!(id < RunId::new(at(1_795_331_620_000_000), 0));
    }
}
