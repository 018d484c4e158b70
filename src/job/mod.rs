//! What to do: the job, its ids, its quantities. A `Job` that exists is valid.

mod id;
mod units;

pub use id::{ClaimId, IdError, RunId, Vantage};
pub use units::{Bitrate, Span, SpanError, Timestamp, TimestampError};
