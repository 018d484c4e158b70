//! Where an answer came from, for tests.

use super::{At, Location};

/// Bucket `b`, in memory.
pub fn at() -> At {
    At::store(&Location {
        bucket: "b".into(),
        prefix: String::new(),
        endpoint: "memory".into(),
    })
}
