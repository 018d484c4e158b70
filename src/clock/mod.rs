//! Clocks are measured, not trusted: the true offset lies inside the stated interval.
//!
//! *Local time* is this process's own clock: it reads like the wall clock, never steps, and goes
//! on while the machine is suspended ([`now`]).

mod estimate;
mod interval;
mod system;

pub use estimate::{Estimate, MAX_DRIFT_PPM};
pub use interval::{OffsetInterval, Sample};
pub use system::{instant_at, now, sleep_until};
