//! One headless LiveKit client, exact and cheap enough for thousands in a process.
//!
//! Every packet that arrived is accounted for: decrypted, authenticated, counted once, and what
//! did not arrive is attributed. str0m does SDP, ICE, DTLS and SCTP; RTP and RTCP in steady state
//! are this module's own.
//!
//! ```text
//! Engine ── threads ── peers (sans-IO: packets and `now` in, packets and counters out)
//!    └ join(spec) ── a signalling task per participant ── Participant (snapshot, events, leave)
//! ```

mod arrival;
mod beat;
mod carrier;
mod engine;
mod epoll;
pub mod failure;
mod inbox;
mod keys;
mod layout;
pub mod media;
mod moment;
mod outbox;
mod peer;
mod prefetch;
mod receive;
mod rtp;
mod sdp;
mod send;
mod shared;
mod signal;
pub mod snapshot;
pub mod spec;
mod srtp;
pub mod stamp;
mod stamped;
mod stun;
mod tcp;
mod udp;
mod wake;

use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use carrier::Transport;
pub use failure::{Cause, Failure};
pub use signal::TOKEN_LEEWAY;
pub use snapshot::{Event, Samples, Snapshot, State, TrackSnapshot};
pub use spec::{ParticipantSpec, Publish, Subscribe};

use engine::Threads;
use shared::Shared;
use tokio::sync::watch;

/// How the media threads work.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Media threads. Participants are spread over them in turn. Default 1: a thread carries
    /// some 100,000 packets a second.
    pub threads: usize,
    /// How often a thread drains the sockets of those that receive. Default 20 ms, as often as
    /// libwebrtc looks for packets to ask for again (`NackPeriodicProcessor::kUpdateInterval`); arrival
    /// times are the kernel's, so a longer tick costs no exactness, only promptness of NACKs. Media
    /// and NACKs go out when they are due, and a peer that connects or publishes is looked at more
    /// often, whatever the tick.
    pub tick: Duration,
    /// Each UDP socket's receive buffer, in bytes (`SO_RCVBUF`). Default 512 KiB. The kernel
    /// caps it at `net.core.rmem_max`.
    pub recv_buffer_bytes: usize,
    /// Only receive and decrypt: connections are kept up, but what comes is neither accounted for
    /// nor reported on. What `muster bench density` holds the rest against.
    pub bare: bool,
    /// Faults at the socket's edge, for tests only.
    pub faults: Faults,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            threads: 1,
            tick: Duration::from_millis(20),
            recv_buffer_bytes: 512 * 1024,
            bare: false,
            faults: Faults::default(),
        }
    }
}

/// Faults that the engine injects into its own traffic. For tests only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Received RTP packets to drop before they are looked at, per million.
    pub drop_received_ppm: u32,
    /// RTP packets to drop instead of sending them, per million.
    pub drop_sent_ppm: u32,
    /// Seed of which packets are dropped.
    pub seed: u64,
}

/// The media threads' own health: whether the prober, and not the SFU, is short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineHealth {
    /// Sockets of media open.
    pub sockets: u64,
    /// Ticks done.
    pub ticks: u64,
    /// Ticks that began more than one tick late.
    pub late_ticks: u64,
    /// The latest that a tick began, in microseconds, since the last call of
    /// [`Engine::health`].
    pub tick_lag_max_us: u64,
    /// The latest that a frame went out behind its due time, in microseconds, since the last
    /// call of [`Engine::health`].
    pub pacing_lag_max_us: u64,
    /// Datagrams that the kernel dropped because a receive buffer here was full.
    pub own_buffer_drops: u64,
    /// System calls that received or sent datagrams.
    pub socket_calls: u64,
}

/// The media threads. Cheap to clone; they end when the last clone and participant are gone.
#[derive(Clone, Debug)]
pub struct Engine {
    threads: Arc<Threads>,
}

impl Engine {
    /// Starts the media threads.
    ///
    /// # Errors
    /// When a thread or its epoll descriptor can't be made.
    pub fn start(config: EngineConfig) -> io::Result<Engine> {
        let threads = Arc::new(Threads::start(&config)?);
        Ok(Engine { threads })
    }

    /// Lets a participant join. Its signalling task runs on the current tokio runtime; this
    /// returns at once, and [`Participant::snapshot`] tells how it goes.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn join(&self, spec: ParticipantSpec) -> Participant {
        let shared = Arc::new(Shared::default());
        let (leave, asked) = watch::channel(false);
        let threads = Arc::clone(&self.threads);
        tokio::spawn(signal::run(spec, threads, Arc::clone(&shared), asked));
        Participant { shared, leave }
    }

    /// Tells the offset of a clock that all participants of a run share, minus local time, in
    /// microseconds. Stamps are written and read on it; it is local time at first.
    pub fn set_shared_clock(&self, offset_us: i64) {
        self.threads.set_shared_clock(offset_us);
    }

    /// The threads' own health.
    pub fn health(&self) -> EngineHealth {
        self.threads.health()
    }
}

/// A participant that was asked to join. Dropping it leaves the room without waiting.
#[derive(Debug)]
pub struct Participant {
    shared: Arc<Shared>,
    leave: watch::Sender<bool>,
}

impl Participant {
    /// Everything counted so far. Cheap; at most one tick old.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.snapshot()
    }

    /// Each track that it asked for. At most 100 ms old.
    pub fn tracks(&self) -> Vec<TrackSnapshot> {
        self.shared.tracks()
    }

    /// What happened since the last call, oldest first. At most 1,024 are kept.
    pub fn drain_events(&self) -> Vec<Event> {
        self.shared.drain_events()
    }

    /// Samples since the last call. At most 4,096 of each kind are kept.
    pub fn drain_samples(&self) -> Samples {
        self.shared.drain_samples()
    }

    /// Leaves in order: `LeaveRequest`, then everything closed. Waits a second or two at most.
    pub async fn leave(self) -> Snapshot {
        // The task is gone when the participant has failed: then all is closed already.
        let _ = self.leave.send(true);
        self.shared.closed().await;
        self.snapshot()
    }
}
