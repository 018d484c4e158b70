//! The edge that carries out a plan: joins on time, samples each second, leaves at the end.
#![expect(
    clippy::disallowed_methods,
    reason = "the edge: notes when joins were due, draws write ids"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::LoadContext;
use super::cohort::{self, Alive};
use super::host::{HostSample, processors};
use super::identity::{Role, source};
use super::plan::LoadPlan;
use super::tally::{Heading, Seen, Tally};
use super::time::{RunTime, right_ends};
use crate::clock::{self, RunClock, Sample};
use crate::job::{Timestamp, WriteId};
use crate::load::{TierPlan, Window, join_after};
use crate::participant::snapshot::ClockSample;
use crate::participant::spec::{AudioPublish, Publish, VideoPublish};
use crate::participant::{Participant, ParticipantSpec, Samples, State, Subscribe};
use crate::report::part::{TierClock, TierPart};

/// Later than this, a window's edge or a second's end was missed: what is read then belongs to
/// another second as much.
const LATE: Duration = Duration::from_millis(500);

/// Readings of the SFU's clock that wait to be heard, at most. One more is not worth waiting for.
const PONGS_MAX: usize = 64;

/// How often the live figures are taken while no window is open.
const LIVE_EVERY: Duration = Duration::from_secs(1);

/// What a running load looks like from outside, at most a second old.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveFigures {
    /// What it is doing (`tier 2 settling`, `tier 2`, `leaving`).
    pub phase: String,
    /// Participants connected, publishers included.
    pub connected: u32,
    /// RTP packets received by those in the room.
    pub packets_received: u64,
    /// Participants that have failed so far.
    pub failures: u64,
}

/// Readings of the SFU's clock by the participants of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pongs {
    /// The readings.
    pub samples: Vec<Sample>,
    /// The node that answered; empty when unknown.
    pub node: String,
}

/// A load under way. Dropping it stops it as well, without waiting.
#[derive(Debug)]
pub struct RunningLoad {
    /// A part per tier, as soon as it is measured. Ends when the last participant has left.
    pub parts: mpsc::Receiver<TierPart>,
    /// The latest figures.
    pub live: watch::Receiver<LiveFigures>,
    /// What its participants' pings tell of the SFU's clock.
    pub pongs: mpsc::Receiver<Pongs>,
    clock: watch::Sender<RunClock>,
    until: watch::Sender<Timestamp>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl RunningLoad {
    /// Tells what is known of the run's time now, and until when, in local time, the load may go
    /// on.
    pub fn steer(&self, clock: RunClock, until: Timestamp) {
        self.clock.send_replace(clock);
        self.until.send_replace(until);
    }

    /// Asks all participants to leave. [`RunningLoad::parts`] ends when they have.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Stops, then waits until all participants have left.
    pub async fn finished(self) {
        self.stop();
        // A panic of the task is its own report; the participants left when it was dropped.
        let _ = self.task.await;
    }
}

/// Begins to carry out a plan, on the current tokio runtime, by what is known of the run's time;
/// [`RunningLoad::steer`] keeps that true. It ends by `until`, in local time, unless that is
/// extended.
pub fn start_load(
    context: LoadContext,
    plan: LoadPlan,
    clock: RunClock,
    until: Timestamp,
) -> RunningLoad {
    let tiers = plan.tiers.len().max(1);
    let (part_tx, parts) = mpsc::channel(tiers);
    let (live_tx, live) = watch::channel(LiveFigures::default());
    let (pong_tx, pongs) = mpsc::channel(PONGS_MAX);
    let (stop, mut stopped) = watch::channel(false);
    let (clock, known) = watch::channel(clock);
    let (until, limit) = watch::channel(until);
    let mut load = Load {
        context,
        plan,
        members: BTreeMap::new(),
        next: BTreeMap::new(),
        failures: 0,
        time: RunTime::new(known),
        stamp_offset_us: None,
        pongs: pong_tx,
        live: live_tx,
        parts: part_tx,
    };
    let task = tokio::spawn(async move {
        tokio::select! {
            // After a gap, nothing is done before this was looked at.
            biased;
            () = right_ends(limit) => {
                tracing::warn!("load stopped: its hard deadline or its lease is over");
            }
            // Also when the holder is gone: `wait_for` then errs.
            _ = stopped.wait_for(|s| *s) => tracing::info!("load stopped"),
            () = load.run() => {}
        }
        load.leave_all().await;
    });
    RunningLoad {
        parts,
        live,
        pongs,
        clock,
        until,
        stop,
        task,
    }
}

struct Member {
    participant: Participant,
    place: u32,
    /// When it was to join, if it did so for the tier at hand.
    due: Option<Instant>,
}

struct Load {
    context: LoadContext,
    plan: LoadPlan,
    members: BTreeMap<(Role, u32), Member>,
    next: BTreeMap<Role, u32>,
    failures: u64,
    time: RunTime,
    /// What is added to local time for stamps, in microseconds.
    stamp_offset_us: Option<i64>,
    pongs: mpsc::Sender<Pongs>,
    live: watch::Sender<LiveFigures>,
    parts: mpsc::Sender<TierPart>,
}

impl Load {
    async fn run(&mut self) {
        for tier in self.plan.tiers.clone() {
            let n = tier.tier;
            if self.time.now() >= tier.window.to {
                tracing::warn!(tier = n, "came too late for this tier");
                continue;
            }
            let mut tally = Tally::default();
            // Who comes after the window opened would load what is not measured.
            if self.time.now() <= tier.window.from + LATE {
                self.settle(&tier, &mut tally).await;
            }
            // Half a window would pass for a whole one.
            let mut part = None;
            if self.time.now() <= tier.window.from + LATE {
                part = self.measure(&tier, tally).await;
            }
            match part {
                Some(part) => {
                    if self.parts.send(part).await.is_err() {
                        return;
                    }
                }
                None => {
                    tracing::warn!(tier = n, "missed an edge of the window: not measured");
                    let phase = format!("tier {n} missed");
                    self.idle_until(tier.window.to, &phase).await;
                }
            }
        }
    }

    /// Joins and leaves until the window opens.
    async fn settle(&mut self, tier: &TierPlan, tally: &mut Tally) {
        let phase = format!("tier {} settling", tier.tier);
        self.time.until(tier.settle_from).await;
        self.set_shared_clock();
        let begun = self.time.now().max(tier.settle_from);
        self.members.retain(|_, m| {
            !matches!(
                m.participant.snapshot().state,
                State::Failed(_) | State::Left
            )
        });
        for m in self.members.values_mut() {
            m.due = None;
        }
        let alive: Vec<Alive> = self
            .members
            .iter()
            .map(|((role, n), m)| Alive {
                n: *n,
                role: *role,
                place: m.place,
            })
            .collect();
        let change = cohort::change(&alive, self.plan.headcount(tier));
        let leaving: Vec<_> = change
            .leave
            .iter()
            .filter_map(|n| self.members.remove(&(Role::Subscriber, *n)))
            .map(|m| m.participant.leave())
            .collect();
        join_all(leaving).await;
        let rate = self.plan.job.limits.join_rate;
        let mut shown = begun;
        for ((role, place), i) in change.join.into_iter().zip(0u32..) {
            let due = begun + join_after(rate, i);
            // Only who has lost participants has more to replace than the plan allows for.
            if due >= tier.window.from {
                tally.failure("join_rate_too_low");
                continue;
            }
            self.time.until(due).await;
            let late = self.time.now().saturating_since(due);
            // The first to join reads the SFU's clock again, before the window opens.
            self.join(role, place, Instant::now() - late, i == 0, tally);
            if due >= shown + LIVE_EVERY {
                shown = due;
                self.show(&phase);
            }
        }
        self.idle_until(tier.window.from, &phase).await;
        for (id, m) in &self.members {
            tally.events(id.0, &m.participant.drain_events());
            if let Some(due) = m.due {
                tally.join(due, &m.participant.snapshot());
            }
        }
        // What was sampled while settling is not of the window.
        self.drain_samples(|_| {});
    }

    fn join(&mut self, role: Role, place: u32, due: Instant, probe_clock: bool, tally: &mut Tally) {
        let n = self.next.entry(role).or_default();
        let id = (role, *n);
        *n += 1;
        let plan = &self.plan;
        let ttl = plan.token_ttl(clock::now());
        let whose = (&plan.job.run, &plan.vantage);
        let token = self.context.tokens.token(plan.room(), whose, id, ttl);
        let (identity, token) = match token {
            Ok(joins) => joins,
            Err(error) => {
                tracing::error!(%error, "no join token");
                self.failures += 1;
                return tally.failure("token");
            }
        };
        let mut spec = ParticipantSpec::new(&plan.job.url, token, identity);
        spec.ca_file.clone_from(&self.context.ca_file);
        spec.transport = self.context.transport;
        spec.probe_clock = probe_clock;
        if role == Role::Publisher {
            let (video, audio) = plan.media().publishes(place);
            spec.publish = Publish {
                audio: audio.then(AudioPublish::default),
                video: video.then_some(VideoPublish {
                    simulcast: plan.job.media.simulcast,
                    codec: plan.job.media.video_codec,
                }),
                source: source(&plan.vantage, place),
            };
        } else {
            spec.subscribe = Subscribe::Layout(plan.job.media.layout);
        }
        let participant = self.context.engine.join(spec);
        self.members.insert(
            id,
            Member {
                participant,
                place,
                due: Some(due),
            },
        );
    }

    /// Measures the window; nothing when its end was missed.
    async fn measure(&mut self, tier: &TierPlan, mut tally: Tally) -> Option<TierPart> {
        let phase = format!("tier {}", tier.tier);
        let window = tier.window;
        // The health figures are since the last call: what came before is not of the window.
        let _ = self.context.engine.health();
        let opened = self.time.clock();
        tracing::debug!(tier = tier.tier, "window opened");
        tally.open(&self.seen(), HostSample::read());
        let (mut second, mut seen_to_begin) = (window.from, true);
        while second < window.to {
            self.show(&phase);
            second = (second + Duration::from_secs(1)).min(window.to);
            self.time.until(second).await;
            let in_time = self.time.now() <= second + LATE;
            let (seen, health) = (self.seen(), self.context.engine.health());
            if in_time && seen_to_begin {
                tally.second(&seen, health);
            } else {
                tally.missed(&seen, health);
            }
            seen_to_begin = in_time;
            for (id, m) in &self.members {
                tally.events(id.0, &m.participant.drain_events());
            }
            self.drain_samples(|samples| tally.samples(samples));
        }
        let closed = self.time.clock();
        tracing::debug!(tier = tier.tier, "window closed");
        let (seen, host) = (self.seen(), HostSample::read());
        let at = |clock: &RunClock| clock.offset.to_other(clock.at);
        let heading = Heading {
            run: self.plan.job.run.clone(),
            job_sha256: self.plan.job.digest,
            vantage: self.plan.vantage.clone(),
            claim: self.plan.claim.clone(),
            write_id: WriteId::from_u64(rand::random()),
            plan: *tier,
            measured: Window {
                from: at(&opened),
                to: at(&closed),
            },
            clock: Some(TierClock { opened, closed }),
            stamp_offset_us: self.stamp_offset_us,
            requested: self.plan.headcount(tier),
        };
        // What was counted after the window is not of it.
        (heading.measured.to <= window.to + LATE)
            .then(|| tally.close(heading, &seen, host, processors()))
    }

    /// Lets stamps be on the reference clock as it is known now. It stays so for the tier: what is
    /// learned of the clocks meanwhile is in the part, and taken into account where parts meet.
    fn set_shared_clock(&mut self) {
        let clock = self.time.clock();
        self.stamp_offset_us = clock.is_known().then(|| clock.offset.midpoint_us());
        let offset_us = self.stamp_offset_us.unwrap_or(0);
        self.context.engine.set_shared_clock(offset_us);
    }

    /// Hands on what was sampled since the last time, and what it tells of the SFU's clock.
    fn drain_samples(&self, mut take: impl FnMut(&Samples)) {
        let mut pongs: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
        for m in self.members.values() {
            let samples = m.participant.drain_samples();
            take(&samples);
            if let (Some(server), [_, ..]) = (m.participant.snapshot().server, &samples.clock[..]) {
                let of = pongs.entry(server.node_id).or_default();
                of.extend(samples.clock.iter().map(ClockSample::sample));
            }
        }
        for (node, samples) in pongs {
            // Who doesn't listen now hears the next.
            let _ = self.pongs.try_send(Pongs { samples, node });
        }
    }

    fn seen(&self) -> Vec<Seen> {
        self.members
            .iter()
            .map(|(id, m)| Seen {
                id: *id,
                new: m.due.is_some(),
                snapshot: m.participant.snapshot(),
                tracks: m.participant.tracks(),
            })
            .collect()
    }

    /// Waits, and measures nothing meanwhile but the SFU's clock.
    async fn idle_until(&mut self, until: Timestamp, phase: &str) {
        loop {
            self.show(phase);
            let now = self.time.now();
            if now >= until {
                return;
            }
            self.time.until((now + LIVE_EVERY).min(until)).await;
            self.drain_samples(|_| {});
        }
    }

    fn show(&mut self, phase: &str) {
        let mut figures = LiveFigures {
            phase: phase.to_owned(),
            failures: self.failures,
            ..LiveFigures::default()
        };
        for m in self.members.values() {
            let s = m.participant.snapshot();
            figures.connected += u32::from(s.state.is_connected());
            figures.packets_received += s.rx.packets;
            figures.failures += u64::from(matches!(s.state, State::Failed(_)));
        }
        self.live.send_replace(figures);
    }

    async fn leave_all(&mut self) {
        self.show("leaving");
        let members = std::mem::take(&mut self.members);
        join_all(members.into_values().map(|m| m.participant.leave())).await;
        self.show("left");
    }
}
