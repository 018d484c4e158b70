//! muster's participants as a process of their own: the engine that probers use, nothing else.

#![expect(
    clippy::disallowed_methods,
    reason = "the edge: paces joins and samples by the clock"
)]

use std::future::Future;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::child::{SAMPLE_INTERVAL, Sample, Told};
use crate::error::Error;
use crate::exit::Exit;
use crate::job::Layout;
use crate::participant::spec::{AudioPublish, VideoPublish};
use crate::participant::{
    Engine, EngineConfig, Participant, ParticipantSpec, Publish, State, Subscribe,
};
use crate::prober::{Role, join_token};
use crate::rooms::Keys;

/// Longer than any comparison.
const TOKEN_TTL: Duration = Duration::from_secs(3_600);

/// How often it is looked whether all are connected.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Who joins.
#[derive(Clone, Debug)]
pub struct Participants {
    /// The server.
    pub url: String,
    /// Its room.
    pub room: String,
    /// Its keys.
    pub keys: Keys,
    /// Publish Opus and VP8 in three layers, instead of taking the layout `speaker`.
    pub publish: bool,
    /// How many.
    pub count: u32,
    /// Joins per second; 0 is all at once.
    pub join_rate: u32,
}

impl Participants {
    /// Joins all, tells a sample every second until `stop`, then lets all leave.
    ///
    /// # Errors
    /// When the engine doesn't start, a token can't be signed, or a participant fails.
    pub async fn run(
        &self,
        stop: impl Future<Output = ()>,
        mut tell: impl FnMut(&Told) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let engine = Engine::start(EngineConfig::default())
            .map_err(|e| Error::new(Exit::Internal, format!("cannot start the engine: {e}")))?;
        tell(&Told::Ready { ports: Vec::new() })?;
        tokio::time::sleep(SAMPLE_INTERVAL).await;
        let start = Instant::now();
        let mut all = Vec::new();
        let load = async {
            for n in 0..self.count {
                let after = (Duration::from_secs(1) * n).checked_div(self.join_rate);
                tokio::time::sleep_until((start + after.unwrap_or_default()).into()).await;
                all.push(engine.join(self.spec(n)?));
            }
            while connected(&all)? < all.len() {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
            let after_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
            tell(&Told::Joined { after_ms })?;
            loop {
                tell(&Told::Sample(sample(&engine, &all, start)?))?;
                tokio::time::sleep(SAMPLE_INTERVAL).await;
            }
        };
        let ended: Result<(), Error> = tokio::select! {
            ended = load => ended,
            () = stop => Ok(()),
        };
        join_all(all.into_iter().map(Participant::leave)).await;
        ended
    }

    fn spec(&self, n: u32) -> Result<ParticipantSpec, Error> {
        let (role, name) = if self.publish {
            (Role::Publisher, "publisher")
        } else {
            (Role::Subscriber, "subscriber")
        };
        let identity = format!("{name}-{n}");
        let token = join_token(&self.keys, &self.room, &identity, role, TOKEN_TTL)
            .map_err(|e| Error::new(Exit::BadConfiguration, e.to_string()))?;
        let mut spec = ParticipantSpec::new(&self.url, token, identity);
        if self.publish {
            spec.publish = Publish {
                audio: Some(AudioPublish {}),
                video: Some(VideoPublish::simulcast_720p()),
                source: n,
            };
        } else {
            spec.subscribe = Subscribe::Layout(Layout::Speaker);
        }
        Ok(spec)
    }
}

fn connected(all: &[Participant]) -> Result<usize, Error> {
    let mut connected = 0;
    for participant in all {
        match participant.snapshot().state {
            State::Connected => connected += 1,
            State::Failed(failure) => {
                return Err(Error::new(Exit::Unreachable, failure.to_string()));
            }
            State::Connecting | State::Left => {}
        }
    }
    Ok(connected)
}

/// What all have counted. Drains what a prober drains.
fn sample(engine: &Engine, all: &[Participant], start: Instant) -> Result<Sample, Error> {
    let mut sum = Sample {
        at_us: u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
        connected: u64::try_from(connected(all)?).unwrap_or(u64::MAX),
        pacing_lag_us: engine.health().pacing_lag_max_us,
        ..Sample::default()
    };
    for participant in all {
        drop(participant.drain_events());
        drop(participant.drain_samples());
        let snapshot = participant.snapshot();
        // One publishes, or it takes: never both.
        sum.packets += snapshot.rx.packets + snapshot.tx.packets;
        sum.bytes += snapshot.rx.bytes + snapshot.tx.bytes;
        sum.expected += snapshot.rx.expected;
        sum.lost += snapshot.rx.lost;
        sum.forged += snapshot.rx.auth_failures;
    }
    Ok(sum)
}
