//! Small jobs, for tests.

use super::{Job, JobSpec, Origin, Timestamp, WriteId};

/// Run `r1`, written at `now`.
pub fn origin(now: Timestamp) -> Origin {
    Origin {
        run: "r1".parse().unwrap(),
        write_id: WriteId::from_u64(1),
        now,
    }
}

/// Run `r1` against `ws://sfu`, written at `now`; `spec` has the last word.
pub fn job(spec: JobSpec, now: Timestamp) -> Job {
    let url = spec.url.clone().or(Some("ws://sfu".into()));
    Job::resolve(JobSpec { url, ..spec }, origin(now)).unwrap()
}
