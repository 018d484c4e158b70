//! One prober's tier in a few kilobytes, until all have come: what says whether it counts and what
//! others are judged by as it is, everything else encoded.

use super::part::{TierClock, TierPart};
use super::suspect::{Shortage, shortages};
use crate::job::{ClaimId, RunId, Vantage};
use crate::load::Window;

/// A part, packed. Two are equal when their parts are.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedTier {
    /// Major version of the schema.
    pub schema: u32,
    /// The run.
    pub run: RunId,
    /// Where from.
    pub vantage: Vantage,
    /// By which process.
    pub claim: ClaimId,
    /// 0 is the baseline.
    pub tier: u32,
    /// The window that the start decided.
    pub window: Window,
    /// The window as measured.
    pub measured: Window,
    /// The clocks as known meanwhile.
    pub clock: Option<TierClock>,
    /// What was added to local time for stamps, in microseconds.
    pub stamp_offset_us: Option<i64>,
    /// What its prober was short of.
    pub shortages: Vec<Shortage>,
    /// The part of the planned window that was measured, in percent.
    pub measured_percent: f64,
    /// Publishers connected of those asked for, over the seconds measured; `None` when none were.
    pub publishing_percent: Option<f64>,
    /// The rest, in postcard's encoding.
    rest: Box<[u8]>,
}

/// What most parts fit in, in bytes.
const SCRATCH: usize = 8 << 10;

/// Why a part can't be packed, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it can't be packed: {0}")]
pub struct PackError(String);

impl PackedTier {
    /// Packs a part.
    ///
    /// # Errors
    /// Never for a part that was parsed; its encoding could say so.
    pub fn of(mut part: TierPart) -> Result<Self, PackError> {
        // Its fields are flattened, which needs names.
        let clock = part.clock.take();
        let scratch = Vec::with_capacity(SCRATCH);
        let rest = postcard::to_extend(&part, scratch).map_err(|e| PackError(e.to_string()))?;
        Ok(PackedTier {
            schema: part.schema,
            tier: part.tier,
            window: part.window,
            measured: part.measured,
            stamp_offset_us: part.stamp_offset_us,
            shortages: shortages(&part),
            measured_percent: measured_percent(&part),
            publishing_percent: publishing_percent(&part),
            run: part.run,
            vantage: part.vantage,
            claim: part.claim,
            clock,
            // No larger than it is: thousands of these are kept.
            rest: Box::from(rest.as_slice()),
        })
    }

    /// The part; nothing when this is none of [`PackedTier::of`]'s.
    pub fn part(&self) -> Option<TierPart> {
        let part: TierPart = postcard::from_bytes(&self.rest).ok()?;
        Some(TierPart {
            clock: self.clock.clone(),
            ..part
        })
    }
}

fn measured_percent(part: &TierPart) -> f64 {
    let (planned, measured) = (part.window, part.measured);
    let whole = planned.to.saturating_since(planned.from).as_secs_f64();
    let from = measured.from.max(planned.from);
    let to = measured.to.min(planned.to);
    let series = &part.connected.publishers;
    let missed = series.iter().filter(|second| second.is_none()).count() as f64;
    let inside = (to.saturating_since(from).as_secs_f64() - missed).max(0.0);
    if whole > 0.0 {
        inside * 100.0 / whole
    } else {
        0.0
    }
}

fn publishing_percent(part: &TierPart) -> Option<f64> {
    let series = &part.connected.publishers;
    let seconds = series.iter().flatten();
    let asked = u64::from(part.requested.publishers) * seconds.clone().count() as u64;
    let connected: u64 = seconds.copied().map(u64::from).sum();
    (asked > 0).then(|| connected as f64 * 100.0 / asked as f64)
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_packed_is_what_comes_out(seed in any::<u64>()) {
            let part = sample::any_part(seed);
            let packed = PackedTier::of(part.clone()).unwrap();
            prop_assert_eq!(packed.part(), Some(part));
        }
    }

    #[test]
    fn parts_that_differ_differ_when_packed() {
        let part = sample::part("a", 1);
        let mut other = part.clone();
        other.rtt_us.record(1);
        let packed = |p: &TierPart| PackedTier::of(p.clone()).unwrap();
        assert_eq!(packed(&part), packed(&part));
        assert_ne!(packed(&part), packed(&other));
    }
}
