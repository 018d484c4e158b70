//! Tickets: all that a prober needs to take part in one run from one vantage, and nothing more. A
//! ticket opens its own vantage's objects, and nothing else.
//!
//! Whoever starts the run makes them ([`issue`]); a prober is handed one, or where to get it, and
//! is admitted by it ([`admit`]). A ticket is a secret: it comes by the environment, a file or
//! standard input, never as an argument, and no log or error shows any of it.

mod admit;
mod book;
mod document;
mod doors;
mod issue;

use std::time::Duration;

pub use admit::{Admission, admit};
pub use book::{Book, Holder};
pub use document::Ticket;
#[cfg(test)]
pub(crate) use doors::Doors;
pub use issue::{Issued, issue};

use crate::job::{Span, Timestamp, Vantage};
use crate::prober::TokenError;
use crate::rendezvous::RendezvousError;
use crate::store::{PRESIGNED_MAX, SettingsError, StoreError};

/// How long a ticket lives beyond the end of the run's grace: for the last report's last try, and
/// clocks that differ.
pub const EXTRA: Duration = Duration::from_secs(180);

/// How many claims a ticket provides for: the first, and those that take over a dead one.
pub const CLAIMS: u32 = 4;

/// Why there is no ticket, or none that can be used. No text shows any of it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TicketError {
    /// It is neither JSON nor a URL.
    #[error(
        "what was given as a ticket is neither a URL nor a ticket nor a ticket book ({0}); `muster run --print-tickets` prints them"
    )]
    Malformed(String),
    /// Of another major version.
    #[error("the ticket has schema {0}, and this muster reads {ours}; use the muster that made it", ours = crate::job::SCHEMA_MAJOR)]
    Schema(u32),
    /// More bytes than any ticket has.
    #[error("the ticket has more than the {0} bytes that any can have")]
    TooLarge(u64),
    /// A URL or key that no ticket has.
    #[error("the ticket is not one of muster's: {0}")]
    Strange(String),
    /// Its time is over.
    #[error(
        "the ticket of vantage `{vantage}` expired at {expired}, and it is {now} by this machine's clock; ask for a new one, or set the clock"
    )]
    Expired {
        /// Whose.
        vantage: Vantage,
        /// When.
        expired: Timestamp,
        /// The local time.
        now: Timestamp,
    },
    /// What its URL led to could not be read.
    #[error("can't get the ticket from {place}: {why}")]
    Unread {
        /// The URL without what makes it secret.
        place: String,
        /// Why not.
        why: String,
    },
    /// One URL leads to the next.
    #[error("what was given as a ticket leads from one URL to another without end")]
    Endless,
    /// Nothing says which of a book's tickets is meant.
    #[error(
        "a ticket book was given, and nothing says which of its tickets is this machine's; give --vantage with one of {labels}, or set MUSTER_VANTAGE or MUSTER_INDEX"
    )]
    Whose {
        /// The book's labels.
        labels: String,
    },
    /// The book has no such ticket.
    #[error("the ticket book has no ticket for {wanted}; it has {labels}")]
    NotInBook {
        /// The label or index.
        wanted: String,
        /// The book's labels.
        labels: String,
    },
    /// The job doesn't name its vantages.
    #[error("tickets need the labels: give --vantages instead of --expect")]
    NoLabels,
    /// URLs can't be signed for so long.
    #[error("the run may last {0}, and URLs can be signed for {max}; lower --timeout, or start it earlier", max = Span(PRESIGNED_MAX))]
    TooLong(Span),
    /// The signer's session ends before the run may.
    #[error(
        "tickets must be good until {needed}, and the session of the bucket's credentials ends at {ends}: use credentials that last longer, or lower --timeout, --ramp or --duration"
    )]
    SessionEnds {
        /// The run's end with its grace.
        needed: Timestamp,
        /// The session's end.
        ends: Timestamp,
    },
    /// Nobody says when the session ends.
    #[error(
        "tickets must not outlive the session of the bucket's credentials, and nothing says when it ends; set AWS_CREDENTIAL_EXPIRATION (RFC 3339), or use credentials without a session"
    )]
    SessionUnknown,
    /// More participants than a ticket has room for.
    #[error(
        "the ticket of vantage `{vantage}` would have {size} bytes, and at most {max} are read; lower --ramp, or let more vantages share it"
    )]
    TooMany {
        /// Whose.
        vantage: Vantage,
        /// Its size.
        size: u64,
        /// The limit.
        max: u64,
    },
    /// A join token could not be signed.
    #[error("{0}")]
    Token(String),
    /// The bucket, or what is needed to reach it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is needed to reach it.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The job could not be written.
    #[error(transparent)]
    Job(#[from] RendezvousError),
}

impl From<TokenError> for TicketError {
    fn from(e: TokenError) -> Self {
        TicketError::Token(e.to_string())
    }
}
