//! SRTP and SRTCP with AES-GCM (RFC 7714).

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::keys::{KeyingMaterial, Purpose, SALT, SessionKey};
use super::rtp::Header;

/// The word that ends an SRTCP packet: the E flag and the index.
const SRTCP_INDEX: usize = 4;
/// RTCP's first header and sender SSRC stay readable.
const RTCP_CLEAR: usize = 8;
/// The E flag: the packet is encrypted.
const ENCRYPTED: u32 = 0x8000_0000;

/// The keys of one DTLS session.
pub struct Srtp {
    rtp_in: Cipher,
    rtcp_in: Cipher,
    rtp_out: Cipher,
    rtcp_out: Cipher,
    /// One index for all SSRCs, for as long as the keys live: a nonce never comes twice.
    rtcp_index: u32,
}

struct Cipher {
    key: LessSafeKey,
    salt: [u8; SALT],
}

impl Cipher {
    fn new(session: &SessionKey) -> Option<Self> {
        let algorithm = if session.key.len() == 32 {
            &AES_256_GCM
        } else {
            &AES_128_GCM
        };
        let key = UnboundKey::new(algorithm, &session.key).ok()?;
        Some(Self {
            key: LessSafeKey::new(key),
            salt: session.salt,
        })
    }

    /// RFC 7714, 8.1: two zero bytes, SSRC, ROC, sequence number, all XOR salt.
    fn rtp_nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let [_, _, i0, i1, i2, i3, i4, i5] = index.to_be_bytes();
        let [s0, s1, s2, s3] = ssrc.to_be_bytes();
        self.nonce([0, 0, s0, s1, s2, s3, i0, i1, i2, i3, i4, i5])
    }

    /// RFC 7714, 9.1: two zero bytes, SSRC, two zero bytes, index, all XOR salt.
    fn rtcp_nonce(&self, ssrc: u32, index: u32) -> Nonce {
        let [i0, i1, i2, i3] = index.to_be_bytes();
        let [s0, s1, s2, s3] = ssrc.to_be_bytes();
        self.nonce([0, 0, s0, s1, s2, s3, 0, 0, i0, i1, i2, i3])
    }

    fn nonce(&self, mut bytes: [u8; SALT]) -> Nonce {
        for (byte, salt) in bytes.iter_mut().zip(self.salt) {
            *byte ^= salt;
        }
        Nonce::assume_unique_for_key(bytes)
    }
}

impl Srtp {
    /// `None` when the negotiated profile isn't AES-GCM.
    pub fn new(material: &KeyingMaterial) -> Option<Self> {
        let (outgoing, incoming) = material.masters()?;
        Some(Self {
            rtp_in: Cipher::new(&incoming.session(Purpose::Rtp))?,
            rtcp_in: Cipher::new(&incoming.session(Purpose::Rtcp))?,
            rtp_out: Cipher::new(&outgoing.session(Purpose::Rtp))?,
            rtcp_out: Cipher::new(&outgoing.session(Purpose::Rtcp))?,
            rtcp_index: 0,
        })
    }

    /// Decrypts an RTP packet in place under the 48-bit `index` (ROC and sequence number) and
    /// returns its payload, padding included. `None` when it isn't authentic: then the packet is
    /// spoiled.
    pub fn open_rtp<'a>(
        &self,
        packet: &'a mut [u8],
        header: &Header,
        index: u64,
    ) -> Option<&'a [u8]> {
        let (head, body) = packet.split_at_mut_checked(header.len)?;
        let nonce = self.rtp_in.rtp_nonce(header.ssrc, index);
        let payload = self
            .rtp_in
            .key
            .open_in_place(nonce, Aad::from(&*head), body);
        payload.ok().map(|payload| &*payload)
    }

    /// Encrypts the RTP packet at the end of `out`, from `start` on, in place, and appends its
    /// tag. `false` when the packet is shorter than its header says.
    pub fn seal_rtp(
        &self,
        out: &mut Vec<u8>,
        start: usize,
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> bool {
        let nonce = self.rtp_out.rtp_nonce(ssrc, index);
        seal(&self.rtp_out, nonce, out, start, header_len, None)
    }

    /// Decrypts an RTCP packet in place. Returns it without tag and index, with its index.
    pub fn open_rtcp<'a>(&self, packet: &'a mut [u8]) -> Option<(u32, &'a [u8])> {
        let (rest, word) = packet.split_last_chunk_mut::<SRTCP_INDEX>()?;
        let word = u32::from_be_bytes(*word);
        if word & ENCRYPTED == 0 {
            return None;
        }
        let index = word & !ENCRYPTED;
        let (head, body) = rest.split_first_chunk_mut::<RTCP_CLEAR>()?;
        let [_, _, _, _, s0, s1, s2, s3] = *head;
        let nonce = self
            .rtcp_in
            .rtcp_nonce(u32::from_be_bytes([s0, s1, s2, s3]), index);
        let aad = rtcp_aad(head, word);
        let plain = self
            .rtcp_in
            .key
            .open_in_place(nonce, Aad::from(aad), body)
            .ok()?
            .len();
        packet.get(..RTCP_CLEAR + plain).map(|plain| (index, plain))
    }

    /// Encrypts the compound RTCP packet at the end of `out`, from `start` on, in place, and
    /// appends tag and index. `false` when it is too short, or the keys are used up (2³¹ packets).
    pub fn seal_rtcp(&mut self, out: &mut Vec<u8>, start: usize) -> bool {
        if self.rtcp_index == !ENCRYPTED {
            return false;
        }
        self.rtcp_index += 1;
        let word = self.rtcp_index | ENCRYPTED;
        let Some(head) = out.get(start..).and_then(|packet| packet.first_chunk()) else {
            return false;
        };
        let [_, _, _, _, s0, s1, s2, s3] = *head;
        let aad = rtcp_aad(head, word);
        let ssrc = u32::from_be_bytes([s0, s1, s2, s3]);
        let nonce = self.rtcp_out.rtcp_nonce(ssrc, self.rtcp_index);
        let sealed = seal(&self.rtcp_out, nonce, out, start, RTCP_CLEAR, Some(aad));
        if sealed {
            out.extend(word.to_be_bytes());
        }
        sealed
    }
}

fn rtcp_aad(head: &[u8; RTCP_CLEAR], word: u32) -> [u8; RTCP_CLEAR + SRTCP_INDEX] {
    let [h0, h1, h2, h3, h4, h5, h6, h7] = *head;
    let [w0, w1, w2, w3] = word.to_be_bytes();
    [h0, h1, h2, h3, h4, h5, h6, h7, w0, w1, w2, w3]
}

fn seal(
    cipher: &Cipher,
    nonce: Nonce,
    out: &mut Vec<u8>,
    start: usize,
    head_len: usize,
    aad: Option<[u8; RTCP_CLEAR + SRTCP_INDEX]>,
) -> bool {
    let Some((head, body)) = out
        .get_mut(start..)
        .and_then(|packet| packet.split_at_mut_checked(head_len))
    else {
        return false;
    };
    let tag = match &aad {
        Some(aad) => cipher
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(&aad[..]), body),
        None => cipher
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(&*head), body),
    };
    match tag {
        Ok(tag) => {
            out.extend_from_slice(tag.as_ref());
            true
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::participant::keys;
    use crate::participant::rtp::Outgoing;
    use proptest::prelude::*;

    /// Both directions under RFC 7714's key and salt, which are of one session.
    fn rfc_7714(rtcp_index: u32) -> Srtp {
        let session = SessionKey {
            key: (0..16).collect(),
            salt: *b"Quid pro quo",
        };
        let cipher = || Cipher::new(&session).unwrap();
        Srtp {
            rtp_in: cipher(),
            rtcp_in: cipher(),
            rtp_out: cipher(),
            rtcp_out: cipher(),
            rtcp_index,
        }
    }

    #[test]
    fn aes_128_follows_rfc_7714_section_16() {
        let plain = hex("8040f17b8041f8d35501a0b2\
             47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573");
        let sealed = hex(
            "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d29\
             4e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
        );
        let srtp = rfc_7714(0);
        let mut packet = plain.clone();
        assert!(srtp.seal_rtp(&mut packet, 0, 12, 0x5501_a0b2, 0xf17b));
        assert_eq!(packet, sealed);
        let header = Header::parse(&packet).unwrap();
        let opened = srtp.open_rtp(&mut packet, &header, 0xf17b);
        assert_eq!(opened, Some(&plain[12..]));
    }

    #[test]
    fn aes_128_follows_rfc_7714_section_17() {
        let plain = hex("81c8000d4d6172734e5450314e545032525450200000042a0000e930\
             4c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef");
        let sealed = hex(
            "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32d\
             c676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4",
        );
        let mut srtp = rfc_7714(0x5d3);
        let mut packet = plain.clone();
        assert!(srtp.seal_rtcp(&mut packet, 0));
        assert_eq!(packet, sealed);
        assert_eq!(srtp.open_rtcp(&mut packet), Some((0x5d4, &plain[..])));
    }

    fn hex(text: &str) -> Vec<u8> {
        let digit = |c: u8| u8::try_from(char::from(c).to_digit(16).unwrap()).unwrap();
        let pairs = text.as_bytes().chunks(2);
        pairs
            .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
            .collect()
    }

    proptest! {
        #[test]
        fn rtp_opens_under_its_index_alone(
            payload in proptest::collection::vec(any::<u8>(), 0..200), sequence: u16, roc in 0u64..3, flip in 0usize..200,
        ) {
            let (ours, theirs) = keys::pair_for_tests();
            let index = roc << 16 | u64::from(sequence);
            let header = Outgoing { payload_type: 96, marker: false, sequence, timestamp: 1, ssrc: 2, extensions: &[] };
            let mut packet = Vec::new();
            let len = header.write(&mut packet);
            packet.extend(&payload);
            prop_assert!(ours.seal_rtp(&mut packet, 0, len, 2, index));
            prop_assert_eq!(packet.len(), len + payload.len() + 16);
            let header = Header::parse(&packet).unwrap();
            prop_assert!(theirs.open_rtp(&mut packet.clone(), &header, index + (1 << 16)).is_none());
            let mut damaged = packet.clone();
            let at = flip % packet.len();
            damaged[at] ^= 1;
            prop_assert!(theirs.open_rtp(&mut damaged, &header, index).is_none());
            prop_assert_eq!(theirs.open_rtp(&mut packet, &header, index), Some(&payload[..]));
        }

        #[test]
        fn rtcp_opens_with_a_fresh_index_each(body in proptest::collection::vec(any::<u8>(), 0..60)) {
            let (mut ours, theirs) = keys::pair_for_tests();
            let plain = [&[0x80, 201, 0, 1, 0, 0, 0, 9][..], &body].concat();
            for expected in 1..4 {
                let mut packet = plain.clone();
                prop_assert!(ours.seal_rtcp(&mut packet, 0));
                let mut damaged = packet.clone();
                damaged[packet.len() - 5] ^= 1;
                prop_assert!(theirs.open_rtcp(&mut damaged).is_none());
                prop_assert_eq!(theirs.open_rtcp(&mut packet), Some((expected, &plain[..])));
            }
        }

        #[test]
        fn anything_is_refused_without_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let (_, theirs) = keys::pair_for_tests();
            prop_assert!(theirs.open_rtcp(&mut bytes.clone()).is_none());
            if let Some(header) = Header::parse(&bytes) {
                prop_assert!(theirs.open_rtp(&mut bytes, &header, 5).is_none());
            }
        }
    }
}
