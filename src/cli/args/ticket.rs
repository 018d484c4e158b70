//! What admits a prober that has no credentials.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::Error;
use crate::exit::Exit;
use crate::rendezvous::keys::TICKET_MAX;
use crate::secret::Secret;

/// What admits a prober that has neither bucket credentials nor the SFU's secret: a ticket, a
/// ticket book, or the URL of either. By `MUSTER_TICKET`, a file or standard input, never as an
/// argument.
#[derive(Args, Debug)]
#[command(next_help_heading = "Ticket")]
pub struct TicketArgs {
    /// File with the ticket, a ticket book, or the URL of either [default: MUSTER_TICKET has one of
    /// these itself]
    #[arg(long, value_name = "FILE")]
    pub ticket_file: Option<PathBuf>,

    /// Read it from standard input
    #[arg(long, value_name = "-", conflicts_with = "ticket_file")]
    pub ticket: Option<String>,
}

impl TicketArgs {
    /// What was handed over, if anything was.
    pub fn handed(&self) -> Result<Option<Secret>, Error> {
        let bad = |text: String| Error::new(Exit::BadConfiguration, text);
        if let Some(path) = &self.ticket_file {
            let fail = |why: String| bad(format!("--ticket-file {}: {why}", path.display()));
            return read_file(path).map(Some).map_err(fail);
        }
        match self.ticket.as_deref() {
            Some("-") => read(std::io::stdin().lock())
                .map(Some)
                .map_err(|why| bad(format!("--ticket -: {why}"))),
            // It is not shown: whoever typed it there may have shown too much already.
            Some(_) => Err(bad(
                "--ticket takes `-` alone, for a ticket is a secret and others see arguments; use --ticket -, --ticket-file or MUSTER_TICKET"
                    .to_owned(),
            )),
            None => match std::env::var("MUSTER_TICKET") {
                Ok(text) if text.is_empty() => Ok(None),
                Ok(text) => Ok(Some(Secret::new(text))),
                Err(std::env::VarError::NotPresent) => Ok(None),
                Err(std::env::VarError::NotUnicode(_)) => {
                    Err(bad("MUSTER_TICKET is no text".to_owned()))
                }
            },
        }
    }
}

fn read_file(path: &Path) -> Result<Secret, String> {
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    read(file)
}

/// Reads a text no longer than a ticket can be.
fn read(from: impl Read) -> Result<Secret, String> {
    let mut text = String::new();
    from.take(TICKET_MAX.0 + 1)
        .read_to_string(&mut text)
        .map_err(|e| e.to_string())?;
    if text.len() as u64 > TICKET_MAX.0 {
        return Err(format!(
            "it has more than the {} bytes of any ticket",
            TICKET_MAX.0
        ));
    }
    Ok(Secret::new(text))
}
