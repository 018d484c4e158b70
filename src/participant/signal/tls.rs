//! The TLS settings of `wss://`: the system's trusted CAs and, if given, one more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::participant::failure::{Cause, Failure};

/// Settings by extra CA, made once each: reading the system's CAs takes milliseconds.
type Cache = Mutex<BTreeMap<Option<PathBuf>, Arc<ClientConfig>>>;

/// The settings that trust the system's CAs and the one in `ca_file`.
///
/// # Errors
/// [`Cause::Tls`] when the file can't be read or has no certificate.
pub fn config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, Failure> {
    static CACHE: OnceLock<Cache> = OnceLock::new();
    let cache = CACHE.get_or_init(Cache::default);
    let key = ca_file.map(Path::to_owned);
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(config) = cache.get(&key) {
        return Ok(Arc::clone(config));
    }
    let config = Arc::new(make(ca_file)?);
    cache.insert(key, Arc::clone(&config));
    Ok(config)
}

fn make(ca_file: Option<&Path>) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    // A system certificate that can't be read is one that isn't trusted.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let wrong = |e: String| Failure::new(Cause::Tls, format!("CA {}: {e}", path.display()));
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|e| wrong(e.to_string()))?;
        if certificates.is_empty() {
            return Err(wrong("there is no certificate in it".to_owned()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|e| wrong(e.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Failure::new(Cause::Tls, e.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
