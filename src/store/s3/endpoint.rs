//! The URL of an S3 endpoint, as users write it.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// An endpoint's URL: `http` or `https`, a host, perhaps a port and a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Url);

/// Why a text is no [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an endpoint: {why}; write https://host or http://host:port")]
pub struct EndpointError {
    text: String,
    why: String,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let fail = |shown: &str, why: &str| EndpointError {
            text: shown.to_owned(),
            why: why.to_owned(),
        };
        let url = Url::parse(text).map_err(|e| fail(text, &e.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(fail(
                "…@…",
                "credentials don't belong into it, they come from AWS_ACCESS_KEY_ID",
            ));
        }
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fail(text, "it starts with neither https:// nor http://"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(fail(text, "it has a query or a fragment"));
        }
        Ok(Endpoint(url))
    }
}

/// Without a closing slash, as users write it.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked() {
        for good in [
            "http://127.0.0.1:9000",
            "https://s3.example.org",
            "https://host/storage/v1/s3",
        ] {
            assert_eq!(
                good.parse::<Endpoint>().map(|e| e.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in [
            "127.0.0.1:9000",
            "localhost",
            "ftp://host",
            "https://host/?x=1",
            "http://",
        ] {
            let message = bad.parse::<Endpoint>().expect_err(bad).to_string();
            assert!(message.contains(bad), "{message}");
        }
        let message = "http://me:hunter2@host"
            .parse::<Endpoint>()
            .expect_err("no")
            .to_string();
        assert!(!message.contains("hunter2"), "{message}");
    }
}
