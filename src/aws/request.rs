//! One signed request to an API of AWS, tried again when that may help.
#![expect(
    clippy::disallowed_methods,
    reason = "the edge: a request is given up after a while, and tried again after a pause"
)]

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use aws_config::BehaviorVersion;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use serde_json::Value;

use super::AwsError;
use crate::clock;
use crate::store::{Backoff, tls};

/// How long one try may take.
const TRY_WITHIN: Duration = Duration::from_secs(5);
/// How often, and how fast: a function has started or failed within a few seconds.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(300),
    longest: Duration::from_secs(2),
    tries: 3,
};
/// Of what a service says against a request, so much is shown.
const WORDS_MAX: usize = 400;

/// Who asks: AWS's standard credentials, and where its APIs are.
pub struct Caller {
    credentials: SharedCredentialsProvider,
    connector: Connector,
    endpoints: Endpoints,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

/// Other places than AWS's own, as its tools have them.
#[derive(Clone, Debug, Default)]
struct Endpoints {
    /// `AWS_ENDPOINT_URL_LAMBDA`
    lambda: Option<String>,
    /// `AWS_ENDPOINT_URL_SCHEDULER`
    scheduler: Option<String>,
    /// `AWS_ENDPOINT_URL_STS`
    sts: Option<String>,
    /// `AWS_ENDPOINT_URL`
    any: Option<String>,
}

/// What to ask for.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The API: its name in endpoints and signatures.
    pub(super) service: &'static str,
    /// Where.
    pub(super) region: String,
    pub(super) method: &'static str,
    /// Absolute, with nothing in it that must be escaped.
    pub(super) path: String,
    /// Beside those of the signature.
    pub(super) headers: Vec<(&'static str, &'static str)>,
    /// Its kind.
    pub(super) content_type: &'static str,
    pub(super) body: String,
    /// In words, for errors.
    pub(super) what: String,
}

impl Caller {
    /// The caller that the environment describes: credentials by AWS's standard chain, endpoints
    /// by `AWS_ENDPOINT_URL_LAMBDA` and so on, else `AWS_ENDPOINT_URL`, a CA to trust by
    /// `AWS_CA_BUNDLE`.
    ///
    /// # Errors
    /// When there are no credentials, or the CA can't be read.
    pub async fn from_env() -> Result<Caller, AwsError> {
        let var = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
        let ca_file = var("AWS_CA_BUNDLE").map(PathBuf::from);
        let tls = tls(ca_file.as_deref()).map_err(AwsError::Settings)?;
        let provider = || Provider::rustls(CryptoMode::AwsLc);
        let http = Builder::new()
            .tls_provider(provider())
            .tls_context(tls.clone());
        let found = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http.build_https())
            .load()
            .await;
        let credentials = found
            .credentials_provider()
            .ok_or_else(|| AwsError::Credentials("no provider of them".to_owned()))?;
        Ok(Caller {
            credentials,
            connector: Connector::builder()
                .tls_provider(provider())
                .tls_context(tls)
                .build(),
            endpoints: Endpoints {
                lambda: var("AWS_ENDPOINT_URL_LAMBDA"),
                scheduler: var("AWS_ENDPOINT_URL_SCHEDULER"),
                sts: var("AWS_ENDPOINT_URL_STS"),
                any: var("AWS_ENDPOINT_URL"),
            },
        })
    }

    /// Sends a request until it is answered definitely, or often enough. Whatever is asked must
    /// be harmless when done twice.
    ///
    /// # Errors
    /// [`AwsError::Refused`] for an answer other than 2xx, and what else may fail.
    pub(super) async fn send(&self, request: &Request) -> Result<Bytes, AwsError> {
        let mut failed = 0;
        loop {
            let error = match self.try_once(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            failed += 1;
            let seed = clock::now().as_micros().unsigned_abs();
            match BACKOFF.delay(failed, seed).filter(|_| error.retryable()) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            }
        }
    }

    async fn try_once(&self, request: &Request) -> Result<Bytes, AwsError> {
        let unreachable = |why: String| AwsError::Unreachable {
            service: request.service,
            region: request.region.clone(),
            why,
        };
        let signed = self.signed(request).await?;
        let answer = async {
            let response = self.connector.call(signed).await;
            let mut response = response.map_err(|e| unreachable(chain(&e)))?;
            let status = response.status().as_u16();
            let body = std::mem::replace(response.body_mut(), SdkBody::taken());
            let body = aws_smithy_types::byte_stream::ByteStream::new(body)
                .collect()
                .await;
            let body = body.map_err(|e| unreachable(chain(&e)))?.into_bytes();
            Ok((status, body))
        };
        let (status, body) = tokio::time::timeout(TRY_WITHIN, answer)
            .await
            .unwrap_or_else(|_| Err(unreachable(format!("no answer in {TRY_WITHIN:?}"))))?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        Err(AwsError::Refused {
            service: request.service,
            region: request.region.clone(),
            what: request.what.clone(),
            status,
            why: words(&body),
        })
    }

    async fn signed(&self, request: &Request) -> Result<HttpRequest, AwsError> {
        let wrong = |why: String| AwsError::Request {
            service: request.service,
            why,
        };
        let credentials = self
            .credentials
            .provide_credentials()
            .await
            .map_err(|e| AwsError::Credentials(chain(&e)))?;
        let identity = credentials.into();
        let uri = format!("{}{}", self.endpoints.of(request), request.path);
        let body = request.body.clone();
        let now = u64::try_from(clock::now().as_micros()).unwrap_or_default();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&request.region)
            .name(request.service)
            .time(UNIX_EPOCH + Duration::from_micros(now))
            .settings(SigningSettings::default())
            .build()
            .map_err(|e| wrong(e.to_string()))?
            .into();
        let content_type = [("content-type", request.content_type)];
        let headers = || content_type.iter().chain(&request.headers).copied();
        let signable = SignableRequest::new(
            request.method,
            &uri,
            headers(),
            SignableBody::Bytes(body.as_bytes()),
        );
        let (instructions, _) = signable
            .and_then(|signable| sign(signable, &params))
            .map_err(|e| wrong(e.to_string()))?
            .into_parts();
        let (own, _) = instructions.into_parts();
        let mut http = HttpRequest::new(SdkBody::from(body));
        http.set_method(request.method)
            .map_err(|e| wrong(e.to_string()))?;
        http.set_uri(uri).map_err(|e| wrong(e.to_string()))?;
        for (name, value) in headers() {
            http.headers_mut().insert(name, value);
        }
        for header in own {
            http.headers_mut()
                .insert(header.name(), header.value().to_owned());
        }
        Ok(http)
    }
}

impl Endpoints {
    fn of(&self, request: &Request) -> String {
        let own = match request.service {
            "lambda" => &self.lambda,
            "sts" => &self.sts,
            _ => &self.scheduler,
        };
        let Request {
            service, region, ..
        } = request;
        // The partition of China has a domain of its own.
        let domain = match region.starts_with("cn-") {
            true => "amazonaws.com.cn",
            false => "amazonaws.com",
        };
        own.as_ref()
            .or(self.any.as_ref())
            .map(|url| url.trim_end_matches('/').to_owned())
            .unwrap_or_else(|| format!("https://{service}.{region}.{domain}"))
    }
}

/// What a service says in its JSON, or its text as it is.
fn words(body: &[u8]) -> String {
    let said = serde_json::from_slice::<Value>(body).ok().and_then(|json| {
        let text = json.get("message").or_else(|| json.get("Message"))?;
        Some(text.as_str()?.to_owned())
    });
    let said = said.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    match said.is_empty() {
        true => "it says nothing".to_owned(),
        false => said.chars().take(WORDS_MAX).collect(),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
