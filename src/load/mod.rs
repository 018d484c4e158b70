//! From a job to the steps that each prober takes: pure, the same for all who read it.

mod knee;
mod pace;
mod schedule;
mod share;

pub use knee::{Knee, Located, Verdict, headroom, locate};
pub use pace::{join_after, join_time};
pub use schedule::{TierPlan, Window, schedule};
pub use share::{Nth, Place, share};
