//! A small job and answers of a bucket, for tests.

use bytes::Bytes;

use crate::job::{Digested, Job, JobSpec, Origin, Timestamp, WriteId};
use crate::rendezvous::document;
use crate::store::{At, Location, Object, StoreError};

/// When the job was written, on every clock.
pub const T0: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// Run `r1` of one vantage, `iad`; `spec` has the last word.
pub fn job(spec: JobSpec) -> Digested<Job> {
    let iad = || vec!["iad".parse().unwrap()];
    let spec = JobSpec {
        url: Some("ws://sfu".into()),
        vantages: spec
            .vantages
            .clone()
            .or_else(|| spec.expect.is_none().then(iad)),
        ..spec
    };
    let origin = Origin {
        run: "r1".parse().unwrap(),
        write_id: WriteId::from_u64(1),
        now: T0,
    };
    document::digested(Job::resolve(spec, origin).unwrap()).unwrap()
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
    let at = At::store(&Location {
        bucket: "b".into(),
        prefix: String::new(),
        endpoint: "memory".into(),
    });
    Err(StoreError::Absent { at })
}
