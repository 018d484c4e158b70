//! What to do: the job, its ids, its quantities. A `Job` that exists is valid.

mod digest;
mod document;
mod error;
mod fleet;
pub(crate) mod hex;
mod id;
mod media;
mod ramp;
#[cfg(test)]
pub mod sample;
mod size;
mod spec;
pub mod threshold;
mod units;

pub use digest::{Digest, DigestError, Digested};
pub use document::{
    CLOCK_WIDTH, Job, KNOWN, LEAVE_ALLOWANCE, Limits, Origin, SCHEMA_MAJOR, SCHEMA_OLDEST,
    START_LEAD, START_SLACK, Times, Workload, sfu_url,
};
pub use error::JobError;
pub use fleet::{Fleet, VantageRole, VantageSpec, VantageSpecError};
pub(crate) use id::number;
pub use id::{ClaimId, IdError, RunId, Vantage, WriteId};
pub use media::{Layout, LayoutError, Media, VideoCodec, VideoCodecError};
pub use ramp::{Ramp, RampError, TIER_MAX, TIERS_MAX};
pub use size::Vantages;
pub use spec::JobSpec;
pub use threshold::{Quality, Threshold, ThresholdError};
pub use units::{Bitrate, Span, SpanError, Timestamp, TimestampError};
