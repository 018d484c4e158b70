//! RTP's formats (RFC 3550, RFC 8285): reading untrusted bytes, writing our own.

pub mod codec;
pub mod h264;
pub mod rtcp;
pub mod sequence;

use std::ops::Range;

/// RTP's fixed header, in bytes.
pub const FIXED: usize = 12;

/// A parsed RTP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the payload is, by the SDP.
    pub payload_type: u8,
    /// The last packet of a video frame, the first of an audio talk spurt.
    pub marker: bool,
    /// Counts packets; wraps.
    pub sequence: u16,
    /// In units of the codec's clock.
    pub timestamp: u32,
    /// The stream.
    pub ssrc: u32,
    /// The last payload byte says how much padding there is.
    pub padding: bool,
    /// Bytes from the packet's start to its payload, CSRCs and extensions included.
    pub len: usize,
    extension: Option<Extension>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Extension {
    two_byte: bool,
    body: Range<usize>,
}

/// The kinds of datagram that share a WebRTC socket (RFC 7983).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// SRTP.
    Rtp,
    /// SRTCP: payload types 192 to 223 (RFC 5761, 4).
    Rtcp,
    /// STUN or DTLS.
    Other,
}

impl Datagram {
    /// Tells them apart by the first two bytes.
    pub fn of(bytes: &[u8]) -> Datagram {
        match bytes {
            [128..=191, 192..=223, ..] => Datagram::Rtcp,
            [128..=191, ..] => Datagram::Rtp,
            _ => Datagram::Other,
        }
    }
}

/// The stream of an RTP packet.
pub fn ssrc(packet: &[u8]) -> Option<u32> {
    let ssrc = packet.get(8..)?.first_chunk()?;
    Some(u32::from_be_bytes(*ssrc))
}

impl Header {
    /// Reads a header; `None` when the bytes are no RTP packet.
    pub fn parse(packet: &[u8]) -> Option<Header> {
        let [b0, b1, q0, q1, t0, t1, t2, t3, s0, s1, s2, s3] = *packet.first_chunk::<FIXED>()?;
        if b0 >> 6 != 2 {
            return None;
        }
        let mut len = FIXED + 4 * usize::from(b0 & 0x0f);
        let mut extension = None;
        if b0 & 0x10 != 0 {
            let [p0, p1, l0, l1] = *packet.get(len..)?.first_chunk()?;
            let start = len + 4;
            len = start + 4 * usize::from(u16::from_be_bytes([l0, l1]));
            let profile = u16::from_be_bytes([p0, p1]);
            let two_byte = profile & 0xfff0 == 0x1000;
            extension = (two_byte || profile == 0xbede).then_some(Extension {
                two_byte,
                body: start..len,
            });
        }
        (len <= packet.len()).then_some(Header {
            payload_type: b1 & 0x7f,
            marker: b1 & 0x80 != 0,
            sequence: u16::from_be_bytes([q0, q1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
            padding: b0 & 0x20 != 0,
            len,
            extension,
        })
    }

    /// The header extension with this id (RFC 8285), out of the packet that was parsed.
    pub fn extension<'a>(&self, packet: &'a [u8], id: u8) -> Option<&'a [u8]> {
        let extension = self.extension.as_ref()?;
        let mut rest = packet.get(extension.body.clone())?;
        while let [first, after @ ..] = rest {
            let (found, len, body) = if *first == 0 {
                (0, 0, after)
            } else if extension.two_byte {
                let [len, body @ ..] = after else { return None };
                (*first, usize::from(*len), body)
            } else {
                (first >> 4, usize::from(first & 0x0f) + 1, after)
            };
            if found == 15 && !extension.two_byte {
                return None;
            }
            let (value, next) = body.split_at_checked(len)?;
            if found == id && found != 0 {
                return Some(value);
            }
            rest = next;
        }
        None
    }

    /// A decrypted payload without its padding; `None` when the padding is longer than it.
    pub fn unpadded<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        if !self.padding {
            return Some(payload);
        }
        let padding = usize::from(*payload.last()?);
        payload.get(..payload.len().checked_sub(padding)?)
    }
}

/// What goes into the header of a packet of our own.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// See [`Header`].
    pub payload_type: u8,
    /// See [`Header`].
    pub marker: bool,
    /// See [`Header`].
    pub sequence: u16,
    /// See [`Header`].
    pub timestamp: u32,
    /// See [`Header`].
    pub ssrc: u32,
    /// Header extensions in the one-byte form, as [`push_extension`] writes them.
    pub extensions: &'a [u8],
}

impl Outgoing<'_> {
    /// Appends the header to `out` and returns its length.
    pub fn write(&self, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        let has_extensions = !self.extensions.is_empty();
        out.push(if has_extensions { 0x90 } else { 0x80 });
        out.push(u8::from(self.marker) << 7 | self.payload_type & 0x7f);
        out.extend(self.sequence.to_be_bytes());
        out.extend(self.timestamp.to_be_bytes());
        out.extend(self.ssrc.to_be_bytes());
        if has_extensions {
            let words = self.extensions.len().div_ceil(4);
            out.extend([0xbe, 0xde]);
            // Extensions are at most a few dozen bytes.
            out.extend(u16::try_from(words).unwrap_or(u16::MAX).to_be_bytes());
            out.extend(self.extensions);
            out.resize(start + FIXED + 4 + 4 * words, 0);
        }
        out.len() - start
    }
}

/// Appends an extension in RFC 8285's one-byte form. What doesn't fit it (an id beyond 14, a
/// value that is empty or longer than 16 bytes) is left out.
pub fn push_extension(out: &mut Vec<u8>, id: u8, value: &[u8]) {
    let Some(len) = value
        .len()
        .checked_sub(1)
        .and_then(|len| u8::try_from(len).ok())
    else {
        return;
    };
    if (1..=14).contains(&id) && len < 16 {
        out.push(id << 4 | len);
        out.extend(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(extensions: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Outgoing {
            payload_type: 96,
            marker: true,
            sequence: 65_535,
            timestamp: 7,
            ssrc: 0xdead_beef,
            extensions,
        }
        .write(&mut out);
        out.extend(payload);
        out
    }

    #[test]
    fn a_header_reads_back_as_written() {
        let mut extensions = Vec::new();
        push_extension(&mut extensions, 4, b"0");
        push_extension(&mut extensions, 10, b"mid-1");
        push_extension(&mut extensions, 15, b"no such id in this form");
        let packet = packet(&extensions, b"payload");
        let header = Header::parse(&packet).unwrap();
        assert!(header.marker);
        assert_eq!((header.payload_type, header.sequence), (96, 65_535));
        assert_eq!((header.timestamp, header.ssrc), (7, 0xdead_beef));
        assert_eq!(&packet[header.len..], b"payload");
        assert_eq!(header.extension(&packet, 4), Some(&b"0"[..]));
        assert_eq!(header.extension(&packet, 10), Some(&b"mid-1"[..]));
        assert_eq!(header.extension(&packet, 15), None);
        assert_eq!(header.extension(&packet, 0), None);
    }

    #[test]
    fn padding_longer_than_the_payload_is_refused() {
        let mut bytes = packet(&[], &[1, 2, 9]);
        bytes[0] |= 0x20;
        let header = Header::parse(&bytes).unwrap();
        assert_eq!(header.unpadded(&[1, 2, 9]), None);
        assert_eq!(header.unpadded(&[1, 2, 2]), Some(&[1][..]));
        assert_eq!(header.unpadded(&[]), None);
    }

    proptest! {
        #[test]
        fn anything_parses_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..80), id: u8,
        ) {
            let _ = Datagram::of(&bytes);
            if let Some(header) = Header::parse(&bytes) {
                prop_assert!(header.len <= bytes.len());
                let _ = header.extension(&bytes, id);
                let _ = header.unpadded(&bytes);
            }
        }

        #[test]
        fn extensions_of_any_bytes_are_walked_without_a_panic(
            body in proptest::collection::vec(any::<u8>(), 0..40), id: u8, two_byte: bool,
        ) {
            let words = body.len().div_ceil(4);
            let mut bytes = packet(&[], &[]);
            bytes[0] |= 0x10;
            bytes.extend(if two_byte { [0x10, 0x00] } else { [0xbe, 0xde] });
            bytes.extend(u16::try_from(words).unwrap().to_be_bytes());
            bytes.extend(&body);
            bytes.resize(16 + 4 * words, 0);
            let header = Header::parse(&bytes).unwrap();
            let _ = header.extension(&bytes, id);
        }
    }
}
