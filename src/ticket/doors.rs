//! Which objects a vantage's prober reads and writes: exactly these, and its ticket opens no other.

use std::collections::BTreeSet;

use super::CLAIMS;
use crate::job::{ClaimId, Job, RunId, Vantage, Workload};
use crate::rendezvous::keys::{Folder, Item, RunKey};
use crate::signature::PublicKey;

/// The objects of one vantage in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doors {
    /// It reads them.
    pub get: BTreeSet<RunKey>,
    /// It creates them.
    pub create: BTreeSet<RunKey>,
    /// It writes them again and again.
    pub put: BTreeSet<RunKey>,
}

impl Doors {
    /// Of `vantage`, whose claims are made with `key`.
    pub fn of(job: &Job, vantage: &Vantage, key: &PublicKey) -> Self {
        let Workload::SharedRoom { ramp, .. } = &job.workload;
        // The baseline is tier 0.
        let tiers = 0..=u32::try_from(ramp.tiers().len()).unwrap_or(u32::MAX);
        let at = |item| RunKey::new(&job.run, item);
        let of_claims = (0..CLAIMS).flat_map(|k| {
            let claim = ClaimId::new(vantage, k, key.nonce());
            [Item::Slot(vantage.clone(), k), Item::Ready(claim)]
        });
        let own: BTreeSet<RunKey> = of_claims
            .chain(tiers.map(|n| Item::Tier(vantage.clone(), n)))
            .chain([Item::Report(vantage.clone())])
            .map(at)
            .collect();
        let live = at(Item::Live(vantage.clone()));
        // What it creates it also reads: whose a create was shows when it is read back.
        let read = [Item::Job, Item::Start, Item::Abort].map(at);
        Doors {
            get: own.iter().chain(&read).chain([&live]).cloned().collect(),
            create: own,
            put: [live].into(),
        }
    }

    /// The listings that are made of its objects alone.
    pub fn whole(run: &RunId, vantage: &Vantage) -> BTreeSet<String> {
        let own = [Folder::Slots, Folder::Ready, Folder::Live];
        own.map(|folder| folder.list_of(run, vantage).prefix).into()
    }

    /// Whether some ticket of `vantage` in `run` may open this object.
    pub fn may_open(key: &RunKey, run: &RunId, vantage: &Vantage) -> bool {
        let whose = match &key.item {
            Item::Job | Item::Start | Item::Abort => return key.run == *run,
            Item::Slot(v, _) | Item::Live(v) | Item::Tier(v, _) | Item::Report(v) => v.clone(),
            Item::Ready(claim) => claim.vantage(),
            Item::Ticket(_)
            | Item::Log(_)
            | Item::Inputs(_)
            | Item::Combined(_)
            | Item::Page(_) => return false,
        };
        key.run == *run && whose == *vantage
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::signature::SigningKey;

    #[test]
    fn a_vantage_opens_its_own_objects_alone() {
        let job = sample::job();
        let key = SigningKey::from_seed([1; 32]).unwrap().public();
        let [a, b] = ["a", "b"].map(|v| Doors::of(&job, &sample::vantage(v), &key));
        assert!(a.create.is_disjoint(&b.create) && a.put.is_disjoint(&b.put));
        let shared: Vec<String> = a.get.intersection(&b.get).map(RunKey::to_string).collect();
        let in_run = |name: &str| format!("runs/{}/{name}.json", job.run);
        assert_eq!(shared, ["job", "start", "abort"].map(in_run));
        // Tiers 0 to 3, the report, and a slot and what was found out for each claim.
        assert_eq!(a.create.len(), 4 + 1 + 2 * CLAIMS as usize);
        for key in a.get.iter().chain(&a.create).chain(&a.put) {
            assert!(Doors::may_open(key, &job.run, &sample::vantage("a")));
            let foreign = Doors::may_open(key, &job.run, &sample::vantage("b"));
            assert_eq!(foreign, b.get.contains(key), "{key}");
            assert!(!Doors::may_open(
                key,
                &"r2".parse().unwrap(),
                &sample::vantage("a")
            ));
        }
        for item in [Item::Job, Item::Start, Item::Abort] {
            let key = RunKey::new(&job.run, item);
            assert!(!a.create.contains(&key) && !a.put.contains(&key));
        }
    }
}
