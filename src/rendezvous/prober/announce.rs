//! Announcing what was found out before the start.

use std::time::Duration;

use bytes::Bytes;

use super::wait::Wait;
use super::{Phase, Prober, RETRY_AFTER};
use crate::job::{ClaimId, Digested, Job, SCHEMA_MAJOR, Timestamp};
use crate::rendezvous::exchange::{Errand, Reply};
use crate::rendezvous::objects::{FunctionStart, Ready};
use crate::rendezvous::progress::ProberProgress;
use crate::rendezvous::{RendezvousError, document};
use crate::store::Settled;

/// `ready/{claim}.json` on its way.
#[derive(Debug)]
pub(super) struct Announcing {
    pub(super) job: Digested<Job>,
    pub(super) claim: ClaimId,
    pub(super) body: Bytes,
    pub(super) unfit: Option<String>,
    pub(super) errand: Errand,
    pub(super) trouble: Option<RendezvousError>,
}

impl Prober {
    /// Announces what was found out, once that is all.
    pub(super) fn announce(&mut self, now: Timestamp) {
        let Phase::Testing(testing) = &mut self.phase else {
            return;
        };
        let Some(result) = testing.done() else {
            return;
        };
        let (job, claim) = (testing.job.clone(), testing.claim.clone());
        let (transport, unfit) = match result {
            Ok(tested) => {
                self.clocks.pongs(&tested.clock, &tested.node);
                (Some(tested.transport), None)
            }
            Err(why) => (None, Some(why)),
        };
        let ready = Ready {
            schema: SCHEMA_MAJOR,
            write_id: self.write_id(),
            run: job.run.clone(),
            vantage: self.settings.vantage.clone(),
            claim: claim.clone(),
            build: self.settings.build.clone(),
            sfu_offset: self.clocks.sfu.at(now),
            sfu_node: self.clocks.node.clone(),
            bucket_offset: self.clocks.bucket.at(now),
            must_end_by: self.settings.must_end_by,
            transport,
            unfit: unfit.clone(),
            function: self.settings.function.map(|function| FunctionStart {
                init_ms: function.init.map(whole_ms),
                ready_ms: whole_ms(now.saturating_since(function.arrived)),
            }),
        };
        match document::write(&ready) {
            Err(e) => self.end_with(Err(e)),
            Ok(body) => {
                self.phase = Phase::Announcing(Box::new(Announcing {
                    job,
                    claim,
                    body,
                    unfit,
                    errand: Errand::at(now),
                    trouble: None,
                }));
            }
        }
    }

    pub(super) fn announced(&mut self, now: Timestamp, reply: Reply) {
        let Phase::Announcing(a) = &mut self.phase else {
            return;
        };
        let Reply::Created(_, answer) = reply else {
            return;
        };
        a.errand.answered();
        match (answer, a.unfit.take()) {
            (Err(e), unfit) => {
                a.unfit = unfit;
                a.errand.again(now + RETRY_AFTER);
                a.trouble = Some(e.clone().into());
                let what = e.to_string();
                self.tell(ProberProgress::Trouble { what });
            }
            (Ok(_), Some(why)) => {
                let e = RendezvousError::SelfTest {
                    run: a.job.run.clone(),
                    vantage: self.settings.vantage.clone(),
                    why,
                };
                self.end_with(Err(e));
            }
            (Ok(Settled::Theirs(_)), None) => {
                let e = RendezvousError::SlotTaken {
                    run: a.job.run.clone(),
                    vantage: self.settings.vantage.clone(),
                };
                self.end_with(Err(e));
            }
            (Ok(Settled::Mine), None) => {
                let (job, claim) = (a.job.clone(), a.claim.clone());
                self.tell(ProberProgress::Ready);
                let slot_write = self.slot_write.clone();
                let wait = Wait::new(job, claim, &self.settings, slot_write, self.begun, now);
                self.phase = Phase::Waiting(Box::new(wait));
            }
        }
    }
}

pub(super) fn whole_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
