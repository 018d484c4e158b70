//! What the RTCP of the other end says.

use crate::participant::moment::Moment;
use crate::participant::outbox::Outbox;
use crate::participant::rtp::rtcp::{Compound, Packet};
use crate::participant::shared::RttSource;

use super::Peer;

/// Senders of SRTCP whose last index is remembered; LiveKit has one per stream.
const MAX_RTCP_SENDERS: usize = 512;

impl Peer {
    /// A compound came. Returns whether it is authentic, and no replay.
    pub(super) fn rtcp(
        &mut self,
        datagram: &mut [u8],
        arrival: Moment,
        now: Moment,
        out: &mut Outbox,
    ) -> bool {
        self.take_keys();
        let Some(srtp) = &self.srtp else { return false };
        let Some((index, compound)) = srtp.open_rtcp(datagram) else {
            self.receiver.count_unauthentic();
            return false;
        };
        let sender = compound.get(4..8).and_then(|s| s.first_chunk().copied());
        let sender = sender.map_or(0, u32::from_be_bytes);
        let seen = self.rtcp_seen.get(&sender).copied();
        if seen.is_none() && self.rtcp_seen.len() >= MAX_RTCP_SENDERS {
            self.receiver.count_over_limit();
            return false;
        }
        // Replayed, or overtaken: a report that is overtaken says nothing new.
        if seen.is_some_and(|seen| index <= seen) {
            return false;
        }
        self.rtcp_seen.insert(sender, index);
        let mut rtt = None;
        for packet in Compound(compound) {
            match packet {
                Ok(Packet::SenderReport {
                    ssrc,
                    ntp_middle,
                    blocks,
                }) => {
                    self.receiver.sender_report(ssrc, ntp_middle, arrival.at);
                    for block in blocks {
                        rtt = self.sender.report_block(&block, arrival).or(rtt);
                    }
                }
                Ok(Packet::ReceiverReport(blocks)) => {
                    for block in blocks {
                        rtt = self.sender.report_block(&block, arrival).or(rtt);
                    }
                }
                Ok(Packet::Nack { ssrc, entries }) => {
                    self.sender.nack(srtp, ssrc, entries, now, out);
                }
                Ok(Packet::PictureLoss { ssrc }) => self.sender.picture_loss(ssrc),
                Ok(Packet::FullIntra(ssrcs)) => {
                    for ssrc in ssrcs {
                        self.sender.picture_loss(ssrc);
                    }
                }
                Ok(Packet::Other) => {}
                Err(_) => self.receiver.count_malformed(),
            }
        }
        if let Some(rtt) = rtt {
            self.note_rtt(RttSource::Rtcp, rtt);
        }
        true
    }
}
