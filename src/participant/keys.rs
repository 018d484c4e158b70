//! SRTP keys: taken from str0m's DTLS on their way, and expanded (RFC 3711, 4.3).
//!
//! str0m asks a [`DtlsProvider`] for each handshake. This one makes the same handshakes as str0m's
//! own, wrapped so that the keying material is copied into a [`Slot`] when the handshake produces
//! it, and with one configuration for all of them: making one tests all of the cryptography anew,
//! at a quarter of a join's cost.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use dimpl::{Config, Dtls};
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
    SrtpProfile,
};
use str0m::crypto::{CryptoError, CryptoProvider, SrtpProvider};

/// What a handshake exported (RFC 5764, 4.2).
pub struct KeyingMaterial {
    bytes: Vec<u8>,
    profile: SrtpProfile,
    /// This side was the DTLS client.
    active: bool,
}

/// Where a handshake leaves its keying material.
#[derive(Clone, Default)]
pub struct Slot(Arc<Mutex<Option<KeyingMaterial>>>);

impl Slot {
    /// Takes what is there.
    pub fn take(&self) -> Option<KeyingMaterial> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

thread_local! {
    /// `RtcConfig::build` makes its handshake synchronously: the slot waits here meanwhile.
    static NEXT: RefCell<Option<Slot>> = const { RefCell::new(None) };
}

/// Runs `build`, and leaves the keys of the handshake that it makes in the slot returned.
pub fn capture<T>(build: impl FnOnce() -> T) -> (T, Slot) {
    let slot = Slot::default();
    NEXT.with(|next| next.replace(Some(slot.clone())));
    let built = build();
    NEXT.with(RefCell::take);
    (built, slot)
}

/// str0m's crypto with the hook; made once per process.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let provider = PROVIDER.get_or_init(|| {
        let mut provider = str0m::crypto::from_feature_flags();
        provider.dtls_provider = Box::leak(Box::new(Hook(provider.dtls_provider)));
        Arc::new(provider)
    });
    Arc::clone(provider)
}

/// The certificate of all handshakes of this process: making one is dear.
pub fn certificate() -> Option<DtlsCert> {
    static CERTIFICATE: OnceLock<Option<DtlsCert>> = OnceLock::new();
    CERTIFICATE
        .get_or_init(|| provider().dtls_provider.generate_certificate())
        .clone()
}

#[derive(Debug)]
struct Hook(&'static dyn DtlsProvider);

impl DtlsProvider for Hook {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        self.0.generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let config = configuration(mtu)?;
        let inner = match version {
            DtlsVersion::Dtls12 => Dtls::new_12(config, cert.clone(), now),
            DtlsVersion::Dtls13 => Dtls::new_13(config, cert.clone(), now),
            _ => Dtls::new_auto(config, cert.clone(), now),
        };
        let slot = NEXT.with(RefCell::take).unwrap_or_default();
        Ok(Box::new(Hooked { inner, slot }))
    }
}

/// The configuration of all handshakes of this process, by the MTU.
fn configuration(mtu: Option<usize>) -> Result<Arc<Config>, CryptoError> {
    static MADE: Mutex<BTreeMap<Option<usize>, Arc<Config>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(config) = made.get(&mtu) {
        return Ok(Arc::clone(config));
    }
    // ICE has proven by then that the other end is where it says: no cookie is needed.
    let builder = Config::builder().use_server_cookie(false);
    let builder = match mtu {
        Some(mtu) => builder.mtu(mtu),
        None => builder,
    };
    let config = builder
        .build()
        .map_err(|e| CryptoError::Other(format!("DTLS can't be configured: {e}")))?;
    let config = Arc::new(config);
    made.insert(mtu, Arc::clone(&config));
    Ok(config)
}

struct Hooked {
    inner: Dtls,
    slot: Slot,
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooked").finish_non_exhaustive()
    }
}

impl DtlsInstance for Hooked {
    fn set_active(&mut self, active: bool) {
        self.inner.set_active(active);
    }
    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.inner.handle_packet(packet)
    }
    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        let output = self.inner.poll_output(buf);
        if let DtlsOutput::KeyingMaterial(material, profile) = &output {
            let material = KeyingMaterial {
                bytes: material.to_vec(),
                profile: *profile,
                active: self.inner.is_active(),
            };
            *self.slot.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(material);
        }
        output
    }
    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.inner.handle_timeout(now)
    }
    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.inner.send_application_data(data)
    }
    fn is_active(&self) -> bool {
        self.inner.is_active()
    }
    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.inner.protocol_version()
    }
    fn is_closing(&self) -> bool {
        self.inner.is_closing()
    }
    fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }
    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.inner.close()
    }
}

/// Bytes of an AEAD salt (RFC 7714, 12).
pub const SALT: usize = 12;

/// One direction's master key and salt.
pub struct Master {
    key: Vec<u8>,
    salt: [u8; SALT],
}

/// The keys of one kind of packet in one direction.
pub struct SessionKey {
    /// 16 or 32 bytes.
    pub key: Vec<u8>,
    /// Added to every nonce.
    pub salt: [u8; SALT],
}

/// What a key is for: the labels of RFC 3711, 4.3.1 for key and salt.
#[derive(Clone, Copy)]
pub enum Purpose {
    /// RTP.
    Rtp,
    /// RTCP.
    Rtcp,
}

impl KeyingMaterial {
    /// The masters of (what this side sends, what it receives); `None` for a profile without
    /// AEAD, or too few bytes.
    ///
    /// RFC 5764, 4.2: client key, server key, client salt, server salt.
    pub fn masters(&self) -> Option<(Master, Master)> {
        let key_len = match self.profile {
            SrtpProfile::AEAD_AES_256_GCM => 32,
            SrtpProfile::AEAD_AES_128_GCM => 16,
            _ => return None,
        };
        let (client_key, rest) = self.bytes.split_at_checked(key_len)?;
        let (server_key, rest) = rest.split_at_checked(key_len)?;
        let (client_salt, rest) = rest.split_first_chunk::<SALT>()?;
        let (server_salt, _) = rest.split_first_chunk::<SALT>()?;
        let master = |key: &[u8], salt: &[u8; SALT]| Master {
            key: key.to_vec(),
            salt: *salt,
        };
        let client = master(client_key, client_salt);
        let server = master(server_key, server_salt);
        Some(if self.active {
            (client, server)
        } else {
            (server, client)
        })
    }
}

impl Master {
    /// The session key and salt for RTP or RTCP. The key derivation rate is zero.
    pub fn session(&self, purpose: Purpose) -> SessionKey {
        let aes = provider().srtp_provider;
        let (key_label, salt_label) = match purpose {
            Purpose::Rtp => (0, 2),
            Purpose::Rtcp => (3, 5),
        };
        let mut key = vec![0; self.key.len()];
        self.derive(aes, key_label, &mut key);
        let mut salt = [0; SALT];
        self.derive(aes, salt_label, &mut salt);
        SessionKey { key, salt }
    }

    /// AES in counter mode over the salt and label (RFC 3711, 4.3.3; RFC 6188 for 256 bits). A
    /// 96-bit salt is padded to 112 bits on the right (RFC 7714, 11).
    fn derive(&self, aes: &dyn SrtpProvider, label: u8, out: &mut [u8]) {
        let mut block = [0u8; 16];
        for (to, from) in block.iter_mut().zip(self.salt) {
            *to = from;
        }
        let [_, _, _, _, _, _, _, at_label, _, _, _, _, _, _, _, _] = &mut block;
        *at_label ^= label;
        for (chunk, counter) in out.chunks_mut(16).zip(0u8..) {
            let [.., last] = &mut block;
            *last = counter;
            // str0m's provider asks for room for a block of padding.
            let mut stream = [0u8; 32];
            if self.key.len() == 32 {
                aes.srtp_aes_256_ecb_round(&self.key, &block, &mut stream);
            } else {
                aes.srtp_aes_128_ecb_round(&self.key, &block, &mut stream);
            }
            for (to, from) in chunk.iter_mut().zip(stream) {
                *to = from;
            }
        }
    }
}

/// The two ends of one session.
#[cfg(test)]
pub fn pair_for_tests() -> (super::srtp::Srtp, super::srtp::Srtp) {
    let end = |active| {
        let material = KeyingMaterial {
            bytes: (0..88).collect(),
            profile: SrtpProfile::AEAD_AES_256_GCM,
            active,
        };
        super::srtp::Srtp::new(&material).expect("the profile has keys")
    };
    (end(true), end(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(s: &str) -> Vec<u8> {
        let digit = |c: u8| u8::try_from(char::from(c).to_digit(16).unwrap()).unwrap();
        let pairs = s.as_bytes().chunks(2);
        pairs
            .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
            .collect()
    }

    /// RFC 3711, B.3 has a 112-bit salt; its first 96 bits alone differ in the last two bytes of
    /// the input, so the vector is checked by the block function below it.
    #[test]
    fn keys_follow_rfc_3711_appendix_b3() {
        let aes = provider().srtp_provider;
        let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
        let block = hex("0EC675AD498AFEEBB6960B3AABE60000");
        let mut out = [0u8; 32];
        aes.srtp_aes_128_ecb_round(&key, &block, &mut out);
        assert_eq!(out[..16], hex("C61E7A93744F39EE10734AFE3FF7A087")[..]);
    }

    #[test]
    fn the_two_sides_derive_the_same_keys_crosswise() {
        for (profile, key, all) in [
            (SrtpProfile::AEAD_AES_256_GCM, 32, 88),
            (SrtpProfile::AEAD_AES_128_GCM, 16, 56),
        ] {
            let material = |active| KeyingMaterial {
                bytes: (0..all).collect(),
                profile,
                active,
            };
            assert_eq!(material(true).masters().unwrap().0.key.len(), key);
            crosswise(&material(true), &material(false));
        }
    }

    fn crosswise(client: &KeyingMaterial, server: &KeyingMaterial) {
        let (client_out, client_in) = client.masters().unwrap();
        let (server_out, server_in) = server.masters().unwrap();
        for purpose in [Purpose::Rtp, Purpose::Rtcp] {
            assert_eq!(
                client_out.session(purpose).key,
                server_in.session(purpose).key
            );
            assert_eq!(
                client_in.session(purpose).salt,
                server_out.session(purpose).salt
            );
            assert_ne!(
                client_in.session(purpose).key,
                client_out.session(purpose).key
            );
        }
    }

    #[test]
    fn short_material_has_no_keys() {
        let material = KeyingMaterial {
            bytes: vec![1; 40],
            profile: SrtpProfile::AEAD_AES_256_GCM,
            active: true,
        };
        assert!(material.masters().is_none());
    }
}
