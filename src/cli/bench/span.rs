//! How long a bench may be told to measure.

use std::time::Duration;

/// Nobody waits longer for a bench.
const MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A span of a day at most, and of `least` seconds at least.
pub fn span(text: &str, least: u64) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|e| e.to_string())?;
    if span < Duration::from_secs(least) {
        return Err(format!("it is at least {least}s"));
    }
    if span > MAX {
        return Err("it is at most 24h".to_owned());
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_neither_too_short_nor_too_long() {
        assert_eq!(span("10s", 2), Ok(Duration::from_secs(10)));
        assert_eq!(span("1s", 2), Err("it is at least 2s".to_owned()));
        for long in ["25h", "500000000000years"] {
            assert!(span(long, 2).is_err(), "{long}");
        }
        assert!(span("soon", 2).is_err());
    }
}
