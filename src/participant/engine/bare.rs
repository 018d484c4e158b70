//! A media thread's bare loop, which only receives and decrypts.

use super::{Carrier, TELL_INTERVAL, Thread, now};

impl Thread {
    /// Opens what a seat's socket has. What is neither RTP nor RTCP goes to the peer: without
    /// answers to its ICE checks a server sends nothing.
    pub(super) fn drain_bare(&mut self, slot: usize) {
        let Some(Some(seat)) = self.seats.get_mut(slot) else {
            return;
        };
        let Carrier::Udp(socket) = &seat.carrier else {
            return;
        };
        let mut for_peer = false;
        loop {
            let more = self.batch.receive(socket);
            for datagram in self.batch.datagrams() {
                if !seat.peer.open(datagram.bytes) {
                    for_peer = true;
                    let (now, out) = (now(), &mut self.outbox);
                    seat.peer
                        .datagram(datagram.bytes, datagram.source, now, now, out);
                }
            }
            if !more {
                break;
            }
        }
        // What is counted is told as often as by others: a rate is taken of it.
        if for_peer || now().at >= seat.told + TELL_INTERVAL {
            self.with(slot, |_, _, _, _| {});
        }
    }
}
