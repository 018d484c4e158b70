//! Runs and where each stands, for a terminal.

use super::table::table;
use crate::job::Workload;
use crate::rendezvous::status::{State, Status};
use crate::report::combined::RunVerdict;

/// A line for each run.
pub fn runs(runs: &[Status]) -> String {
    let head = [
        "run", "state", "answered", "reported", "ramp", "room", "SFU",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(runs.iter().map(row));
    table(&rows)
}

fn row(status: &Status) -> Vec<String> {
    let of = |n: usize| match status.expected {
        Some(expected) => format!("{n}/{expected}"),
        None => n.to_string(),
    };
    let unknown = || "-".to_owned();
    let (ramp, room, sfu) = match &status.job {
        None => (unknown(), unknown(), unknown()),
        Some(job) => {
            let Workload::SharedRoom { room, ramp, .. } = &job.workload;
            let tiers: Vec<String> = ramp.tiers().iter().map(u32::to_string).collect();
            let ramp = match tiers.as_slice() {
                [] => "baseline".to_owned(),
                tiers => tiers.join(","),
            };
            let sfu = url::Url::parse(&job.url);
            let host = sfu.ok().and_then(|url| url.host_str().map(str::to_owned));
            (ramp, room.clone(), host.unwrap_or_else(unknown))
        }
    };
    vec![
        status.run.to_string(),
        state(&status.state),
        of(status.ready.len()),
        of(status.reported.len()),
        ramp,
        room,
        sfu,
    ]
}

/// A state in a few words.
pub fn state(state: &State) -> String {
    match state {
        State::Open => "open".to_owned(),
        State::Starting => "starting".to_owned(),
        State::Running { tier: 0 } => "baseline".to_owned(),
        State::Running { tier } => format!("tier {tier}"),
        State::Collecting => "collecting".to_owned(),
        State::Over => "over, not combined".to_owned(),
        State::Combined { aborted: true, .. } => "aborted, combined".to_owned(),
        State::Combined { verdict, .. } => match verdict {
            Some(RunVerdict::Passed) => "passed".to_owned(),
            Some(RunVerdict::Failed) => "failed".to_owned(),
            Some(RunVerdict::Incomplete) => "incomplete".to_owned(),
            None => "combined, unreadable".to_owned(),
        },
        State::Aborted { reason } => format!("aborted: {reason}"),
        State::Cancelled { .. } => "cancelled".to_owned(),
        State::NeverStarted => "never started".to_owned(),
        State::Unreadable { .. } => "unreadable".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendezvous::status::Glimpse;

    #[test]
    fn what_is_unknown_is_shown_as_such() {
        let now = crate::job::Timestamp::from_micros(0);
        let run = "20261122-071339-4f9c2a".parse().unwrap();
        let text = runs(&[Status::of(&run, &Glimpse::default(), now)]);
        let line = text.lines().nth(1).unwrap();
        let cells: Vec<&str> = line.split_whitespace().collect();
        let wanted = [
            "20261122-071339-4f9c2a",
            "unreadable",
            "0",
            "0",
            "-",
            "-",
            "-",
        ];
        assert_eq!(cells, wanted);
    }
}
