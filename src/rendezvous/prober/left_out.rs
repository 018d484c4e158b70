//! Why a run that has started goes on without a prober that comes now.

use crate::job::{ClaimId, Job, RunId, Vantage};
use crate::rendezvous::admission::full;
use crate::rendezvous::exchange::{Reply, Request};
use crate::rendezvous::keys::{Folder, Item, RunKey};
use crate::rendezvous::objects::{Ready, Start};
use crate::rendezvous::{RendezvousError, document};
use crate::store::{Listing, StoreError};

/// Finds out what became of the slot that it asks for. It asks each question once: what it doesn't
/// learn changes the words alone.
#[derive(Debug)]
pub(super) struct LeftOut {
    run: RunId,
    /// A slot of the label: one that the roster doesn't name, if there is one.
    slot: Vantage,
    /// What the start says of the label by itself.
    so_far: RendezvousError,
}

/// What it comes to.
#[derive(Debug)]
pub(super) enum Step {
    Ask(Request),
    Done(RendezvousError),
}

impl LeftOut {
    /// Of `label`, which takes part in `job`, and the question to begin with.
    pub(super) fn new(job: &Job, start: &Start, label: &Vantage) -> (Self, Request) {
        let (run, vantage) = (job.run.clone(), label.clone());
        let slots = job.fleet.slots(label);
        let spare = slots.iter().find(|slot| !start.roster.contains_key(*slot));
        let so_far = match (spare, full(start, job)) {
            (None, _) => RendezvousError::SlotTaken { run, vantage },
            (Some(_), Some(expect)) => RendezvousError::FleetFull {
                run,
                vantage,
                expect,
            },
            (Some(_), None) => RendezvousError::StartedWithout { run, vantage },
        };
        let slot = spare.or(slots.first()).unwrap_or(label).clone();
        let holder = start.roster.get(&slot).and_then(|e| e.claim.as_ref());
        let k = holder.map_or(0, ClaimId::k);
        let ask = Request::Read(RunKey::new(&job.run, Item::Slot(slot.clone(), k)));
        let left_out = LeftOut {
            run: job.run.clone(),
            slot,
            so_far,
        };
        (left_out, ask)
    }

    /// As far as it knows.
    pub(super) fn so_far(&self) -> RendezvousError {
        self.so_far.clone()
    }

    pub(super) fn replied(&self, reply: Reply) -> Step {
        match reply {
            // It could not have had the slot at any time.
            Reply::Read(_, Err(e @ StoreError::Denied { .. })) => Step::Done(e.into()),
            Reply::Read(key, _) if matches!(key.item, Item::Slot(..)) && self.was_spare() => {
                Step::Ask(Request::List(Folder::Ready.list_of(&self.run, &self.slot)))
            }
            Reply::Listed(_, Ok(listing)) => match self.last_said(&listing) {
                Some(ready) => Step::Ask(Request::Read(ready)),
                None => Step::Done(self.so_far()),
            },
            Reply::Read(key, Ok(object)) if matches!(key.item, Item::Ready(_)) => {
                let said = document::read::<Ready>(&key, &object.body);
                match said.ok().and_then(|ready| ready.unfit) {
                    Some(why) => Step::Done(RendezvousError::Declined {
                        run: self.run.clone(),
                        vantage: self.slot.clone(),
                        why,
                    }),
                    None => Step::Done(self.so_far()),
                }
            }
            _ => Step::Done(self.so_far()),
        }
    }

    fn was_spare(&self) -> bool {
        matches!(self.so_far, RendezvousError::StartedWithout { .. })
    }

    /// What the latest of the slot's probers found out.
    fn last_said(&self, listing: &Listing) -> Option<RunKey> {
        let keys = listing.objects.iter().filter_map(|entry| {
            let key = entry.key.parse::<RunKey>().ok()?;
            let of_slot = matches!(&key.item, Item::Ready(c) if c.vantage() == self.slot);
            of_slot.then_some((entry.last_modified, key))
        });
        keys.max_by_key(|(at, _)| *at).map(|(_, key)| key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::job::{JobSpec, SCHEMA_MAJOR, WriteId};
    use crate::load::schedule;
    use crate::rendezvous::objects::ReferenceClock;
    use crate::rendezvous::roster::entries;
    use crate::rendezvous::sample::{T0, absent, job, object};
    use crate::store::sample::at;
    use crate::store::{Entry, Op};

    /// Of a run for `fleet` that started with the claims of `seated`.
    fn left_out(fleet: &[&str], seated: &[(&str, u32)], label: &str) -> (LeftOut, Request) {
        let job = job(JobSpec {
            vantages: Some(fleet.iter().map(|v| v.parse().unwrap()).collect()),
            ..JobSpec::default()
        });
        let (left_out, ask) = LeftOut::new(&job, &start(&job, seated), &label.parse().unwrap());
        (left_out, ask)
    }

    fn start(job: &Job, seated: &[(&str, u32)]) -> Start {
        let seated = seated.iter().map(|(label, k)| {
            let vantage: Vantage = label.parse().unwrap();
            let claim = ClaimId::new(&vantage, *k, 7);
            (vantage, (Some(claim), None))
        });
        Start {
            roster: entries(seated.collect()),
            start_at: T0,
            tiers: schedule(job, T0),
            reference: ReferenceClock::Bucket,
            offset: None,
            marked: [].into(),
            asked: None,
        }
    }

    fn slot(label: &str, k: u32) -> RunKey {
        let slot = Item::Slot(label.parse().unwrap(), k);
        RunKey::new(&"r1".parse().unwrap(), slot)
    }

    fn told(step: Step) -> RendezvousError {
        match step {
            Step::Done(e) => e,
            Step::Ask(request) => panic!("asks {request:?}"),
        }
    }

    #[test]
    fn a_slot_that_the_roster_names_is_anothers() {
        for (fleet, seated, label, asks) in [
            (
                &["iad", "sjc"][..],
                &[("iad", 0), ("sjc", 1)][..],
                "sjc",
                slot("sjc", 1),
            ),
            (
                &["iad:2"],
                &[("iad/0", 0), ("iad/1", 0)],
                "iad",
                slot("iad/0", 0),
            ),
            (&["iad:2"], &[("iad/1", 0)], "iad/1", slot("iad/1", 0)),
        ] {
            let (left_out, ask) = left_out(fleet, seated, label);
            assert_eq!(ask, Request::Read(asks.clone()));
            let e = told(left_out.replied(Reply::Read(asks, absent())));
            assert!(
                matches!(e, RendezvousError::SlotTaken { .. }),
                "{label}: {e}"
            );
            assert!(e.to_string().contains(&format!("`{label}`")), "{e}");
        }
    }

    #[test]
    fn who_may_not_have_the_slot_is_told_so() {
        for seated in [&[("iad", 0), ("sjc", 0)][..], &[("sjc", 0)]] {
            let (left_out, ask) = left_out(&["iad", "sjc"], seated, "iad");
            assert_eq!(ask, Request::Read(slot("iad", 0)));
            let denied = StoreError::Denied {
                at: at(),
                op: Op::Get,
                why: "AccessDenied".into(),
            };
            let e = told(left_out.replied(Reply::Read(slot("iad", 0), Err(denied.clone()))));
            assert_eq!(e, denied.into());
        }
    }

    /// What is said of `iad`, which is not in the roster, where probers there found out `unfit`, one
    /// after the other.
    fn spare(unfit: &[Option<&str>]) -> RendezvousError {
        let (left_out, _) = left_out(&["iad", "sjc"], &[("sjc", 0)], "iad");
        let Step::Ask(Request::List(list)) =
            left_out.replied(Reply::Read(slot("iad", 0), absent()))
        else {
            panic!("does not look")
        };
        let run: RunId = "r1".parse().unwrap();
        let vantage: Vantage = "iad".parse().unwrap();
        let key = |nonce: u64| {
            let claim = ClaimId::new(&vantage, 0, nonce);
            RunKey::new(&run, Item::Ready(claim))
        };
        let objects = (0..unfit.len() as u64).map(|n| Entry {
            // Whose name is the greatest says nothing.
            key: key(9 - n).to_string(),
            last_modified: T0 + Duration::from_secs(n),
            size: 1,
        });
        let listing = Listing {
            objects: objects.collect(),
            ..Listing::default()
        };
        match left_out.replied(Reply::Listed(list, Ok(listing))) {
            Step::Done(e) => e,
            Step::Ask(Request::Read(asked)) => {
                let Item::Ready(claim) = asked.item.clone() else {
                    panic!("asks for {asked}")
                };
                let n = (0..unfit.len())
                    .find(|n| key(9 - *n as u64) == asked)
                    .unwrap();
                let ready = Ready {
                    schema: SCHEMA_MAJOR,
                    write_id: WriteId::from_u64(1),
                    run: run.clone(),
                    vantage: vantage.clone(),
                    claim,
                    build: "test".into(),
                    sfu_offset: None,
                    sfu_node: String::new(),
                    bucket_offset: None,
                    must_end_by: None,
                    transport: None,
                    unfit: unfit[n].map(str::to_owned),
                    function: None,
                };
                let body = document::write(&ready).unwrap();
                told(left_out.replied(Reply::Read(asked, Ok(object(body)))))
            }
            Step::Ask(other) => panic!("asks {other:?}"),
        }
    }

    #[test]
    fn a_vantage_whose_prober_declined_was_heard_of() {
        let e = spare(&[None, Some("unauthorized: wrong secret")]);
        assert!(matches!(e, RendezvousError::Declined { .. }), "{e}");
        let e = e.to_string();
        assert!(
            e.contains("`iad`") && e.contains("unauthorized: wrong secret"),
            "{e}"
        );
        for readies in [&[][..], &[Some("no UDP"), None]] {
            let e = spare(readies);
            assert!(matches!(e, RendezvousError::StartedWithout { .. }), "{e}");
        }
    }
}
