//! A participant's life in a room: messages, peer events and `now` in, actions out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;

use crate::job::{Quality, VideoCodec};
use crate::participant::carrier::Transport;
use crate::participant::failure::{Cause, Failure};
use crate::participant::moment::Moment;
use crate::participant::peer::{Command, PeerEvent, PublishTrack, Role};
use crate::participant::receive::First;
use crate::participant::shared::Shared;
use crate::participant::snapshot::{Event, ServerInfo, State, TrackKind};
use crate::participant::spec::{ParticipantSpec, Subscribe};
use crate::secret::Secret;

use super::candidate::{TCP_CANDIDATES_MAX, passive_tcp};
use super::ping::Pinger;
use super::request;
use super::subscriptions::{NAME_MAX, Subscriptions};

/// Before a lost connection is dialled again, doubled with each attempt.
const RESUME_BACKOFF: Duration = Duration::from_millis(300);

/// A resumed connection that lasts so long counts as one that works.
const RESUME_HELD: Duration = Duration::from_secs(5);

/// What the task is to do.
#[derive(Debug)]
pub enum Action {
    /// Send a request.
    Send(Box<Request>),
    /// Make a peer connection.
    AddPeer(Role),
    /// Tell a peer connection what to do.
    Peer(Role, Command),
    /// Connect to the address of this candidate, for the media of a peer connection.
    Connect(Role, SocketAddr, String),
    /// Dial again at this time, and go on with the session.
    Resume(Instant),
    /// Close everything.
    End,
}

/// A participant's life.
pub struct Session {
    spec: Arc<ParticipantSpec>,
    shared: Arc<Shared>,
    token: Secret,
    dialled: Instant,
    deadline: Option<Instant>,
    joined: Option<Instant>,
    sid: String,
    pinger: Option<Pinger>,
    /// Connections that it needs, and those that are up.
    needed: BTreeSet<Role>,
    up: BTreeSet<Role>,
    /// When ICE found a path, by connection.
    ice: BTreeMap<Role, Instant>,
    /// Addresses that media over TCP were tried to, by connection.
    tcp_tried: BTreeMap<Role, BTreeSet<SocketAddr>>,
    publishing: Vec<PublishTrack>,
    published: BTreeMap<String, proto::TrackPublishedResponse>,
    offers: u32,
    /// The subscriber connection's last offer and answer, to resume with.
    offer: Option<proto::SessionDescription>,
    answer: Option<proto::SessionDescription>,
    subscriptions: Subscriptions,
    lost: Option<Instant>,
    resumed: Option<Instant>,
    attempts: u32,
    actions: VecDeque<Action>,
}

impl Session {
    /// A participant that begins to dial now.
    pub fn new(spec: Arc<ParticipantSpec>, shared: Arc<Shared>, now: Instant) -> Self {
        shared.lock().snapshot.dialled = Some(now);
        Self {
            deadline: Some(now + spec.connect_timeout),
            token: spec.token.clone(),
            subscriptions: Subscriptions::new(spec.subscribe),
            spec,
            shared,
            dialled: now,
            joined: None,
            sid: String::new(),
            pinger: None,
            needed: BTreeSet::new(),
            up: BTreeSet::new(),
            ice: BTreeMap::new(),
            tcp_tried: BTreeMap::new(),
            publishing: Vec::new(),
            published: BTreeMap::new(),
            offers: 0,
            offer: None,
            answer: None,
            lost: None,
            resumed: None,
            attempts: 0,
            actions: VecDeque::new(),
        }
    }

    /// What to do next.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The token to dial with: the server may have renewed it.
    pub const fn token(&self) -> &Secret {
        &self.token
    }

    /// Whether the server is to subscribe this participant to all there is.
    pub fn auto_subscribe(&self) -> bool {
        self.subscriptions.are_automatic()
    }

    /// The participant's id, once it joined.
    pub fn sid(&self) -> Option<&str> {
        self.joined.map(|_| self.sid.as_str())
    }

    /// When [`Session::timeout`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let ping = self.pinger.as_ref().filter(|_| self.lost.is_none());
        ping.map(Pinger::deadline)
            .into_iter()
            .chain(self.deadline)
            .min()
    }

    /// Time has passed.
    pub fn timeout(&mut self, now: Moment) {
        if self.deadline.is_some_and(|deadline| now.at >= deadline) {
            let timeout = humantime::format_duration(self.spec.connect_timeout);
            let (cause, missing) = match (self.joined, !self.ice.is_empty()) {
                (None, _) => (Cause::JoinTimeout, "no JoinResponse"),
                (Some(_), false) => (Cause::IceTimeout, "ICE found no path"),
                (Some(_), true) => (Cause::Dtls, "DTLS did not finish"),
            };
            return self.fail(Failure::new(cause, format!("{missing} within {timeout}")));
        }
        let Some(pinger) = self.pinger.as_mut().filter(|_| self.lost.is_none()) else {
            return;
        };
        if pinger.is_dead(now.at) {
            self.connection_lost("no pong from the server", now.at);
        } else if let Some(timestamp) = pinger.due(now) {
            let ping = proto::Ping { timestamp, rtt: 0 };
            self.send(Request::PingReq(ping));
        }
    }

    /// A message came.
    pub fn message(&mut self, message: Response, now: Moment) {
        match message {
            Response::Join(join) => self.join(join, now.at),
            Response::Reconnect(_) => self.resumed(now.at),
            Response::Offer(offer) => self.server_offer(offer),
            Response::Answer(answer) => self.tell(Role::Publisher, Command::Answer(answer.sdp)),
            Response::Trickle(trickle) => self.trickle(&trickle),
            Response::Update(update) => {
                for participant in &update.participants {
                    self.announce(participant, now.at);
                }
                self.lay_out();
            }
            Response::TrackPublished(published) => {
                if self.publishing.iter().any(|t| t.cid == published.cid) {
                    self.published.insert(published.cid.clone(), published);
                }
                if self.published.len() == self.publishing.len() && self.offers == 0 {
                    self.offers = 1;
                    self.tell(Role::Publisher, Command::Publish(self.publishing.clone()));
                }
            }
            Response::PongResp(pong) => self.pong(pong, now),
            Response::ConnectionQuality(update) => self.quality(&update),
            Response::RefreshToken(token) => self.token = Secret::new(token),
            Response::RequestResponse(response) => self.refused(&response),
            Response::Leave(leave) => self.server_leaves(&leave, now.at),
            _ => {}
        }
    }

    /// A peer connection has something to tell.
    pub fn peer_event(&mut self, role: Role, event: PeerEvent) {
        match event {
            PeerEvent::Answer { sdp, id } => {
                let answer = request::description("answer", sdp, id);
                self.answer = Some(answer.clone());
                self.send(Request::Answer(answer));
            }
            PeerEvent::Offer(sdp) => {
                let offer = request::description("offer", sdp, self.offers);
                self.send(Request::Offer(offer));
            }
            PeerEvent::Ice(at) => {
                self.ice.entry(role).or_insert(at);
                let after = at.saturating_duration_since(self.dialled);
                self.shared.lock().snapshot.phases.ice.get_or_insert(after);
            }
            PeerEvent::Connected(at) => {
                self.up.insert(role);
                if let Some(ice) = self.ice.get(&role) {
                    let took = at.saturating_duration_since(*ice);
                    let dtls = &mut self.shared.lock().snapshot.phases.dtls;
                    *dtls = (*dtls).max(Some(took));
                }
                if self.up.is_superset(&self.needed) {
                    self.connected(at);
                }
            }
            PeerEvent::First(first) => self.first(&first),
            PeerEvent::Failed(failure) => {
                if self.needed.contains(&role) {
                    self.fail(failure);
                }
            }
        }
    }

    /// The signalling connection broke.
    pub fn connection_lost(&mut self, why: &str, now: Instant) {
        let broke = self.lost.is_none();
        let lost = *self.lost.get_or_insert(now);
        // One that breaks as soon as it is there has not been resumed.
        let held = self
            .resumed
            .is_none_or(|resumed| now.saturating_duration_since(resumed) >= RESUME_HELD);
        if broke && held {
            self.attempts = 0;
        }
        if self.joined.is_none() || self.attempts >= self.spec.resume_attempts {
            let attempts = self.attempts;
            let after = humantime::format_duration(now.saturating_duration_since(lost));
            let detail = format!("{why}; {attempts} attempts to resume in {after}");
            return self.fail(Failure::new(Cause::SignalClosed, detail));
        }
        let backoff = RESUME_BACKOFF * 2_u32.saturating_pow(self.attempts);
        self.attempts += 1;
        // The first attempt is made at once: most breaks are a proxy's.
        let wait = if broke && held {
            Duration::ZERO
        } else {
            backoff
        };
        self.actions.push_back(Action::Resume(now + wait));
    }

    /// The participant is to leave.
    pub fn leave(&mut self) {
        if self.joined.is_some() {
            self.send(request::leave());
        }
        self.shared.left();
        self.actions.push_back(Action::End);
    }

    /// The participant has failed.
    pub fn fail(&mut self, failure: Failure) {
        self.deadline = None;
        if self.joined.is_some() {
            self.send(request::leave());
        }
        self.shared.fail(failure);
        self.actions.push_back(Action::End);
    }

    fn send(&mut self, request: Request) {
        self.actions.push_back(Action::Send(Box::new(request)));
    }

    fn tell(&mut self, role: Role, command: Command) {
        self.actions.push_back(Action::Peer(role, command));
    }

    fn join(&mut self, join: proto::JoinResponse, now: Instant) {
        if self.joined.replace(now).is_some() {
            return;
        }
        let me = join.participant.unwrap_or_default();
        self.sid = short(me.sid);
        self.pinger = Some(Pinger::new(
            join.ping_interval,
            join.ping_timeout,
            self.spec.probe_clock,
            now,
        ));
        {
            let mut inner = self.shared.lock();
            let after = now.saturating_duration_since(self.dialled);
            let phases = &mut inner.snapshot.phases;
            let before = [phases.dns, phases.tcp, phases.tls, phases.websocket];
            phases.joined = Some(after);
            phases.join = Some(after.saturating_sub(before.into_iter().flatten().sum()));
            inner.snapshot.server = Some(server_info(join.server_info, join.server_version));
        }
        if self.spec.subscribe != Subscribe::Nothing || join.subscriber_primary {
            self.needed.insert(Role::Subscriber);
            self.actions.push_back(Action::AddPeer(Role::Subscriber));
        }
        if !self.spec.publish.is_empty() {
            self.needed.insert(Role::Publisher);
            self.actions.push_back(Action::AddPeer(Role::Publisher));
            self.add_tracks();
        }
        for participant in &join.other_participants {
            self.announce(participant, now);
        }
        self.lay_out();
    }

    fn add_tracks(&mut self) {
        let publish = &self.spec.publish;
        let track = |kind| PublishTrack {
            cid: format!("{:?}-{}", kind, self.sid).to_lowercase(),
            kind,
            simulcast: false,
            codec: VideoCodec::default(),
            discontinuous: false,
        };
        let audio = publish.audio.as_ref().map(|a| PublishTrack {
            discontinuous: a.discontinuous,
            ..track(TrackKind::Audio)
        });
        let video = publish.video.as_ref().map(|v| PublishTrack {
            simulcast: v.simulcast,
            codec: v.codec,
            ..track(TrackKind::Video)
        });
        self.publishing = audio.into_iter().chain(video).collect();
        for track in &self.publishing {
            let request = Box::new(request::add_track(track));
            self.actions.push_back(Action::Send(request));
        }
    }

    fn server_offer(&mut self, offer: proto::SessionDescription) {
        if !self.needed.contains(&Role::Subscriber) {
            return;
        }
        self.offer = Some(offer.clone());
        let command = Command::Offer {
            sdp: offer.sdp,
            id: offer.id,
            mid_to_track: offer.mid_to_track_id,
        };
        self.tell(Role::Subscriber, command);
    }

    fn trickle(&mut self, trickle: &proto::TrickleRequest) {
        let role = match trickle.target() {
            proto::SignalTarget::Publisher => Role::Publisher,
            proto::SignalTarget::Subscriber => Role::Subscriber,
        };
        // RTCIceCandidateInit, of which the rest repeats what bundling makes one.
        let init = serde_json::from_str::<serde_json::Value>(&trickle.candidate_init);
        let candidate = init
            .ok()
            .and_then(|init| Some(init.get("candidate")?.as_str()?.to_owned()));
        if let Some(candidate) = candidate.filter(|candidate| !candidate.is_empty()) {
            match (passive_tcp(&candidate), self.spec.transport) {
                (Some(address), Transport::Tcp) => self.try_tcp(role, address, candidate),
                (Some(address), Transport::Udp) => self.note_tcp(address),
                (None, Transport::Udp) => self.tell(role, Command::Candidate(candidate)),
                (None, Transport::Tcp) => {}
            }
        }
    }

    /// Takes note of where the server would take media over TCP.
    fn note_tcp(&self, address: SocketAddr) {
        if !self.spec.probe_clock {
            return;
        }
        let mut inner = self.shared.lock();
        let known = &mut inner.snapshot.tcp_candidates;
        if known.len() < TCP_CANDIDATES_MAX && !known.contains(&address) {
            known.push(address);
        }
    }

    /// Has a candidate tried to which media go over TCP.
    fn try_tcp(&mut self, role: Role, address: SocketAddr, candidate: String) {
        self.note_tcp(address);
        let tried = self.tcp_tried.entry(role).or_default();
        if tried.len() < TCP_CANDIDATES_MAX && tried.insert(address) {
            let connect = Action::Connect(role, address, candidate);
            self.actions.push_back(connect);
        }
    }

    /// Takes note of what another participant publishes.
    fn announce(&mut self, participant: &proto::ParticipantInfo, now: Instant) {
        if participant.sid == self.sid || participant.identity == self.spec.identity {
            return;
        }
        for (sid, muted) in self.subscriptions.announce(participant, now) {
            self.tell(Role::Subscriber, Command::Mute { sid, muted });
        }
    }

    /// Asks for what the layout shows now, where that has changed.
    fn lay_out(&mut self) {
        let requests = self.subscriptions.lay_out(&self.shared);
        for request in requests {
            self.send(request);
        }
    }

    fn connected(&mut self, at: Instant) {
        self.deadline = None;
        let after = at.saturating_duration_since(self.dialled);
        let mut inner = self.shared.lock();
        if inner.snapshot.state == State::Connecting {
            inner.snapshot.state = State::Connected;
            inner.snapshot.phases.connected = Some(after);
            inner.event(Event::Connected { after });
        }
    }

    fn first(&self, first: &First) {
        let mut inner = self.shared.lock();
        let since_dial = |at: &Instant| at.saturating_duration_since(self.dialled);
        match first {
            First::Frame { at } => {
                inner
                    .snapshot
                    .phases
                    .first_frame
                    .get_or_insert(since_dial(at));
            }
            First::Packet { sid, kind, at } => {
                inner
                    .snapshot
                    .phases
                    .first_packet
                    .get_or_insert(since_dial(at));
                let since = self.subscriptions.announced_at(sid).max(self.joined);
                let after = since.map_or_else(
                    || since_dial(at),
                    |since| at.saturating_duration_since(since),
                );
                if let Some(track) = inner.track(sid) {
                    track.subscribe = Some(after);
                }
                let (sid, kind) = (Arc::clone(sid), *kind);
                inner.event(Event::TrackSubscribed { sid, kind, after });
            }
        }
    }

    fn pong(&mut self, pong: proto::Pong, now: Moment) {
        let pinger = self.pinger.as_mut();
        let answered = pinger.and_then(|p| p.pong(pong.last_ping_timestamp, pong.timestamp, now));
        if let Some((rtt, sample)) = answered {
            let mut inner = self.shared.lock();
            inner.snapshot.signal_rtt_us = u32::try_from(rtt.as_micros()).ok();
            inner.clock(sample);
        }
    }

    fn quality(&self, update: &proto::ConnectionQualityUpdate) {
        let mine = update
            .updates
            .iter()
            .find(|info| info.participant_sid == self.sid);
        let Some(info) = mine else { return };
        let quality = match info.quality() {
            proto::ConnectionQuality::Lost => Quality::Lost,
            proto::ConnectionQuality::Poor => Quality::Poor,
            proto::ConnectionQuality::Good => Quality::Good,
            proto::ConnectionQuality::Excellent => Quality::Excellent,
        };
        let mut inner = self.shared.lock();
        if inner.snapshot.quality.replace(quality) != Some(quality) {
            inner.event(Event::QualityChanged(quality));
        }
    }

    fn refused(&mut self, response: &proto::RequestResponse) {
        use proto::request_response::{Reason, Request};
        if let Some(Request::AddTrack(_)) = response.request
            && response.reason() != Reason::Ok
        {
            let detail = format!("{}: {}", response.reason().as_str_name(), response.message);
            self.fail(Failure::new(Cause::PublishRefused, detail));
        }
    }

    fn server_leaves(&mut self, leave: &proto::LeaveRequest, now: Instant) {
        let reason = leave.reason().as_str_name().to_lowercase();
        if leave.action() == proto::leave_request::Action::Resume {
            return self.connection_lost(&format!("the server asked to resume: {reason}"), now);
        }
        let detail = if self.lost.is_some() {
            "the session could not be resumed"
        } else {
            "the server ended the session"
        };
        self.fail(Failure::new(Cause::Kicked { reason }, detail));
    }

    fn resumed(&mut self, now: Instant) {
        let Some(lost) = self.lost.take() else { return };
        self.resumed = Some(now);
        if let Some(pinger) = &mut self.pinger {
            pinger.restart(now);
        }
        let after = now.saturating_duration_since(lost);
        {
            let mut inner = self.shared.lock();
            inner.snapshot.reconnects += 1;
            inner.event(Event::Reconnected { after });
        }
        let state = proto::SyncState {
            answer: self.answer.clone(),
            offer: self.offer.clone(),
            subscription: Some(self.subscriptions.sync()),
            publish_tracks: self.published.values().cloned().collect(),
            ..proto::SyncState::default()
        };
        self.send(Request::SyncState(state));
    }
}

/// A name that the server gave, cut where no name goes on.
fn short(name: String) -> String {
    name.chars().take(NAME_MAX).collect()
}

fn server_info(info: Option<proto::ServerInfo>, version: String) -> ServerInfo {
    let Some(info) = info else {
        return ServerInfo {
            version: short(version),
            ..ServerInfo::default()
        };
    };
    ServerInfo {
        edition: info.edition().as_str_name().to_lowercase(),
        version: short(info.version),
        node_id: short(info.node_id),
        region: short(info.region),
        protocol: info.protocol,
    }
}

#[cfg(test)]
mod tests;
