//! The task that carries out a session's actions.
#![expect(
    clippy::disallowed_methods,
    reason = "the edge: reads the clock, waits, and draws the seeds of peers"
)]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Request;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message as Frame;

use crate::participant::engine::{self, NewPeer, PeerHandle, Threads};
use crate::participant::failure::{Cause, Failure};
use crate::participant::peer::{PeerEvent, Role};
use crate::participant::shared::Shared;
use crate::participant::spec::ParticipantSpec;

use super::dial::{Dialled, WebSocket, dial};
use super::inbox::{Inbox, Incoming};
use super::session::{Action, Session};
use super::url::Endpoint;

/// How long a `LeaveRequest` and the closing handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the server may take none of what is sent: requests are a few hundred bytes.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs a participant until it has left or failed. `leave` turns true, or closes, when it is to
/// leave.
pub async fn run(
    spec: ParticipantSpec,
    threads: Arc<Threads>,
    shared: Arc<Shared>,
    mut leave: watch::Receiver<bool>,
) {
    let _closing = Closing(Arc::clone(&shared));
    let spec = Arc::new(spec);
    let endpoint = match Endpoint::parse(&spec.url) {
        Ok(endpoint) => endpoint,
        Err(failure) => return shared.fail(failure),
    };
    let (events_in, events) = unbounded_channel();
    let mut task = Task {
        session: Session::new(Arc::clone(&spec), Arc::clone(&shared), Instant::now()),
        spec,
        endpoint,
        threads,
        shared,
        websocket: None,
        inbox: Inbox::new(Instant::now()),
        local_ip: None,
        peers: BTreeMap::new(),
        events_in,
        events,
    };
    task.first_dial(&mut leave).await;
    while task.act(&mut leave).await {
        task.wait(&mut leave).await;
    }
    task.close().await;
}

/// Says at the end that everything is closed, after a panic as well: its holder waits for that.
struct Closing(Arc<Shared>);

impl Drop for Closing {
    fn drop(&mut self) {
        // Has no effect on who has ended.
        self.0.fail(Failure::new(
            Cause::Internal,
            "the signalling task ended before its session",
        ));
        self.0.close();
    }
}

struct Task {
    session: Session,
    spec: Arc<ParticipantSpec>,
    endpoint: Endpoint,
    threads: Arc<Threads>,
    shared: Arc<Shared>,
    websocket: Option<WebSocket>,
    inbox: Inbox,
    local_ip: Option<IpAddr>,
    peers: BTreeMap<Role, PeerHandle>,
    events_in: UnboundedSender<(Role, PeerEvent)>,
    events: UnboundedReceiver<(Role, PeerEvent)>,
}

impl Task {
    async fn first_dial(&mut self, leave: &mut watch::Receiver<bool>) {
        let timeout = self.spec.connect_timeout;
        let dialled = tokio::select! {
            dialled = tokio::time::timeout(timeout, self.dial()) => dialled,
            () = asked_to(leave) => return self.session.leave(),
        };
        match dialled {
            Ok(Ok(dialled)) => {
                self.shared.lock().snapshot.phases = dialled.phases;
                self.local_ip = Some(dialled.local_ip);
                self.websocket = Some(dialled.websocket);
            }
            Ok(Err(failure)) => self.session.fail(failure),
            Err(_) => {
                let text = humantime::format_duration(timeout);
                let detail = format!("{}: no connection within {text}", self.endpoint.host);
                self.session.fail(Failure::new(Cause::Tcp, detail));
            }
        }
    }

    async fn dial(&mut self) -> Result<Dialled, Failure> {
        let session = &self.session;
        let url = self
            .endpoint
            .websocket(session.auto_subscribe(), session.sid());
        let ca_file = self.spec.ca_file.as_ref().map(|path| path.as_path());
        dial(&self.endpoint, &url, session.token(), ca_file).await
    }

    /// Carries out what the session wants. `false` when it has ended.
    async fn act(&mut self, leave: &mut watch::Receiver<bool>) -> bool {
        while let Some(action) = self.session.next_action() {
            match action {
                Action::Send(request) => self.send(*request).await,
                Action::AddPeer(role) => self.add_peer(role),
                Action::Peer(role, command) => {
                    let sent = self.peers.get(&role).is_none_or(|peer| peer.send(command));
                    if !sent {
                        let detail = "the server sends more than its peer connection can take";
                        self.session.fail(Failure::new(Cause::Protocol, detail));
                    }
                }
                Action::Connect(role, to, candidate) => self.connect(role, to, candidate),
                Action::Resume(at) => self.resume(at, leave).await,
                Action::End => return false,
            }
        }
        true
    }

    async fn send(&mut self, request: Request) {
        let Some(websocket) = &mut self.websocket else {
            return;
        };
        let request = proto::SignalRequest {
            message: Some(request),
        };
        let frame = Frame::Binary(request.encode_to_vec().into());
        match tokio::time::timeout(SEND_TIMEOUT, websocket.send(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => self.lost(&e.to_string()),
            Err(_) => self.lost("the server takes no more of what is sent"),
        }
    }

    fn lost(&mut self, why: &str) {
        if self.websocket.take().is_some() {
            self.session.connection_lost(why, Instant::now());
        }
    }

    fn add_peer(&mut self, role: Role) {
        let Some(ip) = self.local_ip else { return };
        let peer = NewPeer {
            role,
            ip,
            transport: self.spec.transport,
            seed: rand::random(),
            stamp_source: self.spec.publish.source,
            shared: Arc::clone(&self.shared),
            events: self.events_in.clone(),
        };
        if let Some(peer) = self.threads.add(peer) {
            self.peers.insert(role, peer);
        }
    }

    /// Connects for the media of a peer, while all else goes on. If none of the server's addresses
    /// can be reached, ICE finds no path.
    fn connect(&self, role: Role, to: SocketAddr, candidate: String) {
        let Some(peer) = self.peers.get(&role) else {
            return;
        };
        let (carry, within) = (peer.carry(), self.spec.connect_timeout);
        tokio::spawn(async move {
            match tokio::time::timeout(within, TcpStream::connect(to)).await {
                Ok(Ok(stream)) => match stream.into_std() {
                    Ok(stream) => carry(stream, candidate),
                    Err(e) => tracing::debug!("media over TCP to {to}: {e}"),
                },
                Ok(Err(e)) => tracing::debug!("media over TCP to {to}: {e}"),
                Err(_) => tracing::debug!("media over TCP to {to}: no answer in time"),
            }
        });
    }

    async fn resume(&mut self, at: Instant, leave: &mut watch::Receiver<bool>) {
        self.websocket = None;
        let resume = async {
            tokio::time::sleep_until(at.into()).await;
            tokio::time::timeout(self.spec.connect_timeout, self.dial()).await
        };
        let dialled = tokio::select! {
            dialled = resume => dialled,
            () = asked_to(leave) => return self.session.leave(),
        };
        match dialled {
            Ok(Ok(dialled)) => self.websocket = Some(dialled.websocket),
            Ok(Err(failure)) => self
                .session
                .connection_lost(&failure.to_string(), Instant::now()),
            Err(_) => self
                .session
                .connection_lost("no connection in time", Instant::now()),
        }
    }

    /// Waits for the next thing to happen, and tells the session.
    async fn wait(&mut self, leave: &mut watch::Receiver<bool>) {
        let deadline = self.session.next_deadline();
        let sleep = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            frame = next_frame(self.websocket.as_mut()) => match frame {
                Ok(frame) => self.read(frame),
                Err(why) => self.lost(&why),
            },
            event = self.events.recv() => {
                if let Some((role, event)) = event {
                    self.session.peer_event(role, event);
                }
            }
            () = sleep => self.session.timeout(engine::now()),
            () = asked_to(leave) => self.session.leave(),
        }
    }

    fn read(&mut self, frame: Frame) {
        let now = engine::now();
        let read = match self.inbox.frame(frame.len(), now.at) {
            Ok(()) => match frame {
                Frame::Binary(bytes) => self.inbox.message(bytes, now.at),
                _ => Ok(Incoming::Unknown),
            },
            Err(failure) => Err(failure),
        };
        match read {
            Ok(Incoming::Message(message)) => self.session.message(*message, now),
            Ok(Incoming::Unknown) => {}
            Ok(Incoming::Malformed) => self.shared.lock().snapshot.signals_malformed += 1,
            Err(failure) => self.session.fail(failure),
        }
    }

    /// Closes everything, and gives what was said last the time to leave.
    async fn close(mut self) {
        // Late is as good as never: the server forgets a silent client by itself.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.send_the_rest()).await;
        self.peers.clear();
        if let Some(mut websocket) = self.websocket.take() {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, websocket.close(None)).await;
        }
    }

    async fn send_the_rest(&mut self) {
        while let Some(action) = self.session.next_action() {
            if let Action::Send(request) = action {
                self.send(*request).await;
            }
        }
    }
}

/// The next frame.
async fn next_frame(websocket: Option<&mut WebSocket>) -> Result<Frame, String> {
    let Some(websocket) = websocket else {
        return std::future::pending().await;
    };
    match websocket.next().await {
        Some(Ok(Frame::Close(frame))) => Err(frame.map_or_else(
            || "the server closed the connection".to_owned(),
            |frame| format!("the server closed the connection: {frame}"),
        )),
        Some(Ok(frame)) => Ok(frame),
        Some(Err(e)) => Err(e.to_string()),
        None => Err("the connection broke".to_owned()),
    }
}

/// Returns when the participant is to leave, or its holder is gone.
async fn asked_to(leave: &mut watch::Receiver<bool>) {
    // An error is the holder's being gone.
    let _ = leave.wait_for(|leave| *leave).await;
}
