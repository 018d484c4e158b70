//! One peer connection, without I/O: datagrams and `now` in, datagrams and events out.
//!
//! str0m does SDP, ICE, DTLS and SCTP. RTP and RTCP never reach it, and what it would send of
//! them under the same keys is dropped here: a GCM nonce must not come twice.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::change::{SdpOffer, SdpPendingOffer};
use str0m::media::Mid;
use str0m::net::{Protocol, Receive, TcpType};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Reason, Rtc, RtcConfig};

use super::beat::Beats;
use super::carrier::Transport;
use super::failure::{Cause, Failure};
use super::keys::{self, Slot};
use super::moment::Moment;
use super::outbox::Outbox;
use super::receive::{First, Receiver};
use super::rtp::Datagram;
use super::rtp::rtcp::Compounds;
use super::sdp::{self, Description};
use super::send::{Sender, StreamPlan};
use super::shared::{Inner, RttSource};
use super::snapshot::MediaPath;
use super::srtp::Srtp;
use super::stun::StunClock;
use super::wake::Due;

mod bare;
mod publish;
mod random;
mod reports;
#[cfg(test)]
mod tests;

use bare::Indices;
pub use publish::PublishTrack;
use random::Random;

/// Between two looks at a connected str0m that wants to see to RTP, of which it gets none.
const RTC_INTERVAL: Duration = Duration::from_millis(250);

/// Which of LiveKit's two connections this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// What this participant publishes. It offers.
    Publisher,
    /// What it takes. The server offers.
    Subscriber,
}

/// Of H.264 and its retransmissions, beside those that str0m gives to the others.
const H264_PAYLOAD_TYPES: (u8, u8) = (108, 109);
/// Constrained baseline, level 3.1 (RFC 6184, 8.1): what every WebRTC client decodes (RFC 7742).
const H264_PROFILE: u32 = 0x42_e01f;

/// What signalling tells a peer to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Answer the server's offer.
    Offer {
        /// The SDP.
        sdp: String,
        /// `SessionDescription.id`, to be echoed.
        id: u32,
        /// LiveKit's track ids by mid.
        mid_to_track: HashMap<String, String>,
    },
    /// Offer these tracks.
    Publish(Vec<PublishTrack>),
    /// The server answered the offer.
    Answer(String),
    /// The server has a candidate, as `candidate:…`.
    Candidate(String),
    /// A subscribed track was muted, or no longer.
    Mute {
        /// LiveKit's track id.
        sid: String,
        /// Whether it is muted.
        muted: bool,
    },
    /// Close the connection.
    Close,
    /// Go wrong.
    #[cfg(test)]
    Panic,
}

/// What a peer tells signalling.
#[derive(Clone, Debug)]
pub enum PeerEvent {
    /// An answer to the offer of this id.
    Answer {
        /// The SDP.
        sdp: String,
        /// `SessionDescription.id`.
        id: u32,
    },
    /// An offer of what is published.
    Offer(String),
    /// ICE has a path.
    Ice(Instant),
    /// ICE and DTLS are up.
    Connected(Instant),
    /// Something happened for the first time.
    First(First),
    /// It is over.
    Failed(Failure),
}

/// What a peer is made of.
#[derive(Clone, Copy, Debug)]
pub struct PeerConfig {
    /// Which connection.
    pub role: Role,
    /// How datagrams travel.
    pub transport: Transport,
    /// The socket's address, as a host candidate.
    pub local: SocketAddr,
    /// Where SSRCs, sequence numbers and timestamps come from: random, and this peer's alone.
    pub seed: u64,
    /// See [`super::spec::Publish::source`].
    pub stamp_source: u32,
    /// When it is looked at for what it sends.
    pub beats: Beats,
}

/// One peer connection.
pub struct Peer {
    config: PeerConfig,
    /// Apart, so that what each packet needs lies close together.
    rtc: Box<Rtc>,
    rtc_deadline: Instant,
    keys: Slot,
    srtp: Option<Srtp>,
    /// The selected pair's other end.
    remote: Option<SocketAddr>,
    /// This end of the TCP connection.
    carried_from: Option<SocketAddr>,
    receiver: Receiver,
    /// In a bare loop alone.
    indices: Indices,
    sender: Sender,
    stun: StunClock,
    rtt: Option<Duration>,
    rtts: Vec<(RttSource, Duration)>,
    publishing: Option<(SdpPendingOffer, Vec<(Mid, PublishTrack)>)>,
    /// Tracks that start once the connection is up.
    planned: Vec<(PublishTrack, Vec<StreamPlan>)>,
    connected: bool,
    /// Candidates that signalling has brought.
    candidates: usize,
    rtcp_seen: HashMap<u32, u32>,
    compounds: Compounds,
    events: VecDeque<PeerEvent>,
    random: Random,
    closed: bool,
}

impl Peer {
    /// A peer that waits for its first command.
    ///
    /// # Errors
    /// When str0m refuses the address.
    pub fn new(config: PeerConfig, now: Moment, out: &mut Outbox) -> Result<Self, Failure> {
        let mut rtc = RtcConfig::new()
            .set_rtp_mode(true)
            .set_crypto_provider(keys::provider());
        if let Some(certificate) = keys::certificate() {
            rtc = rtc.set_dtls_cert(certificate);
        }
        if config.role == Role::Publisher {
            rtc = rtc.clear_codecs().enable_opus(true, false).enable_vp8(true);
            let (payload_type, repair) = H264_PAYLOAD_TYPES;
            let codecs = rtc.codec_config();
            codecs.add_h264(payload_type.into(), Some(repair.into()), true, H264_PROFILE);
        }
        let (mut rtc, keys) = keys::capture(|| rtc.build(now.at));
        let candidate = match config.transport {
            Transport::Udp => Candidate::builder().udp().host(config.local).build(),
            Transport::Tcp => {
                let candidate = Candidate::builder().tcp().host(config.local);
                candidate.tcptype(TcpType::Active).build()
            }
        }
        .map_err(|e| Failure::new(Cause::LocalSocket, format!("{}: {e}", config.local)))?;
        rtc.add_local_candidate(candidate);
        let mut random = Random(config.seed);
        let phase = Duration::from_millis(u64::from(random.next() % 1_000));
        let mut peer = Self {
            receiver: Receiver::new(random.next(), now.at, phase),
            indices: Indices::default(),
            sender: Sender::new(config.stamp_source),
            config,
            rtc: Box::new(rtc),
            rtc_deadline: now.at,
            keys,
            srtp: None,
            remote: None,
            carried_from: None,
            stun: StunClock::default(),
            rtt: None,
            rtts: Vec::new(),
            publishing: None,
            planned: Vec::new(),
            connected: false,
            candidates: 0,
            rtcp_seen: HashMap::new(),
            compounds: Compounds::default(),
            events: VecDeque::new(),
            random,
            closed: false,
        };
        // Without a first timeout ICE arms no timer when the first offer comes.
        peer.step(now, out);
        Ok(peer)
    }

    /// What signalling wants done.
    pub fn command(&mut self, command: Command, now: Moment, out: &mut Outbox) {
        match command {
            Command::Offer {
                sdp,
                id,
                mid_to_track,
            } => self.offer(&sdp, id, &mid_to_track),
            Command::Publish(tracks) => self.publish(tracks),
            Command::Answer(sdp) => self.answer(&sdp, now),
            Command::Candidate(candidate) => self.candidate(&candidate),
            Command::Mute { sid, muted } => self.receiver.mute(&sid.into(), muted),
            Command::Close => {
                // An error means that there was nothing to close.
                let _ = self.rtc.close();
                self.drain(now, out);
                self.closed = true;
                return;
            }
            #[cfg(test)]
            Command::Panic => panic!("asked to"),
        }
        self.step(now, out);
    }

    fn candidate(&mut self, candidate: &str) {
        self.candidates += 1;
        if self.candidates > sdp::CANDIDATES_MAX || candidate.len() > sdp::CANDIDATE_LEN {
            return self.receiver.count_over_limit();
        }
        match Candidate::from_sdp_string(candidate) {
            Ok(candidate) if candidate.proto() == self.protocol() => {
                self.rtc.add_remote_candidate(candidate);
            }
            // Others aren't tried here.
            Ok(_) => {}
            Err(_) => self.receiver.count_malformed(),
        }
    }

    /// A TCP connection from this address carries what it sends and receives.
    pub const fn carried_from(&mut self, local: SocketAddr) {
        self.carried_from = Some(local);
    }

    /// The TCP connection is over.
    pub fn carrier_lost(&mut self, why: &std::io::Error) {
        self.fail(
            Cause::IceLost,
            format!("the TCP connection of media: {why}"),
        );
    }

    const fn protocol(&self) -> Protocol {
        match self.config.transport {
            Transport::Udp => Protocol::Udp,
            Transport::Tcp => Protocol::Tcp,
        }
    }

    /// The kernel dropped so many more datagrams for want of room, ahead of what comes next.
    pub const fn dropped(&mut self, datagrams: u64, at: Instant) {
        self.receiver.dropped(datagrams, at);
    }

    /// This datagram will be taken soon: fetches what is known of its stream.
    pub fn expect(&self, datagram: &[u8]) {
        if Datagram::of(datagram) == Datagram::Rtp {
            self.receiver.expect(datagram);
        }
    }

    /// A datagram came at `arrival`.
    pub fn datagram(
        &mut self,
        datagram: &mut [u8],
        source: SocketAddr,
        arrival: Moment,
        now: Moment,
        out: &mut Outbox,
    ) {
        match Datagram::of(datagram) {
            Datagram::Rtp => {
                self.take_keys();
                if let Some(srtp) = &self.srtp {
                    // Anyone may send what looks like media; only the server has the keys.
                    if self.receiver.packet(srtp, datagram, arrival) {
                        self.remote = Some(source);
                    }
                } else {
                    self.receiver.count_unauthentic();
                }
            }
            Datagram::Rtcp => {
                out.set_destination(Some(source));
                if self.rtcp(datagram, arrival, now, out) {
                    self.remote = Some(source);
                }
            }
            Datagram::Other => {
                if let Some(rtt) = self.stun.received(datagram, arrival.at) {
                    self.note_rtt(RttSource::Ice, rtt);
                }
                let Ok(contents) = (&*datagram).try_into() else {
                    self.receiver.count_malformed();
                    return;
                };
                let receive = Receive {
                    proto: self.protocol(),
                    source,
                    destination: self.config.local,
                    contents,
                };
                if let Err(e) = self.rtc.handle_input(Input::Receive(now.at, receive)) {
                    self.fail(Cause::Dtls, format!("{source}: {e}"));
                }
                self.drain(now, out);
            }
        }
    }

    /// Time has passed.
    pub fn timeout(&mut self, now: Moment, out: &mut Outbox) {
        if self.rtc_deadline <= now.at {
            self.step(now, out);
        }
        out.set_destination(self.remote);
        let Some(srtp) = &mut self.srtp else { return };
        if !self.receiver.is_idle() {
            let firsts = self.receiver.drain_firsts();
            self.events.extend(firsts.map(PeerEvent::First));
            self.receiver.poll(now.at, self.rtt, &mut self.compounds);
        }
        self.sender.poll(srtp, now, out, &mut self.compounds);
        for compound in self.compounds.iter() {
            out.push(|bytes| {
                let start = bytes.len();
                bytes.extend_from_slice(compound);
                if srtp.seal_rtcp(bytes, start) {
                    Some(bytes.len() - start)
                } else {
                    bytes.truncate(start);
                    None
                }
            });
        }
        self.compounds.clear();
    }

    /// When [`Peer::timeout`] has something to do.
    pub fn due(&self) -> Due {
        let media = self.sender.deadline();
        let (report, nack) = self.receiver.deadlines();
        let prompt = media.into_iter().chain(nack).min();
        let any = report.into_iter().chain(prompt);
        Due {
            any: Some(any.fold(self.rtc_deadline, Instant::min)),
            prompt,
            // Over TCP nothing but a prompt look tells when something came.
            connecting: !self.connected || self.config.transport == Transport::Tcp,
        }
    }

    /// What there is to tell.
    pub fn next_event(&mut self) -> Option<PeerEvent> {
        self.events.pop_front()
    }

    /// Whether there is something to tell that doesn't wait.
    pub fn has_news(&self) -> bool {
        self.closed || !self.events.is_empty()
    }

    /// Whether it is over, by failure or command.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// The most that a packet went out behind its due time, since the last call.
    pub const fn take_pacing_lag(&mut self) -> Option<Duration> {
        self.sender.take_pacing_lag()
    }

    /// Whether [`Peer::left`] is to be told when what was put out leaves.
    pub fn wants_departure(&self) -> bool {
        self.stun.is_leaving() || self.sender.is_leaving()
    }

    /// What was put out leaves now.
    pub fn left(&mut self, now: Instant) {
        self.stun.left(now);
        self.sender.left(now);
    }

    /// Counts datagrams that the kernel did not take.
    pub const fn count_send_failures(&mut self, failures: u64) {
        self.sender.count_send_failures(failures);
    }

    /// Writes what was counted to where the participant's holder reads it.
    pub fn publish_counts(&mut self, now: Instant, own_buffer_drops: u64, to: &mut Inner) {
        for (source, rtt) in self.rtts.drain(..) {
            to.rtt(source, u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX));
        }
        match self.config.role {
            Role::Publisher => to.snapshot.tx = *self.sender.totals(),
            Role::Subscriber => {
                to.snapshot.rx = *self.receiver.totals();
                to.snapshot.rx.own_buffer_drops = own_buffer_drops;
                for (sid, samples) in self.receiver.latency() {
                    to.latency(sid, samples);
                }
                to.count_tracks(self.receiver.tracks(), now);
            }
        }
        if let (true, Some(remote)) = (self.connected, self.remote) {
            let path = MediaPath {
                transport: self.config.transport.name(),
                local: self.carried_from.unwrap_or(self.config.local),
                remote,
            };
            // What a participant takes matters more than what it publishes.
            if self.config.role == Role::Subscriber || to.snapshot.path.is_none() {
                to.snapshot.path = Some(path);
            }
        }
    }

    fn offer(&mut self, sdp: &str, id: u32, mid_to_track: &HashMap<String, String>) {
        let answer = sdp::narrow_offer(sdp)
            .and_then(|offer| SdpOffer::from_sdp_string(&offer).map_err(|e| e.to_string()))
            .and_then(|offer| {
                let answer = self.rtc.sdp_api().accept_offer(offer);
                answer.map_err(|e| e.to_string())
            });
        match answer {
            Ok(answer) => {
                self.receiver
                    .describe(Description::parse(sdp, mid_to_track));
                let sdp = answer.to_sdp_string();
                self.events.push_back(PeerEvent::Answer { sdp, id });
            }
            Err(e) => self.fail(Cause::Protocol, format!("the server's offer: {e}")),
        }
    }

    /// Takes the keys, once there are any.
    fn take_keys(&mut self) {
        if self.srtp.is_none()
            && let Some(material) = self.keys.take()
        {
            self.srtp = Srtp::new(&material);
            if self.srtp.is_none() {
                self.fail(Cause::Dtls, "the server wants an SRTP profile without AEAD");
            }
        }
    }

    fn note_rtt(&mut self, source: RttSource, rtt: Duration) {
        self.rtt = Some(rtt);
        self.rtts.push((source, rtt));
    }

    fn step(&mut self, now: Moment, out: &mut Outbox) {
        if let Err(e) = self.rtc.handle_input(Input::Timeout(now.at)) {
            self.fail(Cause::Dtls, e.to_string());
        }
        self.drain(now, out);
    }

    fn drain(&mut self, now: Moment, out: &mut Outbox) {
        while !self.closed {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.rtc_deadline = match self.rtc.last_timeout_reason() {
                        Reason::DTLS | Reason::Ice | Reason::Sctp | Reason::Channel => at,
                        // RTP is not its business.
                        _ if self.connected => at.max(now.at + RTC_INTERVAL),
                        _ => at,
                    };
                    break;
                }
                Ok(Output::Transmit(transmit)) => {
                    let datagram: &[u8] = &transmit.contents;
                    match datagram.first() {
                        Some(0..=3) => self.stun.sent(datagram, now.at),
                        Some(20..=63) => self.remote = Some(transmit.destination),
                        // str0m's own reports, under the same key.
                        _ => continue,
                    }
                    out.push_to(transmit.destination, datagram);
                }
                Ok(Output::Event(event)) => self.event(&event, now),
                Err(e) => self.fail(Cause::Dtls, e.to_string()),
            }
        }
    }

    fn event(&mut self, event: &Event, now: Moment) {
        match event {
            Event::IceConnectionStateChange(
                IceConnectionState::Connected | IceConnectionState::Completed,
            ) => self.events.push_back(PeerEvent::Ice(now.at)),
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                self.fail(Cause::IceLost, "no answer to ICE's consent checks");
            }
            Event::Connected => {
                self.connected = true;
                self.take_keys();
                self.start_tracks(now);
                self.events.push_back(PeerEvent::Connected(now.at));
            }
            Event::Closed => self.fail(Cause::IceLost, "the server closed the connection"),
            _ => {}
        }
    }

    fn fail(&mut self, cause: Cause, detail: impl Into<String>) {
        if !self.closed {
            self.closed = true;
            let failure = Failure::new(cause, detail);
            self.events.push_back(PeerEvent::Failed(failure));
        }
    }
}
