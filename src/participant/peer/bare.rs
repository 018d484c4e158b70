//! What is left of a peer in a bare loop: packets are opened, and counted in all.

use crate::participant::rtp::{Datagram, Header, sequence};
use crate::participant::srtp::Srtp;

use super::Peer;

/// The highest index of each stream that came, by SSRC.
#[derive(Debug, Default)]
pub struct Indices(Vec<(u32, u64)>);

impl Peer {
    /// Decrypts RTP and RTCP, and returns whether it was either.
    pub fn open(&mut self, datagram: &mut [u8]) -> bool {
        let kind = Datagram::of(datagram);
        if kind == Datagram::Other {
            return false;
        }
        self.take_keys();
        let Some(srtp) = &self.srtp else {
            return true;
        };
        if kind == Datagram::Rtcp {
            srtp.open_rtcp(datagram);
        } else {
            let authentic = self.indices.open(srtp, datagram).is_some();
            self.receiver.count_opened(datagram.len(), authentic);
        }
        true
    }
}

impl Indices {
    fn open(&mut self, srtp: &Srtp, packet: &mut [u8]) -> Option<()> {
        let header = Header::parse(packet)?;
        match self.0.iter_mut().find(|(ssrc, _)| *ssrc == header.ssrc) {
            Some((_, highest)) => {
                let index = sequence::extend(*highest, header.sequence)?;
                srtp.open_rtp(packet, &header, index)?;
                *highest = index.max(*highest);
            }
            // The first of a stream: it has not wrapped, or just before.
            None => {
                let first = u64::from(header.sequence);
                let mut copy = packet.to_vec();
                let index = match srtp.open_rtp(&mut copy, &header, first) {
                    Some(_) => first,
                    None => first + (1 << 16),
                };
                srtp.open_rtp(packet, &header, index)?;
                self.0.push((header.ssrc, index));
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::participant::keys;
    use crate::participant::rtp::Outgoing;

    #[test]
    fn packets_open_across_a_wrap_and_right_after_one() {
        let (ours, theirs) = keys::pair_for_tests();
        let sealed = |ssrc, index: u64| {
            let header = Outgoing {
                payload_type: 96,
                marker: false,
                sequence: sequence::low(index),
                timestamp: 1,
                ssrc,
                extensions: &[],
            };
            let mut packet = Vec::new();
            let length = header.write(&mut packet);
            packet.extend(b"payload");
            assert!(ours.seal_rtp(&mut packet, 0, length, ssrc, index));
            packet
        };
        let mut indices = Indices::default();
        for index in 65_530..65_540 {
            for ssrc in [1, 2] {
                // The second stream begins behind the wrap.
                if ssrc == 1 || index > 65_537 {
                    let mut packet = sealed(ssrc, index);
                    assert!(indices.open(&theirs, &mut packet).is_some(), "{index}");
                }
            }
        }
        let mut forged = sealed(1, 65_540);
        forged[15] ^= 1;
        assert!(indices.open(&theirs, &mut forged).is_none());
    }
}
