//! What a server or another participant sent that was none of what the protocols allow.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::participant::Snapshot;

/// Counts of it over the participants of a tier. Nothing of it was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadInput {
    /// Datagrams and candidates that are no well-formed RTP, RTCP, STUN, DTLS or candidate.
    pub malformed: u64,
    /// Packets that failed authentication.
    pub unauthentic: u64,
    /// Frames whose stamp was damaged.
    pub stamps: u64,
    /// Signalling messages that could not be read.
    pub signals: u64,
    /// What came beyond what a participant follows: streams, tracks, candidates.
    pub over_limit: u64,
}

impl BadInput {
    /// What a participant has counted since it joined.
    pub const fn of(snapshot: &Snapshot) -> Self {
        let rx = &snapshot.rx;
        Self {
            malformed: rx.malformed,
            unauthentic: rx.auth_failures,
            stamps: rx.stamps_malformed,
            signals: snapshot.signals_malformed,
            over_limit: rx.over_limit.saturating_add(snapshot.tracks_refused),
        }
    }

    /// What was added since `base`.
    pub fn since(mut self, base: &BadInput) -> Self {
        for (count, before) in self.counts_mut().into_iter().zip(base.counts()) {
            *count = count.saturating_sub(before);
        }
        self
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &BadInput) {
        for (count, more) in self.counts_mut().into_iter().zip(other.counts()) {
            *count = count.saturating_add(more);
        }
    }

    /// Both together, of those who counted.
    #[must_use]
    pub fn together(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let counted = [one, other].into_iter().flatten();
        counted.reduce(|mut sum, more| {
            sum.merge(&more);
            sum
        })
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    const fn counts(&self) -> [u64; 5] {
        [
            self.malformed,
            self.unauthentic,
            self.stamps,
            self.signals,
            self.over_limit,
        ]
    }

    const fn counts_mut(&mut self) -> [&mut u64; 5] {
        [
            &mut self.malformed,
            &mut self.unauthentic,
            &mut self.stamps,
            &mut self.signals,
            &mut self.over_limit,
        ]
    }
}

impl fmt::Display for BadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            "malformed datagrams",
            "packets that failed authentication",
            "damaged stamps",
            "unreadable signals",
            "beyond what a participant follows",
        ];
        let some = self.counts().into_iter().zip(names).filter(|(n, _)| *n > 0);
        for (i, (n, name)) in some.enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{n} {name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_since_counts_and_is_named() {
        let mut snapshot = Snapshot::default();
        snapshot.rx.malformed = 3;
        snapshot.tracks_refused = 2;
        let base = BadInput::of(&snapshot);
        snapshot.rx.malformed = 10;
        snapshot.signals_malformed = 1;
        let mut bad = BadInput::of(&snapshot).since(&base);
        assert_eq!(
            bad.to_string(),
            "7 malformed datagrams, 1 unreadable signals"
        );
        bad.merge(&base);
        assert_eq!((bad.malformed, bad.over_limit), (10, 2));
        assert!(!bad.is_empty() && base.since(&base).is_empty());
    }
}
