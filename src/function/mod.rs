//! muster as AWS Lambda functions: what an event may ask for, how long a function has, how much
//! it takes. A function takes on no load that it can't finish.
//!
//! The work is that of the command line: [`coordinate`] is `muster run --start-in … --detach`,
//! [`probe`] is `muster probe`, [`finalize`] is `muster finalize`. `functions/` has the entry
//! points.

mod call;
mod coordinator;
mod event;
mod finalizer;
mod fit;
mod invocation;
mod prober;
mod size;

pub use call::{call_probers, find_probers};
pub use coordinator::coordinate;
pub use event::EventError;
pub use finalizer::finalize;
pub(crate) use fit::{billed, must_fit};
pub use invocation::{Context, Invocation, starting};
pub use prober::probe;
pub use size::Size;

use std::time::Duration;

use crate::cli::{LogFormat, log};
use crate::error::Error;

/// The longest that a function may run: Lambda's limit, and so the time that a run is planned
/// with.
pub const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Starts logging on standard error, which Lambda keeps; by `MUSTER_LOG`.
///
/// # Errors
/// When that can't be read.
pub fn start_log() -> Result<(), Error> {
    log::start(LogFormat::Text)
}
