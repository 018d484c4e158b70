//! The name of an object below the store's prefix.

use std::fmt;
use std::str::FromStr;

/// S3's limit for a key, the store's own prefix included, in bytes.
pub(super) const MAX_KEY_BYTES: usize = 1024;

/// An object's key, relative to the store's prefix (`runs/20261122-071339-4f9c2a/job.json`).
///
/// Segments of `A-Z a-z 0-9 . _ - ~`, joined by single slashes: nothing that any store, URL or file
/// system reads differently.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// Why a text can't be a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` can't be an object key: use at most 1024 of A-Z, a-z, 0-9, ., _, - and ~ in segments joined by single slashes"
)]
pub struct KeyError(String);

impl Key {
    /// A text that is a key because of how it was built.
    pub(crate) fn by_construction(text: String) -> Self {
        debug_assert!(is_path(&text), "{text} is no key");
        Key(text)
    }

    /// The text of this key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The media type of the object, by the key's suffix.
    pub fn content_type(&self) -> &'static str {
        match self.0.rsplit('.').next() {
            Some("json") => "application/json",
            Some("html") => "text/html; charset=utf-8",
            Some("xml") => "application/xml",
            Some("txt" | "prom") => "text/plain; charset=utf-8",
            Some("gz") => "application/gzip",
            _ => "application/octet-stream",
        }
    }
}

/// Whether `s` is non-empty segments of safe characters, joined by single slashes.
pub(super) fn is_path(s: &str) -> bool {
    // How long the segment is so far, and whether it is of dots alone.
    let (mut length, mut dots) = (0, true);
    for b in s.as_bytes() {
        match b {
            b'/' if length == 0 || dots && length <= 2 => return false,
            b'/' => (length, dots) = (0, true),
            b'.' => length += 1,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'~' => {
                (length, dots) = (length + 1, false);
            }
            _ => return false,
        }
    }
    s.len() <= MAX_KEY_BYTES && length > 0 && !(dots && length <= 2)
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(s: &str) -> Result<Self, KeyError> {
        if is_path(s) {
            Ok(Key(s.to_owned()))
        } else {
            Err(KeyError(s.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_plain_paths() {
        for good in ["a", "runs/20261122-071339-4f9c2a/job.json", "a/b.c/d_e~f"] {
            assert_eq!(
                good.parse::<Key>().map(|k| k.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in [
            "", "/a", "a/", "a//b", "a/../b", ".", "a b", "ä", "a\n", "a?b", "a%2Fb",
        ] {
            assert!(bad.parse::<Key>().is_err(), "{bad:?}");
        }
        assert!("k".repeat(1025).parse::<Key>().is_err());
    }

    #[test]
    fn the_suffix_names_the_type() {
        let kind = |s: &str| s.parse::<Key>().map(|k| k.content_type());
        assert_eq!(kind("a/job.json"), Ok("application/json"));
        assert_eq!(kind("a/logs.jsonl.gz"), Ok("application/gzip"));
        assert_eq!(kind("a/json"), Ok("application/octet-stream"));
    }
}
