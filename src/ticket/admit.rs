//! From what was handed over to what a prober takes part with: a ticket, the URL of one, or a book
//! of them.

use std::path::PathBuf;
use std::sync::Arc;

use super::TicketError;
use super::book::{Book, Holder};
use super::document::{Ticket, parse_url};
use crate::job::{Digest, RunId, Timestamp, Vantage};
use crate::prober::JoinTokens;
use crate::rendezvous::drive::Bucket;
use crate::rendezvous::keys::TICKET_MAX;
use crate::secret::Secret;
use crate::signature::SigningKey;
use crate::store::{Key, Location, Now, Patience, PresignedUrls, S3Store, Store as _, StoreError};

/// The longest way to a ticket: a URL to a book, and from there a URL to the ticket.
const STEPS_MAX: usize = 4;

/// What a prober takes part with: its ticket's, or what its own credentials make up for it.
pub struct Admission {
    /// The bucket; by a ticket, as far as that opens it.
    pub bucket: Bucket,
    /// How its participants join.
    pub tokens: JoinTokens,
    /// The run, if it is known.
    pub run: Option<RunId>,
    /// The label.
    pub vantage: Vantage,
    /// The job that the ticket was made for.
    pub job_sha256: Option<Digest>,
    /// Signs its parts.
    pub key: SigningKey,
}

/// Something that was handed over.
enum Handed {
    Ticket(Box<Ticket>),
    Book(Book),
    Url(Secret),
}

/// Admits by `handed`, which is a ticket, a ticket book, or the URL of either. `holder` says which
/// ticket of a book is meant; `ca_file` has the CA of a store with a private one; `now` is the
/// local clock.
///
/// # Errors
/// When there is no ticket, or none that can be used.
pub async fn admit(
    handed: &[u8],
    holder: &Holder,
    ca_file: Option<PathBuf>,
    now: Now,
) -> Result<Admission, TicketError> {
    let (mut handed, mut fetched) = (read(handed)?, 0);
    for _ in 0..STEPS_MAX {
        handed = match handed {
            Handed::Ticket(ticket) => {
                let admission = admission(*ticket, ca_file, now)?;
                return Ok(Admission {
                    bucket: admission.bucket.after_reading(fetched),
                    ..admission
                });
            }
            Handed::Book(book) => Handed::Url(book.url_of(holder)?.clone()),
            Handed::Url(url) => {
                fetched += 1;
                read(&fetch(&url, ca_file.clone(), &now).await?)?
            }
        };
    }
    Err(TicketError::Endless)
}

fn read(body: &[u8]) -> Result<Handed, TicketError> {
    let text = body.trim_ascii();
    if text.starts_with(b"{") {
        return match is_book(text) {
            true => Book::read(text).map(Handed::Book),
            false => Ticket::read(text).map(|ticket| Handed::Ticket(Box::new(ticket))),
        };
    }
    if text.is_empty() {
        return Err(TicketError::Malformed("it is empty".into()));
    }
    let url = std::str::from_utf8(text).ok();
    match url.filter(|url| parse_url(url).is_some()) {
        Some(url) => Ok(Handed::Url(Secret::new(url))),
        None => Err(TicketError::Malformed("its beginning is neither's".into())),
    }
}

/// A ticket has a number for its schema; a book has nothing but texts.
fn is_book(text: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Versioned {
        #[serde(rename = "schema")]
        _schema: u32,
    }
    serde_json::from_slice::<Versioned>(text).is_err()
        && serde_json::from_slice::<std::collections::BTreeMap<String, String>>(text).is_ok()
}

fn admission(ticket: Ticket, ca_file: Option<PathBuf>, now: Now) -> Result<Admission, TicketError> {
    expired(&ticket, now())?;
    let store = S3Store::by_urls(
        ticket.urls,
        ticket.location,
        ca_file,
        Patience::default(),
        now,
    )?;
    Ok(Admission {
        bucket: store.into(),
        tokens: JoinTokens::Minted(Arc::new(ticket.tokens)),
        run: Some(ticket.run),
        vantage: ticket.vantage,
        job_sha256: Some(ticket.job_sha256),
        key: ticket.signing_key,
    })
}

fn expired(ticket: &Ticket, now: Timestamp) -> Result<(), TicketError> {
    if now < ticket.expires_at {
        return Ok(());
    }
    Err(TicketError::Expired {
        vantage: ticket.vantage.clone(),
        expired: ticket.expires_at,
        now,
    })
}

async fn fetch(
    url: &Secret,
    ca_file: Option<PathBuf>,
    now: &Now,
) -> Result<bytes::Bytes, TicketError> {
    let parsed = parse_url(url.expose());
    let place = parsed.map_or_else(String::new, |url| {
        format!("{}{}", url.origin().ascii_serialization(), url.path())
    });
    let location = Location {
        bucket: "ticket".into(),
        prefix: String::new(),
        endpoint: place.clone(),
    };
    let key = Key::by_construction("ticket.json".into());
    let urls = PresignedUrls {
        get: [(key.clone(), url.clone())].into(),
        ..PresignedUrls::default()
    };
    let store = S3Store::by_urls(urls, location, ca_file, Patience::default(), now.clone())?;
    let object = store.get(&key, TICKET_MAX).await.map_err(|e| {
        let why = match e {
            StoreError::Absent { .. } => "there is none; was it for another run?".to_owned(),
            StoreError::NoTicketFor { why, .. } => {
                format!("refused ({why}); its URL may have expired: ask for a new one")
            }
            StoreError::TooLarge { size, .. } => format!("{size} bytes are no ticket"),
            StoreError::Unreachable { why, .. } | StoreError::Busy { why, .. } => why,
            e => e.to_string(),
        };
        TicketError::Unread { place, why }
    })?;
    Ok(object.body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticket::document::tests::ticket;

    fn kind(text: &str) -> &'static str {
        match read(text.as_bytes()) {
            Ok(Handed::Ticket(_)) => "ticket",
            Ok(Handed::Book(_)) => "book",
            Ok(Handed::Url(_)) => "url",
            Err(e) => {
                assert!(!e.to_string().contains("hunter"), "{e}");
                "none"
            }
        }
    }

    #[test]
    fn a_ticket_a_book_and_a_url_are_told_apart() {
        let body = String::from_utf8(ticket().write().unwrap().to_vec()).unwrap();
        for (text, what) in [
            (body.as_str(), "ticket"),
            (r#"{"iad": "https://x/y?hunter2"}"#, "book"),
            (r#"{"schema": "https://x/y?hunter2"}"#, "book"),
            (" https://x/y?hunter2\n", "url"),
            ("http://127.0.0.1:9000/b/k", "url"),
            ("s3://bucket/hunter2", "none"),
            ("hunter2", "none"),
            ("", "none"),
            (r#"{"schema": 1, "signing_key": "hunter2"}"#, "none"),
        ] {
            assert_eq!(kind(text), what, "{text}");
        }
    }

    #[test]
    fn an_expired_ticket_says_when() {
        let ticket = ticket();
        let end = ticket.expires_at;
        assert_eq!(expired(&ticket, end.offset_micros(-1)), Ok(()));
        let said = expired(&ticket, end).unwrap_err().to_string();
        assert!(said.contains(&format!("expired at {end}")), "{said}");
    }
}
