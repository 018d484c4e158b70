//! What a finalizer lists of a run, in as few requests as show all that may count.
//!
//! A listing comes in pages of a thousand keys, one after the other. A run that fits in one is
//! listed at once, a larger one by its folders, several at a time. Most of its keys are tiers: of
//! these, a folder for each slot shows, and is listed where a report doesn't tell all of them.

use std::collections::BTreeSet;

use super::view::View;
use crate::job::{Job, RunId, Timestamp, Vantage};
use crate::load::schedule;
use crate::rendezvous::exchange::{Errand, Request};
use crate::rendezvous::keys::{Folder, list_folders, list_run};
use crate::store::{List, Listing};

/// Keys in a page of a listing (S3's `ListObjectsV2`).
const PAGE: u64 = 1_000;
/// A prober's objects beside its tiers: slot, ready, heartbeat, report.
const BESIDE_TIERS: u64 = 4;

/// The first listing of a job's run; one of at most `whole_max` objects is listed at once.
pub(super) fn first(job: &Job, whole_max: u64) -> List {
    let tiers = schedule(job, job.times.start_by).len() as u64;
    let objects = u64::from(job.fleet.size()).saturating_mul(tiers + BESIDE_TIERS);
    if objects <= whole_max {
        list_run(&job.run)
    } else {
        list_folders(&job.run)
    }
}

impl View {
    /// Takes in what a listing showed; what it leaves to be listed at once comes out.
    pub(super) fn take(&mut self, listing: &Listing) -> Vec<List> {
        self.take_objects(listing);
        let tiers = Folder::Tiers.list(&self.run).prefix;
        let mut next = Vec::new();
        for folder in &listing.prefixes {
            if *folder == tiers {
                next.push(List::folder(folder));
            } else if folder.starts_with(&tiers) {
                self.tier_folders.insert(folder.clone());
            } else {
                next.push(List::all(folder));
            }
        }
        next
    }

    /// Of the tiers' folders that showed, those that may have more than the reports that came.
    pub(super) fn folders_left(&mut self) -> Vec<List> {
        let plan = self.start().map_or(&[][..], |start| &start.tiers);
        let planned: BTreeSet<u32> = plan.iter().map(|t| t.tier).collect();
        let told = |folder: &str| {
            let slot = slot_of(&self.run, folder);
            let tiers = slot.and_then(|slot| self.reports.get(&slot));
            tiers.is_some_and(|tiers| planned.is_subset(tiers))
        };
        let left: BTreeSet<String> = self
            .tier_folders
            .iter()
            .filter(|folder| !told(folder))
            .cloned()
            .collect();
        let pages = self.tier_folders.len() as u64 * planned.len() as u64 / PAGE + 1;
        if left.len() as u64 > pages {
            // All of them take fewer requests.
            self.tier_folders.clear();
            return vec![Folder::Tiers.list(&self.run)];
        }
        self.tier_folders.retain(|folder| !left.contains(folder));
        left.into_iter().map(List::all).collect()
    }
}

/// Whose tiers a folder has, if it can be told.
fn slot_of(run: &RunId, folder: &str) -> Option<Vantage> {
    let tiers = Folder::Tiers.list(run).prefix;
    Vantage::from_name(folder.strip_prefix(&tiers)?.strip_suffix('/')?)
}

/// Listings that are to come.
#[derive(Debug, Default)]
pub(super) struct Lists(Vec<(List, Errand)>);

impl Lists {
    pub(super) fn add(&mut self, lists: impl IntoIterator<Item = List>, now: Timestamp) {
        let due = Errand::at(now);
        self.0.extend(lists.into_iter().map(|list| (list, due)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Asks for those that are due, up to so many at once.
    pub(super) fn ask(&mut self, now: Timestamp, most: usize, out: &mut Vec<Request>) {
        for (list, errand) in self.0.iter_mut().take(most) {
            if errand.start(now) {
                out.push(Request::List(list.clone()));
            }
        }
    }

    /// One has come.
    pub(super) fn came(&mut self, list: &List) {
        if let Some(at) = self.0.iter().position(|(l, _)| l == list) {
            self.0.remove(at);
        }
    }

    /// One has failed.
    pub(super) fn again(&mut self, list: &List, at: Timestamp) {
        if let Some((_, errand)) = self.0.iter_mut().find(|(l, _)| l == list) {
            errand.answered();
            errand.again(at);
        }
    }

    pub(super) fn wake_at(&self, most: usize) -> Option<Timestamp> {
        let due = self.0.iter().take(most);
        due.filter_map(|(_, errand)| errand.wake_at()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::WHOLE_MAX;
    use super::super::view::Found;
    use super::*;
    use crate::job::{Fleet, SCHEMA_MAJOR, WriteId};
    use crate::rendezvous::document;
    use crate::rendezvous::keys::Item;
    use crate::rendezvous::objects::{Decision, StartDocument};
    use crate::report::sample;
    use crate::store::Entry;

    fn slot(n: u32) -> Vantage {
        format!("v{n}").parse().unwrap()
    }

    fn folder(view: &View, name: &str) -> String {
        format!("{}{name}/", Folder::Tiers.list(&view.run).prefix)
    }

    /// A started run, of which a listing by folder showed those of so many slots.
    fn view(slots: u32) -> View {
        let job = document::digested(sample::job()).unwrap();
        let mut view = View::new(job.run.clone());
        let start = StartDocument {
            schema: SCHEMA_MAJOR,
            write_id: WriteId::from_u64(2),
            run: job.run.clone(),
            job_sha256: job.digest,
            decision: Decision::Start(sample::start(&job)),
        };
        let start = document::write(&start).unwrap();
        let job = document::write(&job.document).unwrap();
        let at = sample::job().times.start_by;
        view.learn(Item::Job, Found::Body(job, at));
        view.learn(Item::Start, Found::Body(start, at));
        let shown = Listing {
            prefixes: (0..slots)
                .map(|n| folder(&view, slot(n).as_str()))
                .collect(),
            ..Listing::default()
        };
        assert_eq!(view.take(&shown), vec![]);
        view
    }

    /// The tiers that a start plans.
    fn planned(view: &View) -> BTreeSet<u32> {
        view.start().unwrap().tiers.iter().map(|t| t.tier).collect()
    }

    #[test]
    fn what_fits_in_a_page_is_listed_at_once() {
        let mut job = sample::job();
        let tiers = schedule(&job, job.times.start_by).len() as u64;
        let most = u32::try_from(WHOLE_MAX / (tiers + BESIDE_TIERS)).unwrap();
        for (fleet, list) in [
            (most, list_run(&job.run)),
            (most + 1, list_folders(&job.run)),
        ] {
            job.fleet = Fleet::Expect(fleet);
            assert_eq!(first(&job, WHOLE_MAX), list, "{fleet}");
        }
        assert_eq!(first(&job, 0), list_folders(&job.run));
    }

    #[test]
    fn each_folder_is_listed_whole_but_that_of_tiers() {
        let mut view = view(0);
        let root = list_folders(&view.run).prefix;
        let at = |name: &str| format!("{root}{name}");
        let shown = Listing {
            objects: vec![Entry {
                key: at("notes.txt"),
                size: 1,
                last_modified: Timestamp::from_micros(0),
            }],
            prefixes: ["live/", "somebody/", "tiers/"].map(at).into(),
        };
        assert_eq!(
            view.take(&shown),
            vec![
                List::all(at("live/")),
                List::all(at("somebody/")),
                List::folder(at("tiers/")),
            ]
        );
        assert!(view.strange.contains(&at("notes.txt")));
    }

    #[test]
    fn a_folder_of_tiers_is_left_out_where_a_report_tells_them_all() {
        let mut view = view(3);
        let all = planned(&view);
        let mut some = all.clone();
        some.pop_last();
        view.reports.insert(slot(0), all);
        view.reports.insert(slot(1), some);
        view.tier_folders.insert(folder(&view, "No Slot"));
        let few = view.tier_folders.len();
        // So few folders are one listing.
        assert_eq!(few, 4);
        assert_eq!(view.folders_left(), vec![Folder::Tiers.list(&view.run)]);
        assert_eq!(view.folders_left(), vec![]);
    }

    #[test]
    fn of_many_folders_few_are_listed_one_by_one() {
        let slots = 5_000;
        let mut view = view(slots);
        let all = planned(&view);
        for n in 0..slots {
            view.reports.insert(slot(n), all.clone());
        }
        assert_eq!(view.folders_left(), vec![]);
        view.reports.remove(&slot(7));
        view.reports.get_mut(&slot(9)).unwrap().pop_last();
        view.tier_folders.insert(folder(&view, "No Slot"));
        let left = ["No Slot", "v7", "v9"].map(|name| List::all(folder(&view, name)));
        assert_eq!(view.folders_left(), left);
        // Once is enough, unless more is found missing.
        assert_eq!(view.folders_left(), vec![]);
        view.reports.remove(&slot(8));
        assert_eq!(view.folders_left(), vec![List::all(folder(&view, "v8"))]);
    }

    #[test]
    fn listings_are_asked_for_some_at_a_time_and_again_when_they_fail() {
        let now = Timestamp::from_micros(0);
        let later = Timestamp::from_micros(1);
        let list = |n: u32| List::all(n.to_string());
        let mut lists = Lists::default();
        lists.add((0..3).map(list), now);
        let ask = |lists: &mut Lists, now| {
            let mut out = Vec::new();
            lists.ask(now, 2, &mut out);
            out
        };
        let asked = |of: &[u32]| {
            of.iter()
                .map(|n| Request::List(list(*n)))
                .collect::<Vec<_>>()
        };
        assert_eq!(ask(&mut lists, now), asked(&[0, 1]));
        assert_eq!(lists.wake_at(2), None);
        lists.came(&list(0));
        assert_eq!(ask(&mut lists, now), asked(&[2]));
        lists.again(&list(1), later);
        assert_eq!(lists.wake_at(2), Some(later));
        assert_eq!(ask(&mut lists, now), asked(&[]));
        assert_eq!(ask(&mut lists, later), asked(&[1]));
        lists.came(&list(1));
        lists.came(&list(2));
        assert!(lists.is_empty());
    }
}
