//! Watching a started run until all is in that will be waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Action;
use crate::clock::Estimate;
use crate::job::{Job, SCHEMA_MAJOR, Timestamp, Vantage};
use crate::rendezvous::admission::seated_by_arrival;
use crate::rendezvous::chance::write_id;
use crate::rendezvous::exchange::{Errand, Reply, Request};
use crate::rendezvous::keys::{Folder, Item, RunKey};
use crate::rendezvous::objects::{Abort, Live, Start};
use crate::rendezvous::progress::Progress;
use crate::rendezvous::reference::{end_by_bucket, reference_minus_bucket};
use crate::rendezvous::rouse::Rouse;
use crate::rendezvous::{LEASE, document};
use crate::store::{Listing, StoreError};

/// How often heartbeats, reports and the kill switch are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The most heartbeats that are read for display per look.
const SHOWN_MAX: usize = 64;
/// How old what a listing shows may be, in a store that isn't strongly consistent.
const LISTING_AGE_MAX: Duration = Duration::from_secs(8);
/// The write id of an abort: after those of job and start.
const ABORT_WRITE: u64 = 1 << 32;

/// What is known of a vantage that takes part.
#[derive(Debug, Default)]
struct Seen {
    reported: bool,
    live_at: Option<Timestamp>,
    stale: bool,
}

/// A started run, watched.
#[derive(Debug)]
pub(super) struct Watch {
    job: Job,
    start: Start,
    seed: u64,
    seen: BTreeMap<Vantage, Seen>,
    open: bool,
    aborted: Option<(String, Timestamp)>,
    slots: Errand,
    live: Errand,
    reports: Errand,
    abort: Errand,
    pull: Errand,
    rouse: Option<Rouse>,
    reads: BTreeSet<Vantage>,
    over: bool,
}

impl Watch {
    pub(super) fn new(job: Job, start: Start, seed: u64, now: Timestamp) -> Self {
        let seen: BTreeMap<_, _> = start
            .roster
            .keys()
            .map(|v| (v.clone(), Seen::default()))
            .collect();
        let open = seen.is_empty();
        Watch {
            job,
            seed,
            seen,
            open,
            aborted: None,
            slots: if open { Errand::at(now) } else { Errand::IDLE },
            live: Errand::at(now),
            reports: Errand::at(now),
            abort: Errand::at(now),
            pull: Errand::IDLE,
            rouse: None,
            reads: BTreeSet::new(),
            over: false,
            start,
        }
    }

    pub(super) fn start(&self) -> &Start {
        &self.start
    }

    /// Whether all is in that will be waited for, and then why the run was aborted, if it was.
    pub(super) fn over(&self) -> Option<Option<String>> {
        self.over
            .then(|| self.aborted.as_ref().map(|(reason, _)| reason.clone()))
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        // Of the two listings of the heartbeats one waits for the other's answer.
        let rouse = self.rouse.as_ref().and_then(Rouse::wake_at);
        let rouse = rouse.filter(|_| !self.live.under_way());
        let live = self.live.wake_at().filter(|_| !self.rouses());
        [self.slots, self.reports, self.abort, self.pull]
            .iter()
            .filter_map(Errand::wake_at)
            .chain(rouse)
            .chain(live)
            .min()
    }

    /// Pulls the kill switch.
    pub(super) fn abort(&mut self, now: Timestamp, reason: String) {
        if self.aborted.is_none() {
            self.aborted = Some((reason, now));
            self.pull = Errand::at(now);
        }
    }

    pub(super) fn act(&mut self, now: Timestamp, bucket: &Estimate) -> Vec<Action> {
        let run = &self.job.run;
        let mut out = Vec::new();
        if self.slots.start(now) {
            out.push(Request::List(Folder::Slots.list(run)));
        }
        // One listing of the heartbeats at a time: which is whose shows by nothing else.
        if let Some(rouse) = &mut self.rouse
            && !self.live.under_way()
        {
            out.extend(rouse.act(now));
        }
        if !self.rouses() && self.live.start(now) {
            out.push(Request::List(Folder::Live.list(run)));
        }
        if self.reports.start(now) {
            out.push(Request::List(Folder::Reports.list(run)));
        }
        if self.abort.start(now) {
            out.push(Request::Read(RunKey::new(run, Item::Abort)));
        }
        if self.pull.start(now)
            && let Some((reason, _)) = &self.aborted
        {
            let abort = Abort {
                schema: SCHEMA_MAJOR,
                write_id: write_id(self.seed, ABORT_WRITE),
                run: run.clone(),
                reason: reason.clone(),
            };
            let body = document::write(&abort);
            out.extend(body.map(|b| Request::Create(RunKey::new(run, Item::Abort), b)));
        }
        self.over = self.over || self.is_over(now, bucket);
        out.into_iter().map(Action::Ask).collect()
    }

    /// Whether a listing of the heartbeats is for who is to be roused.
    fn rouses(&self) -> bool {
        self.rouse.as_ref().is_some_and(Rouse::is_listing)
    }

    /// When the last window has ended and the grace has passed, by the bucket's clock.
    fn end(&self) -> Timestamp {
        end_by_bucket(&self.start) + self.job.times.grace.0
    }

    fn is_over(&self, now: Timestamp, bucket: &Estimate) -> bool {
        // Nobody has looked at who wrote a report: while there may be load, whose heartbeats go on
        // is not done.
        let load_is_over =
            self.aborted.is_some() || bucket.surely_past(now, end_by_bucket(&self.start));
        let done = |s: &Seen| s.stale || (s.reported && load_is_over);
        let nobody_to_come = !self.open && self.seen.values().all(done);
        let abort_is_old = self
            .aborted
            .as_ref()
            .is_some_and(|(_, since)| now.saturating_since(*since) > LEASE);
        nobody_to_come || abort_is_old || bucket.surely_past(now, self.end())
    }

    pub(super) fn replied(
        &mut self,
        now: Timestamp,
        reply: Reply,
        bucket: &Estimate,
    ) -> Vec<Action> {
        let mut out = Vec::new();
        let rouses = self.rouses();
        if let Some(rouse) = &mut self.rouse {
            rouse.replied(now, &reply);
        }
        match reply {
            Reply::Listed(list, _) if rouses && list == Folder::Live.list(&self.job.run) => {}
            Reply::Listed(list, answer) => {
                let run = self.job.run.clone();
                let slots = list == Folder::Slots.list(&run);
                let live = list == Folder::Live.list(&run);
                let errand = if slots {
                    &mut self.slots
                } else if live {
                    &mut self.live
                } else {
                    &mut self.reports
                };
                let asked = errand.answered();
                errand.again(now + LOOK_EVERY);
                match answer {
                    Ok(listing) if slots => self.slots_listed(&listing, asked, bucket),
                    Ok(listing) if live => {
                        // Whoever was stopped meanwhile hears how it was then.
                        let as_of = bucket.assumed(now).to_other(asked.unwrap_or(now));
                        self.live_listed(as_of, &listing, &mut out);
                    }
                    Ok(listing) => self.reports_listed(&listing, &mut out),
                    Err(e) => out.push(trouble(&e)),
                }
            }
            Reply::Read(key, answer) => match (key.item.clone(), answer) {
                (Item::Abort, answer) => {
                    self.abort.answered();
                    self.abort.again(now + LOOK_EVERY);
                    match answer {
                        Ok(object) => self.abort_seen(now, &key, &object.body, &mut out),
                        Err(e) if e.is_absent() => {}
                        Err(e) => out.push(trouble(&e)),
                    }
                }
                (Item::Live(vantage), answer) => {
                    self.reads.remove(&vantage);
                    if let Ok(object) = answer
                        && let Ok(live) = document::read::<Live>(&key, &object.body)
                    {
                        let live = Box::new(live);
                        out.push(Action::Tell(Progress::Live { live }));
                    }
                }
                _ => {}
            },
            Reply::Created(_, answer) => {
                self.pull.answered();
                match answer {
                    Ok(_) => {
                        let since = bucket.assumed(now).to_other(now);
                        self.rouse = Some(Rouse::new(self.job.run.clone(), since, now));
                    }
                    Err(e) => {
                        self.pull.again(now + LOOK_EVERY);
                        out.push(trouble(&e));
                    }
                }
            }
            Reply::Overwritten(..) => {}
        }
        out
    }

    fn slots_listed(&mut self, listing: &Listing, asked: Option<Timestamp>, bucket: &Estimate) {
        let claims = claims(listing);
        for vantage in seated_by_arrival(&claims, &self.job) {
            self.seen.entry(vantage).or_default();
        }
        // What was asked for well after the door was shut shows all who came in.
        let shut = self.job.times.accept_until + LISTING_AGE_MAX;
        if asked.is_some_and(|t| bucket.surely_past(t, shut)) {
            self.open = false;
            self.slots.done();
        }
    }

    fn live_listed(&mut self, as_of: Timestamp, listing: &Listing, out: &mut Vec<Action>) {
        let mut fresh = Vec::new();
        for entry in &listing.objects {
            let Ok(RunKey {
                item: Item::Live(v),
                ..
            }) = entry.key.parse()
            else {
                continue;
            };
            if let Some(seen) = self.seen.get_mut(&v)
                && seen
                    .live_at
                    .is_none_or(|before| before < entry.last_modified)
            {
                seen.live_at = Some(entry.last_modified);
                fresh.push(v);
            }
        }
        let begun = reference_minus_bucket(&self.start, as_of).to_local(self.start.start_at);
        for (vantage, seen) in &mut self.seen {
            // A start that lies ahead is no silence.
            let last = seen.live_at.map_or(begun, |at| at.max(begun));
            let silent = as_of.saturating_since(last);
            let stale = silent > LEASE;
            if stale && !seen.stale && !seen.reported {
                out.push(Action::Tell(Progress::Stale {
                    vantage: vantage.clone(),
                    silent,
                }));
            }
            seen.stale = stale;
        }
        for vantage in fresh.into_iter().take(SHOWN_MAX) {
            if self.reads.insert(vantage.clone()) {
                let key = RunKey::new(&self.job.run, Item::Live(vantage));
                out.push(Action::Ask(Request::Read(key)));
            }
        }
    }

    fn reports_listed(&mut self, listing: &Listing, out: &mut Vec<Action>) {
        for entry in &listing.objects {
            if let Ok(RunKey {
                item: Item::Report(vantage),
                ..
            }) = entry.key.parse()
                && let Some(seen) = self.seen.get_mut(&vantage)
                && !seen.reported
            {
                seen.reported = true;
                out.push(Action::Tell(Progress::Reported { vantage }));
            }
        }
    }

    fn abort_seen(&mut self, now: Timestamp, key: &RunKey, body: &[u8], out: &mut Vec<Action>) {
        self.abort.done();
        let reason =
            document::read::<Abort>(key, body).map_or_else(|e| e.to_string(), |abort| abort.reason);
        if self.aborted.is_none() {
            self.aborted = Some((reason.clone(), now));
        }
        out.push(Action::Tell(Progress::Aborted { reason }));
    }
}

/// The claims that a listing shows, with when each was stored.
pub(in crate::rendezvous) fn claims(listing: &Listing) -> BTreeMap<(Vantage, u32), Timestamp> {
    listing
        .objects
        .iter()
        .filter_map(|entry| match entry.key.parse::<RunKey>().ok()?.item {
            Item::Slot(vantage, k) => Some(((vantage, k), entry.last_modified)),
            _ => None,
        })
        .collect()
}

fn trouble(e: &StoreError) -> Action {
    let what = e.to_string();
    Action::Tell(Progress::Trouble { what })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Span;
    use crate::report::sample;
    use crate::store::Entry;

    fn listing(items: &[(Item, Timestamp)], job: &Job) -> Listing {
        let entry = |(item, at): &(Item, Timestamp)| Entry {
            key: RunKey::new(&job.run, item.clone()).to_string(),
            size: 1,
            last_modified: *at,
        };
        Listing {
            objects: items.iter().map(entry).collect(),
            ..Listing::default()
        }
    }

    /// Whether a run of a, b and c is over at `now`, its last window long closed and its grace far
    /// from over, of whom a and b have reported and c was heard of last at `heard`.
    fn is_over(job: &Job, heard: Timestamp, now: Timestamp) -> (bool, usize) {
        let bucket = Estimate::unknown();
        let mut watch = Watch::new(job.clone(), sample::start(job), 1, now);
        let [a, b, c] = ["a", "b", "c"].map(sample::vantage);
        let lives = [(Item::Live(c), heard)];
        let reports = [a, b].map(|v| (Item::Report(v), heard));
        watch.act(now, &bucket);
        let mut told = Vec::new();
        for (folder, items) in [(Folder::Reports, &reports[..]), (Folder::Live, &lives)] {
            let listed = Reply::Listed(folder.list(&job.run), Ok(listing(items, job)));
            told.extend(watch.replied(now, listed, &bucket));
        }
        watch.act(now, &bucket);
        let stale = |a: &&Action| matches!(a, Action::Tell(Progress::Stale { .. }));
        (watch.over().is_some(), told.iter().filter(stale).count())
    }

    #[test]
    fn who_has_fallen_silent_holds_up_the_end_for_no_longer_than_the_lease() {
        let mut job = sample::job();
        job.times.grace = Span::secs(3_600);
        let end = end_by_bucket(&sample::start(&job));
        let second = Duration::from_secs(1);
        assert_eq!(is_over(&job, end, end + LEASE), (false, 0));
        assert_eq!(is_over(&job, end, end + LEASE + second), (true, 1));
        // Beats that go on are waited for until the grace is over.
        let late = end + job.times.grace.0;
        assert_eq!(is_over(&job, late - second * 2, late - second), (false, 0));
        assert_eq!(is_over(&job, late - second, late), (true, 0));
    }
}
