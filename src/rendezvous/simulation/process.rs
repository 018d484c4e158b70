//! A simulated process: a machine, a clock that is wrong, a load that is only pretended.

use bytes::Bytes;

use super::bucket::{Answer, Call};
use super::scenario::{BEGIN, Casting, Role, Scenario};
use crate::clock::Sample;
use crate::job::Timestamp;
use crate::rendezvous::chance::mix;
use crate::rendezvous::coordinator::{self, Coordinator};
use crate::rendezvous::document;
use crate::rendezvous::exchange::{Reply, Request};
use crate::rendezvous::finalizer::{self, Finalizer};
use crate::rendezvous::keys::RunKey;
use crate::rendezvous::prober::{self, Orders, Prober};
use crate::signature::SigningKey;
use crate::store::{Backoff, List, Next, Settling};

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
}

pub(super) struct Process {
    pub(super) casting: Casting,
    pub(super) machine: Machine,
    /// Load that is on.
    pub(super) load: Option<Orders>,
    /// Tells this load's events from an earlier one's.
    pub(super) alive: bool,
    pub(super) ended: bool,
}

impl Process {
    pub(super) fn new(scenario: &Scenario, n: usize) -> Self {
        let casting = scenario.cast[n].clone();
        let seed = mix(scenario.seed ^ mix(n as u64 + 1));
        let now = local(&casting, BEGIN + casting.begins);
        let machine = match &casting.role {
            Role::Coordinator => Machine::Coordinator(Box::new(Coordinator::new(
                document::digested(scenario.job.clone()).unwrap(),
                coordinator::Settings {
                    detach: false,
                    seed,
                },
                now,
            ))),
            Role::Prober(vantage) => Machine::Prober(Box::new(Prober::new(
                prober::Settings {
                    run: None,
                    vantage: vantage.clone(),
                    timeout: std::time::Duration::from_secs(90),
                    must_end_by: None,
                    function: None,
                    build: "sim".into(),
                    key: signing_key(seed),
                    job_sha256: None,
                    place: "sim".into(),
                    seed,
                },
                now,
            ))),
            Role::Finalizer => Machine::Finalizer(Box::new(Finalizer::new(
                finalizer::Settings {
                    run: scenario.job.run.clone(),
                    wait: true,
                    place: "sim".into(),
                    seed,
                },
                now,
            ))),
        };
        Process {
            casting,
            machine,
            load: None,
            alive: true,
            ended: false,
        }
    }

    pub(super) fn handle(&mut self, now: Timestamp, heard: Heard) -> Vec<Does> {
        match &mut self.machine {
            Machine::Coordinator(machine) => {
                let event = match heard {
                    Heard::Wake | Heard::Prober(_) => coordinator::Event::Wake,
                    Heard::Replied(reply) => coordinator::Event::Replied(reply),
                    Heard::Clock(sample) => coordinator::Event::Clock(sample),
                };
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
                let actions = machine.handle(now, event).into_iter();
                actions
                    .map(|action| match action {
                        prober::Action::Ask(request) => Does::Ask(request),
                        prober::Action::Tell(what) => Does::Tell(Box::new(what)),
                        prober::Action::SelfTest(_) => Does::SelfTest,
                        prober::Action::StartLoad(orders) => Does::StartLoad(orders),
                        prober::Action::StopLoad => Does::StopLoad,
                    })
                    .collect()
            }
            Machine::Finalizer(machine) => {
                let event = match heard {
                    Heard::Wake | Heard::Prober(_) => finalizer::Event::Wake,
                    Heard::Replied(reply) => finalizer::Event::Replied(reply),
                    Heard::Clock(sample) => finalizer::Event::Clock(sample),
                };
                machine
                    .handle(now, event)
                    .into_iter()
                    .map(Does::Ask)
                    .collect()
            }
        }
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        match &self.machine {
            Machine::Coordinator(m) => m.wake_at(),
            Machine::Prober(m) => m.wake_at(),
            Machine::Finalizer(m) => m.wake_at(),
        }
    }

    /// How it ended, in words; a coordinator and a finalizer that ended well are both done.
    pub(super) fn end(&self) -> Option<String> {
        match &self.machine {
            Machine::Coordinator(m) => m.end().map(|e| format!("{e:?}")),
            Machine::Prober(m) => m.end().map(|e| format!("{e:?}")),
            Machine::Finalizer(m) => m.end().map(|e| match e {
                Ok(f) => format!("revision {}", f.revision.0),
                Err(e) => format!("{e:?}"),
            }),
        }
    }
}

/// A key of a process' own.
fn signing_key(seed: u64) -> SigningKey {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    SigningKey::from_seed(bytes).unwrap()
}

/// What a process' clock shows at a true time.
pub(super) fn local(casting: &Casting, t: Timestamp) -> Timestamp {
    let since = t.as_micros() - BEGIN.as_micros();
    t.offset_micros(casting.offset_us + since * casting.drift_ppm / 1_000_000)
}

/// The first true time at which a process' clock shows at least `t`.
pub(super) fn truly(casting: &Casting, t: Timestamp) -> Timestamp {
    let since = t.as_micros() - BEGIN.as_micros() - casting.offset_us;
    let guess = since * 1_000_000 / (1_000_000 + casting.drift_ppm);
    let mut truth = BEGIN.offset_micros(guess - 2);
    while local(casting, truth) < t {
        truth = truth.offset_micros(1);
    }
    truth
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
    Done(Reply),
}

impl Exchange {
    pub(super) fn begin(request: Request) -> Then {
        match request {
            Request::Read(key) => {
                let call = Call::Get(key.key(), key.limit());
                Then::Call(Exchange::Read(key), call)
            }
            Request::Overwrite(key, body) => {
                let call = Call::Put(key.key(), body);
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
            Next::Done(result) => return Then::Done(Reply::Created(key, *result)),
        };
        Then::Call(Exchange::Create(key, body, settling), call)
    }

    pub(super) fn answered(self, answer: Answer) -> Then {
        match (self, answer) {
            (Exchange::Read(key), Answer::Got(result)) => Then::Done(Reply::Read(key, result)),
            (Exchange::Overwrite(key), Answer::Put(result)) => {
                Then::Done(Reply::Overwritten(key, result))
            }
            (Exchange::List(list), Answer::Listed(result)) => {
                Then::Done(Reply::Listed(list, result))
            }
            (Exchange::Create(key, body, mut settling), answer) => {
                let next = match answer {
                    Answer::Put(result) => settling.created(result),
                    Answer::Got(result) => settling.read(result),
                    Answer::Listed(_) => unreachable!("a create is not listed"),
                };
                Exchange::Create(key, body, settling).next(next)
            }
            (exchange, answer) => unreachable!("{exchange:?} got {answer:?}"),
        }
    }
}
