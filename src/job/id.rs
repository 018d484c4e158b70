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
    let first = s.bytes().next();
    s.len() <= max
        && first.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && s.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
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
    /// A place that probes from; unique within a run (`iad`, `eu-west-1`).
    Vantage,
    "vantage label",
    "use 1 to 40 of a-z, 0-9 and -, starting with a letter or digit",
    |s| word(s, 40)
);

id!(
    /// A prober's claim to its slot, unique per process (`iad.0.9f8e7d6c5b4a`).
    ClaimId,
    "claim",
    "it reads {vantage}.{k}.{12 digits of 0-9 and a-f}",
    |s| {
        let mut parts = s.rsplitn(3, '.');
        let (nonce, k, vantage) = (parts.next(), parts.next(), parts.next());
        nonce.is_some_and(|n| n.len() == 12 && n.bytes().all(lower_hex))
            && k.is_some_and(|k| k.parse::<u32>().is_ok_and(|n| n.to_string() == k))
            && vantage.is_some_and(|v| word(v, 40))
    }
);

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
        ClaimId(format!("{vantage}.{k}.{:012x}", nonce & 0xffff_ffff_ffff))
    }

    /// The slot's label.
    pub fn vantage(&self) -> Vantage {
        Vantage(self.parts().0.to_owned())
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
    fn run_ids_sort_by_time() {
        let at = |us| Timestamp::from_micros(us);
        let id = RunId::new(at(1_795_331_619_250_000), 0x4f_9c2a);
        assert_eq!(id.as_str(), "20261122-071339-4f9c2a");
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        assert!(id < RunId::new(at(1_795_331_620_000_000), 0));
    }
}
