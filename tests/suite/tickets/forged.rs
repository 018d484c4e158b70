//! Bodies that somebody with all rights to the bucket puts among a run's own: copied, replayed,
//! oversized, wrongly signed, too new.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use muster::job::{RunId, SCHEMA_MAJOR, Vantage};
use muster::local::EmbeddedBucket;
use muster::rendezvous::document;
use muster::rendezvous::drive::run_finalizer;
use muster::rendezvous::keys::{Item, RunKey, list_run};
use muster::report::combined::Combined;
use muster::report::part::TierPart;
use muster::signature::SigningKey;
use muster::store::{Object, S3Store, Store};
use muster::ticket::Ticket;

/// An object that must be rejected, and a part of the reason.
pub struct Forgery {
    key: RunKey,
    reason: &'static str,
}

fn vantage(label: &str) -> Vantage {
    label.parse().expect("a label")
}

fn tier(run: &RunId, label: &str, n: u32) -> RunKey {
    RunKey::new(run, Item::Tier(vantage(label), n))
}

/// Forges as soon as there is something to copy.
pub async fn forge(store: &dyn Store, run: &RunId) -> Vec<Forgery> {
    let original = tier(run, "iad", 0);
    let copied = wait_for(store, &original).await.body;
    let part: TierPart = document::read(&original, &copied).expect("a part");
    let ticket = RunKey::new(run, Item::Ticket(vantage("iad")));
    let ticket = wait_for(store, &ticket).await.body;
    let key = Ticket::read(&ticket).expect("a ticket").signing_key;
    let thief = SigningKey::from_seed([9; 32]).expect("a key");

    // The author's own key, at a place of its own, and yet of another schema.
    let mut too_new = part.clone();
    too_new.schema = SCHEMA_MAJOR + 1;
    too_new.tier = 7;
    // The author's own words, for a run that was before.
    let mut earlier = part.clone();
    earlier.run = "20200101-000000-000000".parse().expect("a run");
    let earlier_place = tier(&earlier.run, "iad", 0);
    let mut stolen = part.clone();
    stolen.tier = 5;

    let sign = |part: &TierPart, place: &RunKey, key: &SigningKey| {
        document::write_signed(part, place, &part.claim, key).expect("signed")
    };
    let (at_7, at_5) = (tier(run, "iad", 7), tier(run, "iad", 5));
    let wrong = "not that of the slot's key";
    let report = |label: &str| RunKey::new(run, Item::Report(vantage(label)));
    let forgeries = [
        (tier(run, "iad", 9), copied.clone(), wrong),
        (tier(run, "lhr", 9), copied.clone(), wrong),
        (
            tier(run, "lhr", 8),
            sign(&earlier, &earlier_place, &key),
            wrong,
        ),
        (at_5.clone(), sign(&stolen, &at_5, &thief), wrong),
        (at_7.clone(), sign(&too_new, &at_7, &key), "schema 2"),
        (
            tier(run, "sjc", 9),
            vec![b' '; (8 << 20) + 1].into(),
            "8388609 bytes",
        ),
        (
            tier(run, "sjc", 8),
            document::write(&part).expect("JSON"),
            "not signed",
        ),
        (
            tier(run, "sjc", 7),
            Bytes::from_static(b"\xff{"),
            "not signed",
        ),
        (report("xyz"), copied, "published a key"),
    ];
    let mut made = Vec::new();
    for (key, body, reason) in forgeries {
        store.put(&key.key(), body).await.expect("all rights");
        made.push(Forgery { key, reason });
    }
    made
}

/// The report of the same run where nobody forged anything.
pub async fn without(store: &dyn Store, run: &RunId, forgeries: &[Forgery]) -> Combined {
    let bucket = EmbeddedBucket::start().await.expect("a bucket");
    let settings = bucket.settings().expect("its settings");
    let clean = S3Store::connect(settings, Arc::new(muster::clock::now))
        .await
        .expect("the bucket opens");
    let all = store.list(&list_run(run)).await.expect("the bucket lists");
    for entry in all.objects {
        let key: RunKey = entry.key.parse().expect("an object of a run");
        let own = !forgeries.iter().any(|f| f.key == key);
        if own
            && !matches!(
                key.item,
                Item::Inputs(_) | Item::Combined(_) | Item::Page(_)
            )
        {
            let object = store
                .get(&key.key(), key.limit())
                .await
                .expect("it is there");
            clean
                .create(&key.key(), object.body)
                .await
                .expect("room for it");
        }
    }
    let finished = run_finalizer(&clean.into(), run.clone(), false, 1).await;
    finished.expect("all have reported").combined
}

/// Forges once the report stands.
pub async fn forge_after(store: &dyn Store, run: &RunId) {
    let copied = wait_for(store, &tier(run, "iad", 0)).await.body;
    for key in [tier(run, "iad", 20), tier(run, "sjc", 20)] {
        store
            .put(&key.key(), copied.clone())
            .await
            .expect("all rights");
    }
}

/// Whether exactly these were rejected, each with its reason.
pub fn are_rejected(report: &Combined, forgeries: &[Forgery]) {
    for Forgery { key, reason } in forgeries {
        let key = key.to_string();
        let listed = report.rejected.iter().find(|r| r.object == key);
        let listed = listed.unwrap_or_else(|| panic!("{key} is not in {:?}", report.rejected));
        assert!(listed.reason.contains(reason), "{listed:?} lacks {reason}");
    }
    assert_eq!(
        report.rejected.len(),
        forgeries.len(),
        "{:?}",
        report.rejected
    );
}

async fn wait_for(store: &dyn Store, key: &RunKey) -> Object {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match store.get(&key.key(), key.limit()).await {
            Ok(object) => return object,
            Err(e) if e.is_absent() => {}
            Err(e) => panic!("{e}"),
        }
        assert!(Instant::now() < deadline, "{key} never came");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
