//! A finalizer's decisions: freeze what counts, then compute the combined report from exactly
//! that. However often, from wherever and by however many it is called, a revision that could be
//! read never changes.

mod freeze;
mod looks;
mod parts;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use self::looks::Lists;
pub use self::parts::{Part, Terms};
use self::view::{Found, View};
use super::admission::Verdict;
use super::chance::write_id;
use super::exchange::{Errand, Reply, Request};
use super::keys::{Item, Revision, RunKey, list_run};
use super::objects::{Decision, Inputs, StartDocument};
use super::{RendezvousError, document};
use crate::clock::{Estimate, Sample};
use crate::job::{Digested, Job, RunId, SCHEMA_MAJOR, Timestamp};
use crate::report::Combined;
use crate::report::combined::OtherRequests;
use crate::store::{Op, RequestCounts, Settled, StoreError};

/// The most reads under way at once: each holds a body, and a connection's buffer as large.
const READS_MAX: usize = 16;
/// The most listings under way at once.
const LISTS_MAX: usize = 8;
/// Objects in a run that is listed at once, not folder by folder: a page of a listing.
pub const WHOLE_MAX: u64 = 1_000;
/// How long after a failed request the next try comes.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How often it looks whether the run is over, when it may wait for that.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Failures in a row after which it gives up.
const FAILURES_MAX: u32 = 10;

/// What a finalizer hears.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time has passed.
    Wake,
    /// The bucket answered.
    Replied(Reply),
    /// A part that the bucket answered with was judged ([`Finalizer::terms`]).
    Judged(RunKey, Box<Part>),
    /// The bucket's clock was read.
    Clock(Sample),
}

/// Which run to finalize.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The run.
    pub run: RunId,
    /// Wait until it is over, instead of saying that it isn't.
    pub wait: bool,
    /// A run of at most so many objects is listed at once: [`WHOLE_MAX`], or fewer.
    pub whole_max: u64,
    /// The bucket, for messages.
    pub place: String,
    /// Makes write ids, different for each process.
    pub seed: u64,
}

/// A combined report that can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// Which revision.
    pub revision: Revision,
    /// As stored.
    pub body: Bytes,
    /// As read.
    pub combined: Combined,
}

/// A combined report that is to be stored.
#[derive(Debug)]
struct Made {
    combined: Combined,
    body: Bytes,
}

/// A finalizer.
#[derive(Debug)]
pub struct Finalizer {
    settings: Settings,
    bucket: Estimate,
    view: View,
    /// When to look at the run, until that has begun.
    look_at: Option<Timestamp>,
    lists: Lists,
    queue: VecDeque<Item>,
    reads: BTreeMap<Item, Errand>,
    work: Work,
    write: Errand,
    failures: u32,
    writes: u64,
    /// What the coordinator of the same process asked, and what that process asked so far.
    asked: Option<(Option<RequestCounts>, RequestCounts)>,
    end: Option<Box<Result<Finished, RendezvousError>>>,
}

/// What is being written.
#[derive(Debug)]
enum Work {
    /// Nothing yet: what is there is being read.
    Looking,
    /// The cancel of a run that nobody started in time.
    Cancel(Bytes),
    /// What counts.
    Inputs(Box<Inputs>, Bytes),
    /// A revision's inputs stand; its combined report is made.
    Combined(Box<Inputs>, Option<Box<Made>>),
}

impl Finalizer {
    /// A finalizer that begins now.
    pub fn new(settings: Settings, now: Timestamp) -> Self {
        Finalizer {
            view: View::new(settings.run.clone()),
            settings,
            bucket: Estimate::unknown(),
            look_at: Some(now),
            lists: Lists::default(),
            queue: VecDeque::new(),
            reads: BTreeMap::new(),
            work: Work::Looking,
            write: Errand::IDLE,
            failures: 0,
            writes: 0,
            asked: None,
            end: None,
        }
    }

    /// Tells it what its process asked of the bucket so far, and how much of that was a
    /// coordinator's.
    pub fn count(&mut self, coordinator: Option<RequestCounts>, so_far: RequestCounts) {
        self.asked = Some((coordinator, so_far));
    }

    /// What is known of requests when a revision is frozen.
    fn requests(&self) -> OtherRequests {
        let Some((coordinator, so_far)) = self.asked else {
            return OtherRequests::default();
        };
        let mut own = so_far.since(&coordinator.unwrap_or_default());
        // Its inputs and its combined report.
        own.count(Op::Create);
        own.count(Op::Create);
        OtherRequests {
            // One that left the run to itself said it in its start.
            coordinator: coordinator.or_else(|| self.view.start()?.asked),
            finalizer: Some(own),
        }
    }

    /// Takes an event in; what to ask comes out.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Request> {
        match event {
            Event::Wake => {}
            Event::Clock(sample) => self.bucket.add(&sample),
            Event::Replied(reply) => self.replied(now, reply),
            Event::Judged(key, part) => self.learn(key.item, Found::Part(*part)),
        }
        let mut out = Vec::new();
        while self.end.is_none() && self.act(now, &mut out) {}
        out
    }

    /// What the part at a place is judged by, when it is one. Its body may be judged elsewhere and
    /// told as [`Event::Judged`] instead of as a reply: that is most of the work.
    pub fn terms(&self, place: &RunKey) -> Option<Terms> {
        self.view.terms(place)
    }

    /// When to wake it, if nothing happens before.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let reads = self.reads.values().copied();
        let errands = reads.chain([self.write]).filter_map(|e| e.wake_at());
        // It reads what it must know before it looks.
        let under_way = !(self.reads.is_empty() && self.lists.is_empty());
        let look_at = self.look_at.filter(|_| !under_way);
        let lists = self.lists.wake_at(LISTS_MAX);
        errands.chain(look_at).chain(lists).min()
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<&Result<Finished, RendezvousError>> {
        self.end.as_deref()
    }

    /// The same, taken out of it.
    pub fn take_end(&mut self) -> Option<Result<Finished, RendezvousError>> {
        self.end.take().map(|end| *end)
    }

    /// Does what can be done now; says whether that made more possible.
    fn act(&mut self, now: Timestamp, out: &mut Vec<Request>) -> bool {
        if self.look_at.is_some_and(|at| at > now) {
            return false;
        }
        self.lists.ask(now, LISTS_MAX, out);
        if !self.lists.is_empty() || self.read(now, out) {
            return false;
        }
        let Some(job) = self.view.job().cloned() else {
            self.no_job();
            return false;
        };
        let more = match self.look_at.take() {
            Some(_) => vec![looks::first(&job, self.settings.whole_max)],
            None => self.view.folders_left(),
        };
        if !more.is_empty() {
            self.lists.add(more, now);
            return true;
        }
        match &self.work {
            Work::Looking => return self.look(now, &job),
            Work::Cancel(body) => {
                if self.write.start(now) {
                    let key = self.view.key(Item::Start);
                    out.push(Request::Create(key, body.clone()));
                }
            }
            Work::Inputs(inputs, body) => {
                if self.write.start(now) {
                    let key = self.view.key(Item::Inputs(Revision(inputs.revision)));
                    out.push(Request::Create(key, body.clone()));
                }
            }
            Work::Combined(inputs, None) => {
                let mut counts = Inputs::clone(inputs);
                if planted!(CountsWhatIsThere) {
                    let id = counts.write_id.clone();
                    let revision = Revision(counts.revision);
                    let requests = self.requests();
                    counts = freeze::freeze(&self.view, &job, revision, id, None, requests);
                }
                let made = freeze::combined(&self.view, &job, &counts);
                let made = made.and_then(|mut combined| {
                    if planted!(SaysWhoMadeIt) {
                        combined.reasons.push(self.settings.seed.to_string());
                    }
                    let body = serde_json::to_vec(&combined).ok()?.into();
                    Some(Box::new(Made { combined, body }))
                });
                let inputs = inputs.clone();
                match made {
                    Some(made) => self.work = Work::Combined(inputs, Some(made)),
                    // An object is not what it was: that revision stays without a report.
                    None => self.freeze(&job, Revision(inputs.revision).next(), Some(&inputs)),
                }
                self.write = Errand::at(now);
                return true;
            }
            Work::Combined(inputs, Some(made)) => {
                if self.write.start(now) {
                    let key = self.view.key(Item::Combined(Revision(inputs.revision)));
                    let body = made.body.clone();
                    out.push(if planted!(RevisionOverwritten) {
                        Request::Overwrite(key, body, None)
                    } else {
                        Request::Create(key, body)
                    });
                }
            }
        }
        false
    }

    /// Asks for what is wanted and not there; says whether something is still to come.
    fn read(&mut self, now: Timestamp, out: &mut Vec<Request>) -> bool {
        if self.queue.is_empty() && self.reads.is_empty() {
            let mut wanted = match self.look_at {
                // How large the run is says how it is listed.
                Some(_) => [Item::Job].into(),
                None => self.view.wanted(),
            };
            if let Work::Combined(inputs, _) = &self.work {
                wanted.extend(freeze::needed(inputs));
            }
            wanted.retain(|item| !self.view.found.contains_key(item));
            self.queue.extend(wanted);
        }
        while self.reads.len() < READS_MAX
            && let Some(item) = self.queue.pop_front()
        {
            self.reads.insert(item, Errand::at(now));
        }
        for (item, errand) in &mut self.reads {
            if errand.start(now) {
                out.push(Request::Read(self.view.key(item.clone())));
            }
        }
        !self.reads.is_empty()
    }

    fn no_job(&mut self) {
        let key = self.view.key(Item::Job);
        let e = match self.view.found.get(&Item::Job) {
            Some(Found::Body(body, _)) => match document::read::<Job>(&key, body) {
                Err(e) => e,
                Ok(_) => return,
            },
            Some(Found::Refused(why)) => RendezvousError::Malformed {
                key: key.to_string(),
                why: why.clone(),
            },
            Some(Found::Absent | Found::Part(_)) | None => RendezvousError::NoSuchRun {
                run: self.settings.run.clone(),
                place: self.settings.place.clone(),
            },
        };
        self.finish(Err(e));
    }

    /// All is read: decides what to write. Says whether there is more to do at once.
    fn look(&mut self, now: Timestamp, job: &Digested<Job>) -> bool {
        if let Some(revision) = self.view.latest_inputs()
            && let Some(inputs) = self.inputs(revision)
        {
            self.work = Work::Combined(Box::new(inputs), None);
            return true;
        }
        let revision = self
            .view
            .latest_inputs()
            .map_or(Revision::FIRST, Revision::next);
        match self.view.verdict().cloned() {
            None if self.bucket.surely_past(now, job.times.start_by) => {
                self.cancel(job);
            }
            None => {
                return self.not_yet(
                    now,
                    RendezvousError::NotStarted {
                        run: job.run.clone(),
                        until: job.times.start_by,
                    },
                );
            }
            Some(Verdict::Cancelled(_)) => self.freeze(job, revision, None),
            Some(Verdict::Start(start)) => {
                // The bucket's clock shows at least this.
                let offset = self.bucket.assumed(now);
                let bucket_now = now.offset_micros(offset.lo_us);
                if !self.view.is_over(job, &start, bucket_now) {
                    return self.not_yet(
                        now,
                        RendezvousError::StillRunning {
                            run: job.run.clone(),
                            until: self.view.end(job, &start),
                        },
                    );
                }
                self.freeze(job, revision, None);
            }
        }
        self.write = Errand::at(now);
        true
    }

    fn inputs(&self, revision: Revision) -> Option<Inputs> {
        let item = Item::Inputs(revision);
        match self.view.found.get(&item)? {
            Found::Body(body, _) => document::read(&self.view.key(item), body).ok(),
            Found::Part(_) | Found::Absent | Found::Refused(_) => None,
        }
    }

    fn not_yet(&mut self, now: Timestamp, e: RendezvousError) -> bool {
        if self.settings.wait {
            self.look_again(now + LOOK_EVERY);
        } else {
            self.finish(Err(e));
        }
        false
    }

    fn look_again(&mut self, at: Timestamp) {
        self.work = Work::Looking;
        self.queue.clear();
        self.reads.clear();
        self.view.forget();
        self.look_at = Some(at);
    }

    fn cancel(&mut self, job: &Digested<Job>) {
        let document = StartDocument {
            schema: SCHEMA_MAJOR,
            write_id: self.write_id(),
            run: job.run.clone(),
            job_sha256: job.digest,
            decision: Decision::Cancel {
                reason: format!("no start was decided by {}", job.times.start_by),
            },
        };
        match document::write(&document) {
            Ok(body) => self.work = Work::Cancel(body),
            Err(e) => self.finish(Err(e)),
        }
    }

    fn freeze(&mut self, job: &Job, revision: Revision, previous: Option<&Inputs>) {
        let id = self.write_id();
        let requests = self.requests();
        let inputs = freeze::freeze(&self.view, job, revision, id, previous, requests);
        match document::write(&inputs) {
            Ok(body) => self.work = Work::Inputs(Box::new(inputs), body),
            Err(e) => self.finish(Err(e)),
        }
    }

    fn write_id(&mut self) -> crate::job::WriteId {
        self.writes += 1;
        write_id(self.settings.seed, self.writes)
    }

    fn replied(&mut self, now: Timestamp, reply: Reply) {
        match reply {
            Reply::Listed(list, Ok(listing)) => {
                self.failures = 0;
                self.lists.came(&list);
                self.lists.add(self.view.take(&listing), now);
            }
            Reply::Listed(list, Err(e)) => {
                self.lists.again(&list, now + RETRY_AFTER);
                self.failed(e);
            }
            Reply::Read(key, answer) => {
                let errand = self.reads.entry(key.item.clone()).or_insert(Errand::IDLE);
                errand.answered();
                let found = match answer {
                    Ok(object) => match self.view.terms(&key) {
                        Some(terms) => Found::Part(terms.judge(&object.body)),
                        None => Found::Body(object.body, object.last_modified),
                    },
                    Err(e) if e.is_absent() => Found::Absent,
                    Err(StoreError::TooLarge { size, limit, .. }) => {
                        let why = format!("{size} bytes, where at most {} are read", limit.0);
                        Found::Refused(why)
                    }
                    Err(e) => {
                        errand.again(now + RETRY_AFTER);
                        return self.failed(e);
                    }
                };
                if planted!(ListsForEachPart) {
                    self.lists.add([list_run(&self.settings.run)], now);
                }
                self.learn(key.item, found);
            }
            Reply::Created(_, answer) => {
                self.write.answered();
                match answer {
                    Ok(settled) => {
                        self.failures = 0;
                        self.created(now, settled);
                    }
                    Err(e) => {
                        self.write.again(now + RETRY_AFTER);
                        self.failed(e);
                    }
                }
            }
            Reply::Overwritten(..) => {}
        }
    }

    /// An object was read.
    fn learn(&mut self, item: Item, found: Found) {
        self.failures = 0;
        self.reads.remove(&item);
        self.view.learn(item, found);
    }

    fn created(&mut self, now: Timestamp, settled: Settled) {
        match std::mem::replace(&mut self.work, Work::Looking) {
            Work::Looking => {}
            // When it was stored matters: it is read.
            Work::Cancel(_) => {
                self.view.found.remove(&Item::Start);
            }
            Work::Inputs(inputs, body) => {
                let revision = Revision(inputs.revision);
                let item = Item::Inputs(revision);
                let (body, inputs) = match settled {
                    Settled::Mine => (body, Some(*inputs)),
                    Settled::Theirs(object) => {
                        let key = self.view.key(item.clone());
                        let theirs = document::read(&key, &object.body).ok();
                        (object.body, theirs)
                    }
                };
                self.view.listed.insert(item.clone(), now);
                self.view.learn(item, Found::Body(body, now));
                if let Some(inputs) = inputs {
                    self.work = Work::Combined(Box::new(inputs), None);
                }
            }
            Work::Combined(inputs, made) => match (settled, made) {
                (Settled::Mine, Some(made)) => self.stored(now, &inputs, *made),
                (Settled::Mine, None) => {}
                (Settled::Theirs(object), _) => match serde_json::from_slice(&object.body) {
                    Ok(combined) => {
                        let body = object.body;
                        self.stored(now, &inputs, Made { combined, body });
                    }
                    Err(e) => {
                        let item = Item::Combined(Revision(inputs.revision));
                        self.finish(Err(RendezvousError::Malformed {
                            key: self.view.key(item).to_string(),
                            why: e.to_string(),
                        }));
                    }
                },
            },
        }
    }

    /// A revision can be read. If more has come since it was frozen, there is a next one.
    fn stored(&mut self, now: Timestamp, inputs: &Inputs, made: Made) {
        let revision = Revision(inputs.revision);
        if let Some(job) = self.view.job().cloned() {
            let id = self.write_id();
            let next = revision.next();
            let requests = self.requests();
            let current = freeze::freeze(&self.view, &job, next, id, Some(inputs), requests);
            if freeze::has_news(inputs, &current) {
                self.write = Errand::at(now);
                return self.freeze(&job, revision.next(), Some(inputs));
            }
        }
        let Made { combined, body } = made;
        self.finish(Ok(Finished {
            revision,
            body,
            combined,
        }));
    }

    fn failed(&mut self, e: StoreError) {
        self.failures += 1;
        if !e.retryable() || self.failures > FAILURES_MAX {
            self.finish(Err(e.into()));
        }
    }

    fn finish(&mut self, end: Result<Finished, RendezvousError>) {
        self.end = Some(Box::new(end));
    }
}
