//! How a coordinator, probers and a finalizer meet in a bucket. Only a claim that the roster
//! names may put on load.

pub mod keys;
pub mod objects;
