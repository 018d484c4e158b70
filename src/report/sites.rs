//! The probers of one vantage, put together: their sums are added, their histograms merged.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::combined::{Figures, VantageClock, VantageRow};
use super::figures;
use super::merge::TierMerge;
use super::part::GeneratorHealth;
use super::tier::{Measured, Parts};
use super::verdict::Baseline;
use crate::job::Vantage;

/// A vantage in one tier, with its probers that measured it: one at least.
pub struct Site<'a> {
    /// Its own label.
    pub place: Vantage,
    /// Its probers' parts, by their slots' labels.
    pub probers: Vec<(&'a Vantage, &'a Measured<'a>)>,
    /// Of its slots, those that did not measure the tier.
    pub missing: Vec<Vantage>,
    /// Of all of them.
    pub sums: Cow<'a, TierMerge>,
}

/// The vantages of a tier's parts, in the order of the labels.
pub fn sites<'a>(parts: &'a Parts<'a>, expected: &BTreeSet<Vantage>) -> Vec<Site<'a>> {
    let mut sites: Vec<Site<'a>> = Vec::new();
    for (slot, m) in parts {
        // The slots of a vantage stand together.
        match sites.last_mut() {
            Some(site) if site.place.as_str() == slot.place_str() => {
                site.sums.to_mut().merge(m.sums());
                site.probers.push((slot, m));
            }
            _ => sites.push(Site {
                place: slot.place(),
                probers: vec![(slot, m)],
                missing: vec![],
                sums: Cow::Borrowed(m.sums()),
            }),
        }
    }
    let several = expected.iter().filter(|slot| slot.prober().is_some());
    let mut missing: BTreeMap<Vantage, Vec<Vantage>> = BTreeMap::new();
    for slot in several.filter(|slot| !parts.contains_key(*slot)) {
        missing.entry(slot.place()).or_default().push(slot.clone());
    }
    for site in &mut sites {
        site.missing = missing.remove(&site.place).unwrap_or_default();
    }
    sites
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

impl Site<'_> {
    /// Whether it has several probers.
    pub fn several(&self) -> bool {
        self.probers.iter().any(|(slot, _)| slot.prober().is_some())
    }

    /// What the bounds of its probers are relative to, where this is its tier 0. Part of a
    /// baseline is none: with the rest of it the bounds would be others.
    pub fn baseline(&self) -> Baseline<'_> {
        if !self.missing.is_empty() {
            return Baseline::Missing;
        }
        match self.probers.iter().all(|(_, m)| m.shortages().is_empty()) {
            true => Baseline::Fit(&self.sums),
            false => Baseline::Suspect(&self.sums),
        }
    }

    /// Its row: `figures` are those of all its probers, `of_slot` gives each one's, and what it
    /// knew of the clocks.
    pub fn row(
        &self,
        figures: Figures,
        mut of_slot: impl FnMut(&Vantage) -> (Figures, VantageClock),
    ) -> VantageRow {
        if let ([(slot, m)], false) = (&self.probers[..], self.several()) {
            let (_, clock) = of_slot(slot);
            return m.row(figures, clock);
        }
        let rows: Vec<VantageRow> = self
            .probers
            .iter()
            .map(|(slot, m)| {
                let (figures, clock) = of_slot(slot);
                m.row(figures, clock)
            })
            .collect();
        let health = self.probers.iter().map(|(_, m)| &m.part().generator);
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
