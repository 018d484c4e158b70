//! Exit codes: a contract with scripts. None changes its meaning once released.

use std::process::{ExitCode, Termination};

/// What an exit code says. The numbers are k6's (`errext/exitcodes`) where the meaning is k6's;
/// muster's own begin at 111.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// The run is complete and every threshold held.
    Passed,
    /// muster itself failed: a bug.
    Internal,
    /// A threshold failed.
    ThresholdFailed,
    /// What was waited for did not come in time.
    TimedOut,
    /// The command line, the job or the environment is wrong. Nothing was started.
    BadConfiguration,
    /// Stopped by a signal or by the run's kill switch.
    Aborted,
    /// The run has a result, and it is no pass: a part of it is missing or unknown.
    Incomplete,
    /// The vantage's slot belongs to another prober. No load was put on.
    SlotTaken,
    /// The SFU or the bucket can't be reached, or refuses.
    Unreachable,
}

impl Exit {
    /// All of them, by number.
    pub const ALL: [Exit; 9] = [
        Exit::Passed,
        Exit::Internal,
        Exit::ThresholdFailed,
        Exit::TimedOut,
        Exit::BadConfiguration,
        Exit::Aborted,
        Exit::Incomplete,
        Exit::SlotTaken,
        Exit::Unreachable,
    ];

    /// The number that the process ends with.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Passed => 0,
            Exit::Internal => 1,
            Exit::ThresholdFailed => 99,
            Exit::TimedOut => 102,
            Exit::BadConfiguration => 104,
            Exit::Aborted => 105,
            Exit::Incomplete => 111,
            Exit::SlotTaken => 112,
            Exit::Unreachable => 113,
        }
    }
}

impl TryFrom<i32> for Exit {
    type Error = i32;

    /// The meaning of another muster's exit code.
    fn try_from(code: i32) -> Result<Exit, i32> {
        Exit::ALL
            .into_iter()
            .find(|exit| i32::from(exit.code()) == code)
            .ok_or(code)
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_its_own() {
        let codes: std::collections::BTreeSet<u8> = Exit::ALL.iter().map(|e| e.code()).collect();
        assert_eq!(codes.len(), Exit::ALL.len());
        for exit in Exit::ALL {
            assert_eq!(Exit::try_from(i32::from(exit.code())), Ok(exit));
        }
    }
}
