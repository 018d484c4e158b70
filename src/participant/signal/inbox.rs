//! From a frame's bytes to a message, if they are one and not too much.

use std::time::Instant;

use bytes::Bytes;
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_response::Message as Response;

use crate::participant::failure::{Cause, Failure};

use super::weigh::{Budget, FIELDS_MAX, is_moderate};

/// So many messages that can't be read are taken for an accident.
const MALFORMED_MAX: u32 = 16;

/// What came of a frame.
#[derive(Debug)]
pub enum Incoming {
    /// A message.
    Message(Box<Response>),
    /// A message of a kind that this client does not know.
    Unknown,
    /// No message.
    Malformed,
}

/// Reads what a server sends to one participant.
#[derive(Debug)]
pub struct Inbox {
    budget: Budget,
    malformed: u32,
}

impl Inbox {
    /// Nothing came yet.
    pub const fn new(now: Instant) -> Self {
        Self {
            budget: Budget::new(now),
            malformed: 0,
        }
    }

    /// A frame of so many bytes came, of whatever kind.
    ///
    /// # Errors
    /// [`Cause::Protocol`] when the server sends more than any room needs.
    pub fn frame(&mut self, bytes: usize, now: Instant) -> Result<(), Failure> {
        if self.budget.take(bytes, now) {
            return Ok(());
        }
        let detail = "the server sends more signals than any room needs";
        Err(Failure::new(Cause::Protocol, detail))
    }

    /// Reads a binary frame.
    ///
    /// # Errors
    /// [`Cause::Protocol`] for a message of absurdly many parts, and for many that are none.
    pub fn message(&mut self, bytes: Bytes) -> Result<Incoming, Failure> {
        if !is_moderate(&bytes) {
            let detail = format!("the server sent a message of more than {FIELDS_MAX} fields");
            return Err(Failure::new(Cause::Protocol, detail));
        }
        match proto::SignalResponse::decode(bytes) {
            Ok(response) => Ok(response.message.map_or(Incoming::Unknown, |message| {
                Incoming::Message(Box::new(message))
            })),
            Err(_) if self.malformed < MALFORMED_MAX => {
                self.malformed += 1;
                Ok(Incoming::Malformed)
            }
            Err(e) => {
                let detail = format!("{MALFORMED_MAX} messages of the server can't be read: {e}");
                Err(Failure::new(Cause::Protocol, detail))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    fn inbox() -> Inbox {
        Inbox::new(Instant::now())
    }

    #[test]
    fn garbage_is_counted_before_it_is_fatal() {
        let mut inbox = inbox();
        for _ in 0..MALFORMED_MAX {
            let answer = inbox.message(Bytes::from_static(b"\xff\xff\xff"));
            assert!(matches!(answer, Ok(Incoming::Malformed)), "{answer:?}");
        }
        let failure = inbox.message(Bytes::from_static(b"\xff")).unwrap_err();
        assert_eq!(failure.cause, Cause::Protocol);
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(inbox().message(bytes.into()).is_ok());
        }
    }
}
