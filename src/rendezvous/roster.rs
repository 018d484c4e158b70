//! Who takes part: from claims and what they found out to the start decision's roster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::objects::{Ready, RosterEntry};
use super::reference::Reference;
use crate::clock::Reading;
use crate::job::{ClaimId, Fleet, Timestamp, Vantage};
use crate::signature::PublicKey;

/// What has been seen of the slots.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// Each claim to a slot, with when it was stored.
    pub claims: BTreeMap<(Vantage, u32), Timestamp>,
    /// The key that each claim published. Only who has one here may take part.
    pub keys: BTreeMap<ClaimId, PublicKey>,
    /// What each claim found out, with when it was stored.
    pub ready: BTreeMap<ClaimId, (Ready, Timestamp)>,
    /// What can't be read of those that are of another build, and why.
    pub unreadable: BTreeMap<ClaimId, String>,
    /// When each vantage's last heartbeat was stored.
    pub live: BTreeMap<Vantage, Timestamp>,
}

/// Where the wait for the slots stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// Not all have answered, and there is time.
    Wait,
    /// These take part.
    Start(BTreeMap<Vantage, ClaimId>),
    /// Nobody claimed a slot in time.
    NobodyCame,
    /// All that came are unfit, or were never heard of again.
    NobodyReady(Vec<String>),
}

impl Gathered {
    /// Of each vantage that the fleet admits, the claim that counts: the latest that became
    /// ready. Who took over a slot had found the earlier claim dead.
    fn latest(&self, fleet: &Fleet) -> BTreeMap<&Vantage, &(Ready, Timestamp)> {
        let mut latest: BTreeMap<&Vantage, &(Ready, Timestamp)> = BTreeMap::new();
        for entry in self.ready.values() {
            let ready = &entry.0;
            if !fleet.admits(&ready.vantage) || !self.keys.contains_key(&ready.claim) {
                continue;
            }
            let best = latest.entry(&ready.vantage).or_insert(entry);
            if best.0.claim.k() < ready.claim.k() {
                *best = entry;
            }
        }
        latest
    }

    /// Those that wait for the start, the first to be ready first.
    fn fit<'a>(&'a self, fleet: &Fleet, stale_before: Timestamp) -> Vec<&'a (Ready, Timestamp)> {
        let mut fit: Vec<_> = self
            .latest(fleet)
            .into_values()
            .filter(|(ready, at)| {
                let seen = self
                    .live
                    .get(&ready.vantage)
                    .map_or(*at, |live| *live.max(at));
                ready.unfit.is_none() && seen >= stale_before
            })
            .collect();
        fit.sort_by_key(|(ready, at)| (*at, ready.vantage.clone()));
        fit.truncate(usize::try_from(fleet.size()).unwrap_or(usize::MAX));
        fit
    }

    /// Decides, given whether the wait is over. A prober that became ready and was last heard of
    /// before `stale_before` (bucket's clock) is not waited with.
    pub fn call(&self, fleet: &Fleet, over: bool, stale_before: Timestamp) -> Call {
        // It is asked often: so few can't be all.
        if !over && self.ready.len() < usize::try_from(fleet.size()).unwrap_or(usize::MAX) {
            return Call::Wait;
        }
        let fit = self.fit(fleet, stale_before);
        let latest = self.latest(fleet);
        let unfit: Vec<String> = latest
            .values()
            .filter_map(|(ready, _)| Some(format!("{}: {}", ready.vantage, ready.unfit.as_ref()?)))
            .collect();
        let answered = match fleet {
            Fleet::Vantages(named) => {
                let waits: BTreeSet<&Vantage> = fit.iter().map(|(r, _)| &r.vantage).collect();
                named.iter().all(|v| {
                    let unfit = |(r, _): &&(Ready, Timestamp)| {
                        r.unfit.is_some() && !self.is_retried(&r.claim, stale_before)
                    };
                    waits.contains(v) || latest.get(v).copied().is_some_and(|l| unfit(&l))
                })
            }
            Fleet::Expect(n) => {
                fit.len().saturating_add(unfit.len()) >= usize::try_from(*n).unwrap_or(usize::MAX)
            }
        };
        if !answered && !over {
            return Call::Wait;
        }
        if !fit.is_empty() {
            return Call::Start(
                fit.into_iter()
                    .map(|(r, _)| (r.vantage.clone(), r.claim.clone()))
                    .collect(),
            );
        }
        if !unfit.is_empty() {
            return Call::NobodyReady(unfit);
        }
        let declined = self.declined(fleet);
        if !declined.is_empty() {
            return Call::NobodyReady(declined);
        }
        let silent: Vec<String> = self
            .claims
            .keys()
            .filter(|(v, _)| fleet.admits(v))
            .map(|(v, _)| format!("{v}: took its slot and never became ready"))
            .collect();
        if silent.is_empty() {
            Call::NobodyCame
        } else {
            Call::NobodyReady(silent)
        }
    }

    /// Whether another prober has taken the slot of this claim since, and may be about to be ready.
    fn is_retried(&self, claim: &ClaimId, stale_before: Timestamp) -> bool {
        let vantage = claim.vantage();
        let later = (vantage.clone(), claim.k().saturating_add(1))..=(vantage, u32::MAX);
        self.claims.range(later).any(|(_, at)| *at >= stale_before)
    }

    /// What those say who took no slot, as they can't carry out the job, or can't be read. Their
    /// slots are free.
    fn declined(&self, fleet: &Fleet) -> Vec<String> {
        let without_slot = self
            .ready
            .iter()
            .filter(|(c, _)| !self.keys.contains_key(*c));
        let said = without_slot.filter_map(|(c, (ready, _))| Some((c, ready.unfit.as_ref()?)));
        said.chain(&self.unreadable)
            .map(|(claim, why)| (claim.vantage(), why))
            .filter(|(label, _)| !fleet.slots(label).is_empty())
            .map(|(label, why)| format!("{label}: {why}"))
            .collect()
    }

    /// The slots that the job names and a roster doesn't: those whose probers said that they can't
    /// take part, and those from which none was ready.
    pub fn missing(
        &self,
        fleet: &Fleet,
        roster: &BTreeMap<Vantage, RosterEntry>,
    ) -> (Vec<Vantage>, Vec<Vantage>) {
        let unfit: BTreeSet<Vantage> = self
            .ready
            .iter()
            .filter(|(_, (ready, _))| ready.unfit.is_some())
            .map(|(claim, _)| claim.vantage())
            .chain(self.unreadable.keys().map(ClaimId::vantage))
            .collect();
        let missing = fleet.named().into_iter();
        missing
            .filter(|slot| !roster.contains_key(slot))
            .partition(|slot| unfit.contains(slot))
    }

    /// The builds of a roster's probers, and whose each is.
    pub fn builds(
        &self,
        roster: &BTreeMap<Vantage, RosterEntry>,
    ) -> BTreeMap<String, Vec<Vantage>> {
        let mut builds: BTreeMap<String, Vec<Vantage>> = BTreeMap::new();
        for (slot, entry) in roster {
            if let Some((ready, _)) = entry.claim.as_ref().and_then(|c| self.ready.get(c)) {
                builds
                    .entry(ready.build.clone())
                    .or_default()
                    .push(slot.clone());
            }
        }
        builds
    }

    /// When the first of a roster's claims became ready, by the bucket's clock.
    pub fn ready_since(&self, roster: &BTreeMap<Vantage, ClaimId>) -> Option<Timestamp> {
        roster
            .values()
            .filter_map(|c| Some(self.ready.get(c)?.1))
            .min()
    }

    /// The clock that a roster's windows are best written in, as its claims and the coordinator
    /// itself read the SFU's.
    pub fn reference(
        &self,
        roster: &BTreeMap<Vantage, ClaimId>,
        own: &Reading,
        width_max: Duration,
        bucket_now: Timestamp,
    ) -> Reference {
        let readies: Vec<_> = roster.values().filter_map(|c| self.ready.get(c)).collect();
        Reference::decide(&readies, own, width_max, bucket_now)
    }
}

/// A roster with each vantage's place, in the order of the labels, from what is known of each:
/// its claim, and the key of its parts.
pub fn entries(
    roster: BTreeMap<Vantage, (Option<ClaimId>, Option<PublicKey>)>,
) -> BTreeMap<Vantage, RosterEntry> {
    let numbered = roster.into_iter().zip(0u32..);
    numbered
        .map(|((vantage, (claim, public_key)), index)| {
            let entry = RosterEntry {
                claim,
                public_key,
                index,
            };
            (vantage, entry)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{SCHEMA_MAJOR, WriteId};
    use crate::signature::SigningKey;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_micros(s * 1_000_000)
    }

    fn ready(label: &str, k: u32, unfit: Option<&str>) -> Ready {
        let vantage: Vantage = label.parse().unwrap();
        Ready {
            schema: SCHEMA_MAJOR,
            write_id: WriteId::from_u64(1),
            run: "r1".parse().unwrap(),
            claim: ClaimId::new(&vantage, k, 7),
            vantage,
            build: "test".into(),
            sfu_offset: None,
            sfu_node: "node".into(),
            bucket_offset: None,
            must_end_by: None,
            transport: None,
            unfit: unfit.map(str::to_owned),
            function: None,
        }
    }

    fn gathered(readies: &[(Ready, i64)]) -> Gathered {
        let mut g = Gathered::default();
        for (r, t) in readies {
            g.claims.insert((r.vantage.clone(), r.claim.k()), at(*t));
            let key = SigningKey::from_seed([1; 32]).unwrap().public();
            g.keys.insert(r.claim.clone(), key);
            g.ready.insert(r.claim.clone(), (r.clone(), at(*t)));
        }
        g
    }

    fn started(call: Call) -> Vec<String> {
        match call {
            Call::Start(roster) => roster.values().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_expected_start_at_once_the_rest_wait() {
        let fleet = Fleet::Expect(2);
        let g = gathered(&[(ready("a", 0, None), 1)]);
        assert_eq!(g.call(&fleet, false, at(0)), Call::Wait);
        assert_eq!(started(g.call(&fleet, true, at(0))).len(), 1);
        let g = gathered(&[
            (ready("c", 0, None), 1),
            (ready("b", 0, None), 2),
            (ready("a", 0, None), 3),
        ]);
        let roster = started(g.call(&fleet, false, at(0)));
        assert_eq!(
            roster,
            ["b.0.000000000007", "c.0.000000000007"],
            "the first two"
        );
    }

    #[test]
    fn who_cannot_carry_out_the_job_is_named_and_its_slot_is_free() {
        let fleet = Fleet::Vantages(["a".parse().unwrap()].into());
        let mut g = gathered(&[(ready("a", 0, Some("build 0.0.9 there")), 1)]);
        g.keys.clear();
        g.claims.clear();
        assert_eq!(g.call(&fleet, false, at(0)), Call::Wait);
        let mut newer = Gathered::default();
        let claim = ClaimId::new(&"a".parse().unwrap(), 0, 9);
        newer.unreadable.insert(claim, "it has schema 2".into());
        for (g, why) in [(g, "build 0.0.9 there"), (newer, "it has schema 2")] {
            let reasons = vec![format!("a: {why}")];
            assert_eq!(g.call(&fleet, true, at(0)), Call::NobodyReady(reasons));
            let mut later = gathered(&[(ready("a", 0, None), 5)]);
            later.unreadable.clone_from(&g.unreadable);
            assert_eq!(
                started(later.call(&fleet, false, at(0))),
                ["a.0.000000000007"]
            );
        }
    }

    #[test]
    fn who_has_taken_the_slot_of_one_who_declined_is_waited_for() {
        let fleet = Fleet::Vantages(["a", "b"].map(|v| v.parse().unwrap()).into());
        let mut g = gathered(&[(ready("a", 0, None), 9), (ready("b", 0, Some("secret")), 1)]);
        assert_eq!(started(g.call(&fleet, false, at(0))).len(), 1);
        g.claims.insert(("b".parse().unwrap(), 1), at(9));
        assert_eq!(g.call(&fleet, false, at(0)), Call::Wait);
        // It was never heard of again.
        g.ready.values_mut().for_each(|(_, seen)| *seen = at(80));
        assert_eq!(started(g.call(&fleet, false, at(70))).len(), 1);
        g.ready.insert(
            ClaimId::new(&"b".parse().unwrap(), 1, 7),
            (ready("b", 1, None), at(80)),
        );
        let claim = ready("b", 1, None).claim;
        let key = SigningKey::from_seed([1; 32]).unwrap().public();
        g.keys.insert(claim, key);
        assert_eq!(started(g.call(&fleet, false, at(70))).len(), 2);
    }

    #[test]
    fn who_is_missing_declined_or_was_not_there() {
        let named = ["a", "b", "c"].map(|v| v.parse().unwrap());
        let fleet = Fleet::Vantages(named.into());
        let g = gathered(&[(ready("a", 0, None), 1), (ready("b", 0, Some("no UDP")), 1)]);
        let Call::Start(roster) = g.call(&fleet, true, at(0)) else {
            panic!("does not start")
        };
        let roster = entries(
            roster
                .into_iter()
                .map(|(v, c)| (v, (Some(c), None)))
                .collect(),
        );
        let (unfit, absent) = g.missing(&fleet, &roster);
        let labels = |of: &[Vantage]| of.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            (labels(&unfit), labels(&absent)),
            (vec!["b".into()], vec!["c".into()])
        );
        assert_eq!(g.missing(&Fleet::Expect(3), &roster), (vec![], vec![]));
    }

    #[test]
    fn builds_are_told_with_those_that_have_them() {
        let mut other = ready("b", 0, None);
        other.build = "0.2.0".into();
        let g = gathered(&[
            (ready("a", 0, None), 1),
            (other, 1),
            (ready("c", 0, None), 1),
        ]);
        let Call::Start(roster) = g.call(&Fleet::Expect(3), false, at(0)) else {
            panic!("does not start")
        };
        let roster = roster
            .into_iter()
            .map(|(v, c)| (v, (Some(c), None)))
            .collect();
        let builds = g.builds(&entries(roster));
        let told: Vec<_> = builds
            .iter()
            .map(|(b, v)| format!("{b} {}", v.len()))
            .collect();
        assert_eq!(told, ["0.2.0 1", "test 2"]);
    }

    #[test]
    fn who_published_no_key_is_not_waited_with() {
        let fleet = Fleet::Expect(1);
        let mut g = gathered(&[(ready("a", 0, None), 1)]);
        g.keys.clear();
        assert_eq!(g.call(&fleet, false, at(0)), Call::Wait);
    }

    #[test]
    fn a_takeover_counts_and_strangers_do_not() {
        let fleet = Fleet::Vantages(["a".parse().unwrap()].into());
        let g = gathered(&[
            (ready("a", 0, None), 1),
            (ready("a", 1, None), 2),
            (ready("x", 0, None), 1),
        ]);
        assert_eq!(started(g.call(&fleet, false, at(0))), ["a.1.000000000007"]);
    }

    #[test]
    fn the_unfit_and_the_silent_do_not_hold_up_a_run() {
        let fleet = Fleet::Expect(2);
        let g = gathered(&[(ready("a", 0, Some("no UDP")), 1), (ready("b", 0, None), 1)]);
        assert_eq!(started(g.call(&fleet, false, at(0))).len(), 1);
        let g = gathered(&[
            (ready("a", 0, Some("no UDP")), 1),
            (ready("b", 0, Some("no UDP")), 1),
        ]);
        let reasons = Call::NobodyReady(vec!["a: no UDP".into(), "b: no UDP".into()]);
        assert_eq!(g.call(&fleet, false, at(0)), reasons);
        let g = gathered(&[(ready("a", 0, None), 1), (ready("b", 0, None), 100)]);
        assert_eq!(g.call(&fleet, false, at(50)), Call::Wait, "a went silent");
        assert_eq!(
            Gathered::default().call(&fleet, true, at(0)),
            Call::NobodyCame
        );
    }
}
