//! Whether this machine's clock is right enough for the tokens that it makes.

use std::time::Duration;

use super::{Line, failed, ok, skipped};
use crate::clock::{Estimate, OffsetInterval, Sample};
use crate::error::Error;
use crate::exit::Exit;
use crate::participant::TOKEN_LEEWAY;

const NAME: &str = "clock";

/// How far another clock is ahead of this machine's, by these readings.
pub(super) fn read(samples: impl IntoIterator<Item = Sample>) -> Option<OffsetInterval> {
    let mut estimate = Estimate::unknown();
    let mut last = None;
    for sample in samples {
        last = last.max(Some(sample.received));
        estimate.add(&sample);
    }
    estimate.at(last?)
}

/// What the offsets of others' clocks say of this machine's.
pub(super) fn line(clocks: [(&str, Option<OffsetInterval>); 2]) -> Line {
    let known = clocks
        .iter()
        .filter_map(|(whose, at)| Some((*whose, (*at)?)));
    let known: Vec<(&str, OffsetInterval)> = known.collect();
    for (whose, offset) in &known {
        let (surely, way) = match offset {
            OffsetInterval { lo_us, .. } if *lo_us > 0 => (*lo_us, "behind"),
            OffsetInterval { hi_us, .. } => (hi_us.saturating_neg(), "ahead of"),
        };
        let surely = Duration::from_micros(u64::try_from(surely).unwrap_or(0));
        if surely > TOKEN_LEEWAY {
            let text = format!(
                "this machine's is {} s {way} {whose}: the SFU takes no token made by it; set the clock",
                surely.as_secs()
            );
            return failed(NAME, Error::new(Exit::BadConfiguration, text));
        }
    }
    let within = known.iter().map(|(whose, offset)| {
        let most_us = offset.lo_us.unsigned_abs().max(offset.hi_us.unsigned_abs());
        let most = Duration::from_micros(most_us).as_secs_f64();
        format!("{most:.3} s of {whose}")
    });
    let within: Vec<String> = within.collect();
    match within.is_empty() {
        true => skipped(NAME, "nobody told the time"),
        false => ok(
            NAME,
            format!("this machine's is within {}", within.join(" and ")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(lo_s: i64, hi_s: i64) -> Option<OffsetInterval> {
        Some(OffsetInterval {
            lo_us: lo_s * 1_000_000,
            hi_us: hi_s * 1_000_000,
        })
    }

    #[test]
    fn a_clock_fails_that_is_surely_off_by_more_than_tokens_bear() {
        for (sfu, bucket, says) in [
            (None, None, "not tried"),
            (offset(0, 1), None, "ok"),
            (offset(-31, -29), offset(-30, -29), "ok"),
            (offset(30, 90), None, "ok"),
            (None, offset(-3_601, -3_600), "3600 s ahead of the bucket's"),
            (offset(3_600, 3_601), None, "3600 s behind the SFU's"),
        ] {
            let text = line([("the SFU's", sfu), ("the bucket's", bucket)]).text();
            assert!(text.contains(says), "{text}");
            assert_eq!(text.starts_with("failed"), says.contains("3600"), "{text}");
        }
    }
}
