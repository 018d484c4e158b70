//! The media threads: whenever they wake they drain sockets and let their peers do what is due.
#![expect(clippy::disallowed_methods, reason = "the edge: reads all clocks")]

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvError, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::clock;

use super::arrival::KernelClock;
use super::beat::Beats;
use super::carrier::{Carrier, Transport};
use super::epoll::{Epoll, Told};
use super::failure::{Cause, Failure};
use super::inbox::{self, Inbox, Post};
use super::moment::Moment;
use super::outbox::Outbox;
use super::peer::{Command, Peer, PeerConfig, PeerEvent, Role};
use super::prefetch::prefetch;
use super::rtp;
use super::shared::Shared;
use super::tcp::Stream;
use super::udp::{Batch, Socket};
use super::wake::{Due, Wakeups};
use super::{EngineConfig, EngineHealth, Faults};

mod bare;
mod chance;
mod health;
#[cfg(test)]
mod tests;

use chance::Chance;
use health::Health;

/// Commands of one peer that may wait for its thread: a tick sees a few, the start of a session in
/// a room full of muted microphones one for each.
const COMMANDS_MAX: usize = 8_192;

/// What a candidate that only connects has as its port (RFC 6544 section 4.5).
const ACTIVE_PORT: u16 = 9;

/// Batches taken from one socket at a look: thousands of datagrams. A flood leaves time for the
/// neighbours.
const BATCHES_MAX: usize = 64;

/// Between two times that counts are told: for each wakeup they are many.
const TELL_INTERVAL: Duration = Duration::from_millis(100);

/// Reads the clocks of this process alone.
pub fn now() -> Moment {
    let (at, wall) = (Instant::now(), clock::now());
    Moment {
        at,
        wall,
        shared: wall,
    }
}

/// A new peer connection.
pub struct NewPeer {
    /// Which of the participant's two.
    pub role: Role,
    /// The address towards the server.
    pub ip: IpAddr,
    /// How its media travel.
    pub transport: Transport,
    /// Random.
    pub seed: u64,
    /// See [`super::spec::Publish::source`].
    pub stamp_source: u32,
    /// Where counters go.
    pub shared: Arc<Shared>,
    /// Where events go.
    pub events: UnboundedSender<(Role, PeerEvent)>,
}

enum Mail {
    Add(u64, Box<NewPeer>),
    /// With the count of those that wait.
    Command(u64, Command, Arc<AtomicUsize>),
    /// A connection to the address of the server's candidate.
    Stream(u64, TcpStream, String),
}

/// A peer connection on a media thread. Dropping it closes the connection.
#[derive(Debug)]
pub struct PeerHandle {
    mail: Post<Mail>,
    id: u64,
    /// Commands that the thread has not read yet.
    waiting: Arc<AtomicUsize>,
}

impl PeerHandle {
    /// Tells the peer what to do, and wakes its thread for that. `false` when too much waits already.
    pub fn send(&self, command: Command) -> bool {
        let room = self.waiting.load(Ordering::Relaxed) < COMMANDS_MAX;
        if room {
            self.post(command);
        }
        room
    }

    /// Gives the peer a connection to the address of one of the server's candidates. The first one
    /// carries its media.
    pub fn carry(&self) -> impl FnOnce(TcpStream, String) + Send + 'static {
        let (mail, id) = (self.mail.clone(), self.id);
        move |stream, candidate| {
            // A thread that is gone has no peers.
            let _ = mail.send(Mail::Stream(id, stream, candidate));
        }
    }

    fn post(&self, command: Command) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Arc::clone(&self.waiting);
        // A thread that is gone has no peers.
        let _ = self.mail.send(Mail::Command(self.id, command, waiting));
    }
}

impl Drop for PeerHandle {
    fn drop(&mut self) {
        self.post(Command::Close);
    }
}

/// All media threads.
#[derive(Debug)]
pub struct Threads {
    mail: Vec<Post<Mail>>,
    next: AtomicU64,
    /// The shared clock minus local time, in microseconds.
    shared_clock: Arc<AtomicI64>,
    health: Arc<Health>,
}

impl Threads {
    /// Starts them.
    ///
    /// # Errors
    /// When a thread or its epoll descriptor can't be made.
    pub fn start(config: &EngineConfig) -> io::Result<Self> {
        let health = Arc::new(Health::default());
        let shared_clock = Arc::new(AtomicI64::new(0));
        let beats = Beats::new(Instant::now());
        let mut mail = Vec::new();
        for i in 0..config.threads.max(1) {
            let (post, inbox) = inbox::inbox()?;
            let mut thread = Thread {
                config: config.clone(),
                beats,
                inbox,
                at_ticks: Epoll::new()?,
                prompt: Epoll::new()?,
                ready: Vec::new(),
                flooded: Vec::new(),
                seats: Vec::new(),
                due: Vec::new(),
                batch: Batch::new(),
                outbox: Outbox::default(),
                health: Arc::clone(&health),
                shared_clock: Arc::clone(&shared_clock),
                chance: Chance::new(config.faults.seed ^ u64::try_from(i).unwrap_or(0)),
            };
            std::thread::Builder::new()
                .name(format!("media-{i}"))
                .spawn(move || thread.run())?;
            mail.push(post);
        }
        Ok(Self {
            mail,
            next: AtomicU64::new(0),
            shared_clock,
            health,
        })
    }

    /// Adds a peer connection to the threads in turn.
    pub fn add(&self, peer: NewPeer) -> Option<PeerHandle> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let threads = u64::try_from(self.mail.len()).unwrap_or(1);
        let thread = usize::try_from(id.checked_rem(threads)?).ok()?;
        let mail = self.mail.get(thread)?.clone();
        if !mail.send(Mail::Add(id, Box::new(peer))) {
            return None;
        }
        let waiting = Arc::default();
        Some(PeerHandle { mail, id, waiting })
    }

    /// See [`super::Engine::set_shared_clock`].
    pub fn set_shared_clock(&self, offset_us: i64) {
        self.shared_clock.store(offset_us, Ordering::Relaxed);
    }

    /// What [`super::Engine::health`] tells.
    pub fn health(&self) -> EngineHealth {
        self.health.read()
    }
}

/// A peer with what carries its datagrams.
struct Seat {
    id: u64,
    peer: Peer,
    carrier: Carrier,
    role: Role,
    shared: Arc<Shared>,
    events: UnboundedSender<(Role, PeerEvent)>,
    /// The kernel's counter, extended.
    drops: u64,
    /// When counts were told last.
    told: Instant,
}

impl Seat {
    /// Tells what was counted and what happened.
    fn tell(&mut self, now: Instant, health: &Health) {
        self.told = now;
        health.count_calls(self.carrier.take_calls());
        if let Some(lag) = self.peer.take_pacing_lag() {
            health.count_pacing_lag(lag);
        }
        let mut shared = self.shared.lock();
        self.peer.publish_counts(now, self.drops, &mut shared);
        drop(shared);
        while let Some(event) = self.peer.next_event() {
            // The participant may have gone meanwhile.
            let _ = self.events.send((self.role, event));
        }
    }
}

struct Thread {
    config: EngineConfig,
    beats: Beats,
    inbox: Inbox<Mail>,
    /// Sockets of which nothing is lost or late if it waits for a tick: the kernel says when what
    /// they have came.
    at_ticks: Epoll,
    /// The others: of peers on their way up, and of those that publish, who are to answer soon when
    /// they are asked for a keyframe or a packet.
    prompt: Epoll,
    /// What epoll told, kept for its room.
    ready: Vec<usize>,
    /// Sockets that were left with something, of which epoll doesn't tell again.
    flooded: Vec<usize>,
    /// By slot, which epoll tells; a free slot is used again.
    seats: Vec<Option<Box<Seat>>>,
    /// When each seat wants to be looked at, by slot: side by side, as every wakeup reads them.
    due: Vec<Due>,
    batch: Batch,
    outbox: Outbox,
    health: Arc<Health>,
    shared_clock: Arc<AtomicI64>,
    chance: Chance,
}

impl Thread {
    fn run(&mut self) {
        let mut wakeups = Wakeups::new(self.config.tick, self.beats, Instant::now());
        loop {
            if self.seats.iter().all(Option::is_none) {
                // Nothing to do until someone joins.
                match self.inbox.recv() {
                    Ok(mail) => self.read(mail),
                    Err(RecvError) => return,
                }
                wakeups = Wakeups::new(self.config.tick, self.beats, Instant::now());
            }
            let next = wakeups.next(&self.due);
            if let Some(early) = next.checked_duration_since(Instant::now()) {
                match self.inbox.recv_timeout(early) {
                    Ok(mail) => {
                        self.read(mail);
                        continue;
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    // Who is gone has closed its peers before.
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            self.wake(&mut wakeups);
        }
    }

    fn wake(&mut self, wakeups: &mut Wakeups) {
        let woken = wakeups.woke(Instant::now());
        while let Ok(mail) = self.inbox.try_recv() {
            self.read(mail);
        }
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        ready.append(&mut self.flooded);
        if let Some(lag) = woken.tick {
            self.health.count_tick(lag, self.config.tick);
            self.at_ticks.ready(&mut ready);
        }
        self.prompt.ready(&mut ready);
        if !ready.is_empty() {
            let clock = KernelClock::read(self.now());
            for (at, slot) in ready.iter().copied().enumerate() {
                if let Some(next) = ready.get(at + 1).and_then(|next| self.seats.get(*next)) {
                    next.iter().for_each(|seat| prefetch(&**seat));
                }
                if self.config.bare {
                    self.drain_bare(slot);
                } else {
                    self.drain(slot, clock);
                }
            }
        }
        self.ready = ready;
        let now = Instant::now();
        for slot in 0..self.due.len() {
            let Some(due) = self.due.get(slot).filter(|due| due.is_over(now, woken)) else {
                continue;
            };
            if woken.tick.is_some() || due.connecting || !self.receives(slot) {
                self.with(slot, |_, _, _, _| {});
            } else {
                // What it wants to ask for again may have come by now.
                self.drain(slot, KernelClock::read(self.now()));
            }
        }
    }

    fn receives(&self, slot: usize) -> bool {
        let seat = self.seats.get(slot).and_then(Option::as_ref);
        seat.is_some_and(|seat| seat.role == Role::Subscriber)
    }

    fn now(&self) -> Moment {
        let now = now();
        let offset_us = self.shared_clock.load(Ordering::Relaxed);
        Moment {
            shared: now.wall.offset_micros(offset_us),
            ..now
        }
    }

    fn read(&mut self, mail: Mail) {
        match mail {
            Mail::Add(id, new) => self.add(id, *new),
            Mail::Command(id, command, waiting) => {
                waiting.fetch_sub(1, Ordering::Relaxed);
                if let Some(slot) = self.slot_of(id) {
                    self.with(slot, |seat, now, out, _| {
                        seat.peer.command(command, now, out);
                    });
                }
            }
            Mail::Stream(id, stream, candidate) => {
                if let Some(slot) = self.slot_of(id) {
                    self.carry(slot, stream, candidate);
                }
            }
        }
    }

    fn slot_of(&self, id: u64) -> Option<usize> {
        let found = |seat: &Option<Box<Seat>>| seat.as_ref().is_some_and(|s| s.id == id);
        self.seats.iter().position(found)
    }

    /// Has a stream carry what a peer without one sends and receives.
    fn carry(&mut self, slot: usize, stream: TcpStream, candidate: String) {
        let Some(Some(seat)) = self.seats.get_mut(slot) else {
            return;
        };
        if !matches!(seat.carrier, Carrier::Awaited) {
            return;
        }
        let carried = Stream::new(stream).and_then(|stream| {
            self.prompt.add(&stream, slot, Told::WhileThere)?;
            Ok((stream.local()?, stream))
        });
        match carried {
            Ok((local, stream)) => {
                seat.carrier = Carrier::Tcp(stream);
                self.with(slot, |seat, now, out, _| {
                    seat.peer.carried_from(local);
                    seat.peer.command(Command::Candidate(candidate), now, out);
                });
            }
            // Another candidate may do.
            Err(e) => tracing::debug!("media over TCP: {e}"),
        }
    }

    fn add(&mut self, id: u64, new: NewPeer) {
        let (role, events) = (new.role, new.events.clone());
        let added = catch_unwind(AssertUnwindSafe(|| self.try_add(id, new)));
        if let Err(failure) = added.unwrap_or_else(|_| Err(panicked())) {
            self.outbox.clear();
            // Nobody to tell: the participant has gone meanwhile.
            let _ = events.send((role, PeerEvent::Failed(failure)));
        }
    }

    fn try_add(&mut self, id: u64, new: NewPeer) -> Result<(), Failure> {
        let local = |e: io::Error| Failure::new(Cause::LocalSocket, e.to_string());
        let (carrier, port) = match new.transport {
            Transport::Udp => {
                let buffer = self.config.recv_buffer_bytes;
                let socket = Socket::bind(new.ip, buffer).map_err(local)?;
                let port = socket.port().map_err(local)?;
                (Carrier::Udp(socket), port)
            }
            Transport::Tcp => (Carrier::Awaited, ACTIVE_PORT),
        };
        let config = PeerConfig {
            role: new.role,
            transport: new.transport,
            local: SocketAddr::new(new.ip, port),
            seed: new.seed,
            stamp_source: new.stamp_source,
            beats: self.beats,
        };
        let now = self.now();
        let peer = Peer::new(config, now, &mut self.outbox)?;
        self.outbox.clear();
        let free = self.seats.iter().position(Option::is_none);
        let slot = free.unwrap_or_else(|| {
            self.seats.push(None);
            self.due.push(Due::NEVER);
            self.seats.len() - 1
        });
        if let Some(descriptor) = carrier.descriptor() {
            let prompt = &self.prompt;
            prompt.add(&descriptor, slot, Told::Once).map_err(local)?;
        }
        if let (Some(seat), Some(due)) = (self.seats.get_mut(slot), self.due.get_mut(slot)) {
            *due = peer.due();
            *seat = Some(Box::new(Seat {
                id,
                peer,
                carrier,
                role: new.role,
                shared: new.shared,
                events: new.events,
                drops: 0,
                told: now.at,
            }));
        }
        self.health.count_sockets(1);
        Ok(())
    }

    /// Lets a seat's peer take what its socket has.
    fn drain(&mut self, slot: usize, clock: KernelClock) {
        let faults = self.config.faults;
        let mut batch = std::mem::replace(&mut self.batch, Batch::empty());
        let mut more = false;
        self.with(slot, |seat, now, out, chance| {
            let socket = match &mut seat.carrier {
                Carrier::Udp(socket) => socket,
                Carrier::Tcp(stream) => {
                    let (remote, peer) = (stream.remote(), &mut seat.peer);
                    let came = stream.receive(|datagram, came| {
                        peer.datagram(datagram, remote, clock.moment(came), now, out);
                    });
                    if let Err(e) = came {
                        seat.peer.carrier_lost(&e);
                    }
                    return;
                }
                Carrier::Awaited => return,
            };
            for _ in 0..BATCHES_MAX {
                more = batch.receive(socket);
                for payload in batch.payloads() {
                    seat.peer.expect(payload);
                }
                for datagram in batch.datagrams() {
                    let arrival = clock.moment(datagram.came);
                    if let Some(drops) = datagram.drops {
                        let before = seat.drops;
                        seat.drops = extend_drops(before, drops);
                        if seat.drops > before {
                            seat.peer.dropped(seat.drops - before, arrival.at);
                        }
                    }
                    let is_rtp = rtp::Datagram::of(datagram.bytes) == rtp::Datagram::Rtp;
                    if is_rtp && chance.hits(faults.drop_received_ppm) {
                        continue;
                    }
                    seat.peer
                        .datagram(datagram.bytes, datagram.source, arrival, now, out);
                }
                if !more {
                    break;
                }
            }
        });
        self.batch = batch;
        if more {
            self.flooded.push(slot);
        }
    }

    /// Lets a seat's peer do something, then what is due, and carries out what came of it.
    fn with(&mut self, slot: usize, act: impl FnOnce(&mut Seat, Moment, &mut Outbox, &mut Chance)) {
        let now = self.now();
        let (Some(place), Some(due)) = (self.seats.get_mut(slot), self.due.get_mut(slot)) else {
            return;
        };
        let Some(seat) = place else { return };
        let before = seat.drops;
        let (outbox, chance) = (&mut self.outbox, &mut self.chance);
        // A peer that goes wrong takes none of its neighbours with it.
        let (health, faults) = (&self.health, self.config.faults);
        let done = catch_unwind(AssertUnwindSafe(|| {
            act(seat, now, outbox, chance);
            seat.peer.timeout(now, outbox);
            if seat.peer.wants_departure() {
                seat.peer.left(Instant::now());
            }
            let failures = send(&mut seat.carrier, outbox, faults, chance);
            seat.peer.count_send_failures(failures);
            health.count_drops(seat.drops - before);
            let told = seat.told + TELL_INTERVAL;
            let waits = now.at < told && !seat.peer.has_news();
            if !waits {
                seat.tell(now.at, health);
            }
            let due = seat.peer.due();
            match (seat.carrier.is_behind(), waits) {
                (true, _) => due.at_latest(now.at),
                (false, true) => due.at_latest(told),
                (false, false) => due,
            }
        }));
        let was_connecting = due.connecting;
        if let Ok(next) = done {
            *due = next;
        } else {
            let _ = seat.events.send((seat.role, PeerEvent::Failed(panicked())));
            self.outbox.clear();
        }
        if done.is_err() || seat.peer.is_closed() {
            // What is left of a peer that panicked may panic once more.
            let gone = place.take();
            let _ = catch_unwind(AssertUnwindSafe(|| drop(gone)));
            *due = Due::NEVER;
            self.health.count_sockets(-1);
        } else if was_connecting
            && !due.connecting
            && seat.role == Role::Subscriber
            && let Some(descriptor) = seat.carrier.descriptor()
            && self.at_ticks.add(&descriptor, slot, Told::Once).is_ok()
        {
            // What it has already is told again.
            self.prompt.remove(&descriptor);
        }
    }
}

fn panicked() -> Failure {
    Failure::new(Cause::Internal, "a media thread's peer panicked")
}

fn send(carrier: &mut Carrier, outbox: &mut Outbox, faults: Faults, chance: &mut Chance) -> u64 {
    if faults.drop_sent_ppm > 0 {
        outbox.retain(|datagram| {
            rtp::Datagram::of(datagram) != rtp::Datagram::Rtp || !chance.hits(faults.drop_sent_ppm)
        });
    }
    let failures = carrier.send(outbox);
    outbox.clear();
    failures
}

/// The kernel counts in 32 bits.
fn extend_drops(before: u64, counter: u32) -> u64 {
    let low = before & u64::from(u32::MAX);
    let ahead = u64::from(counter).wrapping_sub(low) & u64::from(u32::MAX);
    // A datagram that was counted before another thread's overtook it.
    if ahead > u64::from(u32::MAX / 2) {
        before
    } else {
        before + ahead
    }
}
