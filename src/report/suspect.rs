//! Whether a prober itself was short, so that its bad figures say nothing of the SFU.
//!
//! Every rule asks for direct evidence: what the prober lost, or how late it was. A busy machine
//! alone is no evidence, for a prober that shares its processors and is served in time measures
//! as well as on an idle one.

use std::fmt;

use super::part::TierPart;

/// CPU time used, of what could be used (its processors, or its cgroup's quota). Beyond, queues
/// build up within seconds: at 85 % utilisation the mean wait of an M/M/1 queue is six times the
/// service time.
pub const CPU_PERCENT: f64 = 85.0;

/// Waiting for a processor though runnable, in percent of the CPU time that could be used, over
/// all threads. A prober in ticks of some milliseconds waits a little at every wakeup: 1 to 2 %
/// beside a server and two other probers on two processors. A tenth of the machine spent waiting
/// means that it got what others left over.
pub const RUN_DELAY_PERCENT: f64 = 10.0;

/// Datagrams that died in the prober's own receive buffers, in percent of those that came or
/// should have. A tenth of the default bound on loss (1 %).
pub const RECEIVE_DROPS_PERCENT: f64 = 0.1;

/// How late one in a hundred ticks of the media loop was, in milliseconds: five ticks. A round trip
/// may be overstated by as much, a participant that long deaf, and receive buffers of the usual
/// 208 kB hold about as much of a 20 Mbit/s stream.
pub const TICK_LAG_P99_MS: f64 = 50.0;

/// How late one in a hundred frames was sent, in milliseconds: more than a frame at 15 frames a
/// second, so that subscribers elsewhere see stutter that is not the SFU's.
pub const PACING_LAG_P99_MS: f64 = 100.0;

/// How late the last of a tier's participants began to dial, in milliseconds: a quarter of the
/// second that the last one has to connect before its window opens.
pub const JOIN_LAG_MAX_MS: f64 = 250.0;

/// Frames not sent for lateness, in percent of what was to be sent. With more, the SFU had less
/// load than the tier says.
pub const FRAMES_SKIPPED_PERCENT: f64 = 1.0;

/// Datagrams that the prober's own kernel did not take, in percent of packets to be sent: to
/// subscribers they are lost, and not by the SFU. A tenth of the default bound on loss (1 %).
pub const SEND_FAILURES_PERCENT: f64 = 0.1;

/// What a prober was short of, with the measured value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shortage {
    /// It used this share of its CPU time.
    Cpu(f64),
    /// It waited for a processor for this share of its CPU time.
    RunDelay(f64),
    /// This share of datagrams died in its own buffers.
    ReceiveDrops(f64),
    /// One in a hundred ticks was later than this, in milliseconds.
    TickLag(f64),
    /// One in a hundred frames was sent later than this, in milliseconds.
    PacingLag(f64),
    /// A participant began to join later than this, in milliseconds.
    JoinLag(f64),
    /// This share of frames was not sent.
    FramesSkipped(f64),
    /// This share of packets was not sent.
    SendFailures(f64),
}

impl Shortage {
    /// Whether the SFU had less load than the tier says, so that good figures prove nothing
    /// either.
    pub const fn lowers_load(self) -> bool {
        matches!(self, Shortage::FramesSkipped(_) | Shortage::SendFailures(_))
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shortage::Cpu(p) => write!(f, "used {p:.0} % of its CPU"),
            Shortage::RunDelay(p) => {
                write!(f, "waited for a processor {p:.0} % of its CPU time")
            }
            Shortage::ReceiveDrops(p) => {
                write!(
                    f,
                    "dropped {p:.2} % of datagrams in its own receive buffers"
                )
            }
            Shortage::TickLag(ms) => write!(f, "ran late (tick lag p99 {ms:.0} ms)"),
            Shortage::PacingLag(ms) => write!(f, "sent late (pacing lag p99 {ms:.0} ms)"),
            Shortage::JoinLag(ms) => write!(f, "joined late (by {ms:.0} ms at worst)"),
            Shortage::FramesSkipped(p) => write!(f, "did not send {p:.1} % of its frames"),
            Shortage::SendFailures(p) => write!(f, "could not send {p:.2} % of its packets"),
        }
    }
}

/// All that a prober was short of in a tier; empty when it was fit to measure.
pub fn shortages(part: &TierPart) -> Vec<Shortage> {
    let g = &part.generator;
    let share = |n: u64, of: u64| (of > 0).then(|| n as f64 * 100.0 / of as f64);
    let p99_ms = |h: &crate::measure::Histogram| Some(h.quantile(0.99)? as f64 / 1e3);
    // Dropped datagrams are not among those received.
    let datagrams = part.packets.received.saturating_add(g.receive_drops);
    // A frame is one packet or more, so this share errs towards the prober.
    let frames = part.sent.packets.saturating_add(part.sent.frames_skipped);
    let over = |value: Option<f64>, bound: f64, shortage: fn(f64) -> Shortage| {
        value.filter(|v| *v > bound).map(shortage)
    };
    [
        over(
            g.cpu_ms.and_then(|ms| share(ms, g.cpu_available_ms)),
            CPU_PERCENT,
            Shortage::Cpu,
        ),
        over(
            g.run_delay_ms.and_then(|d| share(d, g.cpu_available_ms)),
            RUN_DELAY_PERCENT,
            Shortage::RunDelay,
        ),
        over(
            share(g.receive_drops, datagrams),
            RECEIVE_DROPS_PERCENT,
            Shortage::ReceiveDrops,
        ),
        over(p99_ms(&g.tick_lag_us), TICK_LAG_P99_MS, Shortage::TickLag),
        over(
            p99_ms(&g.pacing_lag_us),
            PACING_LAG_P99_MS,
            Shortage::PacingLag,
        ),
        over(
            g.join_lag_us.max().map(|us| us as f64 / 1e3),
            JOIN_LAG_MAX_MS,
            Shortage::JoinLag,
        ),
        over(
            share(part.sent.frames_skipped, frames),
            FRAMES_SKIPPED_PERCENT,
            Shortage::FramesSkipped,
        ),
        over(
            part.sent
                .send_failures
                .and_then(|n| share(n, part.sent.packets)),
            SEND_FAILURES_PERCENT,
            Shortage::SendFailures,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn short(change: impl FnOnce(&mut TierPart)) -> Vec<String> {
        let mut part = sample::part("a", 1);
        change(&mut part);
        shortages(&part).iter().map(Shortage::to_string).collect()
    }

    #[test]
    fn a_fit_prober_is_not_suspect() {
        assert!(short(|_| {}).is_empty());
    }

    #[test]
    fn a_busy_machine_alone_is_no_evidence() {
        assert!(short(|p| p.generator.machine_busy_percent = Some(100.0)).is_empty());
    }

    #[test]
    fn each_shortage_is_named_with_its_value() {
        for (text, found) in [
            (
                "used 90 % of its CPU",
                short(|p| p.generator.cpu_ms = Some(p.generator.cpu_available_ms * 9 / 10)),
            ),
            (
                "waited for a processor 25 % of its CPU time",
                short(|p| p.generator.run_delay_ms = Some(p.generator.cpu_available_ms / 4)),
            ),
            (
                "dropped 1.96 % of datagrams in its own receive buffers",
                short(|p| p.generator.receive_drops = p.packets.received / 50),
            ),
            (
                "ran late (tick lag p99 201 ms)",
                short(|p| p.generator.tick_lag_us.record_n(200_000, 1_000)),
            ),
            (
                "sent late (pacing lag p99 201 ms)",
                short(|p| p.generator.pacing_lag_us.record_n(200_000, 1_000)),
            ),
            (
                "joined late (by 301 ms at worst)",
                short(|p| p.generator.join_lag_us.record(300_000)),
            ),
            (
                "did not send 50.0 % of its frames",
                short(|p| p.sent.frames_skipped = p.sent.packets),
            ),
            (
                "could not send 1.00 % of its packets",
                short(|p| p.sent.send_failures = Some(p.sent.packets / 100)),
            ),
        ] {
            assert_eq!(found, [text]);
        }
    }

    #[test]
    fn what_could_not_be_read_is_no_evidence() {
        assert!(
            short(|p| {
                p.generator = crate::report::part::GeneratorHealth::default();
            })
            .is_empty()
        );
    }
}
