//! What a process knows of a run's time: both clocks that it measures, and which of them it goes
//! by.

use serde::{Deserialize, Serialize};

use super::{MAX_DRIFT_PPM, OffsetInterval};
use crate::job::Timestamp;

/// The clock that a run's times are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceClock {
    /// The SFU's, by its signalling pongs.
    Sfu,
    /// The bucket's, by its `Date`.
    #[default]
    Bucket,
}

impl ReferenceClock {
    /// Whose it is, in words.
    pub const fn name(self) -> &'static str {
        match self {
            ReferenceClock::Sfu => "the SFU's",
            ReferenceClock::Bucket => "the bucket's",
        }
    }
}

/// Both clocks as a process read them. What was not read is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The SFU's clock minus the process' own.
    pub sfu: Option<OffsetInterval>,
    /// The node of the SFU that the process met; empty when unknown.
    pub node: String,
    /// The bucket's clock minus the process' own.
    pub bucket: Option<OffsetInterval>,
}

impl Reading {
    /// The same after (or before) this long: the clocks may have drifted apart.
    pub fn aged(&self, by: std::time::Duration) -> Reading {
        let aged = |i: Option<OffsetInterval>| i.map(|i| i.aged(by, MAX_DRIFT_PPM));
        Reading {
            sfu: aged(self.sfu),
            node: self.node.clone(),
            bucket: aged(self.bucket),
        }
    }
}

/// A run's time as a process knows it at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunClock {
    /// That moment, in the process' local time.
    pub at: Timestamp,
    /// The clock that it goes by: the run's reference, or the bucket's in its stead.
    pub by: ReferenceClock,
    /// The run's reference clock minus local time, found by that clock.
    pub offset: OffsetInterval,
    /// Both clocks.
    #[serde(flatten)]
    pub reading: Reading,
}

impl RunClock {
    /// Whether the clock that it goes by was read. If not, local time stands in for it.
    pub const fn is_known(&self) -> bool {
        match self.by {
            ReferenceClock::Sfu => self.reading.sfu.is_some(),
            ReferenceClock::Bucket => self.reading.bucket.is_some(),
        }
    }

    /// The same at another local time, when the clocks may have drifted apart.
    pub fn seen_at(&self, now: Timestamp) -> RunClock {
        let age = now
            .saturating_since(self.at)
            .max(self.at.saturating_since(now));
        RunClock {
            at: now,
            by: self.by,
            offset: self.offset.aged(age, MAX_DRIFT_PPM),
            reading: self.reading.aged(age),
        }
    }
}

/// An offset between two clocks as known at a time: it ages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetAt {
    /// When.
    pub at: Timestamp,
    /// The offset then.
    #[serde(flatten)]
    pub offset: OffsetInterval,
}

impl OffsetAt {
    /// The offset at another time of the same clock.
    pub fn seen_at(self, now: Timestamp) -> OffsetInterval {
        let age = now
            .saturating_since(self.at)
            .max(self.at.saturating_since(now));
        self.offset.aged(age, MAX_DRIFT_PPM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_ages_with_its_moment() {
        let offset = OffsetInterval {
            lo_us: 0,
            hi_us: 10,
        };
        let clock = RunClock {
            at: Timestamp::from_micros(0),
            by: ReferenceClock::Sfu,
            offset,
            reading: Reading {
                sfu: Some(offset),
                node: "N".into(),
                bucket: None,
            },
        };
        let later = clock.seen_at(Timestamp::from_micros(2_000_000));
        let wider = OffsetInterval {
            lo_us: -1_001,
            hi_us: 1_011,
        };
        assert_eq!((later.offset, later.reading.sfu), (wider, Some(wider)));
        assert_eq!(later.reading.bucket, None, "what is unknown stays so");
        let text = serde_json::to_string(&later).unwrap();
        assert_eq!(serde_json::from_str::<RunClock>(&text).unwrap(), later);
    }
}
