//! Round trips of RTCP's reports (RFC 3550, 6.4.1).

use std::time::{Duration, Instant};

use crate::participant::moment::Moment;
use crate::participant::rtp::rtcp::Block;

/// A round trip beyond this is a lie, or of a report that is long forgotten.
const MAX_AGE: Duration = Duration::from_secs(10);

/// Remembers when the latest sender reports really left.
#[derive(Debug, Default)]
pub struct ReportClock {
    latest: Option<Reports>,
}

/// Reports of one time: the one that they tell, which is when they were made.
#[derive(Debug)]
struct Reports {
    ntp_middle: u32,
    made: Instant,
    /// How much later they left; `None` before they did.
    late: Option<Duration>,
}

impl ReportClock {
    /// Sender reports are made that tell this time.
    pub fn made(&mut self, now: Moment) {
        self.latest = Some(Reports {
            ntp_middle: now.ntp_middle(),
            made: now.at,
            late: None,
        });
    }

    /// Whether there are reports which [`ReportClock::left`] is to be told of.
    pub fn is_leaving(&self) -> bool {
        self.latest.as_ref().is_some_and(|r| r.late.is_none())
    }

    /// They leave now, behind the media that was made with them.
    pub fn left(&mut self, now: Instant) {
        if let Some(reports) = &mut self.latest {
            let late = now.saturating_duration_since(reports.made);
            reports.late.get_or_insert(late);
        }
    }

    /// The round trip that a report block tells which came at `at`.
    pub fn round_trip(&self, block: &Block, at: Moment) -> Option<Duration> {
        if block.last_sr == 0 {
            return None;
        }
        // A - LSR - DLSR, in units of 2⁻¹⁶ s. Half of the circle is negative.
        let units = at
            .ntp_middle()
            .wrapping_sub(block.last_sr)
            .wrapping_sub(block.delay);
        let us = (u64::from(units) * 1_000_000) >> 16;
        let of_latest = self.latest.as_ref();
        let late = of_latest
            .filter(|reports| reports.ntp_middle == block.last_sr)
            .and_then(|reports| reports.late)
            .unwrap_or_default();
        let round_trip = Duration::from_micros(us);
        (units < 0x8000_0000 && round_trip <= MAX_AGE).then(|| round_trip.saturating_sub(late))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Timestamp;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    fn a_round_trip_counts_from_when_the_report_left() {
        let start = Instant::now();
        let moment = |us: u64| {
            let wall = Timestamp::from_micros(1_000_000_000) + Duration::from_micros(us);
            Moment {
                at: start + Duration::from_micros(us),
                wall,
                shared: wall,
            }
        };
        let block = |last_sr| Block {
            ssrc: 1,
            fraction_lost: 0,
            lost: 0,
            highest: 0,
            jitter: 0,
            last_sr,
            delay: 65_536 / 4,
        };
        let made = moment(0).ntp_middle();
        let mut clock = ReportClock::default();
        assert_eq!(clock.round_trip(&block(0), moment(0)), None);
        clock.made(moment(0));
        assert!(clock.is_leaving());
        clock.left(moment(10_000).at);
        clock.left(moment(20_000).at);
        assert!(!clock.is_leaving());
        for (last_sr, ms) in [(made, 40), (made - 1, 50)] {
            let rtt = clock.round_trip(&block(last_sr), moment(300_000));
            let off = rtt.unwrap().abs_diff(Duration::from_millis(ms));
            assert!(off < Duration::from_micros(50), "{rtt:?}");
        }
        // Sooner than the other side says that it waited.
        assert_eq!(clock.round_trip(&block(made), moment(200_000)), None);
    }
}
