//! Diagnostics on standard error.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;

use super::args::LogFormat;
use crate::error::Error;
use crate::exit::Exit;

/// What is logged unless `MUSTER_LOG` says otherwise.
const DEFAULT_FILTER: &str = "error,muster=info";

/// Starts logging, by `MUSTER_LOG` in the syntax of `tracing_subscriber::EnvFilter`.
pub fn start(format: LogFormat) -> Result<(), Error> {
    let text = match std::env::var("MUSTER_LOG") {
        Ok(text) if !text.is_empty() => text,
        _ => DEFAULT_FILTER.to_owned(),
    };
    let filter = EnvFilter::try_new(&text).map_err(|e| {
        Error::new(
            Exit::BadConfiguration,
            format!("MUSTER_LOG=`{text}`: {e}; write a level like info or muster=debug"),
        )
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => builder
            .with_target(false)
            .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .init(),
    }
    Ok(())
}

/// Says why the command failed: the last line on standard error.
pub fn failure(format: LogFormat, error: &Error) {
    match format {
        LogFormat::Json => tracing::error!(exit_code = error.exit().code(), "{error}"),
        // Nothing helps against a closed stream.
        LogFormat::Text => drop(writeln!(io::stderr(), "error: {error}")),
    }
}
