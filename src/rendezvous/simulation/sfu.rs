//! The SFU's nodes, each with a clock of its own, and what a prober measures of them.

use super::clock::SimClock;
use super::dice::Dice;
use super::history::Load;
use super::process::{Machine, Process};
use super::scenario::{BEGIN, Kind, Scenario};
use super::world::World;
use crate::clock::Sample;
use crate::job::{ClaimId, Digested, Job, Timestamp};
use crate::load::TierPlan;
use crate::participant::Transport;
use crate::prober::headcount;
use crate::rendezvous::prober::Tested;
use crate::report::part::{TierClock, TierPart};

/// The node that a prober meets, and that node's clock minus the true time, in microseconds. Behind
/// a balancer one may meet another node under the same name.
pub(super) fn node(scenario: &Scenario, p: usize, now: Timestamp) -> (u64, i64) {
    let (node, reference) = named(scenario, p, now);
    let off = match scenario.stray {
        Some((stray, off)) if stray == p => off,
        _ => 0,
    };
    (node, reference + off)
}

/// The clock of the node that a prober thinks it meets.
pub(super) fn named(scenario: &Scenario, p: usize, now: Timestamp) -> (u64, i64) {
    let node = p as u64 % scenario.nodes;
    let mut dice = Dice(scenario.seed ^ 0x50de ^ (node << 32));
    let (offset, drift_ppm) = (dice.around(3_000_000), dice.around(scenario.node_drift_ppm));
    let since = now.as_micros() - BEGIN.as_micros();
    (node, offset + since * drift_ppm / 1_000_000)
}

/// Ten pongs, or no path.
pub(super) fn self_test(
    scenario: &Scenario,
    process: &Process,
    p: usize,
    now: Timestamp,
) -> Result<Tested, String> {
    let mut dice = Dice(scenario.seed ^ 0x7e57 ^ ((p as u64) << 32));
    if scenario.kind == Kind::Rough && dice.chance(5) {
        return Err("no path".into());
    }
    let clock: &SimClock = &process.casting.clock;
    let samples = (0..10).map(|n| {
        let received = now.offset_micros(-n * 200_000);
        let (there, back) = (dice.roll(40_000), dice.roll(40_000));
        let (there, back) = (i64::try_from(there).unwrap(), i64::try_from(back).unwrap());
        let read = received.offset_micros(-back);
        let shown = read.offset_micros(node(scenario, p, read).1).as_micros();
        Sample::pong(
            clock.local(read.offset_micros(-there)),
            shown.div_euclid(1_000),
            clock.local(received),
        )
    });
    Ok(Tested {
        transport: Transport::Udp,
        clock: samples.collect(),
        node: format!("node{}", node(scenario, p, now).0),
    })
}

/// A tier's part, unless the process was not there when its window opened. Who was stopped within
/// it closes it when it goes on.
pub(super) fn measured(world: &World, load: &Load, n: usize) -> Option<TierPart> {
    let (scenario, process) = (&world.scenario, &world.processes[load.process]);
    let tier = load.orders.tiers.get(n)?;
    let clock = &process.casting.clock;
    let opened = clock.truly(tier.settle_from, BEGIN);
    let open = clock.truly(tier.from, BEGIN);
    if let Some((from, to)) = clock.stopped
        && BEGIN + from < open
        && opened < BEGIN + to
    {
        return None;
    }
    let orders = &load.orders;
    let mut part = part(&orders.job, &orders.claim, &tier.plan);
    part.requested = headcount(&orders.job, &tier.plan, orders.place);
    let late = clock.local(world.now).saturating_since(tier.to);
    if late.as_millis() > 20 {
        part.measured.to = part.measured.to + late;
    }
    let seconds = part.connected.subscribers.len();
    part.connected.publishers = vec![Some(part.requested.publishers); seconds];
    // Some tiers fail at some vantages.
    let chance = u64::from(load.orders.index) << 32 | u64::from(tier.plan.tier) << 48;
    let fails = scenario.seed.is_multiple_of(4)
        && Dice(scenario.seed ^ chance).chance(5 * u64::from(tier.plan.tier));
    if !fails {
        part.connected.subscribers = vec![Some(part.requested.subscribers); seconds];
    }
    if let Machine::Prober(machine) = &process.machine {
        let known = machine.run_clock(clock.local(world.now));
        let seen = |at| Some(known.as_ref()?.seen_at(at));
        let both = seen(tier.from).zip(seen(tier.to));
        part.clock = both.map(|(opened, closed)| TierClock { opened, closed });
    }
    Some(part)
}

/// A tier's part in which nobody was connected.
pub(super) fn part(job: &Digested<Job>, claim: &ClaimId, plan: &TierPlan) -> TierPart {
    let mut part = TEMPLATE.with(TierPart::clone);
    part.run = job.run.clone();
    part.job_sha256 = job.digest;
    part.vantage = claim.vantage();
    part.claim = claim.clone();
    part.tier = plan.tier;
    part.window = plan.window;
    part.measured = plan.window;
    part.requested.subscribers = plan.subscribers;
    let seconds = usize::try_from(job.times.duration.0.as_secs()).unwrap();
    part.connected.publishers = vec![Some(0); seconds];
    part.connected.subscribers = vec![Some(0); seconds];
    part.clock = None;
    part
}

thread_local! {
    static TEMPLATE: TierPart = template();
}

/// A part without distributions and the like: they cost time here, and decide nothing.
fn template() -> TierPart {
    let mut part = crate::report::sample::part("a", 0);
    for histogram in [
        &mut part.join_us,
        &mut part.connect_us,
        &mut part.track_subscribe_us,
        &mut part.rtt_us,
        &mut part.jitter_us,
        &mut part.loss_ppm,
        &mut part.bitrate_in_kbps,
        &mut part.generator.tick_lag_us,
        &mut part.generator.pacing_lag_us,
        &mut part.generator.join_lag_us,
    ] {
        *histogram = crate::measure::Histogram::default();
    }
    part.phases_us.clear();
    part.rtt_by_us.clear();
    part.flows.clear();
    part.layers.clear();
    part.quality.clear();
    part.transports.clear();
    part.bad_input = None;
    part.sfu.clear();
    part
}
