//! Loading under a lease: heartbeats, abort checks, a tier's part as soon as it is measured, the
//! report last.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::pulse::Pulse;
use super::schedule::{joinable, stop_at, tier_names};
use super::wait::Begin;
use super::{Action, Ended, Event, Function, Orders, ProberProgress, RETRY_AFTER, Settings, leave};
use crate::clock::RunClock;
use crate::job::{SCHEMA_MAJOR, Span, Timestamp};
use crate::prober::LiveFigures;
use crate::rendezvous::chance::{self, write_id};
use crate::rendezvous::exchange::{Errand, Reply, Request, sooner};
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::reference::Clocks;
use crate::rendezvous::{LEASE, RendezvousError, document};
use crate::report::part::{Outcome, ReportPart, Stop, TierPart};
use crate::signature::SigningKey;
use crate::store::{Op, RequestCounts, Settled, StoreError};

/// How often a loading prober looks for an abort.
const ABORT_EVERY: Duration = Duration::from_millis(8_500);
/// How long after the end of the run's grace a report is still worth storing: it makes a revision.
const REPORT_EXTRA: Duration = Duration::from_secs(60);
/// The write ids of tiers (and of the report, the last): after those of what came before.
const TIER_WRITES: u64 = 1 << 33;

/// A load, from its orders to its report.
#[derive(Debug)]
pub(super) struct Load {
    begin: Begin,
    build: String,
    key: SigningKey,
    seed: u64,
    /// No load from then on, as far as the clocks are known now.
    stop_at: Timestamp,
    must_end_by: Option<Timestamp>,
    function: Option<Function>,
    give_up: Timestamp,
    /// When it wanted to be woken, and when it last was.
    expected: Timestamp,
    heard_at: Timestamp,
    /// When it was not: stopped, suspended or starved, in local time.
    stops: Vec<(Timestamp, Duration)>,
    /// Why it measures fewer tiers than the start has, if it knew from the first.
    short: Option<String>,
    /// Why it stops, once it does or must.
    stopping: Option<String>,
    told: bool,
    ended: bool,
    figures: LiveFigures,
    parts: BTreeMap<u32, Part>,
    abort: Errand,
    /// When the last acknowledged heartbeat, and the last definite abort check, were sent.
    beat_ok: Timestamp,
    abort_ok: Timestamp,
    report: Option<Bytes>,
    send: Errand,
    checks: u64,
    /// How many creates in a row failed.
    failed: u32,
    requests: RequestCounts,
    trouble: String,
    stored: bool,
    /// Another's report stands in the place of its own.
    lost: bool,
}

#[derive(Debug)]
struct Part {
    part: TierPart,
    body: Bytes,
    errand: Errand,
}

/// Woken so much later than it wanted, a prober was stopped.
const STOP_LEAST: Duration = Duration::from_secs(2);

fn run_clock(begin: &Begin, clocks: &Clocks, now: Timestamp) -> RunClock {
    let width_max = begin.job.limits.clock_width.0;
    clocks.run(&begin.start, Some(&begin.claim.vantage()), width_max, now)
}

/// The pause after a create failed as often as this before: it doubles up to eight seconds.
fn retry_after(failed: u32) -> Duration {
    if planted!(RetriesAtOnce) {
        return Duration::ZERO;
    }
    RETRY_AFTER * 2u32.saturating_pow(failed.min(3))
}

impl Load {
    pub(super) fn new(
        begin: Begin,
        beat_ok: Timestamp,
        settings: &Settings,
        now: Timestamp,
        clocks: &Clocks,
        seed: u64,
        out: &mut VecDeque<Action>,
    ) -> Self {
        let clock = run_clock(&begin, clocks, now);
        let tiers = joinable(&begin.start.tiers, &clock, &begin.job, begin.seat);
        let stop_at = stop_at(&begin.job, settings.must_end_by, clocks, now);
        let last = begin.start.tiers.last().map(|t| t.window.to);
        let last = clock
            .offset
            .latest_local(last.unwrap_or(begin.start.start_at));
        let missed = begin.start.tiers.len() - tiers.len();
        let short = match (&begin.aborted, tiers.first()) {
            (Some(reason), _) => Some(format!("aborted before the start: {reason}")),
            (None, None) => Some("came too late for every tier".to_owned()),
            (None, Some(first)) if missed > 0 => {
                let missed: Vec<u32> = (0..first.plan.tier).collect();
                Some(format!("came late for {}", tier_names(&missed)))
            }
            _ => None,
        };
        let idle = begin.aborted.is_some() || tiers.is_empty() || now >= stop_at;
        if !idle {
            out.push_back(Action::StartLoad(Box::new(Orders {
                job: begin.job.clone(),
                claim: begin.claim.clone(),
                index: begin.seat.index,
                place: begin.seat.place,
                tiers,
                stop_at,
            })));
        }
        let (beat_ok, abort_ok) = if planted!(LeaseBeginsAnew) {
            (now, now)
        } else {
            (beat_ok, begin.abort_ok)
        };
        Load {
            give_up: last + begin.job.times.grace.0 + REPORT_EXTRA,
            begin,
            build: settings.build.clone(),
            key: settings.key.clone(),
            seed,
            must_end_by: settings.must_end_by,
            function: settings.function,
            stop_at,
            expected: now,
            heard_at: now,
            stops: Vec::new(),
            short,
            stopping: None,
            told: false,
            ended: idle,
            figures: LiveFigures {
                phase: "starting".to_owned(),
                ..LiveFigures::default()
            },
            parts: BTreeMap::new(),
            abort: Errand::at(now + ABORT_EVERY),
            beat_ok,
            abort_ok,
            report: None,
            send: Errand::IDLE,
            checks: 0,
            failed: 0,
            requests: RequestCounts::default(),
            trouble: String::new(),
            stored: false,
            lost: false,
        }
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        let (abort, limit) = if self.ended {
            // An answer that is still to come may be the one that counts.
            (None, (!self.send.under_way()).then_some(self.give_up))
        } else {
            let limit = self.may_load_until();
            (self.abort.wake_at(), (!self.told).then_some(limit))
        };
        let mut first = sooner(sooner(abort, limit), self.send.wake_at());
        for part in self.parts.values() {
            first = sooner(first, part.errand.wake_at());
        }
        first
    }

    /// When its right to load ends, unless the bucket answers. Both are needed: without an abort
    /// check it may be unwanted, and without a heartbeat the others count it as gone.
    fn lease_end(&self) -> Timestamp {
        if planted!(LeaseByHeartbeatAlone) {
            return self.beat_ok + LEASE;
        }
        self.abort_ok.min(self.beat_ok) + LEASE
    }

    /// Has all participants leave, for this reason.
    pub(super) fn stop(&mut self, reason: &str) {
        if !self.ended && !self.told {
            self.stopping = Some(reason.to_owned());
        }
    }

    pub(super) fn heard(&mut self, now: Timestamp, event: Event) {
        match event {
            Event::Figures(figures) => self.figures = figures,
            Event::LoadEnded => self.ended = true,
            Event::Part(mut part) => {
                let tier = part.tier;
                let at = now + self.spread(tier.into());
                part.write_id = write_id(self.seed, TIER_WRITES + u64::from(tier));
                let (claim, key) = (&self.begin.claim, &self.key);
                let place = RunKey::new(&part.run, Item::Tier(claim.vantage(), tier));
                if let Ok(body) = document::write_signed(&*part, &place, claim, key) {
                    self.parts.entry(tier).or_insert(Part {
                        part: *part,
                        body,
                        errand: Errand::at(at),
                    });
                }
            }
            _ => {}
        }
    }

    /// The run's time as known here.
    pub(super) fn run_clock(&self, clocks: &Clocks, now: Timestamp) -> RunClock {
        run_clock(&self.begin, clocks, now)
    }

    /// When the right to load ends, unless the bucket extends it.
    pub(super) fn may_load_until(&self) -> Timestamp {
        self.stop_at.min(self.lease_end())
    }

    /// Notices when it was woken much later than it wanted to be.
    fn look_back(&mut self, now: Timestamp) {
        if !self.ended && now.saturating_since(self.expected) > STOP_LEAST {
            let stopped = now.saturating_since(self.heard_at);
            self.stops.push((self.heard_at, stopped));
        }
    }

    pub(super) fn act(
        &mut self,
        now: Timestamp,
        clocks: &Clocks,
        pulse: Option<&Pulse>,
        out: &mut VecDeque<Action>,
    ) -> Option<Result<Ended, RendezvousError>> {
        self.look_back(now);
        if let Some(pulse) = pulse {
            self.beat_ok = self.beat_ok.max(pulse.ok());
        }
        self.stop_at = stop_at(&self.begin.job, self.must_end_by, clocks, now);
        let end = self.acted(now, clocks, out);
        self.heard_at = now;
        let beat = pulse.and_then(Pulse::wake_at);
        let next = self.wake_at().into_iter().chain(beat).min();
        self.expected = next.map_or(now, |at| at.max(now));
        end
    }

    fn acted(
        &mut self,
        now: Timestamp,
        clocks: &Clocks,
        out: &mut VecDeque<Action>,
    ) -> Option<Result<Ended, RendezvousError>> {
        if !self.ended && !self.told {
            let must = self.must_stop(now);
            if let Some(reason) = must {
                self.stopping = Some(reason.clone());
                self.told = true;
                out.push_back(Action::Tell(ProberProgress::Stopping { reason }));
                out.push_back(Action::StopLoad);
            }
        }
        let (job, claim) = (&self.begin.job, &self.begin.claim);
        let ask = |item, body: &Bytes| {
            Action::Ask(Request::Create(RunKey::new(&job.run, item), body.clone()))
        };
        if !self.ended && self.abort.start(now) {
            let key = RunKey::new(&job.run, Item::Abort);
            out.push_back(Action::Ask(Request::Read(key)));
        }
        for (tier, part) in &mut self.parts {
            if part.errand.start(now) {
                out.push_back(ask(Item::Tier(claim.vantage(), *tier), &part.body));
            }
        }
        if self.ended && self.report.is_none() {
            let report = self.finished(&self.run_clock(clocks, now));
            let place = RunKey::new(&job.run, Item::Report(report.vantage.clone()));
            match document::write_signed(&report, &place, &report.claim, &self.key) {
                Ok(body) => self.report = Some(body),
                Err(e) => return Some(Err(e)),
            }
            self.send = Errand::at(now + self.spread(u64::MAX));
        }
        if self.stored {
            return Some(Ok(Ended {
                run: job.run.clone(),
                claim: claim.clone(),
                outcome: self.outcome(),
                tiers: self.parts.keys().copied().collect(),
            }));
        }
        if let Some(body) = &self.report
            && self.send.start(now)
        {
            out.push_back(ask(Item::Report(claim.vantage()), body));
        }
        let too_late =
            !planted!(TriesForEver) && self.ended && now >= self.give_up && !self.send.under_way();
        if self.lost || too_late {
            return Some(Err(RendezvousError::ReportLost {
                vantage: claim.vantage(),
                why: self.trouble.clone(),
            }));
        }
        None
    }

    /// A tier's end is the same moment for a whole fleet.
    fn spread(&self, n: u64) -> Duration {
        super::spread(self.begin.seat.fleet_size, self.seed, n)
    }

    fn must_stop(&self, now: Timestamp) -> Option<String> {
        if now >= self.stop_at {
            return Some("reached the hard deadline".to_owned());
        }
        if now >= self.lease_end() {
            return Some(format!(
                "the bucket gave no definite answer for {} s",
                LEASE.as_secs()
            ));
        }
        self.stopping.clone()
    }

    fn outcome(&self) -> Outcome {
        let planned = self.begin.start.tiers.iter().map(|t| t.tier);
        let missed: Vec<u32> = planned.filter(|n| !self.parts.contains_key(n)).collect();
        // Whatever stopped it after its last tier took nothing away.
        if missed.is_empty() {
            return Outcome::Complete;
        }
        let reason = self.stopping.as_ref().or(self.short.as_ref());
        let reason = reason
            .cloned()
            .unwrap_or_else(|| format!("missed {}", tier_names(&missed)));
        Outcome::Stopped { reason }
    }

    /// What its heartbeat tells.
    pub(super) fn figures(&self) -> LiveFigures {
        let mut figures = self.figures.clone();
        if self.ended {
            figures.phase = "reporting".to_owned();
            figures.connected = 0;
        }
        figures
    }

    /// Looks for an abort at once.
    pub(super) fn alarm(&mut self, now: Timestamp) {
        self.abort.hurry(now);
    }

    /// What was asked of the bucket so far.
    pub(super) fn count(&mut self, requests: RequestCounts) {
        self.requests = requests;
    }

    fn finished(&self, clock: &RunClock) -> ReportPart {
        let mut requests = self.requests;
        // The report itself.
        requests.count(Op::Create);
        let stops = self.stops.iter().map(|(from, length)| Stop {
            from: clock.offset.to_other(*from),
            length: Span(Duration::from_millis(
                u64::try_from(length.as_millis()).unwrap_or(u64::MAX),
            )),
        });
        ReportPart {
            schema: SCHEMA_MAJOR,
            write_id: write_id(self.seed, TIER_WRITES + u64::from(u32::MAX) + 1),
            run: self.begin.job.run.clone(),
            job_sha256: self.begin.job.digest,
            vantage: self.begin.claim.vantage(),
            claim: self.begin.claim.clone(),
            finished_at: clock.offset.to_other(clock.at),
            outcome: self.outcome(),
            stops: stops.collect(),
            build: self.build.clone(),
            requests: Some(requests),
            function: self.function.map(|f| f.time(clock.at)),
            tiers: self.parts.values().map(|p| p.part.clone()).collect(),
        }
    }

    pub(super) fn replied(&mut self, now: Timestamp, reply: Reply, out: &mut VecDeque<Action>) {
        match reply {
            Reply::Read(key, answer) if key.item == Item::Abort => {
                let asked = self.abort.answered();
                self.checks += 1;
                let sooner = u32::from(chance::byte(self.seed, self.checks));
                self.abort
                    .again(now + ABORT_EVERY - ABORT_EVERY / 16 / 255 * sooner);
                match answer {
                    Err(e) if e.is_absent() || planted!(UnknownIsAbsent) => {
                        self.abort_ok = asked.unwrap_or(self.abort_ok);
                    }
                    Ok(_) if planted!(AbortUnheeded) => {
                        self.abort_ok = asked.unwrap_or(self.abort_ok);
                    }
                    Err(e) => self.trouble(&e, out),
                    Ok(object) => {
                        let reason = leave::reason(&key, &object.body);
                        self.stop(&format!("aborted: {reason}"));
                    }
                }
            }
            Reply::Created(key, answer) => match (&key.item, answer) {
                (Item::Tier(_, tier), answer) => {
                    let tier = *tier;
                    let Some(part) = self.parts.get_mut(&tier) else {
                        return;
                    };
                    part.errand.answered();
                    match answer {
                        // The report has it as well.
                        Ok(Settled::Theirs(_)) => self.taken(&key, out),
                        Ok(Settled::Mine) => {
                            self.failed = 0;
                            let measured = ProberProgress::Measured { tier };
                            out.push_back(Action::Tell(measured));
                        }
                        Err(e) => {
                            part.errand.again(now + retry_after(self.failed));
                            self.failed += 1;
                            self.trouble(&e, out);
                        }
                    }
                }
                (_, Ok(Settled::Theirs(_))) => {
                    self.send.answered();
                    self.lost = true;
                    self.taken(&key, out);
                }
                (_, Ok(Settled::Mine)) => {
                    self.send.answered();
                    self.stored = true;
                    out.push_back(Action::Tell(ProberProgress::Reported));
                }
                (_, Err(e)) => {
                    self.send.answered();
                    self.send.again(now + retry_after(self.failed));
                    self.failed += 1;
                    self.trouble(&e, out);
                }
            },
            Reply::Read(..) | Reply::Listed(..) | Reply::Overwritten(..) => {}
        }
    }

    /// Another's object stands where its own was to be.
    fn taken(&mut self, key: &RunKey, out: &mut VecDeque<Action>) {
        self.say(format!("{key} was written by another prober"), out);
    }

    pub(super) fn trouble(&mut self, e: &StoreError, out: &mut VecDeque<Action>) {
        self.say(e.to_string(), out);
    }

    fn say(&mut self, trouble: String, out: &mut VecDeque<Action>) {
        self.trouble = trouble;
        let what = self.trouble.clone();
        out.push_back(Action::Tell(ProberProgress::Trouble { what }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{ClaimId, JobSpec};
    use crate::load::schedule;
    use crate::rendezvous::admission::Seat;
    use crate::rendezvous::objects::{ReferenceClock, Start};
    use crate::rendezvous::sample::{T0, job, object, settings};

    /// A load that has nothing to do but to report.
    fn aborted(out: &mut VecDeque<Action>) -> Load {
        let job = job(JobSpec::default());
        let settings = settings();
        let begin = Begin {
            claim: ClaimId::new(&settings.vantage, 0, 1),
            start: Start {
                roster: BTreeMap::new(),
                start_at: T0,
                tiers: schedule(&job, T0),
                reference: ReferenceClock::Bucket,
                offset: None,
                marked: BTreeMap::new(),
                asked: None,
            },
            job,
            seat: Seat {
                index: 0,
                fleet_size: 1,
                place: crate::load::Place::alone(0, 1),
            },
            abort_ok: T0,
            aborted: Some("enough".into()),
        };
        Load::new(begin, T0, &settings, T0, &Clocks::default(), 1, out)
    }

    #[test]
    fn another_s_report_is_not_taken_for_its_own() {
        let unknown = Clocks::default();
        for mine in [true, false] {
            let mut out = VecDeque::new();
            let mut load = aborted(&mut out);
            assert_eq!(load.act(T0, &unknown, None, &mut out), None);
            let create = out.iter().find_map(|action| match action {
                Action::Ask(Request::Create(key, _)) => Some(key.clone()),
                _ => None,
            });
            let theirs = object(Bytes::from_static(b"{}"));
            let settled = if mine {
                Settled::Mine
            } else {
                Settled::Theirs(theirs)
            };
            let reply = Reply::Created(create.unwrap(), Ok(settled));
            load.replied(T0, reply, &mut out);
            match load.act(T0, &unknown, None, &mut out) {
                Some(Ok(_)) => assert!(mine),
                Some(Err(RendezvousError::ReportLost { why, .. })) => {
                    assert!(!mine && why.contains("iad.report.json"), "{why}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
