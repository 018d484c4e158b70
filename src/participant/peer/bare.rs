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
