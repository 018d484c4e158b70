//! The clock and the dice of the command line.

#![expect(
    clippy::disallowed_methods,
    reason = "this is where commands get the time and randomness that the rest takes as arguments"
)]

use crate::job::{Origin, RunId, Timestamp, WriteId};

/// Now, by this machine's clock.
pub fn now() -> Timestamp {
    Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
}

/// What a new run needs beside its spec. Its id sorts by time, unless `run` names it.
pub fn origin(run: Option<RunId>) -> Origin {
    let now = now();
    Origin {
        run: run.unwrap_or_else(|| RunId::new(now, rand::random())),
        write_id: WriteId::from_u64(rand::random()),
        now,
    }
}
