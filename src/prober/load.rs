//! The edge that carries out a plan: joins on time, samples each second, leaves at the end.
#![expect(
    clippy::disallowed_methods,
    reason = "the edge: waits for the plan's instants and draws write ids"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

use super::LoadContext;
use super::cohort::{self, Alive};
use super::host::{HostSample, processors};
use super::identity::{Role, source};
use super::plan::{LoadPlan, LocalTier};
use super::tally::{Heading, Seen, Tally};
use crate::clock;
use crate::job::{Timestamp, WriteId};
use crate::load::{Window, join_after};
use crate::participant::spec::{AudioPublish, Publish, VideoPublish};
use crate::participant::{Participant, ParticipantSpec, State, Subscribe};
use crate::report::part::TierPart;

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

/// A load under way. Dropping it stops it as well, without waiting.
#[derive(Debug)]
pub struct RunningLoad {
    /// A part per tier, as soon as it is measured. Ends when the last participant has left.
    pub parts: mpsc::Receiver<TierPart>,
    /// The latest figures.
    pub live: watch::Receiver<LiveFigures>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl RunningLoad {
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

/// Begins to carry out a plan, on the current tokio runtime.
pub fn start_load(context: LoadContext, plan: LoadPlan) -> RunningLoad {
    let tiers = plan.tiers.len().max(1);
    let (part_tx, parts) = mpsc::channel(tiers);
    let (live_tx, live) = watch::channel(LiveFigures::default());
    let (stop, mut stopped) = watch::channel(false);
    let stop_at = plan.stop_at;
    let mut load = Load {
        context,
        plan,
        members: BTreeMap::new(),
        next: BTreeMap::new(),
        failures: 0,
        begun: (Instant::now(), clock::now()),
        live: live_tx,
        parts: part_tx,
    };
    let task = tokio::spawn(async move {
        tokio::select! {
            () = load.run() => {}
            // Also when the holder is gone: `wait_for` then errs.
            _ = stopped.wait_for(|s| *s) => tracing::info!("load stopped"),
            () = sleep_until(stop_at.into()) => {
                tracing::warn!("load stopped at the hard deadline");
            }
        }
        load.leave_all().await;
    });
    RunningLoad {
        parts,
        live,
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
    begun: (Instant, Timestamp),
    live: watch::Sender<LiveFigures>,
    parts: mpsc::Sender<TierPart>,
}

impl Load {
    async fn run(&mut self) {
        for tier in self.plan.tiers.clone() {
            let now = Instant::now();
            if now >= tier.to {
                tracing::warn!(tier = tier.plan.tier, "came too late for this tier");
                continue;
            }
            let mut tally = Tally::default();
            // Who comes after the window opened would load what is not measured.
            if now <= tier.from + LIVE_EVERY {
                self.settle(&tier, &mut tally).await;
            }
            if Instant::now() > tier.from + LIVE_EVERY {
                // Half a window would pass for a whole one.
                tracing::warn!(
                    tier = tier.plan.tier,
                    "missed the window's start: not measured"
                );
                self.idle_until(tier.to, &format!("tier {} missed", tier.plan.tier))
                    .await;
                continue;
            }
            let part = self.measure(&tier, tally).await;
            if self.parts.send(part).await.is_err() {
                return;
            }
        }
    }

    /// Joins and leaves until the window opens.
    async fn settle(&mut self, tier: &LocalTier, tally: &mut Tally) {
        let phase = format!("tier {} settling", tier.plan.tier);
        sleep_until(tier.settle_from.into()).await;
        let begun = Instant::now().max(tier.settle_from);
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
        let change = cohort::change(&alive, self.plan.headcount(&tier.plan));
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
            if due >= tier.from {
                tally.failure("join_rate_too_low");
                continue;
            }
            sleep_until(due.into()).await;
            self.join(role, place, due, tally);
            if due >= shown + LIVE_EVERY {
                shown = due;
                self.show(&phase);
            }
        }
        self.idle_until(tier.from, &phase).await;
        for (id, m) in &self.members {
            tally.events(id.0, &m.participant.drain_events());
            if let Some(due) = m.due {
                tally.join(due, &m.participant.snapshot());
            }
            // What was sampled while settling is not of the window.
            let _ = m.participant.drain_samples();
        }
    }

    fn join(&mut self, role: Role, place: u32, due: Instant, tally: &mut Tally) {
        let n = self.next.entry(role).or_default();
        let id = (role, *n);
        *n += 1;
        let plan = &self.plan;
        let ttl = plan.token_ttl(Instant::now());
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
        if role == Role::Publisher {
            let (video, audio) = plan.job.media.publishes(place);
            spec.publish = Publish {
                audio: audio.then(AudioPublish::default),
                video: video.then(|| {
                    if plan.job.media.simulcast {
                        VideoPublish::simulcast_720p()
                    } else {
                        VideoPublish::single_720p()
                    }
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

    async fn measure(&mut self, tier: &LocalTier, mut tally: Tally) -> TierPart {
        let phase = format!("tier {}", tier.plan.tier);
        // The health figures are since the last call: what came before is not of the window.
        let _ = self.context.engine.health();
        let (opened, slept) = (Instant::now(), self.asleep());
        tally.open(&self.seen(), HostSample::read());
        let mut second = opened.max(tier.from);
        while second < tier.to {
            self.show(&phase);
            second = (second + Duration::from_secs(1)).min(tier.to);
            sleep_until(second.into()).await;
            tally.second(&self.seen(), self.context.engine.health());
            for (id, m) in &self.members {
                let events = m.participant.drain_events();
                tally.events(id.0, &events);
                tally.samples(&m.participant.drain_samples());
            }
        }
        let closed = Instant::now();
        // Timers stand still while the machine is suspended, and the window does not.
        let asleep = self.asleep();
        let at = |i: Instant, asleep: Duration| {
            tier.plan.window.from + i.saturating_duration_since(tier.from) + asleep
                - tier.from.saturating_duration_since(i)
        };
        let heading = Heading {
            run: self.plan.job.run.clone(),
            job_sha256: self.plan.job.digest,
            vantage: self.plan.vantage.clone(),
            claim: self.plan.claim.clone(),
            write_id: WriteId::from_u64(rand::random()),
            plan: tier.plan,
            measured: Window {
                from: at(opened, slept),
                to: at(closed, asleep),
            },
            requested: self.plan.headcount(&tier.plan),
        };
        tally.close(heading, &self.seen(), HostSample::read(), processors())
    }

    /// How long the machine was suspended since the load began.
    fn asleep(&self) -> Duration {
        let awake = Instant::now().saturating_duration_since(self.begun.0);
        let passed = clock::now().saturating_since(self.begun.1);
        // Two clocks are never read at the same instant.
        Some(passed.saturating_sub(awake))
            .filter(|d| *d > Duration::from_millis(5))
            .unwrap_or_default()
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

    async fn idle_until(&mut self, until: Instant, phase: &str) {
        loop {
            self.show(phase);
            let now = Instant::now();
            if now >= until {
                return;
            }
            sleep_until((now + LIVE_EVERY).min(until).into()).await;
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
