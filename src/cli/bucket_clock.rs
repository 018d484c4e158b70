//! Puts a new run's times on the bucket's clock, which judges them.

use crate::clock::{self, Estimate, OffsetInterval};
use crate::job::Origin;
use crate::rendezvous::keys::{Item, RunKey};
use crate::store::{S3Store, Store as _, StoreError};

/// Reads the bucket's clock once, and shifts the origin's time if that shows that this machine's
/// is another.
///
/// # Errors
/// When the bucket doesn't answer.
pub async fn by_bucket(store: &S3Store, origin: Origin) -> Result<Origin, StoreError> {
    let key = RunKey::new(&origin.run, Item::Job);
    // Any other answer has a date, and what is wrong with it shows when the bucket is tried.
    if let Err(e @ StoreError::Unreachable { .. }) = store.get(&key.key(), key.limit()).await {
        return Err(e);
    }
    let mut bucket = Estimate::unknown();
    for sample in store.dates().take() {
        bucket.add(&sample);
    }
    Ok(match bucket.at(clock::now()) {
        Some(offset) => shifted(origin, offset),
        None => origin,
    })
}

fn shifted(origin: Origin, offset: OffsetInterval) -> Origin {
    if offset.lo_us <= 0 && offset.hi_us >= 0 {
        return origin;
    }
    let off_s = offset.midpoint_us() / 1_000_000;
    let way = if off_s < 0 { "ahead of" } else { "behind" };
    tracing::warn!(
        "this machine's clock is about {} s {way} the bucket's; the run's times are on the bucket's",
        off_s.abs()
    );
    Origin {
        now: offset.to_other(origin.now),
        ..origin
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Timestamp, WriteId};

    #[test]
    fn only_a_sure_difference_shifts() {
        let origin = |us| Origin {
            run: "r1".parse().unwrap(),
            write_id: WriteId::from_u64(1),
            now: Timestamp::from_micros(us),
        };
        for (lo_us, hi_us, now) in [
            (-400_000, 700_000, 50_000_000),
            (0, 1_000_000, 50_000_000),
            (9_500_000, 10_500_000, 60_000_000),
            (-10_500_000, -9_500_000, 40_000_000),
        ] {
            let shifted = shifted(origin(50_000_000), OffsetInterval { lo_us, hi_us });
            assert_eq!(shifted.now, Timestamp::from_micros(now), "{lo_us} {hi_us}");
        }
    }
}
