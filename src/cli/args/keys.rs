//! What the SFU asks for.

use std::path::PathBuf;

use clap::Args;

use crate::rooms::{Keys, KeysError};

/// What the SFU asks for. The secret comes from the environment or a file, never from an
/// argument.
#[derive(Args, Debug)]
#[command(next_help_heading = "SFU")]
pub struct KeysArgs {
    /// File with one line `key: secret` [default: LIVEKIT_API_KEY and LIVEKIT_API_SECRET]
    #[arg(long, value_name = "FILE")]
    pub livekit_keys: Option<PathBuf>,
}

impl KeysArgs {
    /// The SFU's keys, from the file if one is named, else from the environment.
    pub fn keys(&self) -> Result<Keys, KeysError> {
        match &self.livekit_keys {
            Some(path) => Keys::read(path),
            None => Keys::from_env(|name| std::env::var(name).ok()),
        }
    }
}
