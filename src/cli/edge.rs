//! What makes a run a new one.

#![expect(
    clippy::disallowed_methods,
    reason = "a run's id is drawn here; the rest takes it as an argument"
)]

use crate::error::Error;
use crate::exit::Exit;
use crate::job::{Origin, RunId, Timestamp, WriteId};
use crate::signature::SigningKey;

/// What a new run needs beside its spec. Its id sorts by time, unless `run` names it.
pub fn origin(run: Option<RunId>) -> Origin {
    origin_at(crate::clock::now(), run)
}

/// The same at a time, by whatever clock the run is to go by.
pub fn origin_at(now: Timestamp, run: Option<RunId>) -> Origin {
    Origin {
        run: run.unwrap_or_else(|| RunId::new(now, rand::random())),
        write_id: WriteId::from_u64(rand::random()),
        now,
    }
}

/// A random number: a nonce, a seed.
pub fn random() -> u64 {
    rand::random()
}

/// What the ticket of one vantage is made of: a key's 32 bytes, and a number for a write id.
pub fn ticket_seed() -> ([u8; 32], u64) {
    (rand::random(), rand::random())
}

/// A key to sign parts with.
pub fn signing_key() -> Result<SigningKey, Error> {
    SigningKey::from_seed(rand::random()).map_err(|e| Error::new(Exit::Internal, e.to_string()))
}
