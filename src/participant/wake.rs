//! When a media thread wakes: as seldom as exactness allows.

use std::time::{Duration, Instant};

use super::beat::Beats;

/// Between two looks at peers on their way up, so that the phases of connecting take what the
/// server takes.
const CONNECTING: Duration = Duration::from_millis(1);

/// When a peer wants to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// For anything.
    pub any: Option<Instant>,
    /// For what waits for a beat alone, not for a tick: media to send, packets to ask for again.
    pub prompt: Option<Instant>,
    /// It is on its way up, or its media come over TCP: nothing of it waits for a tick.
    pub connecting: bool,
}

impl Due {
    /// Nobody is there.
    pub const NEVER: Self = Self {
        any: None,
        prompt: None,
        connecting: false,
    };

    /// The same, but for anything by `at`.
    pub fn at_latest(self, at: Instant) -> Self {
        Self {
            any: Some(self.any.map_or(at, |any| any.min(at))),
            ..self
        }
    }

    /// Whether to look at the peer in a wakeup at `now`.
    pub fn is_over(&self, now: Instant, woken: Woken) -> bool {
        let at = if woken.tick.is_some() || self.connecting {
            self.any
        } else {
            self.prompt
        };
        at.is_some_and(|at| at <= now)
    }
}

/// What a wakeup is for, beside what is prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// A tick: all sockets and deadlines are looked at. Says how late it came.
    pub tick: Option<Duration>,
}

/// Plans one thread's wakeups.
#[derive(Clone, Copy, Debug)]
pub struct Wakeups {
    tick: Duration,
    beats: Beats,
    next_tick: Instant,
    last: Instant,
}

impl Wakeups {
    /// The first tick comes with the first beat that is one `tick` or more from `now`.
    pub fn new(tick: Duration, beats: Beats, now: Instant) -> Self {
        Self {
            tick,
            beats,
            next_tick: beats.from(now + tick),
            last: now,
        }
    }

    /// When to wake next for these peers.
    pub fn next<'a>(&self, peers: impl IntoIterator<Item = &'a Due>) -> Instant {
        let (mut next, mut prompt) = (self.next_tick, None);
        for peer in peers {
            if peer.connecting {
                next = next.min(self.last + CONNECTING);
            }
            prompt = prompt.into_iter().chain(peer.prompt).min();
        }
        let beat = |due| self.beats.from(due).max(self.beats.after(self.last));
        prompt.map_or(next, |due| next.min(beat(due)))
    }

    /// The thread woke at `now`. Who is late by more than a tick doesn't hurry after.
    pub fn woke(&mut self, now: Instant) -> Woken {
        self.last = now;
        let tick = now.checked_duration_since(self.next_tick);
        if let Some(lag) = tick {
            self.next_tick = if lag > self.tick {
                self.beats.from(now + self.tick)
            } else {
                self.next_tick + self.tick
            };
        }
        Woken { tick }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs some instant to start from"
    )]
    fn wakeups() -> (Wakeups, Instant) {
        let start = Instant::now();
        (Wakeups::new(20 * MS, Beats::new(start), start), start)
    }

    fn prompt(at: Instant) -> [Due; 1] {
        [Due {
            any: Some(at),
            prompt: Some(at),
            connecting: false,
        }]
    }

    #[test]
    fn ticks_keep_their_beat_unless_one_is_missed() {
        let (mut wakeups, start) = wakeups();
        assert_eq!(wakeups.next(&[Due::NEVER]), start + 20 * MS);
        assert_eq!(wakeups.woke(start + 23 * MS).tick, Some(3 * MS));
        assert_eq!(wakeups.next(&[]), start + 40 * MS);
        assert_eq!(wakeups.woke(start + 65 * MS).tick, Some(25 * MS));
        assert_eq!(wakeups.next(&[]), start + 90 * MS);
    }

    #[test]
    fn what_is_prompt_wakes_with_the_beat_and_once_in_each() {
        let (mut wakeups, start) = wakeups();
        assert_eq!(wakeups.next(&prompt(start + 7 * MS)), start + 10 * MS);
        assert_eq!(wakeups.next(&prompt(start + 10 * MS)), start + 10 * MS);
        assert_eq!(wakeups.next(&prompt(start + 70 * MS)), start + 20 * MS);
        assert_eq!(wakeups.woke(start + 10 * MS).tick, None);
        assert_eq!(wakeups.next(&prompt(start + 4 * MS)), start + 20 * MS);
        assert_eq!(wakeups.woke(start + 21 * MS).tick, Some(MS));
        assert_eq!(wakeups.next(&prompt(start + 20 * MS)), start + 30 * MS);
        assert_eq!(wakeups.next(&[]), start + 40 * MS, "the tick stays");
    }

    #[test]
    fn all_else_waits_for_a_tick_once_a_peer_is_up() {
        let (mut wakeups, start) = wakeups();
        let mut due = Due {
            any: Some(start),
            prompt: None,
            connecting: true,
        };
        assert_eq!(wakeups.next(&[due]), start + CONNECTING);
        let woken = wakeups.woke(start + MS);
        assert!(due.is_over(start + MS, woken));
        due.connecting = false;
        assert_eq!(wakeups.next(&[due]), start + 20 * MS);
        assert!(!due.is_over(start + MS, woken));
        assert!(due.is_over(start + 20 * MS, wakeups.woke(start + 20 * MS)));
    }
}
