//! Puts a new run's times on the bucket's clock, which judges them.

use super::edge;
use crate::clock::{self, Estimate, OffsetInterval};
use crate::job::{CLOCK_WIDTH, Origin, RunId};
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::reference::is_wider;
use crate::store::{DateSamples, Store, StoreError};

/// The most readings: each halves the interval, and may wait for a second to begin.
const READINGS_MAX: u32 = 4;

/// Reads the bucket's clock, and shifts the origin's time if that shows that this machine's is
/// another. `dates` are those of the answers of `store`; `named` is the run's id, if it isn't made up
/// by time.
///
/// # Errors
/// When the bucket doesn't answer.
pub async fn by_bucket(
    store: &dyn Store,
    dates: &DateSamples,
    origin: Origin,
    named: Option<RunId>,
) -> Result<Origin, StoreError> {
    let key = RunKey::new(&origin.run, Item::Job);
    let mut known = Estimate::unknown();
    for _ in 0..READINGS_MAX {
        clock::sleep_until(known.best_moment(clock::now())).await;
        // Any other answer has a date, and what is wrong with it shows when the bucket is tried.
        if let Err(e @ StoreError::Unreachable { .. }) = store.get(&key.key(), key.limit()).await {
            return Err(e);
        }
        known = Estimate::unknown();
        for sample in dates.latest() {
            known.add(&sample);
        }
        let width = known.at(clock::now());
        if width.is_none_or(|i| !is_wider(i, CLOCK_WIDTH.0)) {
            break;
        }
    }
    Ok(match known.at(clock::now()) {
        Some(offset) => shifted(origin, offset, named),
        None => origin,
    })
}

fn shifted(origin: Origin, offset: OffsetInterval, named: Option<RunId>) -> Origin {
    if offset.lo_us <= 0 && offset.hi_us >= 0 {
        return origin;
    }
    let off_s = offset.midpoint_us() / 1_000_000;
    if off_s != 0 {
        let way = if off_s < 0 { "ahead of" } else { "behind" };
        tracing::warn!(
            "this machine's clock is about {} s {way} the bucket's; the run's times are on the bucket's",
            off_s.abs()
        );
    }
    edge::origin_at(offset.to_other(origin.now), named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Timestamp, sample};

    #[test]
    fn only_a_sure_difference_shifts() {
        let origin = |us| sample::origin(Timestamp::from_micros(us));
        for (lo_us, hi_us, now) in [
            (-400_000, 700_000, 50_000_000),
            (0, 1_000_000, 50_000_000),
            (9_500_000, 10_500_000, 60_000_000),
            (-10_500_000, -9_500_000, 40_000_000),
        ] {
            let offset = OffsetInterval { lo_us, hi_us };
            let named: RunId = "r1".parse().unwrap();
            let shifted = shifted(origin(50_000_000), offset, Some(named.clone()));
            assert_eq!(shifted.now, Timestamp::from_micros(now), "{lo_us} {hi_us}");
            assert_eq!(shifted.run, named);
        }
    }
}
