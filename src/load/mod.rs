//! From a job to the steps that each prober takes: pure, the same for all who read it.

mod schedule;
mod share;

pub use schedule::{TierPlan, Window, schedule};
pub use share::share;
