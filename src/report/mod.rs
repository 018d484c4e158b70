//! What one prober measured, what all together say, what that decides.
//!
//! [`part`] is what a prober sends. [`combine()`] decides which parts count (`accept`), adds them
//! up tier by tier (`merge`), turns sums into figures (`figures`), judges them (`verdict`, with
//! `suspect` for the probers themselves, `publishers` for those who were to send and `clocks` for
//! what was known of the time) and says what became of each slot (`slots`). The outcome is
//! [`combined`].

mod accept;
pub mod bad_input;
mod bill;
mod brief;
mod clocks;
pub mod combine;
pub mod combined;
mod detail;
mod figures;
pub mod flow;
mod latency;
mod measured;
mod merge;
pub mod packed;
mod parallel;
pub mod part;
mod publishers;
#[cfg(test)]
pub mod sample;
mod sites;
#[cfg(test)]
mod skew;
mod slots;
pub mod suspect;
mod tier;
mod verdict;

pub use combine::{CombineInputs, VantageState, combine};
pub use combined::{Combined, RunVerdict};
pub use detail::FULL_MAX;
