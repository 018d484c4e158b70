//! What an S3 answer means: only "no such key" is absent.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::store::{At, Op, StoreError};

/// The error of an `op` at `at`.
pub(super) fn error<E>(error: SdkError<E, HttpResponse>, at: At, op: Op) -> StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    if let Some(credentials) = find::<CredentialsError>(&error) {
        return bad_credentials(credentials, at);
    }
    match &error {
        SdkError::ServiceError(refused) => {
            let raw = refused.raw();
            let answer = Answer {
                status: raw.status().as_u16(),
                code: refused.err().code(),
                message: refused.err().message(),
                region: raw.headers().get("x-amz-bucket-region"),
            };
            answer.error(at, op)
        }
        SdkError::ResponseError(unread) => {
            let status = unread.raw().status().as_u16();
            Answer {
                status,
                code: None,
                message: None,
                region: None,
            }
            .error(at, op)
        }
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) => {
            let mut why = chain(&error);
            // rustls, when the peer's first bytes are no TLS.
            if why.contains("InvalidContentType") {
                why = "it doesn't speak TLS: write http:// in --endpoint".to_owned();
            }
            StoreError::Unreachable { at, why }
        }
        _ => StoreError::Other {
            at,
            why: chain(&error),
        },
    }
}

pub(super) fn bad_credentials(error: &CredentialsError, at: At) -> StoreError {
    match error {
        CredentialsError::CredentialsNotLoaded(_) => StoreError::NoCredentials {
            at,
            why: "were found nowhere".to_owned(),
        },
        CredentialsError::InvalidConfiguration(_) => StoreError::NoCredentials {
            at,
            why: format!("are misconfigured ({})", chain(error)),
        },
        other => StoreError::BadCredentials {
            at,
            why: format!(
                "could not be loaded from where AWS's chain looked last ({})",
                chain(other)
            ),
        },
    }
}

/// A refusal, reduced to what its meaning depends on.
#[derive(Clone, Copy, Debug)]
struct Answer<'a> {
    /// The HTTP status.
    status: u16,
    /// S3's error code, if the body was S3's XML.
    code: Option<&'a str>,
    /// S3's message.
    message: Option<&'a str>,
    /// The region that the bucket is in, where AWS says so.
    region: Option<&'a str>,
}

impl Answer<'_> {
    /// Codes as in the S3 API reference, "List of error codes".
    fn error(self, at: At, op: Op) -> StoreError {
        let why = self.words();
        match (self.code.unwrap_or_default(), self.status) {
            ("NoSuchKey" | "PreconditionFailed", _) | (_, 412) if op == Op::Replace => {
                StoreError::Changed { at }
            }
            ("NoSuchKey", _) => StoreError::Absent { at },
            ("NoSuchBucket", _) => StoreError::NoBucket { at },
            ("PreconditionFailed", _) | (_, 412) => StoreError::Exists { at },
            (
                "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "ExpiredToken"
                | "InvalidToken"
                | "TokenRefreshRequired"
                | "InvalidClientTokenId"
                | "UnrecognizedClientException",
                _,
            ) => StoreError::BadCredentials {
                at,
                why: format!("refused ({why})"),
            },
            ("RequestTimeTooSkewed", _) => StoreError::Other {
                at,
                why: format!(
                    "{why}; this machine's clock is off by more than the store takes: set it"
                ),
            },
            ("PermanentRedirect" | "AuthorizationHeaderMalformed", _) | (_, 301 | 307) => {
                let region = self.region.unwrap_or("another region");
                StoreError::Other {
                    at,
                    why: format!("{why}; the bucket is in {region}: set AWS_REGION to it"),
                }
            }
            ("ConditionalRequestConflict" | "OperationAborted", _) | (_, 409) => {
                StoreError::Conflict { at }
            }
            ("NotImplemented", _) | (_, 501) => StoreError::Unsupported { at, why },
            ("SlowDown" | "RequestTimeout" | "InternalError" | "ServiceUnavailable", _)
            | (_, 429 | 500..=599) => StoreError::Busy { at, why },
            // S3 says 403 to whom it doesn't know.
            ("", 200..=299 | 400 | 401 | 404 | 405) => StoreError::Unsupported {
                at,
                why: format!(
                    "{why} with no S3 error in it: does --endpoint name an S3 endpoint, with the right one of http:// and https://?"
                ),
            },
            ("AccessDenied", _) | (_, 401 | 403) => StoreError::Denied { at, op, why },
            _ => StoreError::Other { at, why },
        }
    }

    fn words(self) -> String {
        let mut words = format!("HTTP {}", self.status);
        for part in [self.code, self.message].into_iter().flatten() {
            words += " ";
            words.extend(part.trim_end_matches('.').chars().take(300));
        }
        words
    }
}

/// The last two causes of an error, which say what happened; the layers above say where.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut cause = Some(error);
    while let Some(e) = cause {
        let words = e.to_string();
        if said.last().is_none_or(|last| !last.contains(&words)) {
            said.push(words);
        }
        cause = e.source();
    }
    let last = said.split_off(said.len().saturating_sub(2)).join(": ");
    last.trim_end_matches('.').to_owned()
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(e) = cause {
        if let Some(found) = e.downcast_ref::<T>() {
            return Some(found);
        }
        cause = e.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sample::at;

    fn meaning(status: u16, code: Option<&str>) -> StoreError {
        let answer = Answer {
            status,
            code,
            message: Some("words"),
            region: Some("eu-west-1"),
        };
        answer.error(at(), Op::Get)
    }

    #[test]
    fn only_no_such_key_is_absent() {
        assert!(meaning(404, Some("NoSuchKey")).is_absent());
        for (status, code) in [
            (404, None),
            (404, Some("NotFound")),
            (404, Some("NoSuchBucket")),
            (403, Some("AccessDenied")),
            (200, None),
            (500, None),
        ] {
            assert!(!meaning(status, code).is_absent(), "{status} {code:?}");
        }
    }

    #[test]
    fn what_is_gone_or_another_was_changed() {
        for (status, code) in [
            (412, Some("PreconditionFailed")),
            (412, None),
            (404, Some("NoSuchKey")),
        ] {
            let answer = Answer {
                status,
                code,
                message: None,
                region: None,
            };
            assert!(
                answer.error(at(), Op::Replace).is_changed(),
                "{status} {code:?}"
            );
        }
    }

    #[test]
    fn missing_credentials_are_named() {
        use aws_sdk_s3::operation::get_object::GetObjectError;
        let missing = CredentialsError::not_loaded("nothing in the chain");
        let sent: SdkError<GetObjectError, HttpResponse> = SdkError::construction_failure(missing);
        let said = error(sent, at(), Op::Get);
        assert!(matches!(said, StoreError::NoCredentials { .. }), "{said:?}");
        assert!(said.to_string().contains("set AWS_ACCESS_KEY_ID"), "{said}");
    }

    #[test]
    fn answers_have_one_meaning() {
        type Is = fn(&StoreError) -> bool;
        let table: &[(u16, Option<&str>, Is)] = &[
            (404, Some("NoSuchBucket"), |e| {
                matches!(e, StoreError::NoBucket { .. })
            }),
            (412, Some("PreconditionFailed"), |e| e.is_exists()),
            (412, None, |e| e.is_exists()),
            (409, Some("ConditionalRequestConflict"), |e| {
                matches!(e, StoreError::Conflict { .. })
            }),
            (403, Some("AccessDenied"), |e| {
                matches!(e, StoreError::Denied { .. })
            }),
            (403, None, |e| matches!(e, StoreError::Denied { .. })),
            (401, None, |e| matches!(e, StoreError::Unsupported { .. })),
            (403, Some("InvalidAccessKeyId"), |e| {
                matches!(e, StoreError::BadCredentials { .. })
            }),
            (403, Some("SignatureDoesNotMatch"), |e| {
                matches!(e, StoreError::BadCredentials { .. })
            }),
            (503, Some("SlowDown"), |e| {
                matches!(e, StoreError::Busy { .. })
            }),
            (500, None, |e| matches!(e, StoreError::Busy { .. })),
            (429, None, |e| matches!(e, StoreError::Busy { .. })),
            (501, Some("NotImplemented"), |e| {
                matches!(e, StoreError::Unsupported { .. })
            }),
            (400, None, |e| matches!(e, StoreError::Unsupported { .. })),
            (400, Some("InvalidArgument"), |e| {
                matches!(e, StoreError::Other { .. })
            }),
        ];
        for (status, code, is) in table {
            let error = meaning(*status, *code);
            assert!(is(&error), "{status} {code:?}: {error:?}");
        }
        assert!(
            meaning(301, Some("PermanentRedirect"))
                .to_string()
                .contains("eu-west-1")
        );
    }
}
