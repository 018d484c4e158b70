//! Real servers, real clients: one test binary, a module per subject.
//!
//! `cargo test counterparts` runs one module. What a machine lacks is skipped out loud (see
//! [`fixtures::skip`]).
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests fail by panicking, and wait for real servers on the real clock"
)]

mod accuracy;
mod bucket;
mod check;
mod cli;
mod clock;
mod counterparts;
mod density;
mod deploy;
mod dropped;
mod finalize;
mod fixtures;
mod functions;
mod hostile;
mod infra;
mod ipv6;
mod knee;
mod local;
mod minio;
mod operate;
mod participant;
mod refusals;
mod rooms;
mod skew;
mod store;
mod tcp;
mod tickets;
mod tidy;
mod vantages;
mod wss;
