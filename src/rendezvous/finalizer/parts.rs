//! Which of the parts that were read are what they say: who wrote one is checked before it is
//! parsed.

use std::collections::BTreeSet;

use super::view::{Found, View};
use crate::job::{ClaimId, Digested, Job, Vantage};
use crate::rendezvous::admission::Verdict;
use crate::rendezvous::document;
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::objects::{Slot, Start};
use crate::report::part::{ReportPart, TierPart};
use crate::signature::PublicKey;

impl View {
    /// Judges the parts that depend on an object that has come: the part itself, or what names its
    /// signer.
    pub(super) fn judge_by(&mut self, item: &Item) {
        match item {
            Item::Report(_) | Item::Tier(..) => self.judge_part(item),
            Item::Slot(vantage, 0) => {
                let tier = |n| Item::Tier(vantage.clone(), n);
                let tiers = self.found.range(tier(0)..=tier(u32::MAX));
                let tiers: Vec<Item> = tiers.map(|(item, _)| item.clone()).collect();
                self.judge_part(&Item::Report(vantage.clone()));
                for tier in &tiers {
                    self.judge_part(tier);
                }
            }
            Item::Job | Item::Start => {
                let all: Vec<Item> = self.found.keys().cloned().collect();
                for item in &all {
                    self.judge_part(item);
                }
            }
            _ => {}
        }
    }

    fn judge_part(&mut self, item: &Item) {
        let (Item::Report(vantage) | Item::Tier(vantage, _)) = item else {
            return;
        };
        let judgement = self.judgement(item, vantage);
        match (item, &judgement) {
            (Item::Report(_), Some(Ok(tiers))) => {
                self.reports.insert(vantage.clone(), tiers.clone());
            }
            (Item::Report(_), _) => drop(self.reports.remove(vantage)),
            _ => {}
        }
        match judgement {
            Some(judgement) => self.judged.insert(item.clone(), judgement.map(drop)),
            None => self.judged.remove(item),
        };
    }

    /// Nothing while there is no such part, or nobody is known to sign it.
    fn judgement(&self, item: &Item, vantage: &Vantage) -> Option<Result<BTreeSet<u32>, String>> {
        let Found::Body(body, _) = self.found.get(item)? else {
            return None;
        };
        let (Some(job), Some(Verdict::Start(start))) = (self.job(), self.verdict()) else {
            return None;
        };
        let (claim, key) = self.signer(start, vantage)?;
        Some(judge(job, &self.key(item.clone()), &claim, &key, body))
    }

    /// Why a part that was read does not count, if it does not.
    pub(super) fn refusal(&self, item: &Item) -> Option<String> {
        match self.judged.get(item) {
            Some(Ok(())) => None,
            Some(Err(why)) => Some(why.clone()),
            None if matches!(self.verdict(), Some(Verdict::Start(_))) => {
                Some("nobody published a key for its slot".to_owned())
            }
            None => Some("the run has no start that names its signer".to_owned()),
        }
    }

    /// Whose parts count, and the key that signs them: the roster's, or the slot's first claim's
    /// where it names none.
    fn signer(&self, start: &Start, vantage: &Vantage) -> Option<(ClaimId, PublicKey)> {
        let entry = start.roster.get(vantage);
        let key = entry.and_then(|e| e.public_key);
        if let Some(claim) = entry.and_then(|e| e.claim.clone()) {
            return Some((claim, key?));
        }
        let first: Slot = self.read(&Item::Slot(vantage.clone(), 0))?;
        Some((first.claim, key.unwrap_or(first.public_key)))
    }
}

/// The tiers in a part (none in a tier's own), or why it does not count.
fn judge(
    job: &Digested<Job>,
    place: &RunKey,
    claim: &ClaimId,
    key: &PublicKey,
    body: &[u8],
) -> Result<BTreeSet<u32>, String> {
    let mistakes = [
        planted!(TakesCopies),
        planted!(TakesReplays),
        planted!(TakesEarlierClaims),
        planted!(TakesAnySignature),
    ];
    if !mistakes.contains(&true) {
        key.verify(&place.to_string(), claim, body)
            .map_err(|e| e.to_string())?;
    }
    let (author, digest, tiers) = if matches!(place.item, Item::Report(_)) {
        let report: ReportPart = document::read(place, body).map_err(|e| e.to_string())?;
        let tiers = report.tiers.iter().map(|t| t.tier).collect();
        (report.claim, report.job_sha256, tiers)
    } else {
        let part: TierPart = document::read(place, body).map_err(|e| e.to_string())?;
        (part.claim, part.job_sha256, BTreeSet::new())
    };
    if author != *claim && !planted!(TakesEarlierClaims) {
        return Err(format!(
            "it says that {author} wrote it, and {claim} signed it"
        ));
    }
    if digest != job.digest && !planted!(TakesReplays) {
        return Err(format!(
            "it was measured for a job.json with SHA-256 {digest}, and the run's has {}",
            job.digest
        ));
    }
    Ok(tiers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Digest, RunId, Timestamp, WriteId};
    use crate::rendezvous::objects::{Decision, RosterEntry, StartDocument};
    use crate::report::sample;
    use crate::signature::SigningKey;
    use bytes::Bytes;

    const T0: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn key(n: u8) -> SigningKey {
        SigningKey::from_seed([n; 32]).unwrap()
    }

    fn claim(label: &str) -> ClaimId {
        ClaimId::new(&sample::vantage(label), 0, 1)
    }

    fn body<T: document::Document>(document: &T) -> Found {
        Found::Body(document::write(document).unwrap(), T0)
    }

    /// A started run of a, with key 1, and b, whose start names no claim.
    fn view(job: &Digested<Job>) -> View {
        let mut view = View::new(job.run.clone());
        let mut start = sample::start(job);
        let entry = |claim, public_key, index| RosterEntry {
            claim,
            public_key,
            index,
        };
        start.roster = [
            (
                sample::vantage("a"),
                entry(Some(claim("a")), Some(key(1).public()), 0),
            ),
            (sample::vantage("b"), entry(None, None, 1)),
        ]
        .into();
        let document = StartDocument {
            schema: crate::job::SCHEMA_MAJOR,
            write_id: WriteId::from_u64(2),
            run: job.run.clone(),
            job_sha256: job.digest,
            decision: Decision::Start(start),
        };
        view.learn(Item::Job, body(&job.document));
        let Found::Body(bytes, _) = body(&document) else {
            unreachable!()
        };
        view.learn(Item::Start, Found::Body(bytes, job.times.start_by));
        view
    }

    fn job() -> Digested<Job> {
        document::digested(sample::job()).unwrap()
    }

    fn report(job: &Digested<Job>, label: &str) -> ReportPart {
        let of = |r: &ReportPart| r.vantage.as_str() == label;
        let mut report = sample::healthy().reports.into_iter().find(of).unwrap();
        report.job_sha256 = job.digest;
        for tier in &mut report.tiers {
            tier.job_sha256 = job.digest;
        }
        report
    }

    fn place(run: &RunId, label: &str) -> RunKey {
        RunKey::new(run, Item::Report(sample::vantage(label)))
    }

    fn signed(report: &ReportPart, by: &SigningKey) -> Bytes {
        let place = place(&report.run, report.vantage.as_str());
        document::write_signed(report, &place, &report.claim, by).unwrap()
    }

    #[test]
    fn each_wrong_part_is_refused_with_its_reason() {
        let job = job();
        let good = report(&job, "a");
        let mut other_run = good.clone();
        other_run.run = "another".parse().unwrap();
        let mut other_job = good.clone();
        other_job.job_sha256 = Digest::of(b"another");
        for tier in &mut other_job.tiers {
            tier.job_sha256 = other_job.job_sha256;
        }
        let mut too_new = good.clone();
        too_new.schema += 1;
        let mut other_claim = good.clone();
        other_claim.claim = ClaimId::new(&sample::vantage("a"), 1, 2);
        for tier in &mut other_claim.tiers {
            tier.claim = other_claim.claim.clone();
        }
        let place = place(&job.run, "a");
        let sign =
            |r: &ReportPart| document::write_signed(r, &place, &claim("a"), &key(1)).unwrap();
        let mut altered = signed(&good, &key(1)).to_vec();
        let at = altered.iter().position(|b| *b == b'7').unwrap();
        altered[at] = b'8';
        let wrong = "not that of the slot's key";
        for (bytes, reason) in [
            (signed(&good, &key(1)), None),
            (signed(&good, &key(2)), Some(wrong)),
            (document::write(&good).unwrap(), Some("not signed")),
            (altered.into(), Some(wrong)),
            (signed(&report(&job, "b"), &key(1)), Some(wrong)),
            (signed(&other_run, &key(1)), Some(wrong)),
            (signed(&other_claim, &key(1)), Some(wrong)),
            (sign(&other_claim), Some("signed it")),
            (sign(&other_job), Some("measured for a job.json with")),
            (sign(&other_run), Some("another place")),
            (sign(&too_new), Some("schema 2")),
            (Bytes::from_static(b"{}"), Some("not signed")),
            (Bytes::new(), Some("not signed")),
        ] {
            let mut view = view(&job);
            let item = Item::Report(sample::vantage("a"));
            view.learn(item.clone(), Found::Body(bytes, T0));
            let refusal = view.refusal(&item);
            match reason {
                None => assert_eq!(refusal, None),
                Some(part) => {
                    let why = refusal.unwrap_or_default();
                    assert!(why.contains(part), "{why:?} lacks {part:?}");
                }
            }
            assert_eq!(view.reports.len(), usize::from(reason.is_none()));
        }
    }

    #[test]
    fn a_forged_report_hides_no_tier() {
        let job = job();
        let tier = Item::Tier(sample::vantage("a"), 1);
        for (by, hidden) in [(key(1), true), (key(2), false)] {
            let mut view = view(&job);
            view.listed.insert(tier.clone(), T0);
            view.learn(Item::Abort, Found::Absent);
            let item = Item::Report(sample::vantage("a"));
            let bytes = signed(&report(&job, "a"), &by);
            view.learn(item, Found::Body(bytes, T0));
            assert_eq!(!view.wanted().contains(&tier), hidden);
        }
    }

    #[test]
    fn the_first_claim_s_key_signs_where_the_start_names_none() {
        let job = job();
        let mut view = view(&job);
        let item = Item::Report(sample::vantage("b"));
        view.learn(
            item.clone(),
            Found::Body(signed(&report(&job, "b"), &key(3)), T0),
        );
        assert!(view.refusal(&item).unwrap().contains("published a key"));
        let slot = Slot {
            schema: crate::job::SCHEMA_MAJOR,
            write_id: WriteId::from_u64(3),
            run: job.run.clone(),
            vantage: sample::vantage("b"),
            claim: claim("b"),
            public_key: key(3).public(),
            build: "test".into(),
        };
        view.learn(Item::Slot(sample::vantage("b"), 0), body(&slot));
        assert_eq!(view.refusal(&item), None);
    }

    #[test]
    fn parts_of_a_job_that_was_changed_count_no_more() {
        let job = job();
        let mut view = view(&job);
        let item = Item::Report(sample::vantage("a"));
        view.learn(
            item.clone(),
            Found::Body(signed(&report(&job, "a"), &key(1)), T0),
        );
        assert_eq!(view.refusal(&item), None);
        let mut changed = job.document.clone();
        changed.limits.max_participants += 1;
        view.learn(Item::Job, body(&changed));
        assert!(matches!(view.verdict(), Some(Verdict::Cancelled(why)) if why.contains("changed")));
        assert!(view.refusal(&item).is_some());
    }
}
