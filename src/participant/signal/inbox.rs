//! From a frame's bytes to a message, if they are one and not too much.

use std::time::Instant;

use bytes::Bytes;
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_response::Message as Response;

use crate::participant::failure::{Cause, Failure};

use super::weigh::{Budget, FIELDS_MAX, is_moderate};

/// What a description costs of the budget at least, in bytes: it is dear to read, and LiveKit sends
/// seven a second at most.
const DESCRIPTION_COST: usize = 64 * 1_024;

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
            Ok(())
        } else {
            Err(flooded())
        }
    }

    /// Reads a binary frame.
    ///
    /// # Errors
    /// [`Cause::Protocol`] for a message of absurdly many parts, and for many that are none.
    pub fn message(&mut self, bytes: Bytes, now: Instant) -> Result<Incoming, Failure> {
        if !is_moderate(&bytes) {
            let detail = format!("the server sent a message of more than {FIELDS_MAX} fields");
            return Err(Failure::new(Cause::Protocol, detail));
        }
        match proto::SignalResponse::decode(bytes) {
            Ok(proto::SignalResponse {
                message: Some(Response::Offer(_) | Response::Answer(_)),
            }) if !self.budget.take(DESCRIPTION_COST, now) => Err(flooded()),
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

fn flooded() -> Failure {
    let detail = "the server sends more signals than any room needs";
    Failure::new(Cause::Protocol, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    fn inbox() -> (Inbox, Instant) {
        let now = Instant::now();
        (Inbox::new(now), now)
    }

    #[test]
    fn offers_without_end_are_a_flood() {
        let (mut inbox, now) = inbox();
        let offer = proto::SignalResponse {
            message: Some(Response::Offer(proto::SessionDescription::default())),
        };
        let bytes = Bytes::from(offer.encode_to_vec());
        let taken = (0..10_000).take_while(|_| inbox.message(bytes.clone(), now).is_ok());
        assert_eq!(taken.count(), 512);
    }

    #[test]
    fn garbage_is_counted_before_it_is_fatal() {
        let (mut inbox, now) = inbox();
        for _ in 0..MALFORMED_MAX {
            let answer = inbox.message(Bytes::from_static(b"\xff\xff\xff"), now);
            assert!(matches!(answer, Ok(Incoming::Malformed)), "{answer:?}");
        }
        let failure = inbox.message(Bytes::from_static(b"\xff"), now).unwrap_err();
        assert_eq!(failure.cause, Cause::Protocol);
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (mut inbox, now) = inbox();
            prop_assert!(inbox.message(bytes.into(), now).is_ok());
        }
    }
}
