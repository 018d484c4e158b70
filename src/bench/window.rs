//! What lies between two readings of a process.

use super::child::Reading;
use super::rounds::Cost;

/// Two readings of one process.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The earlier one.
    pub first: Reading,
    /// The later one.
    pub last: Reading,
}

impl Window {
    /// How long it is.
    pub fn seconds(&self) -> f64 {
        difference(self.last.sample.at_us, self.first.sample.at_us) / 1e6
    }

    /// What it cost.
    ///
    /// # Errors
    /// When no packets came or went: nothing can be divided by them.
    pub fn cost(&self) -> Result<Cost, String> {
        let packets = difference(self.last.sample.packets, self.first.sample.packets);
        if packets <= 0.0 {
            return Err("no packets came or went".to_owned());
        }
        Ok(Cost {
            seconds: self.seconds(),
            packets,
            cpu_us: difference(self.last.usage.cpu_ms, self.first.usage.cpu_ms) * 1_000.0,
        })
    }
}

/// What a counter moved on by.
pub fn difference(later: u64, earlier: u64) -> f64 {
    later as f64 - earlier as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::child::Sample;
    use crate::bench::usage::Usage;

    fn reading(at_us: u64, packets: u64, cpu_ms: u64) -> Reading {
        Reading {
            sample: Sample {
                at_us,
                packets,
                ..Sample::default()
            },
            usage: Usage {
                cpu_ms,
                ..Usage::default()
            },
            pacing_lag_us: 0,
        }
    }

    #[test]
    fn a_window_is_a_difference() {
        let window = Window {
            first: reading(1_000_000, 500, 100),
            last: reading(3_000_000, 20_500, 200),
        };
        let cost = window.cost().unwrap();
        assert_eq!(cost.packets_per_second(), 10_000.0);
        assert_eq!(cost.cpu_us_per_packet(), 5.0);
    }

    #[test]
    fn no_packets_are_no_figure() {
        let window = Window {
            first: reading(0, 5, 0),
            last: reading(1, 5, 1),
        };
        assert!(window.cost().is_err());
    }
}
