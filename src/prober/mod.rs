//! The load of one vantage: participants that join, are measured, and leave. Load ends by the
//! plan's `stop_at`, whatever the bucket says.
//!
//! [`self_test`] proves the path before anything is promised; [`start_load`] carries out a
//! [`LoadPlan`] and hands out a part per tier as soon as it is measured. Deciding *whether* to
//! load is the rendezvous' work.

mod cohort;
pub(crate) mod descriptors;
mod flows;
pub(crate) mod host;
mod identity;
mod load;
mod plan;
mod self_test;
mod tally;
mod time;
mod tokens;

pub(crate) use identity::Role;
pub use load::{LiveFigures, Pongs, RunningLoad, start_load};
pub use plan::{LoadPlan, headcount};
pub use self_test::{SelfTest, SelfTestError, self_test};
pub use tokens::{JoinTokens, MintedTokens, TokenError};
pub(crate) use tokens::{TESTER, join_token};

use std::path::PathBuf;
use std::sync::Arc;

use crate::participant::{Engine, Transport};

/// What every join of a prober needs.
#[derive(Clone, Debug)]
pub struct LoadContext {
    /// The media threads.
    pub engine: Engine,
    /// Where its join tokens come from.
    pub tokens: JoinTokens,
    /// A CA to trust for `wss://` beside the system's, as a PEM file.
    pub ca_file: Option<Arc<PathBuf>>,
    /// How media travel, which trying the path has shown.
    pub transport: Transport,
}
