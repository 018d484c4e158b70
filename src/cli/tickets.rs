//! Handing out the tickets of a new run.

use std::path::PathBuf;

use super::args::Format;
use super::{edge, output};
use crate::error::Error;
use crate::exit::Exit;
use crate::job::{Job, Timestamp};
use crate::rooms::Keys;
use crate::store::{S3Store, Store as _};
use crate::ticket::{self, Book, Issued};

/// Where tools that hand out a session's credentials say when it ends, RFC 3339.
const SESSION_ENDS: &str = "AWS_CREDENTIAL_EXPIRATION";

/// Tickets for the run's vantages. They are secret.
#[derive(clap::Args, Debug)]
pub struct IssueArgs {
    /// Give each vantage a ticket, and print the URL of each: with one a prober needs neither
    /// bucket credentials nor the SFU's secret; it is secret itself
    #[arg(long, help_heading = "Tickets")]
    pub print_tickets: bool,

    /// Give each vantage a ticket, and write all their URLs to a file as a ticket book: whoever
    /// holds it can use all of them
    #[arg(long, value_name = "FILE", help_heading = "Tickets")]
    pub ticket_book: Option<PathBuf>,
}

impl IssueArgs {
    /// Whether vantages take part by tickets.
    pub fn wanted(&self) -> bool {
        self.print_tickets || self.ticket_book.is_some()
    }

    /// Fails if the book's file can't be written: to be called before anything starts.
    pub fn check_writable(&self) -> Result<(), Error> {
        match &self.ticket_book {
            Some(path) => output::check_file("--ticket-book", path),
            None => Ok(()),
        }
    }

    /// Makes a ticket for each vantage of `job`. Nothing is written yet.
    pub async fn issue(&self, job: Job, store: &S3Store, keys: &Keys) -> Result<Issued, Error> {
        let signer = store.signer().await?.session_until(session_ends()?);
        let issuer = (&signer, store.location());
        Ok(ticket::issue(job, issuer, keys, edge::ticket_seed).await?)
    }

    /// Prints and keeps the URLs, once the tickets are there.
    pub fn hand_out(&self, book: &Book, format: Format) -> Result<(), Error> {
        if let Some(path) = &self.ticket_book {
            let text = book.write()?;
            output::write_secret(path, &text).map_err(|e| {
                let text = format!("cannot write --ticket-book {}: {e}", path.display());
                Error::new(Exit::Internal, text)
            })?;
        }
        if !self.print_tickets {
            return Ok(());
        }
        match format {
            Format::Json => output::print(&book.write()?),
            Format::Text => book
                .urls()
                .try_for_each(|(label, url)| output::print(&format!("{label} {}", url.expose()))),
        }
    }
}

/// When the session of the credentials in the environment ends, as far as it says.
fn session_ends() -> Result<Option<Timestamp>, Error> {
    match std::env::var(SESSION_ENDS) {
        Ok(text) if !text.is_empty() => text.parse().map(Some).map_err(|e| {
            let text = format!("{SESSION_ENDS}: {e}");
            Error::new(Exit::BadConfiguration, text)
        }),
        _ => Ok(None),
    }
}
