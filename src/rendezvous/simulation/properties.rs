//! What must hold in every world.

use std::collections::BTreeMap;
use std::time::Duration;

use super::process::{Machine, truly};
use super::scenario::{BEGIN, Role};
use super::world::World;
use crate::job::{Fleet, Vantage};
use crate::rendezvous::LEASE;
use crate::rendezvous::admission::{Admission, Verdict, admission, seated_by_arrival, verdict};
use crate::rendezvous::document;
use crate::rendezvous::exchange::Reply;
use crate::rendezvous::finalizer::Finished;
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::objects::{ReferenceClock, Start, StartDocument};
use crate::rendezvous::prober::Orders;
use crate::rendezvous::{RendezvousError, coordinator};
use crate::report::combined::SlotState;
use crate::report::part::Outcome;
use crate::store::Settled;

/// For a request's way and a timer's grain.
const SLACK: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct Properties {
    pub(super) findings: Vec<String>,
    loaded: Vec<Vantage>,
}

impl Properties {
    pub(super) fn found(&mut self, what: String) {
        self.findings.push(what);
    }

    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.found(what());
        }
    }

    /// Load comes only from a claim that a valid start names, once per vantage, in its windows.
    pub(super) fn load_begins(&mut self, world: &World, p: usize, orders: &Orders) {
        let vantage = orders.claim.vantage();
        self.check(!self.loaded.contains(&vantage), || {
            format!("{vantage} loads twice")
        });
        self.loaded.push(vantage.clone());
        if let Some(at) = world.aborted_at {
            // An answer that came within five seconds may have left before.
            let late = world.now.saturating_since(at) > Duration::from_secs(6);
            self.check(!late, || format!("{vantage} loads after the abort"));
        }
        let Some(start) = start(world) else {
            return self.found(format!("{vantage} loads without a valid start"));
        };
        let seated = match admission(&start, &orders.job, &orders.claim) {
            Admission::Seated(_) => true,
            Admission::ByArrival => {
                orders.claim.k() == 0
                    && seated_by_arrival(&world.claims(), &orders.job).contains(&vantage)
            }
            Admission::Replaced | Admission::Outside => false,
        };
        self.check(seated, || format!("{} loads unseated", orders.claim));
        self.windows_are_where_they_should_be(world, p, orders, &start);
    }

    fn windows_are_where_they_should_be(
        &mut self,
        world: &World,
        p: usize,
        orders: &Orders,
        start: &Start,
    ) {
        let process = &world.processes[p];
        let Machine::Prober(machine) = &process.machine else {
            return;
        };
        let now = super::process::local(&process.casting, world.now);
        let node_offset = world.node(p).1;
        let (bucket, sfu) = machine.clocks();
        let ahead = world.now.as_micros() - now.as_micros();
        for (clock, truth, name) in [(bucket, ahead, "bucket"), (sfu, ahead + node_offset, "SFU")] {
            let Some(i) = clock.at(now) else {
                self.found(format!(
                    "{} loads without having read the {name}'s clock",
                    orders.claim
                ));
                continue;
            };
            self.check(i.lo_us <= truth && truth <= i.hi_us, || {
                format!("the {name}'s offset {truth} is not in {i:?}")
            });
        }
        let reference_offset = match start.reference {
            ReferenceClock::Bucket => 0,
            ReferenceClock::Sfu => node_offset,
        };
        let width_max = orders.job.limits.clock_width.0;
        let known = machine
            .known()
            .run(start, Some(&orders.claim.vantage()), width_max, now);
        let width = known.offset.width_us();
        for tier in &orders.tiers {
            let want = tier.plan.window.from.offset_micros(-reference_offset);
            let is = truly(&process.casting, tier.from);
            let off = (is.as_micros() - want.as_micros()).abs();
            // Two clocks of 200 ppm each, until the window comes.
            let drift = is.saturating_since(world.now).as_micros() / 2_500 + 1_000;
            let drift = i64::try_from(drift).unwrap();
            self.check(off <= width / 2 + drift, || {
                format!(
                    "{} is off by {off} us with a width of {width}",
                    orders.claim
                )
            });
        }
    }

    /// No load that may not be.
    pub(super) fn each_second(&mut self, world: &World) {
        let mut on: BTreeMap<Vantage, usize> = BTreeMap::new();
        for p in 0..world.processes.len() {
            let Some(orders) = world.is_loading(p) else {
                continue;
            };
            let who = &orders.claim;
            if let Some(other) = on.insert(who.vantage(), p) {
                self.found(format!("{p} and {other} both load for {}", who.vantage()));
            }
            let deadline = orders.job.times.hard_deadline + SLACK;
            self.check(world.now <= deadline, || {
                format!("{who} loads after the hard deadline")
            });
            let dark = world.scenario.blackout.map(|d| BEGIN + d);
            if let Some(at) = dark {
                self.check(world.now <= at + LEASE + SLACK, || {
                    format!("{who} loads on in silence")
                });
            }
            if let Some(at) = world.aborted_at {
                let calm = world.scenario.faults.busy == 0;
                // A poll, a heartbeat and their ways; else the lease.
                let within = if calm { Duration::from_secs(11) } else { LEASE };
                // Who was stopped meanwhile asks only then, and has the lease at most.
                let woke = world.processes[p].casting.stopped;
                let woke = woke.map_or(at, |(from, length)| BEGIN + from + length);
                let until = (at + within).max((woke + within).min(at + LEASE));
                self.check(world.now <= until + SLACK, || {
                    format!("{who} loads on after the abort")
                });
            }
        }
    }

    /// Whoever computes a revision computes the same bytes: then a create is never another's.
    pub(super) fn replied(&mut self, p: usize, reply: &Reply) {
        if let Reply::Created(key, Ok(Settled::Theirs(_))) = reply
            && matches!(key.item, Item::Combined(_))
        {
            self.found(format!("{p} computed other bytes for {}", key.key()));
        }
    }

    pub(super) fn at_the_end(&mut self, world: &World) {
        let mut finished: Vec<&Finished> = Vec::new();
        for (p, process) in world.processes.iter().enumerate() {
            if process.alive && !process.ended {
                self.found(format!("{p} ({:?}) never ends", process.casting.role));
            }
            match &process.machine {
                Machine::Finalizer(machine) => {
                    if let Some(Ok(f)) = machine.end() {
                        finished.push(f);
                    }
                }
                Machine::Prober(machine) => {
                    if let Some(Err(RendezvousError::Cancelled { .. })) = machine.end() {
                        self.check(start(world).is_none(), || {
                            format!("{p} reads a start as a cancel")
                        });
                    }
                }
                Machine::Coordinator(machine) => {
                    if let Some(coordinator::End::Over { .. }) = machine.end() {
                        self.check(start(world).is_some(), || {
                            format!("coordinator {p} saw a start that is none")
                        });
                    }
                }
            }
        }
        for f in &finished {
            let key = RunKey::new(&world.scenario.job.run, Item::Combined(f.revision));
            let stored = world.bucket.peek(&key.key()).map(|o| o.body);
            self.check(stored.as_ref() == Some(&f.body), || {
                format!("revision {} changed", f.revision.0)
            });
        }
        if world.scenario.blackout.is_some() {
            return;
        }
        let has_job = world
            .bucket
            .peek(&RunKey::new(&world.scenario.job.run, Item::Job).key())
            .is_some();
        let Some(last) = finished.iter().max_by_key(|f| f.revision) else {
            return self.check(!has_job, || {
                "no result, with two triggers at the end".into()
            });
        };
        self.every_slot_is_one_thing(world, last);
    }

    fn every_slot_is_one_thing(&mut self, world: &World, last: &Finished) {
        let labels: Vec<&Vantage> = last
            .combined
            .vantages
            .iter()
            .filter_map(|v| v.vantage.as_ref())
            .collect();
        let mut once = labels.clone();
        once.sort();
        once.dedup();
        self.check(once.len() == labels.len(), || {
            format!("a slot is two things: {labels:?}")
        });
        if let Fleet::Vantages(named) = &world.scenario.job.fleet {
            for vantage in named {
                self.check(labels.contains(&vantage), || {
                    format!("{vantage} is nothing")
                });
            }
        }
        for process in &world.processes {
            let Machine::Prober(machine) = &process.machine else {
                continue;
            };
            let Some(Ok(ended)) = machine.end() else {
                continue;
            };
            let slot = last
                .combined
                .vantages
                .iter()
                .find(|v| v.vantage == Some(ended.claim.vantage()));
            let want = if ended.outcome == Outcome::Complete {
                SlotState::Complete
            } else {
                SlotState::Partial
            };
            self.check(slot.map(|s| s.state) == Some(want), || {
                format!("{} ended {:?} and is {slot:?}", ended.claim, ended.outcome)
            });
            self.check(slot.is_some_and(|s| s.tiers == ended.tiers), || {
                format!(
                    "{} measured {:?} and {slot:?} counts",
                    ended.claim, ended.tiers
                )
            });
        }
        if world.scenario.calm {
            let complete = last
                .combined
                .vantages
                .iter()
                .filter(|v| v.state == SlotState::Complete)
                .count();
            let probers = world
                .processes
                .iter()
                .filter(|p| matches!(p.casting.role, Role::Prober(_)))
                .count();
            self.check(complete == probers, || {
                format!("{complete} of {probers} vantages are complete in a calm world")
            });
        }
    }
}

/// The valid start that stands in the bucket.
fn start(world: &World) -> Option<Start> {
    let job = document::digested(world.scenario.job.clone()).ok()?;
    let key = RunKey::new(&job.run, Item::Start);
    let object = world.bucket.peek(&key.key())?;
    let document: StartDocument = document::read(&key, &object.body).ok()?;
    match verdict(&document, object.last_modified, &job) {
        Verdict::Start(start) => Some(*start),
        Verdict::Cancelled(_) => None,
    }
}
