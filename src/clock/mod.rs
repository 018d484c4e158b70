//! Clocks are measured, not trusted: the true offset lies inside the stated interval.
//!
//! *Local time* is this process's own clock: it reads like the wall clock, never steps, and goes
//! on while the machine is suspended ([`now`]).

mod agreement;
mod estimate;
mod interval;
mod run;
mod system;

pub use agreement::{Agreement, Doubt, agreement};
pub use estimate::{Estimate, MAX_DRIFT_PPM};
pub use interval::{OffsetInterval, Sample};
pub use run::{OffsetAt, Reading, ReferenceClock, RunClock};
pub use system::{now, sleep_until};
