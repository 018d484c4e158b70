//! RTCP's formats: RFC 3550 (SR, RR, SDES, BYE), RFC 4585 (NACK, PLI), RFC 5104 (FIR) and
//! draft-alvestrand-rmcat-remb.

/// Report blocks that fit one report: its count has five bits.
pub const MAX_BLOCKS: usize = 31;

/// This client's canonical name.
pub const CNAME: &str = "muster";

const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const RTPFB: u8 = 205;
const PSFB: u8 = 206;

/// One packet of a compound, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A sender report's account of its own stream.
    SenderReport {
        /// The stream.
        ssrc: u32,
        /// The middle 32 bits of its NTP time.
        ntp_middle: u32,
        /// Reports about our streams.
        blocks: Blocks<'a>,
    },
    /// Reports about our streams.
    ReceiverReport(Blocks<'a>),
    /// Sequence numbers of ours that are missing there.
    Nack {
        /// The stream.
        ssrc: u32,
        /// Generic NACK entries.
        entries: Nacks<'a>,
    },
    /// A keyframe is wanted (PLI).
    PictureLoss {
        /// The stream.
        ssrc: u32,
    },
    /// A keyframe is wanted (FIR), for each of these streams.
    FullIntra(Ssrcs<'a>),
    /// All else.
    Other,
}

/// One report block (RFC 3550, 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The stream that it is about.
    pub ssrc: u32,
    /// Loss since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Packets lost in all: 24 bits, signed.
    pub lost: i32,
    /// The low 32 bits of the highest index.
    pub highest: u32,
    /// In units of the stream's clock.
    pub jitter: u32,
    /// The middle of the last sender report's NTP time; zero for none.
    pub last_sr: u32,
    /// Since that came, in 65,536ths of a second.
    pub delay: u32,
}

/// Iterates over report blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks<'a>(&'a [u8]);

impl Iterator for Blocks<'_> {
    type Item = Block;
    fn next(&mut self) -> Option<Block> {
        let (block, rest) = self.0.split_first_chunk::<24>()?;
        self.0 = rest;
        let mut words = Words(block);
        let ssrc = words.next()?;
        let loss = words.next()?;
        let [fraction_lost, ..] = loss.to_be_bytes();
        Some(Block {
            ssrc,
            fraction_lost,
            // The shift up drops the fraction, the one down keeps the sign.
            lost: loss.wrapping_shl(8).cast_signed() >> 8,
            highest: words.next()?,
            jitter: words.next()?,
            last_sr: words.next()?,
            delay: words.next()?,
        })
    }
}

/// Iterates over sequence numbers asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nacks<'a>(&'a [u8]);

impl Nacks<'_> {
    /// Calls `each` with each sequence number.
    pub fn for_each(self, mut each: impl FnMut(u16)) {
        for entry in Words(self.0) {
            let [p0, p1, b0, b1] = entry.to_be_bytes();
            let (first, mask) = (u16::from_be_bytes([p0, p1]), u16::from_be_bytes([b0, b1]));
            each(first);
            for bit in 0..16 {
                if mask >> bit & 1 == 1 {
                    each(first.wrapping_add(bit + 1));
                }
            }
        }
    }
}

/// Iterates over a FIR's streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssrcs<'a>(&'a [u8]);

impl Iterator for Ssrcs<'_> {
    type Item = u32;
    fn next(&mut self) -> Option<u32> {
        let (entry, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Words(entry).next()
    }
}

struct Words<'a>(&'a [u8]);

impl Iterator for Words<'_> {
    type Item = u32;
    fn next(&mut self) -> Option<u32> {
        let (word, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*word))
    }
}

/// Walks a compound. `Err` on the first packet that is cut short; what preceded it was given.
#[derive(Clone, Debug)]
pub struct Compound<'a>(pub &'a [u8]);

/// A compound whose lengths don't add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl<'a> Iterator for Compound<'a> {
    type Item = Result<Packet<'a>, Malformed>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let packet = self.take();
        if packet.is_none() {
            self.0 = &[];
        }
        Some(packet.ok_or(Malformed))
    }
}

impl<'a> Compound<'a> {
    fn take(&mut self) -> Option<Packet<'a>> {
        let [first, kind, l0, l1] = *self.0.first_chunk()?;
        let len = 4 * (usize::from(u16::from_be_bytes([l0, l1])) + 1);
        let (packet, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        if first >> 6 != 2 {
            return None;
        }
        let count = first & 0x1f;
        let body = packet.get(4..)?;
        let blocks = |at: usize| body.get(at..at + 24 * usize::from(count)).map(Blocks);
        let word = |i: usize| Words(body).nth(i);
        match (kind, count) {
            (SR, _) => {
                let (high, low) = (word(1)?, word(2)?);
                Some(Packet::SenderReport {
                    ssrc: word(0)?,
                    ntp_middle: high << 16 | low >> 16,
                    blocks: blocks(24)?,
                })
            }
            (RR, _) => Some(Packet::ReceiverReport(blocks(4)?)),
            (RTPFB, 1) => Some(Packet::Nack {
                ssrc: word(1)?,
                entries: Nacks(body.get(8..)?),
            }),
            (PSFB, 1) => Some(Packet::PictureLoss { ssrc: word(1)? }),
            (PSFB, 4) => Some(Packet::FullIntra(Ssrcs(body.get(8..)?))),
            _ => Some(Packet::Other),
        }
    }
}

/// The longest compound, in bytes, unless a single packet is longer: datagrams of 1,200 bytes pass
/// wherever QUIC does (RFC 9000, 14), and SRTCP adds 20.
pub const COMPOUND_LEN: usize = 1_180;

/// RTCP to send: plain compounds, one after the other.
#[derive(Debug, Default)]
pub struct Compounds {
    /// All of them.
    pub bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Compounds {
    /// Closes the compound that was just written, if there is one.
    pub fn finish(&mut self) {
        if self.ends.last().copied().unwrap_or(0) < self.bytes.len() {
            self.ends.push(self.bytes.len());
        }
    }

    /// Closes the compound that is being written if so many bytes more would not fit beside it in a
    /// datagram. What follows is a compound without a report (RFC 5506).
    pub fn make_room(&mut self, bytes: usize) {
        let start = self.ends.last().copied().unwrap_or(0);
        if self.bytes.len() - start + bytes > COMPOUND_LEN {
            self.finish();
        }
    }

    /// Each compound.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let bounds = starts.zip(self.ends.iter().copied());
        bounds.filter_map(|(from, to)| self.bytes.get(from..to))
    }

    /// Forgets them, and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// Appends an RTCP packet: `body` writes what follows the header, in whole words.
fn packet(out: &mut Vec<u8>, kind: u8, count: usize, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    // Counts are at most 31 by every caller.
    out.extend([0x80 | u8::try_from(count & 0x1f).unwrap_or(0), kind, 0, 0]);
    body(out);
    let words = (out.len() - start) / 4 - 1;
    let words = u16::try_from(words).unwrap_or(u16::MAX).to_be_bytes();
    if let Some([_, _, l0, l1]) = out.get_mut(start..start + 4) {
        [*l0, *l1] = words;
    }
}

fn put(out: &mut Vec<u8>, words: &[u32]) {
    for word in words {
        out.extend(word.to_be_bytes());
    }
}

fn put_blocks(out: &mut Vec<u8>, blocks: &[Block]) {
    for block in blocks {
        let lost = block.lost.clamp(-0x80_0000, 0x7f_ffff).cast_unsigned() & 0xff_ffff;
        let loss = u32::from(block.fraction_lost) << 24 | lost;
        let words = [
            block.ssrc,
            loss,
            block.highest,
            block.jitter,
            block.last_sr,
            block.delay,
        ];
        put(out, &words);
    }
}

/// Appends a receiver report with at most [`MAX_BLOCKS`] blocks.
pub fn receiver_report(out: &mut Vec<u8>, sender: u32, blocks: &[Block]) {
    let blocks = blocks.get(..MAX_BLOCKS).unwrap_or(blocks);
    packet(out, RR, blocks.len(), |out| {
        put(out, &[sender]);
        put_blocks(out, blocks);
    });
}

/// A sender report's account of its stream (RFC 3550, 6.4.1).
#[derive(Clone, Copy, Debug)]
pub struct SenderInfo {
    /// The stream.
    pub ssrc: u32,
    /// NTP time (seconds since 1900 in the upper half).
    pub ntp: u64,
    /// The RTP timestamp at that time.
    pub rtp: u32,
    /// RTP packets sent; wraps.
    pub packets: u32,
    /// Payload bytes sent; wraps.
    pub octets: u32,
}

/// Appends a sender report without blocks.
#[expect(
    clippy::cast_possible_truncation,
    reason = "NTP time goes in two halves"
)]
pub fn sender_report(out: &mut Vec<u8>, info: &SenderInfo) {
    packet(out, SR, 0, |out| {
        let (high, low) = ((info.ntp >> 32) as u32, info.ntp as u32);
        put(
            out,
            &[info.ssrc, high, low, info.rtp, info.packets, info.octets],
        );
    });
}

/// Appends a source description with a CNAME; RFC 3550 wants one in every compound.
pub fn cname(out: &mut Vec<u8>, ssrc: u32, name: &str) {
    let name = name.as_bytes();
    let name = name.get(..name.len().min(255)).unwrap_or_default();
    packet(out, SDES, 1, |out| {
        put(out, &[ssrc]);
        let start = out.len();
        out.extend([1, u8::try_from(name.len()).unwrap_or(u8::MAX)]);
        out.extend(name);
        // One zero ends the items; more fill the word.
        out.push(0);
        while !(out.len() - start).is_multiple_of(4) {
            out.push(0);
        }
    });
}

/// Appends a NACK for `missing`, ascending around the wrap. At most 200 entries are written.
pub fn nack(out: &mut Vec<u8>, sender: u32, ssrc: u32, missing: &[u16]) {
    packet(out, RTPFB, 1, |out| {
        put(out, &[sender, ssrc]);
        let mut missing = missing.iter().copied().peekable();
        for _ in 0..200 {
            let Some(first) = missing.next() else { break };
            let mut mask = 0u16;
            while let Some(bit) = missing
                .peek()
                .map(|next| next.wrapping_sub(first).wrapping_sub(1))
                .filter(|bit| *bit < 16)
            {
                mask |= 1 << bit;
                missing.next();
            }
            put(out, &[u32::from(first) << 16 | u32::from(mask)]);
        }
    });
}

/// Bytes of a picture loss indication.
pub const PICTURE_LOSS_LEN: usize = 12;

/// Appends a picture loss indication.
pub fn picture_loss(out: &mut Vec<u8>, sender: u32, ssrc: u32) {
    packet(out, PSFB, 1, |out| put(out, &[sender, ssrc]));
}

/// SSRCs that a REMB has room to count.
const REMB_SSRCS_MAX: usize = 255;

/// Bytes of a REMB about so many streams.
pub fn remb_len(streams: usize) -> usize {
    20 + 4 * streams.min(REMB_SSRCS_MAX)
}

/// Appends a receiver estimated maximum bitrate over `ssrcs` (at most 255).
pub fn remb(out: &mut Vec<u8>, sender: u32, bps: u64, ssrcs: &[u32]) {
    let ssrcs = ssrcs.get(..REMB_SSRCS_MAX).unwrap_or(ssrcs);
    // 18 bits of mantissa.
    let exponent = (64 - bps.leading_zeros()).saturating_sub(18);
    let mantissa = u32::try_from(bps >> exponent).unwrap_or(0x3_ffff);
    packet(out, PSFB, 15, |out| {
        let count = u32::try_from(ssrcs.len()).unwrap_or(0);
        put(out, &[sender, 0, u32::from_be_bytes(*b"REMB")]);
        put(out, &[count << 24 | exponent << 18 | mantissa]);
        put(out, ssrcs);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(bytes: &[u8]) -> Vec<Packet<'_>> {
        Compound(bytes).map(Result::unwrap).collect()
    }

    #[test]
    fn reports_read_back_as_written() {
        let block = Block {
            ssrc: 7,
            fraction_lost: 25,
            lost: -3,
            highest: 0x0001_fffe,
            jitter: 90,
            last_sr: 0x1234_5678,
            delay: 65_536,
        };
        let mut out = Vec::new();
        receiver_report(&mut out, 1, &[block, Block::default()]);
        cname(&mut out, 1, "muster");
        let [Packet::ReceiverReport(blocks), Packet::Other] = &parse(&out)[..] else {
            panic!("{out:x?}");
        };
        assert_eq!(
            blocks.clone().collect::<Vec<_>>(),
            [block, Block::default()]
        );
    }

    #[test]
    fn a_sender_report_tells_the_middle_of_its_time() {
        let mut out = Vec::new();
        let info = SenderInfo {
            ssrc: 9,
            ntp: 0x1111_2222_3333_4444,
            rtp: 1,
            packets: 2,
            octets: 3,
        };
        sender_report(&mut out, &info);
        let [
            Packet::SenderReport {
                ssrc: 9,
                ntp_middle: 0x2222_3333,
                ..
            },
        ] = &parse(&out)[..]
        else {
            panic!("{out:x?}");
        };
    }

    #[test]
    fn remb_keeps_18_bits_of_its_rate() {
        let mut out = Vec::new();
        remb(&mut out, 1, 2_000_000, &[5]);
        // draft-alvestrand-rmcat-remb-03, 2.2: mantissa << exponent.
        let word = u32::from_be_bytes(out[16..20].try_into().unwrap());
        assert_eq!(word >> 24, 1);
        let rate = u64::from(word & 0x3_ffff) << (word >> 18 & 0x3f);
        assert!((1_999_984..=2_000_000).contains(&rate), "{rate}");
    }

    proptest! {
        #[test]
        fn nacks_read_back_as_written(start: u16, gaps in proptest::collection::vec(1u16..40, 1..60)) {
            let mut sequence = start;
            let missing: Vec<u16> = gaps.iter().map(|gap| { sequence = sequence.wrapping_add(*gap); sequence }).collect();
            let mut out = Vec::new();
            nack(&mut out, 1, 2, &missing);
            let mut read = Vec::new();
            for packet in parse(&out) {
                if let Packet::Nack { ssrc: 2, entries } = packet {
                    entries.for_each(|s| read.push(s));
                }
            }
            prop_assert_eq!(read, missing);
        }

        #[test]
        fn anything_parses_without_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), kind in 198u8..210) {
            if let [first, second, ..] = &mut bytes[..] {
                *first = *first & 0x3f | 0x80;
                *second = kind;
            }
            for packet in Compound(&bytes).flatten() {
                match packet {
                    Packet::SenderReport { blocks, .. } | Packet::ReceiverReport(blocks) => { blocks.count(); }
                    Packet::Nack { entries, .. } => entries.for_each(|_| {}),
                    Packet::FullIntra(ssrcs) => { ssrcs.count(); }
                    Packet::PictureLoss { .. } | Packet::Other => {}
                }
            }
        }
    }
}
