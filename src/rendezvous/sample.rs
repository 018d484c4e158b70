//! A small job, a prober's settings and answers of a bucket, for tests.

use std::time::Duration;

use bytes::Bytes;

use crate::job::{Digested, Job, JobSpec, Timestamp, sample};
use crate::rendezvous::document;
use crate::rendezvous::prober::Settings;
use crate::signature::SigningKey;
use crate::store::sample::at;
use crate::store::{Object, StoreError};

/// When the job was written, on every clock.
pub const T0: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// Run `r1` of one vantage, `iad`; `spec` has the last word.
pub fn job(spec: JobSpec) -> Digested<Job> {
    let iad = || vec!["iad".parse().unwrap()];
    let spec = JobSpec {
        vantages: spec
            .vantages
            .clone()
            .or_else(|| spec.expect.is_none().then(iad)),
        ..spec
    };
    document::digested(sample::job(spec, T0)).unwrap()
}

/// A prober at `iad` that takes any run and waits ten minutes for it.
pub fn settings() -> Settings {
    Settings {
        run: None,
        vantage: "iad".parse().unwrap(),
        timeout: Duration::from_secs(600),
        must_end_by: None,
        function: None,
        build: "test".into(),
        key: SigningKey::from_seed([1; 32]).unwrap(),
        job_sha256: None,
        place: "here".into(),
        seed: 1,
    }
}

/// An object that was stored at [`T0`].
pub fn object(body: Bytes) -> Object {
    Object {
        body,
        etag: None,
        last_modified: T0,
    }
}

/// A definite "no such key".
pub fn absent<T>() -> Result<T, StoreError> {
    Err(StoreError::Absent { at: at() })
}
