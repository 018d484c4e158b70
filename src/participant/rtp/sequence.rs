//! Sequence numbers that don't wrap: 48 bits, as SRTP counts packets (RFC 3711, 3.3.1).

/// The index nearest to `highest` whose low 16 bits are `sequence`; `None` when that lies before
/// the stream's start.
pub fn extend(highest: u64, sequence: u16) -> Option<u64> {
    highest.checked_add_signed(i64::from(distance(low(highest), sequence)))
}

/// How far `to` lies ahead of `from`, around the wrap.
#[expect(
    clippy::cast_possible_wrap,
    reason = "the upper half of the 16-bit circle is behind"
)]
pub const fn distance(from: u16, to: u16) -> i16 {
    to.wrapping_sub(from) as i16
}

/// The 16 bits that go on the wire.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the wire holds the low bits"
)]
pub const fn low(index: u64) -> u16 {
    index as u16
}

/// Indices remembered by a [`Window`]: one second at 1,000 packets a second.
pub const WINDOW: u64 = 1_024;

/// Which of the last [`WINDOW`] indices have come.
#[derive(Clone, Debug)]
pub struct Window {
    highest: u64,
    seen: [u64; 16],
}

/// What a [`Window`] knows of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Ahead of all others, by so much.
    Ahead(u64),
    /// Behind, and had not come.
    Gap,
    /// It had come.
    Seen,
    /// Too far behind to know.
    TooOld,
}

impl Window {
    /// A window in which only `first` has come.
    pub fn new(first: u64) -> Self {
        let mut window = Self {
            highest: first,
            seen: [0; 16],
        };
        window.set(first, true);
        window
    }

    /// The highest index that came.
    pub const fn highest(&self) -> u64 {
        self.highest
    }

    /// Where an index lies.
    pub fn place(&self, index: u64) -> Place {
        match index.checked_sub(self.highest) {
            Some(0) => Place::Seen,
            Some(ahead) => Place::Ahead(ahead),
            None if self.highest - index >= WINDOW => Place::TooOld,
            None if self.get(index) => Place::Seen,
            None => Place::Gap,
        }
    }

    /// Notes that an index came, and returns where it lay.
    pub fn insert(&mut self, index: u64) -> Place {
        let place = self.place(index);
        match place {
            Place::Ahead(ahead) => {
                for skipped in 1..ahead.min(WINDOW) {
                    self.set(self.highest + skipped, false);
                }
                self.highest = index;
                if ahead >= WINDOW {
                    self.seen = [0; 16];
                }
                self.set(index, true);
            }
            Place::Gap => self.set(index, true),
            Place::Seen | Place::TooOld => {}
        }
        place
    }

    fn get(&self, index: u64) -> bool {
        let (word, bit) = Self::slot(index);
        self.seen.get(word).is_some_and(|w| w >> bit & 1 == 1)
    }

    fn set(&mut self, index: u64, to: bool) {
        let (word, bit) = Self::slot(index);
        if let Some(w) = self.seen.get_mut(word) {
            *w = *w & !(1 << bit) | u64::from(to) << bit;
        }
    }

    const fn slot(index: u64) -> (usize, u32) {
        ((index / 64 % 16) as usize, (index % 64) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn an_index_extends_across_the_wrap_both_ways() {
        assert_eq!(extend(65_535, 0), Some(65_536));
        assert_eq!(extend(65_536, 65_535), Some(65_535));
        assert_eq!(extend(0, 65_535), None);
        assert_eq!(extend(5 << 16 | 100, 90), Some(5 << 16 | 90));
    }

    proptest! {
        #[test]
        fn a_window_agrees_with_a_set(start in 0u64..70_000, steps in proptest::collection::vec(-40i64..60, 1..200)) {
            let mut window = Window::new(start);
            let mut seen = BTreeSet::from([start]);
            for step in steps {
                let index = window.highest().saturating_add_signed(step);
                let highest = window.highest();
                let expected = if index > highest { Place::Ahead(index - highest) }
                    else if seen.contains(&index) { Place::Seen }
                    else { Place::Gap };
                prop_assert_eq!(window.insert(index), expected);
                seen.insert(index);
            }
        }

        #[test]
        fn a_jump_forgets_no_gap(jump in 1u64..5_000) {
            let mut window = Window::new(10);
            window.insert(10 + jump);
            for back in 1..jump.min(WINDOW) {
                prop_assert_eq!(window.place(10 + jump - back), Place::Gap);
            }
            let at_start = window.place(10);
            prop_assert_eq!(at_start, if jump >= WINDOW { Place::TooOld } else { Place::Seen });
        }
    }
}
