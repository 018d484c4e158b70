//! Drives a prober and its load.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::Bucket;
use crate::clock;
use crate::job::{Digest, Digested, Job, RunId, Timestamp, Vantage, Workload};
use crate::load::Place;
use crate::participant::Transport;
use crate::participant::snapshot::ClockSample;
use crate::prober::descriptors;
use crate::prober::{
    LoadContext, LoadPlan, RunningLoad, SelfTestError, TESTER, self_test, start_load,
};
use crate::rendezvous::RendezvousError;
use crate::rendezvous::exchange::Reply;
use crate::rendezvous::prober::{Action, Ended, Event, Function, Orders, Prober, Settings, Tested};
use crate::rendezvous::progress::ProberProgress;
use crate::signature::SigningKey;

/// How long the path's test may take to connect; LiveKit's clients give up after 15 s as well.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);

/// How to probe.
#[derive(Debug)]
pub struct ProberOptions {
    /// The run, or the newest one that accepts.
    pub run: Option<RunId>,
    /// The label.
    pub vantage: Vantage,
    /// How long to look for a run and to wait for its start.
    pub timeout: Duration,
    /// When the process must have ended (a function's deadline), in local time.
    pub must_end_by: Option<Timestamp>,
    /// The function that the process is, if it is one.
    pub function: Option<Function>,
    /// muster's version and revision.
    pub build: String,
    /// Signs its parts: the ticket's, or one of 32 random bytes of its own.
    pub key: SigningKey,
    /// The job that its ticket is for, if it has one.
    pub job_sha256: Option<Digest>,
    /// A random number, drawn for this process.
    pub seed: u64,
    /// Hears what happens.
    pub progress: mpsc::UnboundedSender<ProberProgress>,
    /// Becomes `true` when the prober is to end.
    pub stop: watch::Receiver<bool>,
}

/// Probes: from finding the run to the report in the bucket. On return no participant is left.
///
/// # Errors
/// When the prober took no part in a run, or its report could not be stored.
pub async fn run_prober(
    bucket: &Bucket,
    context: LoadContext,
    options: ProberOptions,
) -> Result<Ended, RendezvousError> {
    let settings = Settings {
        run: options.run,
        vantage: options.vantage,
        timeout: options.timeout,
        must_end_by: options.must_end_by,
        function: options.function,
        build: options.build,
        key: options.key,
        job_sha256: options.job_sha256,
        place: bucket.place(),
        seed: options.seed,
    };
    let mut stop = options.stop;
    let mut listening = true;
    let mut machine = Prober::new(settings, clock::now());
    let mut hands = Hands {
        bucket: bucket.clone(),
        context,
        progress: options.progress,
        asked: JoinSet::new(),
        tested: JoinSet::new(),
        load: None,
    };
    let mut event = Event::Wake;
    loop {
        for sample in bucket.clock() {
            let actions = machine.handle(clock::now(), Event::Clock(sample));
            hands.perform(actions, &machine);
        }
        machine.count(bucket.requests());
        let actions = machine.handle(clock::now(), event);
        hands.perform(actions, &machine);
        if let Some(end) = machine.end() {
            if let Some(load) = hands.load.take() {
                load.finished().await;
            }
            return end.clone();
        }
        hands.steer(&machine);
        let wake_at = machine.wake_at();
        event = tokio::select! {
            event = hands.hear() => match event {
                Ok(event) => event,
                Err(e) => {
                    hands.leave().await;
                    return Err(e);
                }
            },
            () = super::wait_until(wake_at) => Event::Wake,
            changed = stop.changed(), if listening => {
                listening = changed.is_ok();
                if *stop.borrow() { Event::Interrupt } else { Event::Wake }
            }
        };
    }
}

/// What a prober's machine acts by.
struct Hands {
    bucket: Bucket,
    context: LoadContext,
    progress: mpsc::UnboundedSender<ProberProgress>,
    asked: JoinSet<Reply>,
    tested: JoinSet<Result<Tested, String>>,
    load: Option<RunningLoad>,
}

impl Hands {
    fn perform(&mut self, actions: Vec<Action>, machine: &Prober) {
        for action in actions {
            match action {
                Action::Ask(request) => self.bucket.ask(request, &mut self.asked),
                // Who doesn't want to know has dropped the receiver.
                Action::Tell(what) => drop(self.progress.send(what)),
                Action::SelfTest(job, slot) => {
                    let context = self.context.clone();
                    self.tested
                        .spawn(async move { test(context, *job, slot).await });
                }
                Action::StartLoad(orders) => {
                    let clock = machine.run_clock(clock::now());
                    if let Some((clock, until)) = clock.zip(machine.may_load_until()) {
                        let plan = plan(*orders);
                        let context = self.context.clone();
                        self.load = Some(start_load(context, plan, clock, until));
                    }
                }
                Action::StopLoad => {
                    if let Some(load) = &self.load {
                        load.stop();
                    }
                }
            }
        }
    }

    /// Tells the load what the machine knows of the run's time, and how long it may go on.
    fn steer(&self, machine: &Prober) {
        if let Some(load) = &self.load
            && let Some((clock, until)) = machine
                .run_clock(clock::now())
                .zip(machine.may_load_until())
        {
            load.steer(clock, until);
        }
    }

    async fn hear(&mut self) -> Result<Event, RendezvousError> {
        tokio::select! {
            reply = super::next_of(&mut self.asked) => reply.map(Event::Replied),
            result = super::next_of(&mut self.tested) => {
                let result = result?;
                if let Ok(tested) = &result {
                    self.context.transport = tested.transport;
                }
                Ok(Event::SelfTested(result))
            }
            event = heard_of(&mut self.load) => {
                if matches!(event, Event::LoadEnded) {
                    self.load = None;
                }
                Ok(event)
            }
        }
    }

    /// Has all participants leave, and waits for it.
    async fn leave(&mut self) {
        if let Some(load) = self.load.take() {
            load.stop();
            load.finished().await;
        }
    }
}

async fn heard_of(load: &mut Option<RunningLoad>) -> Event {
    let Some(load) = load else {
        return std::future::pending().await;
    };
    tokio::select! {
        biased;
        part = load.parts.recv() => match part {
            Some(part) => Event::Part(Box::new(part)),
            None => Event::LoadEnded,
        },
        Some(pongs) = load.pongs.recv() => Event::Pongs(pongs.samples, pongs.node),
        Ok(()) = load.live.changed() => Event::Figures(load.live.borrow_and_update().clone()),
    }
}

async fn test(
    mut context: LoadContext,
    job: Digested<Job>,
    slot: Vantage,
) -> Result<Tested, String> {
    let Workload::SharedRoom { room, .. } = &job.workload;
    let (subscribers, publishers) = job.peak(Place::planned(&job, &slot));
    descriptors::provide(subscribers.into(), publishers.into()).map_err(|e| e.to_string())?;
    let (url, run) = (&job.url, &job.run);
    let mut result = self_test(&context, url, room, run, &slot, TESTER, CONNECT_WITHIN).await;
    let closed = result.as_ref().is_err_and(SelfTestError::is_closed);
    if closed && job.media.allow_tcp {
        context.transport = Transport::Tcp;
        result = self_test(&context, url, room, run, &slot, TESTER, CONNECT_WITHIN).await;
    }
    let tested = result.map_err(|error| match context.transport {
        Transport::Udp => error.in_words(),
        Transport::Tcp => format!("UDP is closed between here and the SFU, and TCP: {error}"),
    })?;
    Ok(Tested {
        clock: tested.clock.iter().map(ClockSample::sample).collect(),
        node: tested.sfu.node,
        transport: context.transport,
    })
}

/// From local time to the run's, which the load goes by.
fn plan(orders: Orders) -> LoadPlan {
    LoadPlan {
        tiers: orders.tiers.iter().map(|tier| tier.plan).collect(),
        stop_at: orders.stop_at,
        vantage: orders.claim.vantage(),
        claim: orders.claim,
        place: orders.place,
        job: orders.job,
    }
}
