//! Why AWS did not do what it was asked.

use crate::store::SettingsError;

/// What stopped a request to an API of AWS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AwsError {
    /// What the environment says can't be used.
    #[error(transparent)]
    Settings(SettingsError),
    /// Nothing to sign with.
    #[error(
        "no AWS credentials: {0}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
    )]
    Credentials(String),
    /// Not a name that AWS gives.
    #[error("`{name}` is not a {what}: {rule}")]
    Name {
        /// Of what.
        what: &'static str,
        /// As given.
        name: String,
        /// What is possible.
        rule: &'static str,
    },
    /// No answer: DNS, TCP, TLS or time ran out.
    #[error("{service} in {region} does not answer: {why}; check the network and the region")]
    Unreachable {
        /// Which API.
        service: &'static str,
        /// Where.
        region: String,
        /// The chain of causes.
        why: String,
    },
    /// It answers, and does not do it.
    #[error("{service} in {region} refuses to {what} ({status}): {why}")]
    Refused {
        /// Which API.
        service: &'static str,
        /// Where.
        region: String,
        /// What it was asked to do.
        what: String,
        /// The HTTP status.
        status: u16,
        /// Its own words.
        why: String,
    },
    /// The request can't be made, or its answer not be read.
    #[error("cannot make a request to {service}: {why}")]
    Request {
        /// Which API.
        service: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl AwsError {
    /// Whether the same request may succeed a moment later.
    pub fn retryable(&self) -> bool {
        match self {
            AwsError::Unreachable { .. } => true,
            AwsError::Refused { status, .. } => *status == 429 || *status >= 500,
            AwsError::Settings(_)
            | AwsError::Credentials(_)
            | AwsError::Name { .. }
            | AwsError::Request { .. } => false,
        }
    }
}
