//! Finds out whose a create was: a 412 may be the answer to one's own retried write.

use bytes::Bytes;

use super::backoff::mix;
use super::{Backoff, ByteLimit, Key, Object, Store, StoreError};
use crate::job::Digest;
use std::time::Duration;

/// Whose object is at the key of a create, for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// This writer's.
    Mine,
    /// Another writer's, as read back.
    Theirs(Object),
}

/// Creates `key` with `body` and finds out whose it is.
///
/// `body` must hold a random write id, so that no other writer has the same bytes: what is read
/// back is one's own if it is equal. A conflict, a busy store and a lost answer are tried again, as
/// `backoff` says. `limit` bounds what is read back.
///
/// # Errors
/// The last error, if the tries were used up: whose the key is stays unknown. At once, an error
/// that isn't [`StoreError::retryable`].
pub async fn create_settled(
    store: &dyn Store,
    key: &Key,
    body: Bytes,
    limit: ByteLimit,
    backoff: Backoff,
) -> Result<Settled, StoreError> {
    let (mut settling, mut next) = Settling::start(body.clone(), backoff);
    loop {
        next = match next {
            Next::Create => settling.created(store.create(key, body.clone()).await.map(drop)),
            Next::Read => settling.read(store.get(key, limit).await),
            Next::Wait(delay, then) => {
                pause(delay).await;
                *then
            }
            Next::Done(result) => return *result,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge: delays are decided elsewhere"
)]
async fn pause(delay: Duration) {
    tokio::time::sleep(delay).await;
}

/// The decisions of [`create_settled`], apart from its I/O.
#[derive(Debug)]
pub struct Settling {
    body: Bytes,
    backoff: Backoff,
    failed: u32,
}

/// What a [`Settling`] wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Send the create, then tell [`Settling::created`].
    Create,
    /// Read the key, then tell [`Settling::read`].
    Read,
    /// Wait so long, then go on with the next.
    Wait(Duration, Box<Next>),
    /// It is settled, or given up.
    Done(Box<Result<Settled, StoreError>>),
}

impl Settling {
    /// Starts with a create. The body's bytes seed the spread of the delays.
    pub fn start(body: Bytes, backoff: Backoff) -> (Self, Next) {
        let settling = Settling {
            body,
            backoff,
            failed: 0,
        };
        (settling, Next::Create)
    }

    /// The create was answered.
    pub fn created(&mut self, answer: Result<(), StoreError>) -> Next {
        match answer {
            Ok(()) => done(Ok(Settled::Mine)),
            Err(e) if e.is_exists() && planted!(ExistsIsMine) => done(Ok(Settled::Mine)),
            Err(e) if e.is_exists() => Next::Read,
            Err(e) => self.again(e, Next::Create),
        }
    }

    /// The read was answered.
    pub fn read(&mut self, answer: Result<Object, StoreError>) -> Next {
        match answer {
            Ok(object) if object.body == self.body && !planted!(ExistsIsTheirs) => {
                done(Ok(Settled::Mine))
            }
            Ok(object) => done(Ok(Settled::Theirs(object))),
            // It was there for the create and isn't any more: the create decides anew.
            Err(e) if e.is_absent() => self.wait_or(Next::Create, e),
            Err(e) => self.again(e, Next::Read),
        }
    }

    fn again(&mut self, error: StoreError, then: Next) -> Next {
        if error.retryable() {
            self.wait_or(then, error)
        } else {
            done(Err(error))
        }
    }

    fn wait_or(&mut self, then: Next, error: StoreError) -> Next {
        self.failed += 1;
        let digest = Digest::of(&self.body);
        let bytes = digest.as_bytes().iter();
        let seed = bytes.fold(0, |h, b| mix(h ^ u64::from(*b)));
        match self.backoff.delay(self.failed, seed) {
            Some(delay) => Next::Wait(delay, Box::new(then)),
            None => done(Err(error)),
        }
    }
}

fn done(result: Result<Settled, StoreError>) -> Next {
    Next::Done(Box::new(result))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Timestamp;
    use crate::store::sample::at;

    fn object(body: &'static str) -> Object {
        Object {
            body: body.into(),
            etag: None,
            last_modified: Timestamp::from_micros(0),
        }
    }

    fn settled(next: Next) -> Result<Settled, StoreError> {
        match next {
            Next::Done(result) => *result,
            other => panic!("not settled: {other:?}"),
        }
    }

    #[test]
    fn a_412_is_read_back() {
        for (found, want) in [
            ("mine", Settled::Mine),
            ("theirs", Settled::Theirs(object("theirs"))),
        ] {
            let (mut s, first) = Settling::start("mine".into(), Backoff::default());
            assert_eq!(first, Next::Create);
            let next = s.created(Err(StoreError::Exists { at: at() }));
            assert_eq!(next, Next::Read);
            assert_eq!(settled(s.read(Ok(object(found)))), Ok(want));
        }
    }

    #[test]
    fn unknown_outcomes_are_tried_again_then_given_up() {
        let (mut s, _) = Settling::start(
            "mine".into(),
            Backoff {
                tries: 3,
                ..Backoff::default()
            },
        );
        let lost = || StoreError::Unreachable {
            at: at(),
            why: "gone".into(),
        };
        for _ in 0..2 {
            assert!(matches!(s.created(Err(lost())), Next::Wait(_, then) if *then == Next::Create));
        }
        assert_eq!(settled(s.created(Err(lost()))), Err(lost()));
    }

    #[test]
    fn a_definite_refusal_ends_it() {
        let (mut s, _) = Settling::start("mine".into(), Backoff::default());
        let no = || StoreError::NoBucket { at: at() };
        assert_eq!(settled(s.created(Err(no()))), Err(no()));
    }

    #[test]
    fn a_key_that_vanished_is_created_anew() {
        let (mut s, _) = Settling::start("mine".into(), Backoff::default());
        s.created(Err(StoreError::Exists { at: at() }));
        let next = s.read(Err(StoreError::Absent { at: at() }));
        assert!(matches!(next, Next::Wait(_, then) if *then == Next::Create));
    }
}
