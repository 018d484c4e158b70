//! Whether a series of readings is flat: pure.

use serde::Serialize;

/// Fewer readings than this make no line.
pub const POINTS_MIN: usize = 5;

/// How a value grew over the time that it was read.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Growth {
    /// Of what.
    pub what: &'static str,
    /// By a straight line through all readings (least squares), per hour.
    pub per_hour: f64,
    /// The same over the whole time.
    pub total: f64,
    /// What the total may come to.
    pub allowed: f64,
    /// The whole time, in seconds.
    pub seconds: f64,
}

impl Growth {
    /// Whether it grew by no more than is allowed. Falling is no growth.
    pub fn is_flat(&self) -> bool {
        self.total < self.allowed
    }

    /// In words.
    pub fn text(&self) -> String {
        format!(
            "{}: {:+.1} in {:.0} s by the line through all readings ({:+.0} an hour), less than {:.1} is flat",
            self.what, self.total, self.seconds, self.per_hour, self.allowed
        )
    }
}

/// The growth of `points`, pairs of seconds and value, ascending in time; `None` of too few.
pub fn growth(what: &'static str, allowed: f64, points: &[(f64, f64)]) -> Option<Growth> {
    if points.len() < POINTS_MIN {
        return None;
    }
    let seconds = points.last()?.0 - points.first()?.0;
    let n = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / n;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / n;
    let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let joint: f64 = points
        .iter()
        .map(|(x, y)| (x - mean_x) * (y - mean_y))
        .sum();
    let slope = joint / spread;
    slope.is_finite().then_some(Growth {
        what,
        per_hour: slope * 3_600.0,
        total: slope * seconds,
        allowed,
        seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_through_noise() {
        let points: Vec<_> = (0..100_i32)
            .map(|i| (f64::from(i), 7.0 + f64::from(i) * 0.5 + f64::from(i % 2)))
            .collect();
        let growth = growth("x", 1.0, &points).unwrap();
        assert!((growth.total - 49.5).abs() < 0.2, "{growth:?}");
        assert!((growth.per_hour - 1_800.0).abs() < 10.0);
        assert!(!growth.is_flat());
    }

    #[test]
    fn falling_is_flat_and_no_time_is_no_line() {
        let falling: Vec<_> = (0..10_i32).map(|i| (f64::from(i), -f64::from(i))).collect();
        assert!(growth("x", 1.0, &falling).unwrap().is_flat());
        assert_eq!(growth("x", 1.0, &[(1.0, 1.0); 10]), None);
        assert_eq!(growth("x", 1.0, &falling[..4]), None);
    }
}
