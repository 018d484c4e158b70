//! The probers of one vantage, put together: their sums are added, their histograms merged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::combined::{Figures, VantageClock, VantageRow};
use super::figures;
use super::measured::Measured;
use super::merge::TierMerge;
use super::packed::PackedTier;
use super::part::GeneratorHealth;
use super::tier::Parts;
use super::verdict::{self, Baseline};
use crate::job::Vantage;
use crate::job::threshold::Metric;

/// A vantage in one tier: the parts of its probers that measured it.
pub struct Place<'a> {
    /// Its own label.
    label: Vantage,
    /// By their slots' labels: one at least.
    parts: Vec<&'a PackedTier>,
    /// Of its slots, those that did not measure the tier.
    missing: Vec<Vantage>,
}

/// The same, measured.
pub struct Site<'a> {
    /// Its own label.
    pub place: Vantage,
    /// Its probers' parts, by their slots' labels.
    pub probers: Vec<Measured<'a>>,
    /// Of its slots, those that did not measure the tier.
    missing: Vec<Vantage>,
    /// Of several.
    together: Option<TierMerge>,
}

/// The vantages of a tier's parts, in the order of the labels.
pub fn places<'a>(parts: &'a Parts, expected: &BTreeSet<Vantage>) -> Vec<Place<'a>> {
    let mut places: Vec<Place<'a>> = Vec::new();
    for (slot, part) in parts {
        // The slots of a vantage stand together.
        match places.last_mut() {
            Some(place) if place.label.as_str() == slot.place_str() => place.parts.push(part),
            _ => places.push(Place {
                label: slot.place(),
                parts: vec![part],
                missing: vec![],
            }),
        }
    }
    let several = expected.iter().filter(|slot| slot.prober().is_some());
    let mut missing: BTreeMap<Vantage, Vec<Vantage>> = BTreeMap::new();
    for slot in several.filter(|slot| !parts.contains_key(*slot)) {
        missing.entry(slot.place()).or_default().push(slot.clone());
    }
    if planted!(LostProberIsForgotten) {
        return places;
    }
    for place in &mut places {
        place.missing = missing.remove(&place.label).unwrap_or_default();
    }
    places
}

/// How many vantages these slots are of, and of how many all have measured.
pub fn complete(parts: &Parts, expected: &BTreeSet<Vantage>) -> (u32, u32) {
    let mut places: BTreeMap<&str, bool> = BTreeMap::new();
    for slot in expected.iter().chain(parts.keys()) {
        *places.entry(slot.place_str()).or_insert(true) &= parts.contains_key(slot);
    }
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let whole = places.values().filter(|whole| **whole).count();
    (count(places.len()), count(whole))
}

impl<'a> Site<'a> {
    /// Unpacks a vantage's parts.
    pub fn of(place: Place<'a>) -> Option<Self> {
        let parts = place.parts.iter();
        let probers: Option<Vec<Measured>> = parts.map(|part| Measured::of(part)).collect();
        let probers = probers?;
        let mut together = None;
        if probers.len() > 1 {
            let sums = together.get_or_insert_with(TierMerge::default);
            for m in &probers {
                sums.merge(m.sums());
            }
        }
        Some(Site {
            place: place.label,
            probers,
            missing: place.missing,
            together,
        })
    }

    /// What its probers add up to.
    pub fn sums(&self) -> &TierMerge {
        static NONE: LazyLock<TierMerge> = LazyLock::new(TierMerge::default);
        let one = || self.probers.first().map_or(&*NONE, Measured::sums);
        self.together.as_ref().unwrap_or_else(one)
    }

    /// Whether it has several probers.
    pub fn several(&self) -> bool {
        self.probers.iter().any(|m| m.slot().prober().is_some())
    }

    /// What the bounds of its probers are relative to, where this is its tier 0. Part of a
    /// baseline is none: with the rest of it the bounds would be others.
    pub fn baseline(&self, metric: Metric) -> Baseline {
        if !self.missing.is_empty() {
            return Baseline::Missing;
        }
        let value = verdict::measure(metric, self.sums());
        match self.probers.iter().all(|m| m.packed().shortages.is_empty()) {
            true => Baseline::Fit(value),
            false => Baseline::Suspect(value),
        }
    }

    /// Its row: `figures` are those of all its probers, `of_prober` gives each one's, and what it
    /// knew of the clocks.
    pub fn row(
        &self,
        figures: Figures,
        mut of_prober: impl FnMut(&Measured) -> (Figures, VantageClock),
    ) -> VantageRow {
        if let ([m], false) = (&self.probers[..], self.several()) {
            let (_, clock) = of_prober(m);
            return m.row(figures, clock);
        }
        let rows: Vec<VantageRow> = self
            .probers
            .iter()
            .map(|m| {
                let (figures, clock) = of_prober(m);
                m.row(figures, clock)
            })
            .collect();
        let health = self.probers.iter().map(Measured::generator);
        let named = |texts: fn(&VantageRow) -> &[String]| {
            let all = rows
                .iter()
                .flat_map(|row| texts(row).iter().map(move |t| (row, t)));
            all.map(|(row, text)| format!("{}: {text}", row.vantage))
                .collect()
        };
        VantageRow {
            vantage: self.place.clone(),
            suspect: named(|row| &row.suspect),
            measured_percent: rows
                .iter()
                .map(|r| r.measured_percent)
                .fold(100.0, f64::min),
            clock: VantageClock {
                marked: named(|row| &row.clock.marked),
                ..clocks_together(&rows)
            },
            figures,
            generator: figures::generator(&GeneratorHealth::together(health)),
            missing: self.missing.clone(),
            probers: rows,
        }
    }
}

/// What holds of the clocks of all: each has its own, so the intervals are none's.
fn clocks_together(rows: &[VantageRow]) -> VantageClock {
    let clocks = || rows.iter().map(|row| &row.clock);
    let widths: Option<Vec<f64>> = clocks().map(|c| c.width_ms).collect();
    VantageClock {
        by: same(clocks().map(|c| c.by)),
        width_ms: widths.and_then(|widths| widths.into_iter().reduce(f64::max)),
        node: same(clocks().map(|c| c.node.clone())),
        ..VantageClock::default()
    }
}

/// What all say, if all say the same.
fn same<T: PartialEq>(mut all: impl Iterator<Item = Option<T>>) -> Option<T> {
    let first = all.next()??;
    all.all(|other| other.as_ref() == Some(&first))
        .then_some(first)
}
