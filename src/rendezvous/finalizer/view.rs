//! What a finalizer has seen of a run, and what it must still read.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::parts::Part;
use crate::job::{ClaimId, Digested, Fleet, Job, RunId, Timestamp, Vantage};
use crate::rendezvous::admission::{Verdict, seated_by_arrival, verdict};
use crate::rendezvous::keys::{Item, Revision, RunKey};
use crate::rendezvous::objects::{Live, Ready, Slot, Start, StartDocument, VantageSeen};
use crate::rendezvous::reference::{end_by_bucket, reference_minus_bucket};
use crate::rendezvous::{LEASE, document};
use crate::store::Listing;

/// What reading an object gave.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// Its body, and when it was stored.
    Body(Bytes, Timestamp),
    /// A part, judged.
    Part(Part),
    /// It is not there.
    Absent,
    /// It can't be read, and why.
    Refused(String),
}

/// A run as seen so far.
#[derive(Debug)]
pub(super) struct View {
    pub(super) run: RunId,
    /// Every object of the run that a listing showed, with when it was stored.
    pub(super) listed: BTreeMap<Item, Timestamp>,
    /// Keys below the run that are none of muster's.
    pub(super) strange: BTreeSet<String>,
    /// Folders of tiers that a listing showed, and that were not listed.
    pub(super) tier_folders: BTreeSet<String>,
    pub(super) found: BTreeMap<Item, Found>,
    job: Option<Digested<Job>>,
    verdict: Option<Verdict>,
    /// Of each report that counts: the tiers that it has.
    pub(super) reports: BTreeMap<Vantage, BTreeSet<u32>>,
}

impl View {
    pub(super) fn new(run: RunId) -> Self {
        View {
            run,
            listed: BTreeMap::new(),
            strange: BTreeSet::new(),
            tier_folders: BTreeSet::new(),
            found: BTreeMap::new(),
            job: None,
            verdict: None,
            reports: BTreeMap::new(),
        }
    }

    /// Takes in what reading an object gave.
    pub(super) fn learn(&mut self, item: Item, found: Found) {
        match (&item, &found) {
            (Item::Report(vantage), Found::Part(part)) => {
                if let Some(tiers) = part.tiers() {
                    self.reports.insert(vantage.clone(), tiers);
                }
            }
            (Item::Slot(vantage, 0), _) => self.forget_unsigned(&vantage.clone()),
            _ => {}
        }
        self.found.insert(item.clone(), found);
        if item == Item::Job {
            self.job = match self.found.get(&item) {
                Some(Found::Body(body, _)) => {
                    document::read_digested(&self.key(item.clone()), body).ok()
                }
                _ => None,
            };
        }
        if matches!(item, Item::Job | Item::Start) {
            self.verdict = self.job.as_ref().and_then(|job| self.judge(job));
            self.forget_parts();
        }
    }

    /// They were judged by another job or start: they are to be read again.
    fn forget_parts(&mut self) {
        self.reports.clear();
        self.found
            .retain(|_, found| !matches!(found, Found::Part(_)));
    }

    /// Who signs a slot's parts is known anew: those that were refused are to be read again.
    fn forget_unsigned(&mut self, slot: &Vantage) {
        let tiers = Item::Tier(slot.clone(), 0)..=Item::Tier(slot.clone(), u32::MAX);
        let report = self.found.get_key_value(&Item::Report(slot.clone()));
        let refused: Vec<Item> = self
            .found
            .range(tiers)
            .chain(report)
            .filter(|(_, found)| matches!(found, Found::Part(part) if part.judged.is_err()))
            .map(|(item, _)| item.clone())
            .collect();
        for item in refused {
            self.found.remove(&item);
        }
    }

    pub(super) fn take_objects(&mut self, listing: &Listing) {
        for entry in &listing.objects {
            match entry.key.parse::<RunKey>() {
                Ok(key) => {
                    self.listed.insert(key.item, entry.last_modified);
                }
                Err(_) => {
                    self.strange.insert(entry.key.clone());
                }
            }
        }
    }

    /// Forgets what may have changed since, to look again.
    pub(super) fn forget(&mut self) {
        self.listed.clear();
        self.tier_folders.clear();
        self.found.retain(|item, found| {
            matches!(found, Found::Body(..) | Found::Part(_)) && !matches!(item, Item::Live(_))
        });
    }

    pub(super) fn key(&self, item: Item) -> RunKey {
        RunKey::new(&self.run, item)
    }

    pub(super) fn read<T: document::Document>(&self, item: &Item) -> Option<T> {
        match self.found.get(item)? {
            Found::Body(body, _) => document::read(&self.key(item.clone()), body).ok(),
            Found::Part(_) | Found::Absent | Found::Refused(_) => None,
        }
    }

    pub(super) fn job(&self) -> Option<&Digested<Job>> {
        self.job.as_ref()
    }

    /// The start decision, if one was found.
    pub(super) fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    /// The start, if one was decided and counts.
    pub(super) fn start(&self) -> Option<&Start> {
        match self.verdict()? {
            Verdict::Start(start) => Some(start),
            Verdict::Cancelled(_) => None,
        }
    }

    fn judge(&self, job: &Digested<Job>) -> Option<Verdict> {
        let Found::Body(body, stored) = self.found.get(&Item::Start)? else {
            return None;
        };
        let key = self.key(Item::Start);
        Some(match document::read::<StartDocument>(&key, body) {
            Ok(document) => verdict(&document, *stored, job),
            Err(e) => Verdict::Cancelled(e.to_string()),
        })
    }

    pub(super) fn latest_inputs(&self) -> Option<Revision> {
        self.listed
            .keys()
            .filter_map(|item| match item {
                Item::Inputs(r) => Some(*r),
                _ => None,
            })
            .max()
    }

    /// When each claim was stored.
    pub(super) fn claims(&self) -> BTreeMap<(Vantage, u32), Timestamp> {
        self.listed
            .iter()
            .filter_map(|(item, at)| match item {
                Item::Slot(v, k) => Some(((v.clone(), *k), *at)),
                _ => None,
            })
            .collect()
    }

    /// The vantages that a started run waits for.
    pub(super) fn expected(&self, job: &Job, start: &Start) -> Vec<Vantage> {
        if start.roster.is_empty() && matches!(job.fleet, Fleet::Expect(_)) {
            seated_by_arrival(&self.claims(), job)
        } else {
            start.roster.keys().cloned().collect()
        }
    }

    /// The claim whose parts count: the roster's, or the slot's first where it names none.
    pub(super) fn claim(&self, start: &Start, vantage: &Vantage) -> Option<ClaimId> {
        match start.roster.get(vantage) {
            Some(entry) if entry.claim.is_some() => entry.claim.clone(),
            _ => {
                let slot: Slot = self.read(&Item::Slot(vantage.clone(), 0))?;
                Some(slot.claim)
            }
        }
    }

    /// The latest claim to a slot that is known to have been made, whether it counts or not.
    fn last_claim(&self, vantage: &Vantage) -> Option<ClaimId> {
        // A slot's claims stand together: no label has the dot that follows it in them.
        let first = Item::Ready(ClaimId::new(vantage, 0, 0));
        let readies = self
            .listed
            .range(first..)
            .map_while(|(item, _)| match item {
                Item::Ready(claim) if claim.vantage() == *vantage => Some(claim.clone()),
                _ => None,
            });
        let slots = Item::Slot(vantage.clone(), 0)..=Item::Slot(vantage.clone(), u32::MAX);
        let slots = self.listed.range(slots);
        let slots = slots.filter_map(|(item, _)| self.read::<Slot>(item).map(|s| s.claim));
        readies.chain(slots).max_by_key(ClaimId::k)
    }

    /// All that must be read before anything can be frozen. It grows as objects come in: empty
    /// means that all is there.
    pub(super) fn wanted(&self) -> BTreeSet<Item> {
        let mut wanted = BTreeSet::from([Item::Job, Item::Start, Item::Abort]);
        if let Some(r) = self.latest_inputs() {
            wanted.insert(Item::Inputs(r));
        }
        // Parts are judged as they come, by the job and the start.
        if self.missing(&wanted) || self.verdict.is_none() {
            return wanted;
        }
        let start = match &self.verdict {
            Some(Verdict::Start(start)) => Some(&**start),
            _ => None,
        };
        let unnamed = |vantage: &Vantage| {
            let entry = start.and_then(|s| s.roster.get(vantage));
            entry.is_none_or(|entry| entry.claim.is_none())
        };
        // What names the signers of parts comes before these, and reports before the tiers that they
        // may have.
        wanted.extend(
            self.listed
                .keys()
                .filter(|item| matches!(item, Item::Slot(v, 0) if unnamed(v)))
                .cloned(),
        );
        if self.missing(&wanted) {
            return wanted;
        }
        let reports = |item: &&Item| matches!(item, Item::Report(_));
        wanted.extend(self.listed.keys().filter(reports).cloned());
        if self.missing(&wanted) {
            return wanted;
        }
        for item in self.listed.keys() {
            let vantage = match item {
                Item::Slot(v, _) | Item::Tier(v, _) | Item::Live(v) => v.clone(),
                Item::Ready(claim) => claim.vantage(),
                _ => continue,
            };
            let tiers = self.reports.get(&vantage);
            let wants = match item {
                Item::Slot(..) => start.is_none(),
                Item::Tier(_, n) => tiers.is_none_or(|tiers| !tiers.contains(n)),
                // Without its report, what became of it shows here.
                Item::Ready(_) | Item::Live(_) => tiers.is_none(),
                _ => false,
            };
            if wants {
                wanted.insert(item.clone());
            }
        }
        wanted
    }

    fn missing(&self, wanted: &BTreeSet<Item>) -> bool {
        wanted.iter().any(|item| !self.found.contains_key(item))
    }

    /// Whether what counts may be frozen: every slot has reported, or nobody waits any more.
    pub(super) fn is_over(&self, job: &Job, start: &Start, bucket_now: Timestamp) -> bool {
        let open = start.roster.is_empty() && bucket_now <= job.times.accept_until;
        let begun = reference_minus_bucket(start, bucket_now).to_local(start.start_at);
        let silent = |vantage: &Vantage| {
            let live = self.listed.get(&Item::Live(vantage.clone()));
            let last = live.map_or(begun, |at| begun.max(*at));
            bucket_now.saturating_since(last) > LEASE
        };
        let nobody_to_come = !open
            && self
                .expected(job, start)
                .iter()
                .all(|v| self.reports.contains_key(v) || silent(v));
        let abort_is_old = self
            .listed
            .get(&Item::Abort)
            .is_some_and(|at| bucket_now.saturating_since(*at) > LEASE);
        if planted!(WaitsForAll) {
            return self
                .expected(job, start)
                .iter()
                .all(|v| self.reports.contains_key(v));
        }
        nobody_to_come || abort_is_old || bucket_now >= self.end(job, start)
    }

    /// The last window's end plus the grace, on the bucket's clock.
    pub(super) fn end(&self, job: &Job, start: &Start) -> Timestamp {
        end_by_bucket(start) + job.times.grace.0
    }

    /// What is known of a vantage beside its parts.
    pub(super) fn seen(&self, start: Option<&Start>, vantage: &Vantage) -> VantageSeen {
        let claim = start
            .and_then(|s| self.claim(s, vantage))
            .or_else(|| self.last_claim(vantage));
        let item = claim.clone().map(Item::Ready);
        let ready = item.as_ref().is_some_and(|i| self.listed.contains_key(i));
        let (build, unfit) = match item.and_then(|i| self.read::<Ready>(&i)) {
            Some(ready) => (Some(ready.build), ready.unfit),
            None => (None, None),
        };
        let live = Item::Live(vantage.clone());
        let last_heartbeat = self
            .found
            .get(&live)
            .and_then(|_| self.listed.get(&live).copied());
        let live = self.read::<Live>(&live);
        // Who aborted the run may have rewritten it.
        let last_heartbeat = live.as_ref().and_then(|l| l.own_at).or(last_heartbeat);
        let phase = live.map(|l| l.phase);
        VantageSeen {
            claim,
            ready: ready && unfit.is_none(),
            last_heartbeat,
            last_phase: unfit.or(phase),
            build,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::job::Span;
    use crate::report::sample;

    #[test]
    fn who_has_fallen_silent_holds_up_the_end_for_no_longer_than_the_lease() {
        let mut job = sample::job();
        job.times.grace = Span::secs(3_600);
        let start = sample::start(&job);
        let [a, b, c] = ["a", "b", "c"].map(sample::vantage);
        let mut view = View::new(job.run.clone());
        let (end, second) = (end_by_bucket(&start), Duration::from_secs(1));
        view.reports.insert(a, BTreeSet::new());
        view.reports.insert(b, BTreeSet::new());
        let mut is_over = |heard: Timestamp, now: Timestamp| {
            view.listed.insert(Item::Live(c.clone()), heard);
            view.is_over(&job, &start, now)
        };
        assert!(!is_over(end, end + LEASE));
        assert!(is_over(end, end + LEASE + second));
        // Beats that go on are waited for until the grace is over.
        let late = end + job.times.grace.0;
        assert!(!is_over(late - second * 2, late - second));
        assert!(is_over(late - second, late));
    }

    #[test]
    fn a_slot_s_latest_claim_is_none_of_its_neighbours() {
        let label = |text: &str| text.parse::<Vantage>().unwrap();
        let claim = |of: &str, k| ClaimId::new(&label(of), k, 9);
        let mut view = View::new("r1".parse().unwrap());
        for claim in [
            claim("iad", 0),
            claim("iad", 2),
            claim("iad", 10),
            claim("iad-2", 11),
            claim("iad/1", 12),
            claim("hnd", 13),
            claim("jnb", 14),
        ] {
            view.listed
                .insert(Item::Ready(claim), Timestamp::from_micros(0));
        }
        for (of, k) in [("iad", 10), ("iad-2", 11), ("iad/1", 12), ("hnd", 13)] {
            assert_eq!(view.last_claim(&label(of)), Some(claim(of, k)));
        }
        assert_eq!(view.last_claim(&label("ia")), None);
    }
}
