//! How the latest missing packets came after all, for those that come twice.

use std::collections::VecDeque;

/// Those remembered: a second of a lossy stream.
const MAX: usize = 64;

/// How a missing packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// In its own stream. Where retransmissions have a stream of theirs, this is the original.
    InStream,
    /// In the stream of retransmissions.
    Repair,
}

/// A gap that was filled, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Of the packet.
    pub index: u64,
    /// How it came first.
    pub came: Came,
    /// It had been put down to the receive buffer here.
    pub own: bool,
}

/// The latest gaps that were filled.
#[derive(Debug, Default)]
pub struct FilledGaps(VecDeque<Filled>);

impl FilledGaps {
    /// A gap was filled.
    pub fn filled(&mut self, gap: Filled) {
        if self.0.len() >= MAX {
            self.0.pop_front();
        }
        self.0.push_back(gap);
    }

    /// The packet at `index` came once more, this way. If it is the other half of a late original
    /// with its repair, for the first time: how the first half filled the gap.
    pub fn counterpart(&mut self, index: u64, came: Came) -> Option<Filled> {
        let other = |gap: &Filled| gap.index == index && gap.came != came;
        let place = self.0.iter().position(other)?;
        self.0.remove(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(index: u64, came: Came) -> Filled {
        let own = false;
        Filled { index, came, own }
    }

    #[test]
    fn each_has_one_counterpart() {
        let mut filled = FilledGaps::default();
        let seven = gap(7, Came::Repair);
        filled.filled(seven);
        assert_eq!(filled.counterpart(7, Came::Repair), None, "a second repair");
        assert_eq!(filled.counterpart(8, Came::InStream), None);
        assert_eq!(filled.counterpart(7, Came::InStream), Some(seven));
        assert_eq!(filled.counterpart(7, Came::InStream), None, "a duplicate");
    }

    #[test]
    fn only_the_latest_are_remembered() {
        let mut filled = FilledGaps::default();
        for index in 0..1_000 {
            filled.filled(gap(index, Came::InStream));
        }
        assert_eq!(filled.0.len(), MAX);
        assert!(filled.counterpart(999, Came::Repair).is_some());
        assert!(filled.counterpart(0, Came::Repair).is_none());
    }
}
