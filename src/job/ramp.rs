//! The ramp: how many subscribers each tier asks for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The most subscribers one tier may ask for; a larger number is taken for a typing error.
pub const TIER_MAX: u32 = 100_000;
/// The most tiers of one ramp.
pub const TIERS_MAX: usize = 100;

/// Subscribers of each tier, in order (`10,25,50`). Empty means: the baseline alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ramp(Vec<u32>);

/// Why a text is no [`Ramp`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RampError {
    /// A tier is not a number of subscribers.
    #[error(
        "tier {tier} of ramp `{ramp}` is `{text}`; write whole numbers from 1 to {TIER_MAX} with commas, like 10,25,50"
    )]
    Tier {
        /// The whole ramp as written.
        ramp: String,
        /// Which tier, from 1.
        tier: usize,
        /// The tier as written.
        text: String,
    },
    /// More tiers than a run can hold.
    #[error("ramp has {0} tiers; {TIERS_MAX} is the most")]
    TooMany(usize),
}

impl Ramp {
    /// From numbers; each must be 1 to [`TIER_MAX`].
    pub fn new(tiers: &[u32]) -> Result<Self, RampError> {
        let text: Vec<String> = tiers.iter().map(u32::to_string).collect();
        if tiers.is_empty() {
            return Ok(Self::default());
        }
        text.join(",").parse()
    }

    /// Subscribers of each tier, in order.
    pub fn tiers(&self) -> &[u32] {
        &self.0
    }

    /// The largest tier, 0 when there is none.
    pub fn peak(&self) -> u32 {
        self.0.iter().copied().max().unwrap_or(0)
    }
}

impl FromStr for Ramp {
    type Err = RampError;
    fn from_str(s: &str) -> Result<Self, RampError> {
        let tiers = s
            .split(',')
            .enumerate()
            .map(|(i, text)| {
                text.trim()
                    .parse::<u32>()
                    .ok()
                    .filter(|n| (1..=TIER_MAX).contains(n))
                    .ok_or_else(|| RampError::Tier {
                        ramp: s.to_owned(),
                        tier: i + 1,
                        text: text.to_owned(),
                    })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if tiers.len() > TIERS_MAX {
            return Err(RampError::TooMany(tiers.len()));
        }
        Ok(Self(tiers))
    }
}

impl fmt::Display for Ramp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&text.join(","))
    }
}

impl Serialize for Ramp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Ramp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "a ramp is a list of numbers like [10, 25, 50], or a text like \"10,25,50\""
        )]
        enum Written {
            /// Of any values: a wrong one is named as in a text.
            List(Vec<serde_json::Value>),
            Text(String),
        }
        let text = match Written::deserialize(d)? {
            Written::List(tiers) if tiers.is_empty() => return Ok(Ramp::default()),
            Written::List(tiers) => {
                let tiers: Vec<String> = tiers.iter().map(ToString::to_string).collect();
                tiers.join(",")
            }
            Written::Text(text) => text,
        };
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_is_read_or_refused_with_its_tier() {
        assert_eq!(
            "10, 25,50".parse::<Ramp>().map(|r| r.0),
            Ok(vec![10, 25, 50])
        );
        for (text, tier) in [
            ("", 1),
            ("10,,5", 2),
            ("0", 1),
            ("-1", 1),
            ("5,1000000", 2),
            ("5,x", 2),
        ] {
            match text.parse::<Ramp>() {
                Err(RampError::Tier { tier: t, .. }) => assert_eq!(t, tier, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
