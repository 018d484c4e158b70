//! Signatures of parts: a body, the key it stands at and the claim of who wrote it, by Ed25519
//! (RFC 8032). What does not match is nobody's.
//!
//! A signed body is the document's JSON with one more member at its end,
//! `,"signature":"{128 digits of hex}"}`. What is signed are the bytes before that, by their
//! SHA-256: they are checked before anything is parsed, and the body stays plain JSON.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::job::{ClaimId, Digest, hex};

/// Separates these signatures from any others by the same key.
const CONTEXT: &str = "muster part 1";
const BEFORE: &[u8] = b",\"signature\":\"";
const AFTER: &[u8] = b"\"}";
/// An Ed25519 signature has 64 bytes.
const DIGITS: usize = 128;
const TRAILER: usize = BEFORE.len() + DIGITS + AFTER.len();

/// Signs the parts of one slot. `Debug` shows its public half.
#[derive(Clone)]
pub struct SigningKey {
    seed: [u8; 32],
    pair: Arc<Ed25519KeyPair>,
    public: PublicKey,
}

/// The public half; its text is 64 digits of lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an Ed25519 key has 64 digits of 0-9 and a-f")]
pub struct KeyError;

/// Why a body is not what its place and its claim say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It does not end with a signature.
    #[error("it is not signed")]
    Missing,
    /// The signature is another key's, or of other bytes, another place or another claim.
    #[error("its signature is not that of the slot's key for these bytes at this place")]
    Wrong,
}

impl SigningKey {
    /// The key that these 32 random bytes make.
    ///
    /// # Errors
    /// Never for 32 bytes; the library says so.
    pub fn from_seed(seed: [u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError)?;
        let public = <[u8; 32]>::try_from(pair.public_key().as_ref()).map_err(|_| KeyError)?;
        Ok(SigningKey {
            seed,
            pair: Arc::new(pair),
            public: PublicKey(public),
        })
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The seed in hex, for the one document that hands the key over.
    pub fn expose(&self) -> String {
        hex::text(&self.seed)
    }

    /// `json` signed for its place; nothing when it is no JSON object with a member.
    pub fn sign(&self, place: &str, claim: &ClaimId, json: &[u8]) -> Option<Bytes> {
        let document = json.strip_suffix(b"}").filter(|rest| rest.len() > 1)?;
        let signature = self.pair.sign(&message(place, claim, document));
        let mut body = Vec::with_capacity(document.len() + TRAILER);
        body.extend_from_slice(document);
        body.extend_from_slice(BEFORE);
        body.extend_from_slice(hex::text(signature.as_ref()).as_bytes());
        body.extend_from_slice(AFTER);
        Some(body.into())
    }
}

impl PublicKey {
    /// What tells its owner's claims from others': the first 48 bits.
    pub fn nonce(&self) -> u64 {
        let [a, b, c, d, e, f, ..] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// Whether `body` was signed by this key for this place and claim.
    ///
    /// # Errors
    /// Why it was not.
    pub fn verify(&self, place: &str, claim: &ClaimId, body: &[u8]) -> Result<(), SignatureError> {
        let at = body.len().checked_sub(TRAILER);
        let (document, trailer) = at
            .and_then(|at| body.split_at_checked(at))
            .ok_or(SignatureError::Missing)?;
        let signature: [u8; 64] = trailer
            .strip_prefix(BEFORE)
            .and_then(|rest| rest.strip_suffix(AFTER))
            .and_then(|digits| hex::bytes(std::str::from_utf8(digits).ok()?))
            .ok_or(SignatureError::Missing)?;
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(&message(place, claim, document), &signature)
            .map_err(|_| SignatureError::Wrong)
    }
}

/// What is signed. No place or claim has a line break in it, so no two of these read alike.
fn message(place: &str, claim: &ClaimId, document: &[u8]) -> Vec<u8> {
    let mut message = format!("{CONTEXT}\n{place}\n{claim}\n").into_bytes();
    message.extend_from_slice(Digest::of(document).as_bytes());
    message
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey of {}", self.public)
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.public == other.public
    }
}

impl Eq for SigningKey {}

impl FromStr for SigningKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        SigningKey::from_seed(hex::bytes(text).ok_or(KeyError)?)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        hex::bytes(text).map(PublicKey).ok_or(KeyError)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::text(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: &str = "runs/r1/tiers/iad/1.json";

    fn key(n: u8) -> SigningKey {
        SigningKey::from_seed([n; 32]).unwrap()
    }

    fn claim(nonce: u64) -> ClaimId {
        ClaimId::new(&"iad".parse().unwrap(), 0, nonce)
    }

    #[test]
    fn the_keys_are_ed25519() {
        // RFC 8032 section 7.1, test 1.
        let key: SigningKey = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
            .parse()
            .unwrap();
        assert_eq!(
            key.public().to_string(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        assert!(!format!("{key:?}").contains("9d61b19d"));
    }

    #[test]
    fn a_signed_body_stays_json_and_is_its_author_s() {
        let body = key(1).sign(PLACE, &claim(7), br#"{"loss":1}"#).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(read["loss"], 1);
        let public = key(1).public();
        assert_eq!(public.verify(PLACE, &claim(7), &body), Ok(()));
        assert_eq!(
            key(2).public().verify(PLACE, &claim(7), &body),
            Err(SignatureError::Wrong)
        );
        for (place, nonce) in [("runs/r2/tiers/iad/1.json", 7), (PLACE, 8)] {
            assert_eq!(
                public.verify(place, &claim(nonce), &body),
                Err(SignatureError::Wrong)
            );
        }
    }

    #[test]
    fn every_byte_counts() {
        let body = key(1).sign(PLACE, &claim(7), br#"{"loss":1}"#).unwrap();
        let public = key(1).public();
        for at in 0..body.len() {
            let mut other = body.to_vec();
            other[at] ^= 1;
            assert!(public.verify(PLACE, &claim(7), &other).is_err(), "{at}");
            assert!(public.verify(PLACE, &claim(7), &body[..at]).is_err());
        }
        let longer = [&body, &b"\n"[..]].concat();
        let unsigned = br#"{"loss":1}"#;
        for missing in [&longer[..], unsigned, b"", &b"x".repeat(500)] {
            assert_eq!(
                public.verify(PLACE, &claim(7), missing),
                Err(SignatureError::Missing)
            );
        }
    }
}
