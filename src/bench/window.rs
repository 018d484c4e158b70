//! What lies between two readings of a process.

use super::child::Reading;

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

    /// RTP packets that came, or went.
    ///
    /// # Errors
    /// When there were none: nothing can be divided by them.
    pub fn packets(&self) -> Result<f64, String> {
        let packets = difference(self.last.sample.packets, self.first.sample.packets);
        if packets > 0.0 {
            Ok(packets)
        } else {
            Err("no packets came or went".to_owned())
        }
    }

    /// As [`Window::packets`], in a second.
    ///
    /// # Errors
    /// When there were none.
    pub fn packets_per_second(&self) -> Result<f64, String> {
        Ok(self.packets()? / self.seconds())
    }

    /// CPU time per packet, in microseconds.
    ///
    /// # Errors
    /// When there were none.
    pub fn cpu_us_per_packet(&self) -> Result<f64, String> {
        let cpu_ms = difference(self.last.usage.cpu_ms, self.first.usage.cpu_ms);
        Ok(cpu_ms * 1_000.0 / self.packets()?)
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
        assert_eq!(window.packets_per_second(), Ok(10_000.0));
        assert_eq!(window.cpu_us_per_packet(), Ok(5.0));
    }

    #[test]
    fn no_packets_are_no_figure() {
        let window = Window {
            first: reading(0, 5, 0),
            last: reading(1, 5, 1),
        };
        assert!(window.cpu_us_per_packet().is_err());
    }
}
