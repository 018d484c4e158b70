//! Peers on a thread: what one does to the others.

use super::*;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

type Events = UnboundedReceiver<(Role, PeerEvent)>;

fn add(threads: &Threads, role: Role) -> (PeerHandle, Events) {
    let (events, heard) = unbounded_channel();
    let peer = NewPeer {
        transport: Transport::Udp,
        role,
        ip: std::net::Ipv4Addr::LOCALHOST.into(),
        seed: 1,
        stamp_source: 0,
        shared: Arc::default(),
        events,
    };
    (threads.add(peer).unwrap(), heard)
}

/// A publisher answers this with an offer.
fn publish() -> Command {
    Command::Publish(vec![crate::participant::peer::PublishTrack {
        cid: "voice".to_owned(),
        kind: crate::participant::snapshot::TrackKind::Audio,
        simulcast: false,
        codec: crate::job::VideoCodec::Vp8,
        discontinuous: false,
    }])
}

#[test]
fn a_peer_that_panics_takes_none_of_its_neighbours_with_it() {
    let threads = Threads::start(&EngineConfig::default()).unwrap();
    let (good, mut heard_good) = add(&threads, Role::Publisher);
    let (bad, mut heard_bad) = add(&threads, Role::Publisher);
    assert!(bad.send(Command::Panic));
    let Some((_, PeerEvent::Failed(failure))) = heard_bad.blocking_recv() else {
        panic!("no failure");
    };
    assert_eq!(failure.cause, Cause::Internal);
    assert!(good.send(publish()));
    let offer = heard_good.blocking_recv();
    assert!(matches!(offer, Some((_, PeerEvent::Offer(_)))), "{offer:?}");
    assert_eq!(threads.health().sockets, 1);
}

#[test]
fn commands_that_wait_are_limited() {
    // A thread that never reads.
    let (mail, _inbox) = inbox::inbox().unwrap();
    let peer = PeerHandle {
        mail,
        id: 0,
        waiting: Arc::default(),
    };
    let sent = (0..10_000).take_while(|_| peer.send(publish())).count();
    assert_eq!(sent, COMMANDS_MAX);
}
