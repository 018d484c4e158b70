//! Diagnostics on standard error.

use std::io::{self, IsTerminal, Write};

use tracing::{Level, Metadata};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::args::LogFormat;
use crate::error::Error;
use crate::exit::Exit;

/// What is logged unless `MUSTER_LOG` says otherwise.
const DEFAULT_FILTER: &str = "error,muster=info";

/// Starts logging, by `MUSTER_LOG` in the syntax of `tracing_subscriber::filter::Targets`.
pub fn start(format: LogFormat) -> Result<(), Error> {
    let text = match std::env::var("MUSTER_LOG") {
        Ok(text) if !text.is_empty() => text,
        _ => DEFAULT_FILTER.to_owned(),
    };
    let filter: Targets = text.parse().map_err(|e| {
        Error::new(
            Exit::BadConfiguration,
            format!("MUSTER_LOG=`{text}`: {e}; write a level like info or muster=debug"),
        )
    })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = match format {
        LogFormat::Json => lines.json().boxed(),
        LogFormat::Text => lines
            .with_target(false)
            .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines.with_filter(filter_fn(has_no_secret)))
        .init();
    Ok(())
}

/// Libraries that are asked for more show whole requests, with signed URLs and tokens in them.
fn has_no_secret(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("muster") || *metadata.level() <= Level::INFO
}

/// Says why the command failed: the last line on standard error.
pub fn failure(format: LogFormat, error: &Error) {
    match format {
        LogFormat::Json => tracing::error!(exit_code = error.exit().code(), "{error}"),
        // Nothing helps against a closed stream.
        LogFormat::Text => drop(writeln!(io::stderr(), "error: {error}")),
    }
}
