//! How a result is printed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// How a result is printed.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// How the result on standard output looks [default: text]
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "text",
        hide_default_value = true
    )]
    pub format: Format,

    /// Write the combined report to this file as JSON as well
    #[arg(long, value_name = "PATH")]
    pub json: Option<PathBuf>,
}

/// How a result looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}
