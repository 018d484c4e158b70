//! What went from the publishers of one vantage to the subscribers of another.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::job::Vantage;
use crate::measure::{Histogram, SignedHistogram};

/// Who published.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Publisher {
    /// The run's publishers of a slot, or of all slots of a vantage.
    Vantage(Vantage),
    /// Anybody else who is in the room. Written `*`, which is no vantage's label.
    Other,
}

const OTHER: &str = "*";

impl Publisher {
    /// The same with the vantage instead of its prober's slot.
    #[must_use]
    pub fn place(&self) -> Publisher {
        match self {
            Publisher::Vantage(slot) => Publisher::Vantage(slot.place()),
            Publisher::Other => Publisher::Other,
        }
    }

    /// Its text.
    pub fn place_str(&self) -> &str {
        match self {
            Publisher::Vantage(slot) => slot.place_str(),
            Publisher::Other => OTHER,
        }
    }
}

impl fmt::Display for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Publisher::Vantage(vantage) => vantage.fmt(f),
            Publisher::Other => f.write_str(OTHER),
        }
    }
}

impl Serialize for Publisher {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Publisher {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        if text == OTHER {
            return Ok(Publisher::Other);
        }
        text.parse()
            .map(Publisher::Vantage)
            .map_err(de::Error::custom)
    }
}

/// From one vantage's publishers to all subscribers of another, in one tier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// Subscriptions that the layout wants, added up over the seconds of the window.
    pub subscriptions_wanted: u64,
    /// Of these, how many brought packets in their second.
    pub subscriptions_receiving: u64,
    /// Packets that never came, own drops included.
    pub lost: u64,
    /// Of the wanted subscriptions, those to video, over the seconds.
    #[serde(default)]
    pub video_wanted: u64,
    /// W3C webrtc-stats `freezeCount` of all video subscriptions.
    #[serde(default)]
    pub freezes: u64,
    /// W3C webrtc-stats `totalFreezesDuration` of all video subscriptions, in microseconds.
    #[serde(default)]
    pub freeze_us: u64,
    /// W3C webrtc-stats `framesPerSecond`, once a second and video subscription, in thousandths of
    /// frames per second: complete frames, in order.
    #[serde(default)]
    pub frame_rate_milli: Histogram,
    /// From when a frame's last packet was sent to when it came, each on the run's reference clock
    /// as it is known there. Negative when the two clocks disagree by more than the way.
    #[serde(default)]
    pub latency_us: SignedHistogram,
}

impl Flow {
    /// Add another's.
    pub fn merge(&mut self, other: &Flow) {
        self.merge_but_latency(other);
        self.latency_us.merge(&other.latency_us);
    }

    /// Add another's, apart from its latency.
    pub fn merge_but_latency(&mut self, other: &Flow) {
        let sum = |a: &mut u64, b: u64| *a = a.saturating_add(b);
        sum(&mut self.subscriptions_wanted, other.subscriptions_wanted);
        sum(
            &mut self.subscriptions_receiving,
            other.subscriptions_receiving,
        );
        sum(&mut self.lost, other.lost);
        sum(&mut self.video_wanted, other.video_wanted);
        sum(&mut self.freezes, other.freezes);
        sum(&mut self.freeze_us, other.freeze_us);
        self.frame_rate_milli.merge(&other.frame_rate_milli);
    }

    /// Subscriptions without packets, over the seconds.
    pub const fn missing(&self) -> u64 {
        self.subscriptions_wanted
            .saturating_sub(self.subscriptions_receiving)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publishers_name_is_read_back() {
        for publisher in [Publisher::Other, Publisher::Vantage("iad".parse().unwrap())] {
            let text = serde_json::to_string(&publisher).unwrap();
            assert_eq!(serde_json::from_str::<Publisher>(&text).unwrap(), publisher);
        }
        assert!(serde_json::from_str::<Publisher>("\"**\"").is_err());
    }
}
