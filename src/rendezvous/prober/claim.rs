//! Claiming the slot, before anything else is done: of a vantage's several slots the next free one.
//! A claim that is dead, or whose prober said that it can't take part, is taken over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::clock::Estimate;
use crate::job::{ClaimId, Job, RunId, SCHEMA_MAJOR, Timestamp, Vantage, WriteId};
use crate::rendezvous::exchange::{Errand, Reply, Request};
use crate::rendezvous::keys::{Folder, Item, RunKey};
use crate::rendezvous::objects::{Ready, Slot};
use crate::rendezvous::{LEASE, RendezvousError, document};
use crate::signature::PublicKey;
use crate::store::{Listing, Settled, StoreError};

/// How long after a failed request the next try comes.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An attempt to get the slot.
#[derive(Debug)]
pub(super) struct Claim {
    run: RunId,
    /// As the prober was told.
    label: Vantage,
    /// The slot that it tries to get.
    vantage: Vantage,
    /// Those that it may try after that.
    others: VecDeque<Vantage>,
    public_key: PublicKey,
    build: String,
    write_id: WriteId,
    step: Errand,
    want: Want,
    /// It has looked who holds the slot.
    looked: bool,
    claims: BTreeMap<u32, Timestamp>,
    /// Of the claim that holds the slot: the last sign of life, by the bucket's clock.
    life: Option<Timestamp>,
    /// Where the claim that holds the slot says what it found out.
    said: Option<RunKey>,
    /// The start will name the claim: where it was fixed with the job, a slot's first claim counts.
    later_claims_count: bool,
    trouble: Option<StoreError>,
}

/// What is to be found out next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// Which of the vantage's slots nobody has claimed yet.
    Free,
    Claims,
    Ready,
    /// Whether the prober that holds the slot said that it can't take part.
    Said,
    Live,
    Create(u32),
}

/// What an attempt wants next.
#[derive(Debug)]
pub(super) enum Step {
    /// To ask.
    Ask(Request),
    /// Nothing, until it hears or wakes.
    Wait,
    /// To end.
    Done(Box<Result<ClaimId, RendezvousError>>),
}

fn done(result: Result<ClaimId, RendezvousError>) -> Step {
    Step::Done(Box::new(result))
}

impl Claim {
    /// An attempt to get any of the slots that `label` may take in this job.
    pub(super) fn new(
        job: &Job,
        label: &Vantage,
        public_key: PublicKey,
        build: String,
        write_id: WriteId,
        now: Timestamp,
    ) -> Self {
        let mut slots: VecDeque<Vantage> = job.fleet.slots(label).into();
        let several = slots.len() > 1;
        Claim {
            run: job.run.clone(),
            label: label.clone(),
            vantage: slots.pop_front().unwrap_or_else(|| label.clone()),
            others: slots,
            public_key,
            build,
            write_id,
            step: Errand::at(now),
            // Most slots are free, and who finds one taken can still look by whom.
            want: if several { Want::Free } else { Want::Create(0) },
            looked: several,
            claims: BTreeMap::new(),
            life: None,
            said: None,
            later_claims_count: job.times.start_at.is_none(),
            trouble: None,
        }
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        self.step.wake_at()
    }

    /// What the bucket said when it last failed.
    pub(super) fn trouble(&self) -> Option<StoreError> {
        self.trouble.clone()
    }

    pub(super) fn wake(&mut self, now: Timestamp) -> Step {
        if !self.step.start(now) {
            return Step::Wait;
        }
        let list =
            |folder: Folder| Step::Ask(Request::List(folder.list_of(&self.run, &self.vantage)));
        match self.want {
            Want::Free => {
                let all = Folder::Slots.list_of_slots(&self.run, &self.label);
                Step::Ask(Request::List(all))
            }
            Want::Claims => list(Folder::Slots),
            Want::Ready => list(Folder::Ready),
            Want::Live => list(Folder::Live),
            Want::Said => match self.said.clone() {
                Some(key) => Step::Ask(Request::Read(key)),
                None => Step::Wait,
            },
            Want::Create(k) => {
                let slot = Slot {
                    schema: SCHEMA_MAJOR,
                    write_id: self.write_id.clone(),
                    run: self.run.clone(),
                    vantage: self.vantage.clone(),
                    claim: self.claim(k),
                    public_key: self.public_key,
                    build: self.build.clone(),
                };
                let key = RunKey::new(&self.run, Item::Slot(self.vantage.clone(), k));
                match document::write(&slot) {
                    Ok(body) => Step::Ask(Request::Create(key, body)),
                    Err(e) => done(Err(e)),
                }
            }
        }
    }

    pub(super) fn replied(&mut self, now: Timestamp, reply: Reply, bucket: &Estimate) -> Step {
        self.step.answered();
        match reply {
            Reply::Listed(_, Ok(listing)) => self.listed(now, &listing, bucket),
            Reply::Created(key, Ok(Settled::Mine)) => match key.item {
                Item::Slot(_, k) => done(Ok(self.claim(k))),
                _ => Step::Wait,
            },
            Reply::Created(_, Ok(Settled::Theirs(_))) if !self.looked => {
                self.then(now, Want::Claims)
            }
            Reply::Created(_, Ok(Settled::Theirs(_))) => self.taken(now),
            Reply::Listed(_, Err(e)) | Reply::Created(_, Err(e)) => self.failed(now, e),
            Reply::Read(_, Err(e)) if e.retryable() => self.failed(now, e),
            Reply::Read(key, answer) => {
                let said = answer.map(|object| document::read::<Ready>(&key, &object.body));
                let unfit = matches!(said, Ok(Ok(ready)) if ready.unfit.is_some());
                match unfit {
                    true => self.take_over(now),
                    false => self.then(now, Want::Live),
                }
            }
            Reply::Overwritten(..) => Step::Wait,
        }
    }

    fn listed(&mut self, now: Timestamp, listing: &Listing, bucket: &Estimate) -> Step {
        let items = listing
            .objects
            .iter()
            .filter_map(|e| Some((e.key.parse::<RunKey>().ok()?.item, e.last_modified)));
        match self.want {
            Want::Free => {
                let claimed: BTreeSet<Vantage> = items
                    .filter_map(|(item, _)| match item {
                        Item::Slot(v, _) => Some(v),
                        _ => None,
                    })
                    .collect();
                // The free ones first; of the others one may be dead.
                let first = std::iter::once(self.vantage.clone());
                let slots = first.chain(self.others.drain(..));
                let (held, mut free): (VecDeque<_>, VecDeque<_>) =
                    slots.partition(|slot| claimed.contains(slot));
                let nobody_has_it = !free.is_empty();
                free.extend(held);
                if let Some(slot) = free.pop_front() {
                    self.vantage = slot;
                }
                self.others = free;
                let want = match nobody_has_it {
                    true => Want::Create(0),
                    false => Want::Claims,
                };
                self.then(now, want)
            }
            Want::Claims => {
                self.looked = true;
                self.claims = items
                    .filter_map(|(item, at)| match item {
                        Item::Slot(v, k) if v == self.vantage => Some((k, at)),
                        _ => None,
                    })
                    .collect();
                match self.claims.last_key_value() {
                    None => self.then(now, Want::Create(0)),
                    Some((_, at)) => {
                        self.life = Some(*at);
                        self.then(now, Want::Ready)
                    }
                }
            }
            Want::Ready => {
                let holder = self.holder();
                for (item, at) in items {
                    if let Item::Ready(claim) = item
                        && claim.vantage() == self.vantage
                        && claim.k() == holder
                    {
                        self.life = self.life.max(Some(at));
                        self.said = Some(RunKey::new(&self.run, Item::Ready(claim)));
                    }
                }
                let want = match self.said {
                    Some(_) if self.later_claims_count => Want::Said,
                    _ => Want::Live,
                };
                self.then(now, want)
            }
            Want::Live => {
                for (item, at) in items {
                    if item == Item::Live(self.vantage.clone()) {
                        self.life = self.life.max(Some(at));
                    }
                }
                let dead = self
                    .life
                    .is_some_and(|last| bucket.surely_past(now, last + LEASE));
                if dead {
                    self.take_over(now)
                } else {
                    self.taken(now)
                }
            }
            Want::Said | Want::Create(_) => Step::Wait,
        }
    }

    fn take_over(&mut self, now: Timestamp) -> Step {
        let next = self.holder().saturating_add(1);
        self.then(now, Want::Create(next))
    }

    /// The key makes it unique: each prober has its own, and of those that share a ticket one
    /// alone can create the slot.
    fn claim(&self, k: u32) -> ClaimId {
        ClaimId::new(&self.vantage, k, self.public_key.nonce())
    }

    fn holder(&self) -> u32 {
        self.claims.last_key_value().map_or(0, |(k, _)| *k)
    }

    fn then(&mut self, now: Timestamp, want: Want) -> Step {
        self.want = want;
        self.step.again(now);
        self.wake(now)
    }

    fn failed(&mut self, now: Timestamp, e: StoreError) -> Step {
        if !e.retryable() {
            return done(Err(e.into()));
        }
        self.step.again(now + RETRY_AFTER);
        self.trouble = Some(e);
        Step::Wait
    }

    /// Another holds this slot: the next one, or none.
    fn taken(&mut self, now: Timestamp) -> Step {
        let Some(next) = self.others.pop_front() else {
            return done(Err(RendezvousError::SlotTaken {
                run: self.run.clone(),
                vantage: self.label.clone(),
            }));
        };
        self.vantage = next;
        self.claims.clear();
        self.life = None;
        self.said = None;
        self.then(now, Want::Claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobSpec;
    use crate::rendezvous::sample::{T0, job, object};
    use crate::signature::SigningKey;
    use crate::store::Entry;

    /// What becomes of a prober that knows no more than its vantage, `iad`, of three slots, where
    /// these are claimed and none is dead; `lost` of its creates come too late.
    fn got(claimed: &[u32], mut lost: usize) -> Result<String, RendezvousError> {
        let job = job(JobSpec {
            vantages: Some(vec!["iad:3".parse().unwrap(), "sjc".parse().unwrap()]),
            ..JobSpec::default()
        });
        let run = &job.run;
        let key = SigningKey::from_seed([1; 32]).unwrap().public();
        let label: Vantage = "iad".parse().unwrap();
        let slots = label.slots(3);
        let mut claimed: BTreeSet<Vantage> =
            claimed.iter().map(|k| slots[*k as usize].clone()).collect();
        let mut claim = Claim::new(&job, &label, key, "test".into(), WriteId::from_u64(1), T0);
        let mut step = claim.wake(T0);
        for _ in 0..40 {
            let reply = match step {
                Step::Ask(Request::List(list)) => {
                    let all = claimed
                        .iter()
                        .map(|v| RunKey::new(run, Item::Slot(v.clone(), 0)));
                    let of_list = all
                        .map(|key| key.key())
                        .filter(|key| key.to_string().starts_with(&list.prefix));
                    let objects = of_list.map(|key| Entry {
                        key: key.to_string(),
                        last_modified: T0,
                        size: 1,
                    });
                    let listing = Listing {
                        objects: objects.collect(),
                        ..Listing::default()
                    };
                    Reply::Listed(list, Ok(listing))
                }
                Step::Ask(Request::Create(key, body)) if lost > 0 => {
                    lost -= 1;
                    if let Item::Slot(slot, _) = &key.item {
                        claimed.insert(slot.clone());
                    }
                    Reply::Created(key, Ok(Settled::Theirs(object(body))))
                }
                Step::Ask(Request::Create(key, _)) => Reply::Created(key, Ok(Settled::Mine)),
                Step::Done(result) => return result.map(|claim| claim.vantage().to_string()),
                other => panic!("{other:?}"),
            };
            step = claim.replied(T0, reply, &Estimate::unknown());
        }
        panic!("no end");
    }

    /// What becomes of a prober at `iad`, the one slot, whose holder is alive and found this out.
    fn second(unfit: Option<&str>, start_at: Option<Timestamp>) -> Result<u32, RendezvousError> {
        let job = job(JobSpec {
            start_at,
            ..JobSpec::default()
        });
        let run = &job.run;
        let keys = [1, 2].map(|n| SigningKey::from_seed([n; 32]).unwrap().public());
        let iad: Vantage = "iad".parse().unwrap();
        let first = ClaimId::new(&iad, 0, keys[0].nonce());
        let ready = Ready {
            schema: SCHEMA_MAJOR,
            write_id: WriteId::from_u64(1),
            run: run.clone(),
            vantage: iad.clone(),
            claim: first.clone(),
            build: "test".into(),
            sfu_offset: None,
            sfu_node: String::new(),
            bucket_offset: None,
            must_end_by: None,
            transport: None,
            unfit: unfit.map(str::to_owned),
            function: None,
        };
        let there = [
            Item::Slot(iad.clone(), 0),
            Item::Ready(first),
            Item::Live(iad.clone()),
        ];
        let there = there.map(|item| RunKey::new(run, item));
        let mut claim = Claim::new(&job, &iad, keys[1], "test".into(), WriteId::from_u64(2), T0);
        let mut step = claim.wake(T0);
        for _ in 0..10 {
            let reply = match step {
                Step::Ask(Request::List(list)) => {
                    let keys = there.iter().map(ToString::to_string);
                    let of_list = keys.filter(|key| key.starts_with(&list.prefix));
                    let objects = of_list.map(|key| Entry {
                        key,
                        last_modified: T0,
                        size: 1,
                    });
                    let listing = Listing {
                        objects: objects.collect(),
                        ..Listing::default()
                    };
                    Reply::Listed(list, Ok(listing))
                }
                Step::Ask(Request::Create(key, body)) if there.contains(&key) => {
                    Reply::Created(key, Ok(Settled::Theirs(object(body))))
                }
                Step::Ask(Request::Create(key, _)) => Reply::Created(key, Ok(Settled::Mine)),
                Step::Ask(Request::Read(key)) => {
                    let body = document::write(&ready).unwrap();
                    Reply::Read(key, Ok(object(body)))
                }
                Step::Done(result) => return result.map(|claim| claim.k()),
                other => panic!("{other:?}"),
            };
            step = claim.replied(T0, reply, &Estimate::unknown());
        }
        panic!("no end");
    }

    #[test]
    fn who_declined_does_not_keep_its_slot() {
        assert_eq!(second(Some("unauthorized"), None), Ok(1));
        let fixed = Some(T0 + Duration::from_secs(60));
        for (unfit, start_at) in [(None, None), (Some("unauthorized"), fixed)] {
            let e = second(unfit, start_at).unwrap_err();
            assert!(matches!(e, RendezvousError::SlotTaken { .. }), "{e}");
        }
    }

    #[test]
    fn who_knows_its_vantage_alone_takes_the_next_free_slot() {
        for (claimed, lost, slot) in [
            (&[][..], 0, "iad/0"),
            (&[0], 0, "iad/1"),
            (&[0, 2], 0, "iad/1"),
            (&[1], 1, "iad/2"),
            (&[], 2, "iad/2"),
        ] {
            assert_eq!(
                got(claimed, lost),
                Ok(slot.to_owned()),
                "{claimed:?} {lost}"
            );
        }
        for (claimed, lost) in [(&[0, 1, 2][..], 0), (&[], 3)] {
            match got(claimed, lost) {
                Err(RendezvousError::SlotTaken { vantage, .. }) => {
                    assert_eq!(vantage.as_str(), "iad");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
