//! How a coordinator, probers and a finalizer meet in a bucket. Only a claim that the roster
//! names may put on load.
//!
//! The protocol is pure: what was seen in the bucket and `now` go in, actions come out
//! ([`coordinator`], [`prober`], [`finalizer`]). [`drive`] carries the actions out.

pub mod abort;
mod admission;
mod chance;
pub mod coordinator;
pub mod document;
pub mod drive;
mod error;
pub mod exchange;
pub mod finalizer;
pub mod keys;
pub mod objects;
pub mod prober;
mod progress;
pub mod reference;
pub mod rights;
mod roster;
pub mod rouse;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod simulation;
pub mod status;

use std::time::Duration;

pub use error::RendezvousError;
pub use progress::{ProberProgress, Progress};

/// How long a prober may act without a definite answer from the bucket, and how long the others
/// count with one that they don't hear of.
pub const LEASE: Duration = Duration::from_secs(60);
