//! What is due: earliest first, and of what is due at the same time what was scheduled first.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::job::Timestamp;

pub(super) struct Queue<E> {
    heap: BinaryHeap<Due<E>>,
    order: u64,
}

struct Due<E> {
    at: Timestamp,
    order: u64,
    event: E,
}

impl<E> Queue<E> {
    pub(super) fn new() -> Self {
        Queue {
            heap: BinaryHeap::new(),
            order: 0,
        }
    }

    pub(super) fn schedule(&mut self, at: Timestamp, event: E) {
        self.order += 1;
        let order = self.order;
        self.heap.push(Due { at, order, event });
    }

    /// The next that is due by then.
    pub(super) fn next_by(&mut self, until: Timestamp) -> Option<(Timestamp, E)> {
        self.heap.peek().filter(|due| due.at <= until)?;
        let due = self.heap.pop()?;
        Some((due.at, due.event))
    }
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Due<E> {}

impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The heap gives its greatest first, which is to be the earliest.
impl<E> Ord for Due<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}
