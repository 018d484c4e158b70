//! The SFU's API key, from the environment or a file.

use std::path::{Path, PathBuf};

use crate::secret::Secret;

/// A LiveKit API key with its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The key's name; not secret.
    pub api_key: String,
    /// Signs tokens.
    pub api_secret: Secret,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Neither the environment nor a file names them.
    #[error(
        "{0} is not set; set LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or give --livekit-keys FILE"
    )]
    Unset(&'static str),
    /// The file can't be read.
    #[error("--livekit-keys {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file holds something else. It is not shown.
    #[error("--livekit-keys {}: write one line `key: secret`", .0.display())]
    Malformed(PathBuf),
}

impl Keys {
    /// From a file of one line `key: secret`, as livekit-server's own `key_file` has it.
    pub fn read(path: &Path) -> Result<Keys, KeysError> {
        let text = std::fs::read_to_string(path).map_err(|source| KeysError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        parse(&text).ok_or_else(|| KeysError::Malformed(path.to_owned()))
    }

    /// From `LIVEKIT_API_KEY` and `LIVEKIT_API_SECRET`. `env` reads a variable, `None` when it
    /// is unset.
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> Result<Keys, KeysError> {
        let var = |name| {
            env(name)
                .filter(|v| !v.is_empty())
                .ok_or(KeysError::Unset(name))
        };
        Ok(Keys {
            api_key: var("LIVEKIT_API_KEY")?,
            api_secret: Secret::new(var("LIVEKIT_API_SECRET")?),
        })
    }
}

fn parse(text: &str) -> Option<Keys> {
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (line, rest) = (lines.next()?, lines.next());
    let (key, secret) = line.split_once(':')?;
    let (key, secret) = (key.trim(), secret.trim());
    (rest.is_none() && !key.is_empty() && !secret.is_empty()).then(|| Keys {
        api_key: key.to_owned(),
        api_secret: Secret::new(secret),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_has_one_key() {
        let keys = parse("# staging\n\nAPIabc: s3cr3t \n").unwrap();
        assert_eq!(
            (keys.api_key.as_str(), keys.api_secret.expose()),
            ("APIabc", "s3cr3t")
        );
        for bad in ["", "APIabc", "APIabc:", ": s", "a: b\nc: d"] {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn the_environment_must_have_both() {
        let env = |name: &str| (name == "LIVEKIT_API_KEY").then(|| "APIabc".to_owned());
        let error = Keys::from_env(env).unwrap_err().to_string();
        assert!(
            error.starts_with("LIVEKIT_API_SECRET is not set"),
            "{error}"
        );
    }
}
