//! Which of the parts that were read are what they say: who wrote one is checked before it is
//! parsed, and what it measured is packed at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::view::View;
use crate::job::{ClaimId, Digest, Vantage};
use crate::rendezvous::admission::Verdict;
use crate::rendezvous::document::{self, frozen};
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::objects::{Frozen, Slot, Start};
use crate::report::packed::PackedTier;
use crate::report::part::{ReportPart, TierPart};
use crate::signature::{PublicKey, SignatureError};

/// A part that was read and judged. It keeps a few kilobytes for each tier.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its body's digest.
    pub(super) frozen: Frozen,
    /// What it says, or why it does not count.
    pub(super) judged: Result<Content, String>,
}

/// What a part says.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// A report apart from its tiers, and these.
    Report(Box<ReportPart>, Box<[Arc<PackedTier>]>),
    /// A tier.
    Tier(Arc<PackedTier>),
}

impl Part {
    /// The tiers of a report that counts.
    pub(super) fn tiers(&self) -> Option<BTreeSet<u32>> {
        match self.judged.as_ref().ok()? {
            Content::Report(_, tiers) => Some(tiers.iter().map(|t| t.tier).collect()),
            Content::Tier(_) => None,
        }
    }
}

/// What a part at one place is judged by.
#[derive(Clone, Debug)]
pub struct Terms {
    place: RunKey,
    /// The job's digest, the claim whose parts count and the key that signs them; else why none
    /// counts.
    signer: Result<(Digest, ClaimId, PublicKey), &'static str>,
}

impl Terms {
    /// Where the part is.
    pub fn place(&self) -> &RunKey {
        &self.place
    }

    /// Judges a part by its body: a pure function that takes some milliseconds.
    pub fn judge(&self, body: &[u8]) -> Part {
        Part {
            frozen: frozen(body),
            judged: match &self.signer {
                Ok((job, claim, key)) => judge(job, &self.place, claim, key, body),
                Err(why) => Err((*why).to_owned()),
            },
        }
    }
}

impl View {
    /// What the part at a place is judged by, when it is one.
    pub(super) fn terms(&self, place: &RunKey) -> Option<Terms> {
        let (Item::Report(vantage) | Item::Tier(vantage, _)) = &place.item else {
            return None;
        };
        let signer = match (self.job(), self.verdict()) {
            (Some(job), Some(Verdict::Start(start))) => self
                .signer(start, vantage)
                .map(|(claim, key)| (job.digest, claim, key))
                .ok_or("nobody published a key for its slot"),
            _ => Err("the run has no start that names its signer"),
        };
        Some(Terms {
            place: place.clone(),
            signer,
        })
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

    /// Why a part that was read does not count, if it does not.
    #[cfg(test)]
    fn refusal(&self, item: &Item) -> Option<String> {
        match self.found.get(item) {
            Some(super::view::Found::Part(part)) => part.judged.as_ref().err().cloned(),
            _ => Some("it was not read".to_owned()),
        }
    }
}

/// What a part says, or why it does not count.
fn judge(
    job: &Digest,
    place: &RunKey,
    claim: &ClaimId,
    key: &PublicKey,
    body: &[u8],
) -> Result<Content, String> {
    let mistakes = [
        planted!(TakesCopies),
        planted!(TakesReplays),
        planted!(TakesEarlierClaims),
        planted!(TakesAnySignature),
    ];
    if !mistakes.contains(&true) {
        match key.verify(&place.to_string(), claim, body) {
            Err(SignatureError::Missing) if planted!(TakesUnsigned) => {}
            verified => verified.map_err(|e| e.to_string())?,
        }
    }
    let packed = |part: TierPart| {
        PackedTier::of(part)
            .map(Arc::new)
            .map_err(|e| e.to_string())
    };
    let (author, digest, content) = if matches!(place.item, Item::Report(_)) {
        let mut report: ReportPart = document::read(place, body).map_err(|e| e.to_string())?;
        let unpacked = std::mem::take(&mut report.tiers);
        // Collected, they would stay in the memory that the unpacked ones took.
        let mut tiers = Vec::with_capacity(unpacked.len());
        for tier in unpacked {
            tiers.push(packed(tier)?);
        }
        let (author, digest) = (report.claim.clone(), report.job_sha256);
        let content = Content::Report(Box::new(report), tiers.into());
        (author, digest, content)
    } else {
        let part: TierPart = document::read(place, body).map_err(|e| e.to_string())?;
        let (author, digest) = (part.claim.clone(), part.job_sha256);
        (author, digest, Content::Tier(packed(part)?))
    };
    let mistakes = [planted!(TakesEarlierClaims), planted!(TakesCopies)];
    if author != *claim && !mistakes.contains(&true) {
        return Err(format!(
            "it says that {author} wrote it, and {claim} signed it"
        ));
    }
    if digest != *job && !planted!(TakesReplays) {
        return Err(format!(
            "it was measured for a job.json with SHA-256 {digest}, and the run's has {job}"
        ));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::super::view::Found;
    use super::*;
    use crate::job::{Digested, Job, RunId, Timestamp, WriteId};
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

    /// A part has come.
    fn came(view: &mut View, item: &Item, bytes: &[u8]) {
        let terms = view.terms(&view.key(item.clone())).unwrap();
        view.learn(item.clone(), Found::Part(terms.judge(bytes)));
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
            came(&mut view, &item, &bytes);
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
            came(&mut view, &item, &bytes);
            assert_eq!(!view.wanted().contains(&tier), hidden);
        }
    }

    #[test]
    fn the_first_claim_s_key_signs_where_the_start_names_none() {
        let job = job();
        let mut view = view(&job);
        let item = Item::Report(sample::vantage("b"));
        came(&mut view, &item, &signed(&report(&job, "b"), &key(3)));
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
        assert!(!view.found.contains_key(&item), "it is to be read again");
        came(&mut view, &item, &signed(&report(&job, "b"), &key(3)));
        assert_eq!(view.refusal(&item), None);
    }

    #[test]
    fn parts_of_a_job_that_was_changed_count_no_more() {
        let job = job();
        let mut view = view(&job);
        let item = Item::Report(sample::vantage("a"));
        came(&mut view, &item, &signed(&report(&job, "a"), &key(1)));
        assert_eq!(view.refusal(&item), None);
        let mut changed = job.document.clone();
        changed.limits.max_participants += 1;
        view.learn(Item::Job, body(&changed));
        assert!(matches!(view.verdict(), Some(Verdict::Cancelled(why)) if why.contains("changed")));
        assert!(!view.found.contains_key(&item), "it is to be read again");
        came(&mut view, &item, &signed(&report(&job, "a"), &key(1)));
        assert!(view.refusal(&item).unwrap().contains("no start"));
    }
}
