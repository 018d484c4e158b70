//! A simulated process: a machine, a clock that is wrong, a load that is only pretended.

use bytes::Bytes;

use super::bucket::{Answer, Call};
use super::scenario::{BEGIN, Casting, Role, Scenario};
use super::ticket::{Pass, ticket_key};
use crate::clock::Sample;
use crate::job::Timestamp;
use crate::rendezvous::abort::Aborter;
use crate::rendezvous::chance::mix;
use crate::rendezvous::coordinator::{self, Coordinator};
use crate::rendezvous::exchange::{Reply, Request};
use crate::rendezvous::finalizer::{self, Finalizer};
use crate::rendezvous::keys::RunKey;
use crate::rendezvous::prober::{self, Orders, Prober};
use crate::signature::SigningKey;
use crate::store::{Backoff, ByteLimit, List, Next, RequestCounts, Settling};

/// What a process hears, whatever it is.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    Wake,
    Replied(Reply),
    Clock(Sample),
    Prober(prober::Event),
}

/// What a process does.
#[derive(Debug)]
pub(super) enum Does {
    Ask(Request),
    SelfTest,
    StartLoad(Box<Orders>),
    StopLoad,
    Tell(Box<dyn std::fmt::Debug>),
}

pub(super) enum Machine {
    Coordinator(Box<Coordinator>),
    Prober(Box<Prober>),
    Finalizer(Box<Finalizer>),
    Aborter(Box<Aborter>),
}

pub(super) struct Process {
    pub(super) casting: Casting,
    pub(super) machine: Machine,
    /// What signs its parts, and what its ticket opens.
    pub(super) key: Option<SigningKey>,
    pub(super) pass: Option<Pass>,
    pub(super) alive: bool,
    pub(super) ended: bool,
    /// Tells this load's events from an earlier one's.
    pub(super) load: u64,
    /// How many actions it has taken.
    pub(super) acted: u32,
    /// When it is to wake, and which of its wakes that is.
    pub(super) wakes: (Option<Timestamp>, u64),
}

impl Process {
    pub(super) fn new(scenario: &Scenario, n: usize, casting: Casting) -> Self {
        let seed = seed_of(scenario, n);
        let now = casting.clock.local(BEGIN + casting.clock.begins);
        let job = &scenario.job;
        let run = job.run.clone();
        let key = match &casting.role {
            Role::Prober(vantage) if casting.ticket => Some(ticket_key(scenario.seed, vantage)),
            Role::Prober(_) => Some(signing_key(seed)),
            Role::Coordinator | Role::Finalizer { .. } | Role::Aborter => None,
        };
        let pass = match (&casting.role, &key) {
            (Role::Prober(vantage), Some(key)) if casting.ticket => {
                Some(Pass::of(job, vantage, key))
            }
            _ => None,
        };
        let machine = match &casting.role {
            Role::Coordinator => {
                let settings = coordinator::Settings {
                    detach: job.times.start_at.is_some() && seed.is_multiple_of(2),
                    seed,
                };
                let coordinator = Coordinator::new(job.clone(), settings, now);
                let given = job.ticket_keys.keys();
                let tickets = given.map(|v| (v.clone(), Bytes::from(format!("ticket of {v}"))));
                let coordinator = coordinator.with_tickets(tickets.collect());
                Machine::Coordinator(Box::new(coordinator))
            }
            Role::Prober(vantage) => Machine::Prober(Box::new(Prober::new(
                prober::Settings {
                    run: casting.ticket.then(|| run.clone()),
                    vantage: vantage.clone(),
                    key: key.clone().unwrap(),
                    timeout: scenario.patience,
                    must_end_by: None,
                    function: None,
                    job_sha256: casting.ticket.then_some(job.digest),
                    build: "sim".into(),
                    place: "sim".into(),
                    seed,
                },
                now,
            ))),
            Role::Aborter => {
                let aborter = Aborter::new(&run, "drawn", seed, now).unwrap();
                Machine::Aborter(Box::new(aborter))
            }
            Role::Finalizer { waits } => Machine::Finalizer(Box::new(Finalizer::new(
                finalizer::Settings {
                    run,
                    wait: *waits,
                    // Half of them list it folder by folder.
                    whole_max: finalizer::WHOLE_MAX * (seed % 2),
                    place: "sim".into(),
                    seed,
                },
                now,
            ))),
        };
        Process {
            casting,
            machine,
            key,
            pass,
            alive: true,
            ended: false,
            load: 0,
            acted: 0,
            wakes: (None, 0),
        }
    }

    pub(super) fn handle(
        &mut self,
        now: Timestamp,
        requests: RequestCounts,
        heard: Heard,
    ) -> Vec<Does> {
        match &mut self.machine {
            Machine::Coordinator(machine) => {
                let event = match heard {
                    Heard::Wake | Heard::Prober(_) => coordinator::Event::Wake,
                    Heard::Replied(reply) => coordinator::Event::Replied(reply),
                    Heard::Clock(sample) => coordinator::Event::Clock(sample),
                };
                machine.count(requests);
                let actions = machine.handle(now, event).into_iter();
                actions
                    .map(|action| match action {
                        coordinator::Action::Ask(request) => Does::Ask(request),
                        coordinator::Action::Tell(what) => Does::Tell(Box::new(what)),
                    })
                    .collect()
            }
            Machine::Prober(machine) => {
                let event = match heard {
                    Heard::Wake => prober::Event::Wake,
                    Heard::Replied(reply) => prober::Event::Replied(reply),
                    Heard::Clock(sample) => prober::Event::Clock(sample),
                    Heard::Prober(event) => event,
                };
                machine.count(requests);
                let actions = machine.handle(now, event).into_iter();
                actions
                    .map(|action| match action {
                        prober::Action::Ask(request) => Does::Ask(request),
                        prober::Action::Tell(what) => Does::Tell(Box::new(what)),
                        prober::Action::SelfTest(..) => Does::SelfTest,
                        prober::Action::StartLoad(orders) => Does::StartLoad(orders),
                        prober::Action::StopLoad => Does::StopLoad,
                    })
                    .collect()
            }
            Machine::Aborter(machine) => {
                if let Heard::Replied(reply) = &heard {
                    machine.replied(now, reply);
                }
                machine.act(now).into_iter().map(Does::Ask).collect()
            }
            Machine::Finalizer(machine) => {
                let event = match heard {
                    Heard::Wake | Heard::Prober(_) => finalizer::Event::Wake,
                    Heard::Replied(reply) => finalizer::Event::Replied(reply),
                    Heard::Clock(sample) => finalizer::Event::Clock(sample),
                };
                let requests = machine.handle(now, event).into_iter();
                requests.map(Does::Ask).collect()
            }
        }
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        match &self.machine {
            Machine::Coordinator(m) => m.wake_at(),
            Machine::Prober(m) => m.wake_at(),
            Machine::Finalizer(m) => m.wake_at(),
            Machine::Aborter(m) => m.wake_at(),
        }
    }

    /// Whether the machine is done.
    pub(super) fn is_done(&self) -> bool {
        match &self.machine {
            Machine::Coordinator(m) => m.end().is_some(),
            Machine::Prober(m) => m.end().is_some(),
            Machine::Finalizer(m) => m.end().is_some(),
            Machine::Aborter(m) => m.end().is_some(),
        }
    }

    /// How it ended, in words.
    pub(super) fn end(&self) -> String {
        match &self.machine {
            Machine::Coordinator(m) => format!("{:?}", m.end()),
            Machine::Prober(m) => format!("{:?}", m.end()),
            Machine::Aborter(m) => format!("{:?}", m.end()),
            Machine::Finalizer(m) => match m.end() {
                Some(Ok(f)) => format!("revision {}", f.revision.0),
                other => format!("{:?}", other.map(Result::as_ref)),
            },
        }
    }
}

/// What a process draws its numbers from.
pub(super) fn seed_of(scenario: &Scenario, n: usize) -> u64 {
    mix(scenario.seed ^ mix(n as u64 + 1))
}

/// A key of its own.
pub(super) fn signing_key(seed: u64) -> SigningKey {
    let mut bytes = [0; 32];
    for (n, chunk) in (0..).zip(bytes.chunks_mut(8)) {
        chunk.copy_from_slice(&mix(seed ^ mix(n)).to_le_bytes());
    }
    SigningKey::from_seed(bytes).unwrap()
}

/// A request on its way: one call, or a create that is settled by several.
#[derive(Debug)]
pub(super) enum Exchange {
    Read(RunKey),
    Overwrite(RunKey),
    List(List),
    Create(RunKey, Bytes, Box<Settling>),
}

/// What an exchange needs next.
pub(super) enum Then {
    Call(Exchange, Call),
    Wait(Exchange, std::time::Duration, Box<Next>),
    /// With the body that was to be created.
    Done(Reply, Option<Bytes>),
}

impl Exchange {
    pub(super) fn begin(request: Request) -> Then {
        match request {
            Request::Read(key) => {
                let limit = if planted!(TakesAnySize) {
                    ByteLimit(u64::MAX)
                } else {
                    key.limit()
                };
                let call = Call::Get(key.key(), limit);
                Then::Call(Exchange::Read(key), call)
            }
            Request::Overwrite(key, body, over) => {
                let call = match over {
                    Some(etag) => Call::Replace(key.key(), body, etag),
                    None => Call::Put(key.key(), body),
                };
                Then::Call(Exchange::Overwrite(key), call)
            }
            Request::List(list) => Then::Call(Exchange::List(list.clone()), Call::List(list)),
            Request::Create(key, body) => {
                let (settling, next) = Settling::start(body.clone(), Backoff::default());
                Exchange::Create(key, body, Box::new(settling)).next(next)
            }
        }
    }

    pub(super) fn next(self, next: Next) -> Then {
        let Exchange::Create(key, body, settling) = self else {
            unreachable!("only creates are settled");
        };
        let call = match next {
            Next::Create => Call::Create(key.key(), body.clone()),
            Next::Read => Call::Get(key.key(), key.limit()),
            Next::Wait(delay, then) => {
                return Then::Wait(Exchange::Create(key, body, settling), delay, then);
            }
            Next::Done(result) => return Then::Done(Reply::Created(key, *result), Some(body)),
        };
        Then::Call(Exchange::Create(key, body, settling), call)
    }

    pub(super) fn answered(self, answer: Answer) -> Then {
        match (self, answer) {
            (Exchange::Read(key), Answer::Got(result)) => {
                Then::Done(Reply::Read(key, result), None)
            }
            (Exchange::Overwrite(key), Answer::Put(result)) => {
                Then::Done(Reply::Overwritten(key, result), None)
            }
            (Exchange::List(list), Answer::Listed(result)) => {
                Then::Done(Reply::Listed(list, result), None)
            }
            (Exchange::Create(key, body, mut settling), answer) => {
                let next = match answer {
                    Answer::Put(result) => settling.created(result.map(drop)),
                    Answer::Got(result) => settling.read(result),
                    Answer::Listed(_) => unreachable!("a create is not listed"),
                };
                Exchange::Create(key, body, settling).next(next)
            }
            (exchange, answer) => unreachable!("{exchange:?} got {answer:?}"),
        }
    }
}
