//! muster's participants as a process of their own: the engine that probers use, nothing else.

#![expect(
    clippy::disallowed_methods,
    reason = "the edge: paces joins and samples by the clock"
)]

use std::future::Future;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::child::{Join, Joined, SAMPLE_INTERVAL, Sample, Told};
use crate::error::Error;
use crate::exit::Exit;
use crate::job::Layout;
use crate::participant::spec::{AudioPublish, VideoPublish};
use crate::participant::{
    Engine, EngineConfig, Participant, ParticipantSpec, Publish, State, Subscribe,
};
use crate::prober::{Role, descriptors, join_token};
use crate::rooms::Keys;

/// Longer than any comparison.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 3_600);

/// How often it is looked whether all are connected.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// What the participants are there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Load {
    /// They take the layout `speaker`.
    Subscribers,
    /// They take the layout `speaker` too, and only receive and decrypt.
    Floor,
    /// They publish Opus, and VP8 in three layers.
    Cameras,
    /// They publish Opus as a silent microphone does, 2.5 packets a second.
    Voices,
    /// The first of each room is of the voices, the rest are subscribers.
    AudioRooms,
}

/// Who joins.
#[derive(Clone, Debug)]
pub struct Participants {
    /// The server.
    pub url: String,
    /// Its room, and the beginning of its rooms' names if there are more.
    pub room: String,
    /// How many rooms; participants join them in turn.
    pub rooms: u32,
    /// Its keys.
    pub keys: Keys,
    /// What for.
    pub load: Load,
    /// How many.
    pub count: u32,
    /// Joins per second; 0 is all at once.
    pub join_rate: u32,
}

/// A participant with the time that it was to join at.
struct Member {
    participant: Participant,
    due: Instant,
}

impl Participants {
    /// Joins all, tells a sample every second until `stop`, then lets all leave.
    ///
    /// # Errors
    /// When so many files can't be open, the engine doesn't start, a token can't be signed, or
    /// `tell` fails.
    pub async fn run(
        &self,
        stop: impl Future<Output = ()>,
        mut tell: impl FnMut(&Told) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let publishers = (0..self.count).filter(|n| self.publishes(*n)).count();
        let publishers = u64::try_from(publishers).unwrap_or(u64::MAX);
        descriptors::provide(u64::from(self.count) - publishers, publishers)?;
        let config = EngineConfig {
            bare: self.load == Load::Floor,
            ..EngineConfig::default()
        };
        let engine = Engine::start(config)
            .map_err(|e| Error::new(Exit::Internal, format!("cannot start the engine: {e}")))?;
        tell(&Told::Ready)?;
        tokio::time::sleep(SAMPLE_INTERVAL).await;
        let start = Instant::now();
        let mut all = Vec::new();
        let load = async {
            for n in 0..self.count {
                let after = (Duration::from_secs(1) * n).checked_div(self.join_rate);
                let due = start + after.unwrap_or_default();
                tokio::time::sleep_until(due.into()).await;
                all.push(Member {
                    participant: engine.join(self.spec(n)?),
                    due,
                });
            }
            while all.iter().any(Member::is_connecting) {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
            tell(&Told::Joined(Joined {
                after_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
                joins: all.iter().map(|member| member.join(start)).collect(),
            }))?;
            loop {
                tell(&Told::Sample(sample(&engine, &all, start)))?;
                tokio::time::sleep(SAMPLE_INTERVAL).await;
            }
        };
        let ended: Result<(), Error> = tokio::select! {
            ended = load => ended,
            () = stop => Ok(()),
        };
        join_all(all.into_iter().map(|member| member.participant.leave())).await;
        ended
    }

    const fn publishes(&self, n: u32) -> bool {
        match self.load {
            Load::Subscribers | Load::Floor => false,
            Load::Cameras | Load::Voices => true,
            Load::AudioRooms => n < self.rooms,
        }
    }

    fn spec(&self, n: u32) -> Result<ParticipantSpec, Error> {
        let publishes = self.publishes(n);
        let (role, name) = if publishes {
            (Role::Publisher, "publisher")
        } else {
            (Role::Subscriber, "subscriber")
        };
        let identity = format!("{name}-{n}");
        let room = match n.checked_rem(self.rooms) {
            Some(place) if self.rooms > 1 => format!("{}-{place}", self.room),
            _ => self.room.clone(),
        };
        let token = join_token(&self.keys, &room, &identity, role, TOKEN_TTL)
            .map_err(|e| Error::new(Exit::BadConfiguration, e.to_string()))?;
        let mut spec = ParticipantSpec::new(&self.url, token, identity);
        if publishes {
            let camera = self.load == Load::Cameras;
            spec.publish = Publish {
                audio: Some(AudioPublish {
                    discontinuous: !camera,
                }),
                video: camera.then(VideoPublish::simulcast_720p),
                source: n,
            };
        } else {
            spec.subscribe = Subscribe::Layout(Layout::Speaker);
        }
        Ok(spec)
    }
}

impl Member {
    fn is_connecting(&self) -> bool {
        self.participant.snapshot().state == State::Connecting
    }

    /// How its join went, with times from `start` on.
    fn join(&self, start: Instant) -> Join {
        let snapshot = self.participant.snapshot();
        let us = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        let dialled = snapshot.dialled.unwrap_or(self.due);
        Join {
            due_us: us(self.due.saturating_duration_since(start)),
            late_us: us(dialled.saturating_duration_since(self.due)),
            connected_us: snapshot.phases.connected.map(us),
            failure: match snapshot.state {
                State::Failed(failure) => Some(failure.cause.name().to_owned()),
                State::Left => Some("left".to_owned()),
                State::Connecting | State::Connected => None,
            },
        }
    }
}

/// What all have counted. Drains what a prober drains.
fn sample(engine: &Engine, all: &[Member], start: Instant) -> Sample {
    let tasks = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    let mut sum = Sample {
        at_us: u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
        tasks: u64::try_from(tasks).unwrap_or(u64::MAX),
        pacing_lag_us: engine.health().pacing_lag_max_us,
        ..Sample::default()
    };
    for Member { participant, .. } in all {
        drop(participant.drain_events());
        drop(participant.drain_samples());
        let snapshot = participant.snapshot();
        sum.connected += u64::from(snapshot.state.is_connected());
        sum.failed += u64::from(matches!(snapshot.state, State::Failed(_)));
        // One publishes, or it takes: never both.
        sum.packets += snapshot.rx.packets + snapshot.tx.packets;
        sum.late_us += snapshot.tx.late_us;
        sum.bytes += snapshot.rx.bytes + snapshot.tx.bytes;
        sum.expected += snapshot.rx.expected;
        sum.lost += snapshot.rx.lost;
        sum.lost_own += snapshot.rx.lost_own;
        sum.forged += snapshot.rx.auth_failures;
    }
    sum
}
