//! Round trips of ICE's own checks, read off the STUN messages that pass by (RFC 8489).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Requests that wait for their response at once.
const MAX_WAITING: usize = 16;
/// A response that took longer tells of a retransmission or a stall, not of a round trip.
const MAX_AGE: Duration = Duration::from_secs(10);

const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];

type TransactionId = [u8; 12];

/// Pairs requests with responses.
#[derive(Debug, Default)]
pub struct StunClock {
    waiting: VecDeque<(TransactionId, Instant)>,
    /// How many of the last of them have not left yet.
    leaving: usize,
}

impl StunClock {
    /// A message is about to leave. A request sent again under its id counts from now on.
    pub fn sent(&mut self, message: &[u8], now: Instant) {
        if let Some((BINDING_REQUEST, id)) = read(message) {
            self.waiting.retain(|(waiting, _)| *waiting != id);
            if self.waiting.len() >= MAX_WAITING {
                self.waiting.pop_front();
            }
            self.waiting.push_back((id, now));
            self.leaving += 1;
        }
    }

    /// Whether there are requests which [`StunClock::left`] is to be told of.
    pub const fn is_leaving(&self) -> bool {
        self.leaving > 0
    }

    /// Requests leave now, and not when they were made: a thread may do much in between.
    pub fn left(&mut self, now: Instant) {
        let leaving = std::mem::take(&mut self.leaving);
        for (_, sent) in self.waiting.iter_mut().rev().take(leaving) {
            *sent = now;
        }
    }

    /// A message came. Returns the round trip when it answers a request.
    pub fn received(&mut self, message: &[u8], at: Instant) -> Option<Duration> {
        let (BINDING_SUCCESS, id) = read(message)? else {
            return None;
        };
        let found = self
            .waiting
            .iter()
            .position(|(waiting, _)| *waiting == id)?;
        let (_, sent) = self.waiting.remove(found)?;
        at.checked_duration_since(sent)
            .filter(|rtt| *rtt <= MAX_AGE)
    }
}

fn read(message: &[u8]) -> Option<([u8; 2], TransactionId)> {
    let (kind, rest) = message.split_first_chunk::<2>()?;
    let (_length_and_cookie, rest) = rest.split_first_chunk::<6>()?;
    Some((*kind, *rest.first_chunk::<12>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: [u8; 2], id: u8) -> Vec<u8> {
        [&kind[..], &[0, 0, 0x21, 0x12, 0xa4, 0x42], &[id; 12]].concat()
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs some instant to start from"
    )]
    fn a_response_meets_its_request_once() {
        let start = Instant::now();
        let later = start + Duration::from_millis(30);
        let mut clock = StunClock::default();
        for id in 0..100 {
            clock.sent(&message(BINDING_REQUEST, id), start);
        }
        assert!(clock.waiting.len() <= MAX_WAITING);
        let response = message(BINDING_SUCCESS, 99);
        assert_eq!(
            clock.received(&response, later),
            Some(Duration::from_millis(30))
        );
        assert_eq!(clock.received(&response, later), None);
        assert_eq!(clock.received(&message(BINDING_SUCCESS, 200), later), None);
        clock.left(start);
        clock.sent(&message(BINDING_REQUEST, 201), start);
        assert!(clock.is_leaving());
        clock.left(later);
        assert!(!clock.is_leaving());
        let waits = clock.received(&message(BINDING_SUCCESS, 201), later);
        assert_eq!(waits, Some(Duration::ZERO));
        assert_eq!(clock.received(&[1, 1, 0], later), None);
    }
}
