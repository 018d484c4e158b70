//! `s3://name/prefix`, as users write it.

use std::fmt;
use std::str::FromStr;

use super::key::is_path;

/// A bucket and the prefix of all keys in it. Written `s3://name/prefix` or `s3://name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketUrl {
    bucket: String,
    prefix: String,
}

/// Room for the keys below the prefix within S3's 1,024 bytes.
const MAX_PREFIX_BYTES: usize = 512;

/// Why a text is no [`BucketUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a bucket: {rule}; write s3://name or s3://name/prefix")]
pub struct BucketUrlError {
    text: String,
    rule: &'static str,
}

impl BucketUrl {
    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The prefix without slashes at its ends; may be empty.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl FromStr for BucketUrl {
    type Err = BucketUrlError;

    fn from_str(text: &str) -> Result<Self, BucketUrlError> {
        let fail = |rule| BucketUrlError {
            text: text.to_owned(),
            rule,
        };
        let rest = text
            .strip_prefix("s3://")
            .ok_or_else(|| fail("it doesn't start with s3://"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        // The naming rules of S3, with the upper case and underscores that older buckets have.
        let named = (3..=63).contains(&bucket.len())
            && bucket
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && bucket
                .bytes()
                .next()
                .is_some_and(|b| b.is_ascii_alphanumeric());
        if !named {
            return Err(fail(
                "a bucket's name has 3 to 63 letters, digits, dots, dashes or underscores",
            ));
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if !prefix.is_empty() && !is_path(prefix) {
            return Err(fail(
                "a prefix has letters, digits, ., _, - or ~ between single slashes",
            ));
        }
        if prefix.len() > MAX_PREFIX_BYTES {
            return Err(fail("a prefix has at most 512 bytes"));
        }
        Ok(BucketUrl {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

impl fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_users_write() {
        for (text, bucket, prefix) in [
            ("s3://probes", "probes", ""),
            ("s3://probes/", "probes", ""),
            ("s3://probes/team/a/", "probes", "team/a"),
        ] {
            let url: BucketUrl = text.parse().expect(text);
            assert_eq!((url.bucket(), url.prefix()), (bucket, prefix), "{text}");
            assert_eq!(url.to_string().parse(), Ok(url));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, word) in [
            ("probes", "s3://"),
            ("https://probes", "s3://"),
            ("s3://", "3 to 63"),
            ("s3://ab", "3 to 63"),
            ("s3://-ab", "3 to 63"),
            ("s3://pro bes", "3 to 63"),
            ("s3://probes//x", "single slashes"),
            ("s3://probes/a b", "single slashes"),
            ("s3://probes/../x", "single slashes"),
        ] {
            let message = text.parse::<BucketUrl>().expect_err(text).to_string();
            assert!(
                message.contains(word) && message.contains(text),
                "{message}"
            );
        }
    }
}
