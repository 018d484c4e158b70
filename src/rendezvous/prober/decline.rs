//! Declining a run that this build can't carry out, so that whoever began it is told why.

use bytes::Bytes;

use super::{RETRY_AFTER, Settings};
use crate::job::{ClaimId, RunId, SCHEMA_MAJOR, Timestamp, WriteId};
use crate::rendezvous::exchange::{Errand, Reply, Request};
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::objects::Ready;
use crate::rendezvous::{RendezvousError, document};

/// How often it is tried to say so.
const TRIES_MAX: u32 = 3;

/// `ready/{claim}.json` of a claim that takes no slot: an updated prober may still have it.
#[derive(Debug)]
pub(super) struct Decline {
    key: RunKey,
    body: Bytes,
    errand: Errand,
    tries: u32,
    why: RendezvousError,
}

impl Decline {
    /// Of `run`, which `why` keeps it from.
    pub(super) fn new(
        run: &RunId,
        settings: &Settings,
        why: RendezvousError,
        write_id: WriteId,
        now: Timestamp,
    ) -> Result<Self, RendezvousError> {
        let claim = ClaimId::new(&settings.vantage, 0, settings.key.public().nonce());
        let ready = Ready {
            schema: SCHEMA_MAJOR,
            write_id,
            run: run.clone(),
            vantage: settings.vantage.clone(),
            claim: claim.clone(),
            build: settings.build.clone(),
            sfu_offset: None,
            sfu_node: String::new(),
            bucket_offset: None,
            must_end_by: settings.must_end_by,
            transport: None,
            unfit: Some(format!("build {} there: {why}", settings.build)),
            function: None,
        };
        Ok(Decline {
            key: RunKey::new(run, Item::Ready(claim)),
            body: document::write(&ready)?,
            errand: Errand::at(now),
            tries: 0,
            why,
        })
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        self.errand.wake_at()
    }

    pub(super) fn act(&mut self, now: Timestamp) -> Option<Request> {
        self.errand.start(now).then(|| {
            self.tries += 1;
            Request::Create(self.key.clone(), self.body.clone())
        })
    }

    /// Why it takes no part, once that is said, or can't be.
    pub(super) fn replied(&mut self, now: Timestamp, reply: &Reply) -> Option<RendezvousError> {
        self.errand.answered();
        match reply {
            Reply::Created(_, Err(e)) if e.retryable() && self.tries < TRIES_MAX => {
                self.errand.again(now + RETRY_AFTER);
                None
            }
            _ => Some(self.why.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Action, Event, Prober};
    use super::*;
    use crate::job::JobSpec;
    use crate::rendezvous::sample::{T0, job, object};
    use crate::signature::SigningKey;
    use crate::store::Settled;

    /// What a prober that was to take part in run `r1` does when its job reads `body`: what it
    /// says of itself, and how it ends.
    fn told(body: Bytes) -> (Ready, RendezvousError) {
        let settings = Settings {
            run: Some("r1".parse().unwrap()),
            vantage: "iad".parse().unwrap(),
            timeout: Duration::from_secs(600),
            must_end_by: None,
            function: None,
            build: "0.1.0".into(),
            key: SigningKey::from_seed([1; 32]).unwrap(),
            job_sha256: None,
            place: "here".into(),
            seed: 1,
        };
        let mut prober = Prober::new(settings, T0);
        let (mut event, mut said) = (Event::Wake, None);
        for _ in 0..10 {
            let actions = prober.handle(T0, event);
            if let Some(end) = prober.end() {
                return (said.unwrap(), end.clone().unwrap_err());
            }
            event = match &actions[..] {
                [Action::Ask(Request::Read(key))] => {
                    Event::Replied(Reply::Read(key.clone(), Ok(object(body.clone()))))
                }
                [Action::Ask(Request::Create(key, ready))] => {
                    assert!(matches!(key.item, Item::Ready(_)), "{key} is no load");
                    said = Some(document::read(key, ready).unwrap());
                    Event::Replied(Reply::Created(key.clone(), Ok(Settled::Mine)))
                }
                other => panic!("{other:?}"),
            };
        }
        panic!("no end");
    }

    #[test]
    fn what_this_build_cannot_carry_out_is_declined_before_anything_is_claimed() {
        let mut newer = serde_json::to_value(&job(JobSpec::default()).document).unwrap();
        let mut needy = newer.clone();
        newer["schema"] = 2.into();
        needy["needs"] = serde_json::json!(["roles", "telepathy"]);
        for (job, why) in [
            (
                newer,
                "job.json has schema 2, and this muster reads 1; update it",
            ),
            (needy, "needs telepathy of its probers"),
        ] {
            let (ready, end) = told(Bytes::from(job.to_string()));
            assert!(end.to_string().contains(why), "{end}");
            let unfit = ready.unfit.unwrap();
            assert!(
                unfit.starts_with("build 0.1.0 there: ") && unfit.contains(why),
                "{unfit}"
            );
        }
    }
}
