//! From what the user gave to a client.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, SharedHttpClient,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{DateSamples, Endpoint};
use crate::secret::Secret;
use crate::store::{BucketUrl, Location};

/// How to reach a bucket.
#[derive(Clone, Debug)]
pub struct S3Settings {
    /// The bucket and the prefix of all keys.
    pub url: BucketUrl,
    /// The endpoint; AWS's own for the region when it is `None`.
    pub endpoint: Option<Endpoint>,
    /// The region. When it is `None`, the environment or the profile says, and `us-east-1` stands
    /// for the rest when an endpoint is given: most other stores don't look at it.
    pub region: Option<String>,
    /// Where the bucket's name goes in the URL.
    pub addressing: Addressing,
    /// PEM certificates to trust beside the system's own, for a store with a private CA.
    pub ca_file: Option<PathBuf>,
    /// Credentials. When they are `None`, AWS's standard chain looks for them: environment, profile,
    /// web identity, container, instance.
    pub credentials: Option<StaticCredentials>,
    /// How long to wait and how often to try.
    pub patience: Patience,
}

impl S3Settings {
    /// The bucket at `url`, all else by default.
    pub fn new(url: BucketUrl) -> Self {
        S3Settings {
            url,
            endpoint: None,
            region: None,
            addressing: Addressing::default(),
            ca_file: None,
            credentials: None,
            patience: Patience::default(),
        }
    }
}

/// Where the bucket's name goes in the URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addressing {
    /// By path with an endpoint of one's own, by host name at AWS.
    #[default]
    Auto,
    /// `https://endpoint/bucket/key`.
    Path,
    /// `https://bucket.endpoint/key`.
    VirtualHost,
}

/// A key pair that is given rather than looked for.
#[derive(Clone, Debug)]
pub struct StaticCredentials {
    /// The access key's id.
    pub access_key: String,
    /// Its secret.
    pub secret_key: Secret,
    /// The session's token, for short-lived credentials.
    pub session_token: Option<Secret>,
}

/// How long to wait for a store, and how often to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For TCP and TLS; 3 s by default.
    pub connect: Duration,
    /// For one attempt, up to the head of its answer; 10 s by default.
    pub attempt: Duration,
    /// For a call with all its attempts, and again for reading a body; 30 s by default.
    pub operation: Duration,
    /// Attempts per call, the first included; 3 by default. What is still unknown then is for the
    /// caller to try again.
    pub attempts: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            connect: Duration::from_secs(3),
            attempt: Duration::from_secs(10),
            operation: Duration::from_secs(30),
            attempts: 3,
        }
    }
}

/// Why no client could be made of the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file can't be read, or has no certificate in it.
    #[error("can't use {} as the bucket's CA: {why}; give a file of PEM certificates", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing says which region the bucket is in.
    #[error("no region for {url}: set AWS_REGION, or --endpoint for a store other than AWS S3")]
    NoRegion {
        /// The bucket.
        url: String,
    },
}

impl S3Settings {
    pub(super) async fn client(
        self,
        dates: DateSamples,
    ) -> Result<(Client, Location, Option<SharedCredentialsProvider>), SettingsError> {
        let http = http_client(self.ca_file.as_deref())?;
        let given = self.endpoint.as_ref().map(Endpoint::to_string);
        let (base, endpoint, region, credentials) = match &self.credentials {
            // Nothing to look for: the environment stays unread.
            Some(credentials) => {
                let provider = SharedCredentialsProvider::new(credentials.provider());
                let base = aws_sdk_s3::Config::builder()
                    .behavior_version(BehaviorVersion::v2026_01_12())
                    .credentials_provider(provider.clone());
                let region = self.region.clone().map(Region::new);
                (base, given, region, Some(provider))
            }
            None => {
                let found = aws_config::defaults(BehaviorVersion::v2026_01_12())
                    .http_client(http.clone())
                    .region(self.regions(&http))
                    .load()
                    .await;
                let endpoint = given.or_else(|| found.endpoint_url().map(str::to_owned));
                let mut base = aws_sdk_s3::config::Builder::from(&found);
                // The SDK takes an empty variable for an endpoint.
                let empty = |name| std::env::var_os(name).is_some_and(|value| value.is_empty());
                if empty("AWS_ENDPOINT_URL_S3") || empty("AWS_ENDPOINT_URL") {
                    base.set_endpoint_url(endpoint.clone());
                }
                let named = |region: &&Region| !region.as_ref().is_empty();
                let credentials = found.credentials_provider();
                let region = found.region().filter(named).cloned();
                (base, endpoint, region, credentials)
            }
        };
        let region = match (region, &endpoint) {
            (Some(region), _) => region,
            (None, Some(_)) => Region::new(DEFAULT_REGION),
            (None, None) => {
                return Err(SettingsError::NoRegion {
                    url: self.url.to_string(),
                });
            }
        };
        let path_style = match self.addressing {
            Addressing::Auto => endpoint.is_some(),
            Addressing::Path => true,
            Addressing::VirtualHost => false,
        };
        let base = match &endpoint {
            Some(endpoint) => base.endpoint_url(endpoint),
            None => base,
        };
        let config = self
            .patience
            .over(base)
            .http_client(http)
            .region(region.clone())
            .force_path_style(path_style)
            .interceptor(dates)
            .build();
        let endpoint = endpoint.unwrap_or_else(|| format!("AWS S3 in {region}"));
        let location = Location {
            bucket: self.url.bucket().to_owned(),
            prefix: self.url.prefix().to_owned(),
            endpoint,
        };
        Ok((Client::from_conf(config), location, credentials))
    }

    /// A client without credentials. Where each request goes is for the caller to say.
    pub(super) fn anonymous_client(
        ca_file: Option<PathBuf>,
        patience: Patience,
        dates: DateSamples,
    ) -> Result<Client, SettingsError> {
        let base = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(DEFAULT_REGION))
            .allow_no_auth();
        let config = patience
            .over(base)
            .http_client(http_client(ca_file.as_deref())?)
            .force_path_style(true)
            .interceptor(dates)
            .build();
        Ok(Client::from_conf(config))
    }

    fn regions(&self, http: &SharedHttpClient) -> RegionProviderChain {
        let given = RegionProviderChain::first_try(self.region.clone().map(Region::new))
            .or_else(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new());
        if self.endpoint.is_some() {
            // The rest of AWS's chain asks the instance's metadata service, which takes seconds
            // where there is none.
            return given;
        }
        // As it is by default, it has no client to ask that service with.
        let asks = ProviderConfig::without_region().with_http_client(http.clone());
        given.or_else(ImdsRegionProvider::builder().configure(&asks).build())
    }
}

/// A client that trusts the system's CAs and those of a file.
fn http_client(ca_file: Option<&Path>) -> Result<SharedHttpClient, SettingsError> {
    Ok(aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::rustls(CryptoMode::AwsLc))
        .tls_context(tls(ca_file)?)
        .build_https())
}

/// TLS that trusts the system's CAs, and those of a PEM file.
///
/// # Errors
/// [`SettingsError::CaFile`]
pub(crate) fn tls(ca_file: Option<&Path>) -> Result<TlsContext, SettingsError> {
    let mut trusted = match ca_file {
        Some(path) => TrustStore::empty().with_pem_certificate(certificates(path)?),
        None => TrustStore::empty(),
    };
    // A minimal container has no certificates of its own.
    if !rustls_native_certs::load_native_certs().certs.is_empty() {
        trusted = trusted.with_native_roots(true);
    }
    TlsContext::builder()
        .with_trust_store(trusted)
        .build()
        .map_err(|e| SettingsError::CaFile {
            path: ca_file.unwrap_or(Path::new("")).to_owned(),
            why: e.to_string(),
        })
}

/// What stores other than AWS's sign with, unless told otherwise.
const DEFAULT_REGION: &str = "us-east-1";

/// The certificates of a PEM file that the TLS library takes; it panics on others, and a system's
/// own bundle may have such.
fn certificates(path: &Path) -> Result<String, SettingsError> {
    const END: &str = "-----END CERTIFICATE-----";
    let fail = |why: String| SettingsError::CaFile {
        path: path.to_owned(),
        why,
    };
    let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
    let takes = |section: &&str| {
        CertificateDer::from_pem_slice(section.as_bytes())
            .is_ok_and(|found| rustls::RootCertStore::empty().add(found).is_ok())
    };
    let sections = || text.split_inclusive(END).filter(|s| s.ends_with(END));
    let taken: String = sections().filter(takes).collect();
    let refused = sections().filter(|section| !takes(section)).count();
    if taken.is_empty() {
        return Err(fail("no certificate in it that can be used".into()));
    }
    if refused > 0 {
        tracing::warn!(path = %path.display(), refused, "some certificates can't be used");
    }
    Ok(taken)
}

impl StaticCredentials {
    fn provider(&self) -> Credentials {
        Credentials::new(
            &self.access_key,
            self.secret_key.expose(),
            self.session_token
                .as_ref()
                .map(|token| token.expose().to_owned()),
            None,
            "given",
        )
    }
}

impl Patience {
    /// `base` with this patience, and with checksums as all stores take them: the signature covers
    /// the body's SHA-256 already, and the CRC32 that the SDK adds by default is refused by older
    /// stores and no part of a URL's signature.
    fn over(&self, base: Builder) -> Builder {
        base.timeout_config(self.timeouts())
            .retry_config(self.retries())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
    }

    fn timeouts(&self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect)
            .operation_attempt_timeout(self.attempt)
            .operation_timeout(self.operation)
            .build()
    }

    fn retries(&self) -> RetryConfig {
        RetryConfig::standard()
            .with_max_attempts(self.attempts)
            .with_initial_backoff(Duration::from_millis(200))
            .with_max_backoff(Duration::from_secs(3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_setting_shows_a_secret() {
        let mut settings = S3Settings::new("s3://bucket".parse().expect("a bucket"));
        settings.credentials = Some(StaticCredentials {
            access_key: "AKIA".into(),
            secret_key: Secret::new("hunter2"),
            session_token: Some(Secret::new("hunter3")),
        });
        let shown = format!("{settings:?}");
        assert!(
            shown.contains("AKIA") && !shown.contains("hunter"),
            "{shown}"
        );
    }

    #[tokio::test]
    async fn amazons_own_store_has_no_endpoint_to_be_told() {
        let mut settings = S3Settings::new("s3://bucket".parse().expect("a bucket"));
        settings.region = Some("eu-west-1".into());
        let dates = DateSamples::new(std::sync::Arc::new(crate::clock::now));
        let (_, location, _) = settings.client(dates).await.expect("a client");
        assert_eq!(location.bucket, "bucket");
    }

    #[test]
    fn only_certificates_that_can_be_used_are_taken() {
        let made = rcgen::generate_simple_self_signed(["ca".to_owned()]).expect("a certificate");
        let good = made.cert.pem();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let key = made.signing_key.serialize_pem();
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ca.pem");
        let taken = |text: &str| {
            std::fs::write(&path, text).expect("written");
            certificates(&path).map(|pem| CertificateDer::pem_slice_iter(pem.as_bytes()).count())
        };
        assert_eq!(taken(&good), Ok(1));
        assert_eq!(taken(&format!("# two\n{good}{broken}\n{good}\n")), Ok(2));
        assert_eq!(taken(&format!("{key}{good}")), Ok(1));
        for none in ["", "hello", broken, key.as_str()] {
            let refused = taken(none).expect_err(none).to_string();
            assert!(
                refused.contains("ca.pem") && refused.contains("PEM"),
                "{refused}"
            );
        }
        assert!(certificates(Path::new("/nonexistent")).is_err());
    }
}
