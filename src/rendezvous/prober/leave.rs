//! Heartbeats, the alarm that they may give, and leaving a run that was stopped.

use std::time::Duration;

use super::pulse::Beat;
use super::{Action, Phase, Prober};
use crate::job::{Digested, Job, Timestamp};
use crate::prober::LiveFigures;
use crate::rendezvous::admission::{Verdict, verdict};
use crate::rendezvous::exchange::{Reply, Request};
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::objects::{Abort, StartDocument};
use crate::rendezvous::progress::ProberProgress;
use crate::rendezvous::{RendezvousError, document};
use crate::store::{Put, StoreError};

/// How long the last heartbeat may take of who leaves.
const PARTING: Duration = Duration::from_secs(3);

/// A prober that takes no part any more, and says so in a last heartbeat.
#[derive(Debug)]
pub(super) struct Leave {
    pub(super) why: RendezvousError,
    pub(super) until: Timestamp,
}

impl Prober {
    /// Leaves a run that was stopped.
    pub(super) fn leave(&mut self, now: Timestamp, why: RendezvousError) {
        let until = now + PARTING;
        self.phase = Phase::Leaving(Box::new(Leave { why, until }));
        if let Some(pulse) = &mut self.pulse {
            pulse.hurry(now);
        }
    }

    /// Writes a heartbeat if it is time, and looks for an abort if it must.
    pub(super) fn beat(&mut self, now: Timestamp) {
        if self.alarmed {
            self.alarm(now);
        }
        let phase = &self.phase;
        let (Some(pulse), false) = (&mut self.pulse, matches!(phase, Phase::Ended(_))) else {
            return;
        };
        let beat = pulse.act(now, || match phase {
            Phase::Loading(load) => load.figures(),
            Phase::Leaving(_) => of_phase("stopped"),
            _ => of_phase("waiting"),
        });
        self.out.extend(beat.map(Action::Ask));
    }

    fn alarm(&mut self, now: Timestamp) {
        self.alarmed = false;
        match &mut self.phase {
            Phase::Waiting(wait) => wait.alarm(now),
            Phase::Loading(load) => load.alarm(now),
            // It waits next, and looks then.
            Phase::Testing(_) | Phase::Announcing(_) => self.alarmed = true,
            _ => {}
        }
    }

    /// A heartbeat was answered.
    pub(super) fn beaten(&mut self, now: Timestamp, answer: Result<Put, StoreError>) {
        let Some(pulse) = &mut self.pulse else {
            return;
        };
        let beat = pulse.replied(now, answer, &self.clocks.bucket);
        if let Phase::Leaving(leave) = &self.phase
            && beat != Beat::Refused
        {
            let why = leave.why.clone();
            return self.end_with(Err(why));
        }
        if let Phase::Testing(testing) = &self.phase
            && beat == Beat::Refused
        {
            // Trying the path may take long.
            let run = &testing.job.run;
            let both = [Item::Start, Item::Abort].map(|item| RunKey::new(run, item));
            self.out
                .extend(both.map(|key| Action::Ask(Request::Read(key))));
        }
        match beat {
            Beat::Placed => {}
            Beat::Refused | Beat::PlacedBlindly => self.alarmed = !planted!(RewritingUnheeded),
            Beat::Failed(e) => match &mut self.phase {
                Phase::Waiting(wait) => wait.trouble(e, &mut self.out),
                Phase::Loading(load) => load.trouble(&e, &mut self.out),
                _ => self.tell(ProberProgress::Trouble {
                    what: e.to_string(),
                }),
            },
        }
    }
}

fn of_phase(phase: &str) -> LiveFigures {
    LiveFigures {
        phase: phase.to_owned(),
        ..LiveFigures::default()
    }
}

/// Why there will be no load, if this says so to who has no start yet.
pub(super) fn stopped(job: &Digested<Job>, reply: Reply) -> Option<RendezvousError> {
    let Reply::Read(key, Ok(object)) = reply else {
        return None;
    };
    let run = job.run.clone();
    match key.item {
        Item::Abort => Some(aborted(job, &key, &object.body)),
        Item::Start => {
            let document = document::read::<StartDocument>(&key, &object.body).ok()?;
            match verdict(&document, object.last_modified, job) {
                Verdict::Cancelled(reason) => Some(RendezvousError::Cancelled { run, reason }),
                Verdict::Start(_) => None,
            }
        }
        _ => None,
    }
}

fn aborted(job: &Job, key: &RunKey, body: &[u8]) -> RendezvousError {
    RendezvousError::Aborted {
        run: job.run.clone(),
        reason: reason(key, body),
    }
}

/// Why a run was aborted, in words.
pub(super) fn reason(key: &RunKey, body: &[u8]) -> String {
    document::read::<Abort>(key, body).map_or_else(|e| e.to_string(), |abort| abort.reason)
}
