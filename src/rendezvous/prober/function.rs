//! What a prober knows of the function that it runs in.

use std::time::Duration;

use super::whole_ms;
use crate::cost;
use crate::job::Timestamp;
use crate::report::part::FunctionTime;

/// The function that a prober is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// When its event came, in local time.
    pub arrived: Timestamp,
    /// From the start of its process until it could take events, unless it had served one before.
    pub init: Option<Duration>,
    /// The most participants that a function of its size takes.
    pub participants_max: u32,
    /// What is paid for.
    pub billed: cost::Function,
}

impl Function {
    /// What it will be billed for if it ends now, in local time.
    pub(super) fn time(&self, now: Timestamp) -> FunctionTime {
        let ran = now.saturating_since(self.arrived) + self.init.unwrap_or_default();
        FunctionTime {
            function: self.billed,
            billed_ms: whole_ms(ran),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cold_start_is_billed_as_well() {
        let arrived = Timestamp::from_micros(1_800_000_000_000_000);
        let function = |init_ms: Option<u64>| Function {
            arrived,
            init: init_ms.map(Duration::from_millis),
            participants_max: 300,
            billed: cost::Function {
                memory_mib: 1_769,
                arm64: false,
            },
        };
        let now = arrived + Duration::from_secs(90);
        assert_eq!(function(None).time(now).billed_ms, 90_000);
        assert_eq!(function(Some(120)).time(now).billed_ms, 90_120);
    }
}
