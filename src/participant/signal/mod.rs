//! LiveKit's signalling: dial, then a session whose decisions are pure, carried out by a task.

mod candidate;
mod dial;
mod inbox;
mod ping;
mod refusal;
mod request;
mod session;
mod subscriptions;
mod task;
mod tls;
mod url;
mod weigh;

pub use refusal::TOKEN_LEEWAY;
pub use task::run;
