//! Making tickets: a key, the tokens and the URLs of each vantage, good for as long as the run may
//! last and no longer than their signer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::doors::Doors;
use super::{Book, EXTRA, Ticket, TicketError};
use crate::job::{Digested, Fleet, Job, Span, Timestamp, Vantage, WriteId};
use crate::prober::MintedTokens;
use crate::rendezvous::document;
use crate::rendezvous::keys::{Item, RunKey};
use crate::rooms::Keys;
use crate::secret::Secret;
use crate::signature::SigningKey;
use crate::store::{Key, Location, Op, PRESIGNED_MAX, PresignedUrls, Session, UrlSigner};

/// Tickets that are still to be written, and the job that names their keys.
pub struct Issued {
    /// To write first.
    pub job: Digested<Job>,
    /// Each vantage's ticket.
    pub tickets: BTreeMap<Vantage, Bytes>,
    /// Where each will be.
    pub book: Book,
}

/// Makes a ticket for each vantage of `job`. `seeds` draws 32 random bytes for a key, and a number
/// for a write id.
///
/// # Errors
/// When the job names no vantages, when it may last longer than a URL or the signer's session can,
/// when something can't be signed.
pub async fn issue(
    mut job: Job,
    (signer, location): (&UrlSigner, &Location),
    keys: &Keys,
    mut draw: impl FnMut() -> ([u8; 32], u64),
) -> Result<Issued, TicketError> {
    let Fleet::Vantages(vantages) = job.fleet.clone() else {
        return Err(TicketError::NoLabels);
    };
    let life = Life::of(&job, signer.session())?;
    let mut drawn = BTreeMap::new();
    for vantage in vantages {
        let (seed, write_id) = draw();
        let key = SigningKey::from_seed(seed).map_err(|e| TicketError::Token(e.to_string()))?;
        job.ticket_keys.insert(vantage.clone(), key.public());
        drawn.insert(vantage, (key, WriteId::from_u64(write_id)));
    }
    let job = document::digested(job)?;
    let (mut tickets, mut book) = (BTreeMap::new(), BTreeMap::new());
    for (vantage, (signing_key, write_id)) in drawn {
        let doors = Doors::of(&job, &vantage, &signing_key.public());
        let ticket = Ticket {
            write_id,
            run: job.run.clone(),
            job_sha256: job.digest,
            expires_at: life.until,
            location: location.clone(),
            urls: PresignedUrls {
                get: sign(signer, Op::Get, doors.get, life).await?,
                create: sign(signer, Op::Create, doors.create, life).await?,
                put: sign(signer, Op::Put, doors.put, life).await?,
                whole: Doors::whole(&job.run, &vantage),
            },
            tokens: MintedTokens::mint(keys, &job, &vantage, life.length())?,
            vantage: vantage.clone(),
            signing_key,
        };
        let place = RunKey::new(&job.run, Item::Ticket(vantage.clone())).key();
        let url = signer
            .sign(Op::Get, &place, life.from, life.length())
            .await?;
        book.insert(vantage.to_string(), url);
        tickets.insert(vantage, ticket.write()?);
    }
    Ok(Issued {
        job,
        tickets,
        book: Book::new(book),
    })
}

async fn sign(
    signer: &UrlSigner,
    op: Op,
    keys: BTreeSet<RunKey>,
    life: Life,
) -> Result<BTreeMap<Key, Secret>, TicketError> {
    let mut urls = BTreeMap::new();
    for key in keys {
        let key = key.key();
        let url = signer.sign(op, &key, life.from, life.length()).await?;
        urls.insert(key, url);
    }
    Ok(urls)
}

/// When a ticket is good, on the bucket's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Life {
    from: Timestamp,
    until: Timestamp,
}

impl Life {
    /// From the job's making until nobody of the run has anything to do any more.
    fn of(job: &Job, session: Session) -> Result<Self, TicketError> {
        let life = Life {
            from: job.created_at,
            until: job.times.hard_deadline + job.times.grace.0 + EXTRA,
        };
        if life.length() > PRESIGNED_MAX {
            return Err(TicketError::TooLong(Span(life.length())));
        }
        match session {
            Session::Endless => Ok(life),
            Session::Ends(ends) if ends >= life.until => Ok(life),
            Session::Ends(ends) => Err(TicketError::SessionEnds {
                needed: life.until,
                ends,
            }),
            Session::Unknown => Err(TicketError::SessionUnknown),
        }
    }

    /// In whole seconds: URLs are signed for such.
    fn length(self) -> Duration {
        let exact = self.until.saturating_since(self.from);
        Duration::from_secs(exact.as_secs().saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn no_ticket_outlives_its_signer() {
        let job = sample::job();
        let end = job.times.hard_deadline + job.times.grace.0;
        let life = Life::of(&job, Session::Endless).unwrap();
        assert!(life.until > end && life.from == job.created_at);
        assert_eq!(Life::of(&job, Session::Ends(life.until)), Ok(life));
        let early = life.until.offset_micros(-1);
        let said = Life::of(&job, Session::Ends(early))
            .unwrap_err()
            .to_string();
        assert!(said.contains(&early.to_string()), "{said}");
        let said = Life::of(&job, Session::Unknown).unwrap_err().to_string();
        assert!(said.contains("AWS_CREDENTIAL_EXPIRATION"), "{said}");
    }

    #[test]
    fn a_run_that_is_too_long_for_a_url_is_refused() {
        let mut job = sample::job();
        job.times.hard_deadline = job.created_at + PRESIGNED_MAX;
        let said = Life::of(&job, Session::Endless).unwrap_err().to_string();
        assert!(
            said.contains("7days") || said.contains("168h") || said.contains("7d"),
            "{said}"
        );
    }
}
