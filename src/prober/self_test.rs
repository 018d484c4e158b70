//! Trying the path to the SFU before anything is promised.
#![expect(
    clippy::disallowed_methods,
    reason = "the edge: waits for a participant to connect"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::LoadContext;
use super::identity::Role;
use crate::job::{RunId, Vantage};
use crate::participant::snapshot::{ClockSample, MediaPath, Phases};
use crate::participant::{Cause, Failure, ParticipantSpec, State};
use crate::report::part::SfuInfo;

/// How often the tester is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What trying the path showed.
#[derive(Clone, Debug)]
pub struct SelfTest {
    /// Readings of the SFU's clock, for its offset.
    pub clock: Vec<ClockSample>,
    /// What the SFU said of itself.
    pub sfu: SfuInfo,
    /// Where media would flow; `None` when the SFU named no pair.
    pub path: Option<MediaPath>,
    /// Where the server would take media over TCP, as it announced.
    pub tcp_candidates: Vec<SocketAddr>,
    /// How long each phase took.
    pub phases: Phases,
    /// Round trips on the media path, in microseconds.
    pub rtt_us: Vec<u32>,
}

/// Why a path can't be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{failure}")]
pub struct SelfTestError {
    /// The participant's failure, with its cause.
    pub failure: Failure,
    /// Where the server would take media over TCP, if it came to announce that.
    pub tcp_candidates: Vec<SocketAddr>,
}

impl SelfTestError {
    /// Whether signalling works, and media over UDP don't.
    pub fn is_closed(&self) -> bool {
        self.failure.cause == Cause::IceTimeout
    }

    /// Why the prober can't take part, for those who read its `ready`.
    pub fn in_words(&self) -> String {
        if !self.is_closed() {
            return self.failure.to_string();
        }
        let tcp: Vec<String> = self
            .tcp_candidates
            .iter()
            .map(ToString::to_string)
            .collect();
        let tcp = match tcp.is_empty() {
            true => String::new(),
            false => format!(
                ", and the job doesn't say --allow-tcp (the SFU takes TCP at {})",
                tcp.join(", ")
            ),
        };
        format!(
            "UDP is closed between here and the SFU{tcp}: {}",
            self.failure
        )
    }
}

impl From<Failure> for SelfTestError {
    fn from(failure: Failure) -> Self {
        SelfTestError {
            failure,
            tcp_candidates: Vec::new(),
        }
    }
}

/// Joins a hidden participant, waits until media could flow, reads the SFU's clock, leaves.
/// `within` bounds the time from dial to connected.
///
/// # Errors
/// The participant's failure, with its cause.
pub async fn self_test(
    context: &LoadContext,
    url: &str,
    room: &str,
    run: &RunId,
    vantage: &Vantage,
    nonce: u32,
    within: Duration,
) -> Result<SelfTest, SelfTestError> {
    let ttl = Duration::from_secs(120);
    let (name, token) = context
        .tokens
        .token(room, (run, vantage), (Role::Tester, nonce), ttl)
        .map_err(|e| Failure::new(Cause::Unauthorized, e.to_string()))?;
    let mut spec = ParticipantSpec::new(url, token, name);
    spec.ca_file.clone_from(&context.ca_file);
    spec.transport = context.transport;
    spec.probe_clock = true;
    spec.connect_timeout = within;
    let deadline = Instant::now() + within + CLOCK_WITHIN;
    let participant = context.engine.join(spec);
    let mut clock = Vec::new();
    let mut rtt_us = Vec::new();
    loop {
        let samples = participant.drain_samples();
        clock.extend(samples.clock);
        rtt_us.extend(samples.rtt_us.into_iter().chain(samples.rtcp_rtt_us));
        let snapshot = participant.snapshot();
        match &snapshot.state {
            State::Failed(failure) => {
                return Err(SelfTestError {
                    failure: failure.clone(),
                    tcp_candidates: snapshot.tcp_candidates,
                });
            }
            State::Connected if clock.len() >= CLOCK_SAMPLES => break,
            _ if Instant::now() >= deadline => {
                let text = format!("{} clock readings of {CLOCK_SAMPLES} came", clock.len());
                return Err(Failure::new(Cause::JoinTimeout, text).into());
            }
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
    let last = participant.leave().await;
    let server = last.server.unwrap_or_default();
    Ok(SelfTest {
        clock,
        sfu: SfuInfo {
            version: server.version,
            edition: server.edition,
            node: server.node_id,
            region: server.region,
            protocol: server.protocol,
        },
        path: last.path,
        tcp_candidates: last.tcp_candidates,
        phases: last.phases,
        rtt_us,
    })
}

/// How long the readings may take beyond connecting.
const CLOCK_WITHIN: Duration = Duration::from_secs(5);

/// Readings of the SFU's clock that a self-test waits for.
const CLOCK_SAMPLES: usize = 10;
