//! Where a ramp breaks: from each tier's verdict to the knee, the capacity, the recommended level.

use serde::{Deserialize, Serialize};

/// Whether something held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It did, measured completely.
    Held,
    /// It can't be told: not measured, not completely, or not by a prober that was fit to.
    Unknown,
    /// It did not. Final: more parts don't change it.
    Failed,
}

impl Verdict {
    /// The name that reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Held => "held",
            Verdict::Unknown => "unknown",
            Verdict::Failed => "failed",
        }
    }

    /// Of several that must all hold: one that failed decides, then one that is unknown.
    pub fn all(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
        verdicts.into_iter().max().unwrap_or(Verdict::Held)
    }
}

/// The first tier at which the SFU stops holding up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Knee {
    /// Every tier held: the knee, if any, lies beyond the ramp.
    NoneBroke,
    /// Tiers held, then this one did not.
    Broke {
        /// The first that failed.
        tier: u32,
        /// Tiers before it that can't be judged: with any, the knee is at or before `tier`.
        unclear: Vec<u32>,
    },
    /// No tier held before this one: what the SFU does hold lies below the ramp.
    FirstBroke {
        /// The first that failed: 1, or 0 when it was the baseline.
        tier: u32,
    },
    /// None failed, and not all can be judged.
    Unknown {
        /// Those that can't.
        unclear: Vec<u32>,
    },
}

/// What a ramp's verdicts say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Where it breaks.
    pub knee: Knee,
    /// The last tier that held before the first that failed; the baseline is none.
    pub capacity: Option<u32>,
}

/// Find knee and capacity in the verdicts of tier 0 (the baseline), 1, 2, ….
///
/// What comes after the first failure doesn't count: a tier that held there did so in an SFU
/// that had broken before. A tier that can't be judged is neither capacity nor knee. A
/// capacity beyond such a tier stands: it held with the larger load.
pub fn locate(verdicts: &[Verdict]) -> Located {
    let tiers = || (0u32..).zip(verdicts.iter().copied());
    let broke = tiers()
        .find(|(_, v)| *v == Verdict::Failed)
        .map(|(tier, _)| tier);
    let before = || tiers().take_while(|(tier, _)| broke.is_none_or(|b| *tier < b));
    let unclear: Vec<u32> = before()
        .filter(|(_, v)| *v == Verdict::Unknown)
        .map(|(tier, _)| tier)
        .collect();
    let capacity = before()
        .filter(|(tier, v)| *tier > 0 && *v == Verdict::Held)
        .map(|(tier, _)| tier)
        .last();
    let knee = match broke {
        Some(tier) if tier <= 1 => Knee::FirstBroke { tier },
        Some(tier) => Knee::Broke { tier, unclear },
        None if unclear.is_empty() && !verdicts.is_empty() => Knee::NoneBroke,
        None => Knee::Unknown { unclear },
    };
    Located { knee, capacity }
}

/// A share of a number of participants, rounded down.
pub fn headroom(participants: u32, percent: u32) -> u32 {
    let share = u64::from(participants) * u64::from(percent) / 100;
    u32::try_from(share).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Failed as F, Held as H, Unknown as U};
    use proptest::prelude::*;

    fn broke(tier: u32, unclear: &[u32]) -> Knee {
        Knee::Broke {
            tier,
            unclear: unclear.to_vec(),
        }
    }

    fn unknown(unclear: &[u32]) -> Knee {
        Knee::Unknown {
            unclear: unclear.to_vec(),
        }
    }

    #[test]
    fn the_knee_and_the_capacity_of_a_ramp() {
        for (verdicts, knee, capacity) in [
            (&[H, H, H, H][..], Knee::NoneBroke, Some(3)),
            (&[H], Knee::NoneBroke, None),
            (&[H, H, F, F], broke(2, &[]), Some(1)),
            (&[H, H, F, H], broke(2, &[]), Some(1)),
            (&[H, F, H, H], Knee::FirstBroke { tier: 1 }, None),
            (&[F, F, F], Knee::FirstBroke { tier: 0 }, None),
            (&[F], Knee::FirstBroke { tier: 0 }, None),
            (&[U, F], Knee::FirstBroke { tier: 1 }, None),
            (&[H, H, U, F], broke(3, &[2]), Some(1)),
            (&[H, U, F], broke(2, &[1]), None),
            (&[U, H, F], broke(2, &[0]), Some(1)),
            (&[H, U, H, F, U], broke(3, &[1]), Some(2)),
            (&[H, H, U], unknown(&[2]), Some(1)),
            (&[H, U, H], unknown(&[1]), Some(2)),
            (&[U, U, U], unknown(&[0, 1, 2]), None),
            (&[], unknown(&[]), None),
        ] {
            assert_eq!(locate(verdicts), Located { knee, capacity }, "{verdicts:?}");
        }
    }

    #[test]
    fn headroom_is_rounded_down() {
        for (participants, percent, share) in [
            (30, 70, 21),
            (25, 70, 17),
            (1, 70, 0),
            (u32::MAX, 100, u32::MAX),
        ] {
            assert_eq!(headroom(participants, percent), share);
        }
    }

    proptest! {
        #[test]
        fn what_cannot_be_judged_never_raises_the_capacity(
            verdicts in prop::collection::vec(prop::sample::select(vec![H, U, F]), 0..8),
            lost in prop::collection::vec(any::<bool>(), 8),
        ) {
            let fewer: Vec<_> = verdicts.iter().zip(&lost)
                .map(|(v, lost)| if *lost && *v == H { U } else { *v })
                .collect();
            prop_assert!(locate(&fewer).capacity <= locate(&verdicts).capacity);
            if locate(&fewer).knee == Knee::NoneBroke {
                prop_assert_eq!(locate(&verdicts).knee, Knee::NoneBroke);
            }
        }
    }
}
