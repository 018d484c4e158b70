//! What one prober measured, what all together say, what that decides.

pub mod combine;
pub mod combined;
pub mod part;
mod slots;

pub use combine::{CombineInputs, VantageState, combine};
pub use combined::{Combined, RunVerdict};
