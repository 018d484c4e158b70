//! What a run cost, by what its parts counted: pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::measured;
use super::part::{FunctionTime, ReportPart};
use crate::cost::{self, Bill, DATAGRAM_OVERHEAD, GbSeconds, Used};
use crate::job::{Job, Vantage};
use crate::store::RequestCounts;

/// What was measured, at the job's prices; nothing when nothing left the machine and no function
/// ran.
pub(super) fn measured(
    job: &Job,
    measured: &measured::Used,
    reports: &BTreeMap<Vantage, &ReportPart>,
    requests: Option<RequestCounts>,
) -> Option<Bill> {
    let ran: Vec<FunctionTime> = reports.values().filter_map(|r| r.function).collect();
    if is_loopback(&job.url) && ran.is_empty() {
        return None;
    }
    let all_told = job
        .functions
        .keys()
        .all(|label| reports.get(label).is_some_and(|r| r.function.is_some()));
    let mut functions = GbSeconds::default();
    for time in &ran {
        functions.add(time.function, Duration::from_millis(time.billed_ms));
    }
    let (duration, settle) = (job.times.duration.0.as_secs(), job.times.settle.0.as_secs());
    // Between the windows nothing is counted.
    let whole = |bytes: u64| {
        let all = u128::from(bytes) * u128::from(duration + settle);
        u64::try_from(all / u128::from(duration.max(1))).unwrap_or(u64::MAX)
    };
    // Payload is counted, and what carries it is billed.
    let carried = |bytes: u64, packets: u64, more: u64| {
        let packets = packets.saturating_add(more);
        bytes.saturating_add(packets.saturating_mul(DATAGRAM_OVERHEAD))
    };
    let (sent, got) = (&measured.sent, &measured.packets);
    let used = Used {
        functions: (all_told && !ran.is_empty()).then_some(functions),
        invocations: cost::invocations(ran.len()),
        bucket_writes: requests.map(|r| r.creates + r.heartbeats + r.lists),
        bucket_reads: requests.map(|r| r.reads),
        prober_egress_bytes: whole(carried(sent.bytes, sent.packets, sent.retransmitted)),
        sfu_egress_bytes: whole(carried(got.bytes, got.received, got.duplicates)),
    };
    Some(cost::bill(&job.prices, &used))
}

/// Whether what goes to this SFU stays on the machine.
fn is_loopback(url: &str) -> bool {
    match url::Url::parse(url).as_ref().map(url::Url::host) {
        Ok(Some(url::Host::Domain(name))) => name == "localhost",
        Ok(Some(url::Host::Ipv4(ip))) => ip.is_loopback(),
        Ok(Some(url::Host::Ipv6(ip))) => ip.is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::{Function, Prices};
    use crate::report::combine::{CombineInputs, combine};
    use crate::report::sample;

    /// A run against a server elsewhere.
    fn away() -> CombineInputs {
        let mut inputs = sample::healthy();
        inputs.job.url = "wss://sfu.example.com".to_owned();
        inputs
    }

    /// A run of three functions, each of which told its time but those that are `silent`.
    fn of_functions(silent: &[&str]) -> CombineInputs {
        let mut inputs = away();
        let function = Function {
            memory_mib: 2_048,
            arm64: false,
        };
        for report in &mut inputs.reports {
            let label = report.vantage.as_str();
            inputs
                .job
                .functions
                .insert(report.vantage.clone(), function);
            report.function = (!silent.contains(&label)).then_some(FunctionTime {
                function,
                billed_ms: 90_000,
            });
        }
        inputs
    }

    fn bill(inputs: CombineInputs) -> Bill {
        combine(&inputs).cost.expect("something left the machine")
    }

    #[test]
    fn functions_cost_what_they_say_they_ran() {
        let bill = bill(of_functions(&[]));
        assert_eq!(bill.gb_seconds, Some(3.0 * 2.0 * 90.0));
        let prices = Prices::default();
        let expected = 540.0 * prices.gb_second_x86_64 + 8.0 * prices.invocation;
        assert!(
            (bill.functions.unwrap() - expected).abs() < 1e-9,
            "{bill:?}"
        );
    }

    #[test]
    fn a_function_that_told_nothing_is_not_free() {
        assert_eq!(bill(of_functions(&["b"])).functions, None);
        let mut lost = of_functions(&[]);
        lost.reports.retain(|r| r.vantage.as_str() != "b");
        assert_eq!(bill(lost).gb_seconds, None);
        assert_eq!(bill(away()).functions, None);
    }

    #[test]
    fn what_subscribers_got_left_the_sfu() {
        let inputs = away();
        let (mut bytes, mut packets) = (0, 0);
        for tier in &inputs.tiers {
            bytes += tier.packets.bytes;
            packets += tier.packets.received + tier.packets.duplicates;
        }
        let times = inputs.job.times;
        let all = (times.duration.0 + times.settle.0).as_secs_f64();
        let share = all / times.duration.0.as_secs_f64();
        let sent = (bytes + packets * DATAGRAM_OVERHEAD) as f64 * share;
        let expected = sent / 1e9 * Prices::default().sfu_egress_gb;
        let found = bill(inputs).sfu_egress;
        assert!(
            (found - expected).abs() < expected * 1e-6,
            "{found} {expected}"
        );
    }

    #[test]
    fn on_loopback_only_functions_cost() {
        let mut inputs = sample::healthy();
        inputs.job.url = "ws://127.0.0.1:7880".to_owned();
        assert_eq!(combine(&inputs).cost, None);
        let mut inputs = of_functions(&[]);
        inputs.job.url = "ws://localhost".to_owned();
        assert!(bill(inputs).functions.is_some());
    }
}
