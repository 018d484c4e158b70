//! Work on several processors whose outcome doesn't depend on how many there are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// From how many parts on other threads are worth their start.
const WORTH_IT: usize = 2_000;

/// `f` of each item, in their order; `work` is how many parts all have together.
pub fn map<T: Sync, R: Send>(items: &[T], work: usize, f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    // How many processors there are takes some files to find out.
    let threads = match work {
        ..WORTH_IT => 1,
        _ => thread::available_parallelism().map_or(1, usize::from),
    };
    if threads < 2 {
        return items.iter().map(f).collect();
    }
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            match items.get(n) {
                Some(item) => done.push((n, f(item))),
                None => return done,
            }
        }
    };
    let mut all = thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(items.len()))
            .map(|_| scope.spawn(some))
            .collect();
        let mut all = some();
        for other in others {
            match other.join() {
                Ok(done) => all.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.sort_by_key(|(n, _)| *n);
    all.into_iter().map(|(_, r)| r).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_the_items_whoever_works() {
        let items: Vec<u32> = (0..1_000).collect();
        for work in [0, WORTH_IT] {
            let twice = map(&items, work, |n| n * 2);
            assert!(twice.iter().zip(&items).all(|(a, b)| *a == b * 2));
            assert_eq!(twice.len(), items.len());
        }
        assert!(map(&[] as &[u32], WORTH_IT, |n| *n).is_empty());
    }
}
