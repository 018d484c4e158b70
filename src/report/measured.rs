//! One prober's part of a tier, unpacked, with what follows from it alone.

use std::collections::BTreeSet;

use super::combined::{Figures, VantageClock, VantageRow};
use super::figures;
use super::merge::TierMerge;
use super::packed::PackedTier;
use super::part::{GeneratorHealth, PacketCounts, SentCounts, SfuInfo};
use crate::job::Vantage;

/// A part that counts.
pub struct Measured<'a> {
    packed: &'a PackedTier,
    sums: TierMerge,
    generator: GeneratorHealth,
    sfu: Vec<SfuInfo>,
    /// Participants times seconds.
    participant_seconds: u64,
}

impl<'a> Measured<'a> {
    /// From a part that counts.
    pub fn of(packed: &'a PackedTier) -> Option<Self> {
        let mut part = packed.part()?;
        let series = &part.connected;
        let seconds = series.publishers.iter().chain(&series.subscribers);
        let seconds = seconds.flatten().map(|n| u64::from(*n));
        Some(Self {
            packed,
            participant_seconds: seconds.fold(0, u64::saturating_add),
            generator: std::mem::take(&mut part.generator),
            sfu: std::mem::take(&mut part.sfu),
            sums: TierMerge::of(part),
        })
    }

    /// Its slot's label.
    pub fn slot(&self) -> &'a Vantage {
        &self.packed.vantage
    }

    /// The part as it came.
    pub fn packed(&self) -> &'a PackedTier {
        self.packed
    }

    /// What it adds up to.
    pub fn sums(&self) -> &TierMerge {
        &self.sums
    }

    /// Its prober's own health.
    pub fn generator(&self) -> &GeneratorHealth {
        &self.generator
    }

    /// Its row.
    pub fn row(&self, figures: Figures, clock: VantageClock) -> VantageRow {
        let shortages = &self.packed.shortages;
        VantageRow {
            vantage: self.packed.vantage.clone(),
            suspect: shortages.iter().map(ToString::to_string).collect(),
            measured_percent: figures::rounded(self.packed.measured_percent),
            clock,
            figures,
            generator: figures::generator(&self.generator),
            probers: vec![],
            missing: vec![],
        }
    }
}

/// What the parts of a tier, or of a run, used and met.
#[derive(Clone, Debug, Default)]
pub struct Used {
    /// Participants times seconds.
    pub participant_seconds: u64,
    /// What subscribers got.
    pub packets: PacketCounts,
    /// What publishers sent.
    pub sent: SentCounts,
    /// What the SFU said of itself, each answer once.
    pub sfu: BTreeSet<SfuInfo>,
}

impl Used {
    /// Adds what is not among a part's sums.
    pub fn add(&mut self, m: &Measured) {
        let seconds = &mut self.participant_seconds;
        *seconds = seconds.saturating_add(m.participant_seconds);
        let new = m.sfu.iter().filter(|sfu| !self.sfu.contains(sfu));
        let new: Vec<SfuInfo> = new.cloned().collect();
        self.sfu.extend(new);
    }

    /// Adds what is.
    pub fn counted(&mut self, total: &TierMerge) {
        self.packets.merge(&total.packets);
        self.sent.merge(&total.sent);
    }

    /// Adds another tier's.
    pub fn merge(&mut self, other: Used) {
        let seconds = &mut self.participant_seconds;
        *seconds = seconds.saturating_add(other.participant_seconds);
        self.packets.merge(&other.packets);
        self.sent.merge(&other.sent);
        self.sfu.extend(other.sfu);
    }
}
