//! What a ticket opens: its vantage's own objects, each for one kind of request, and nothing else.

use std::sync::Arc;

use bytes::Bytes;
use muster::job::{Job, JobSpec, Origin, RunId, WriteId};
use muster::local::EmbeddedBucket;
use muster::rendezvous::keys::{Item, RunKey};
use muster::rooms::Keys;
use muster::secret::Secret;
use muster::store::{
    ByteLimit, Key, List, Patience, PresignedUrls, S3Settings, S3Store, Store, StoreError,
};
use muster::ticket::{CLAIMS, Issued, Ticket, issue};

use crate::fixtures::minio::Minio;
use crate::fixtures::skip::skip;

const SMALL: ByteLimit = ByteLimit::kib(64);

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_its_own_objects_in_the_embedded_bucket() {
    let bucket = EmbeddedBucket::start().await.expect("a bucket");
    opens_its_own(bucket.settings().expect("its settings")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_its_own_objects_in_minio_behind_a_private_ca() {
    let Some(binary) = Minio::binary().await else {
        skip!("minio or Go");
    };
    let minio = Minio::start_with_tls(&binary);
    opens_its_own(minio.settings("nightly")).await;
}

async fn opens_its_own(settings: S3Settings) {
    let ca_file = settings.ca_file.clone();
    let owner = S3Store::connect(settings, Arc::new(muster::clock::now))
        .await
        .expect("the bucket opens");
    let issued = issued(&owner).await;
    let run = issued.job.run.clone();
    let [iad, lhr] = ["iad", "lhr"].map(|label| {
        let body = &issued.tickets[&label.parse().expect("a label")];
        Ticket::read(body).expect("a ticket")
    });
    let by = |urls: PresignedUrls| {
        let now = Arc::new(muster::clock::now);
        let ca_file = ca_file.clone();
        S3Store::by_urls(
            urls,
            iad.location.clone(),
            ca_file,
            Patience::default(),
            now,
        )
        .expect("a store")
    };
    let store = by(iad.urls.clone());

    // Its own objects, and only as each is meant.
    let job = RunKey::new(&run, Item::Job).key();
    assert!(store.get(&job, SMALL).await.is_err_and(|e| e.is_absent()));
    owner.create(&job, body("job")).await.expect("all rights");
    assert_eq!(store.get(&job, SMALL).await.expect("may read").body, "job");
    let slot = at(&run, Item::Slot("iad".parse().expect("a label"), 0));
    store.create(&slot, body("mine")).await.expect("may create");
    let again = store.create(&slot, body("other")).await;
    assert!(again.is_err_and(|e| e.is_exists()));
    let live = at(&run, Item::Live("iad".parse().expect("a label")));
    for n in ["1", "2"] {
        store.put(&live, body(n)).await.expect("may overwrite");
    }
    assert_eq!(store.get(&live, SMALL).await.expect("may read").body, "2");
    // By the same URL over its own last one alone: the condition needs no signature of its own.
    let put = store.put(&live, body("3")).await.expect("may overwrite");
    let etag = put.etag.expect("an entity tag");
    let put = store.replace(&live, &etag, body("4")).await;
    let etag = put.expect("may replace").etag.expect("an entity tag");
    owner
        .put(&live, body("rewritten"))
        .await
        .expect("all rights");
    let late = store.replace(&live, &etag, body("5")).await;
    assert!(late.as_ref().is_err_and(StoreError::is_changed), "{late:?}");
    let slots = muster::rendezvous::keys::Folder::Slots.list_of(&run, &iad.vantage);
    let listed = store.list(&slots).await.expect("looks at each");
    let keys: Vec<&str> = listed.objects.iter().map(|e| e.key.as_str()).collect();
    assert_eq!(keys, [slot.as_str()]);
    assert!(listed.objects[0].last_modified.as_micros() > 0);
    // Each look is a request, and counted as one; who lists by credentials asks once.
    assert_eq!(store.reads_to_list(&slots), Some(u64::from(CLAIMS)));
    assert_eq!(store.reads_to_list(&List::all("runs/")), Some(0));
    assert_eq!(owner.reads_to_list(&slots), None);
    let limit = ByteLimit(1);
    let large = store.get(&slot, limit).await;
    assert!(
        matches!(large, Err(StoreError::TooLarge { size: 4, .. })),
        "{large:?}"
    );

    // All that a ticket has no URL for, it can't do.
    let theirs = at(&run, Item::Live("lhr".parse().expect("a label")));
    owner
        .put(&theirs, body("theirs"))
        .await
        .expect("all rights");
    refused(store.get(&theirs, SMALL).await);
    refused(store.put(&theirs, body("forged")).await);
    refused(store.replace(&theirs, &etag, body("forged")).await);
    refused(store.create(&job, body("forged")).await);
    refused(store.delete(&slot).await);
    refused(store.list(&List::all("runs/")).await);

    // Nor by what can be made of its URLs: another object, another kind of request.
    let ticket = at(&run, Item::Ticket("lhr".parse().expect("a label")));
    owner
        .create(&ticket, body("secret"))
        .await
        .expect("all rights");
    let live_url = &iad.urls.put[&live];
    let slot_url = &iad.urls.create[&slot];
    let bent = |url: &Secret, from: &Key, to: &Key| {
        Secret::new(url.expose().replace(from.as_str(), to.as_str()))
    };
    let bent_get = |key: &Key| PresignedUrls {
        get: [(key.clone(), bent(&iad.urls.get[&job], &job, key))].into(),
        ..PresignedUrls::default()
    };
    let bent_put = |key: &Key, url: Secret| PresignedUrls {
        put: [(key.clone(), url)].into(),
        ..PresignedUrls::default()
    };
    for key in [&ticket, &theirs] {
        refused(by(bent_get(key)).get(key, SMALL).await);
    }
    for key in [&job, &theirs, &ticket, &slot] {
        let urls = bent_put(key, bent(live_url, &live, key));
        refused(by(urls).put(key, body("forged")).await);
    }
    for (key, url) in [(&job, &iad.urls.get[&job]), (&slot, &iad.urls.get[&slot])] {
        refused(
            by(bent_put(key, url.clone()))
                .put(key, body("forged"))
                .await,
        );
    }
    // A URL that creates does not overwrite: what is signed must be sent.
    let over = by(bent_put(&slot, slot_url.clone()))
        .put(&slot, body("forged"))
        .await;
    assert!(over.is_err(), "{over:?}");
    let own = |urls: &PresignedUrls| urls.create.keys().cloned().collect::<Vec<_>>();
    assert!(
        own(&iad.urls)
            .iter()
            .all(|key| !own(&lhr.urls).contains(key))
    );
    for (key, expected) in [
        (&job, "job"),
        (&slot, "mine"),
        (&theirs, "theirs"),
        (&ticket, "secret"),
    ] {
        let object = owner.get(key, SMALL).await.expect("it is still there");
        assert_eq!(object.body, expected);
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    assert!(
        matches!(answer, Err(StoreError::NoTicketFor { .. })),
        "{answer:?}"
    );
}

fn at(run: &RunId, item: Item) -> Key {
    RunKey::new(run, item).key()
}

fn body(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

async fn issued(owner: &S3Store) -> Issued {
    let spec = JobSpec {
        url: Some("ws://127.0.0.1:1".into()),
        vantages: Some(["iad", "lhr"].map(|v| v.parse().expect("a label")).into()),
        ..JobSpec::default()
    };
    let origin = Origin {
        run: "r1".parse().expect("a run"),
        write_id: WriteId::from_u64(1),
        now: muster::clock::now(),
    };
    let job = Job::resolve(spec, origin).expect("a job");
    let keys = Keys {
        api_key: "key".into(),
        api_secret: Secret::new("secret-of-at-least-32-characters"),
    };
    let signer = owner.signer().await.expect("credentials");
    let mut n = 0;
    let draw = || {
        n += 1;
        ([n; 32], u64::from(n))
    };
    let issued = issue(job, (&signer, owner.location()), &keys, draw).await;
    let issued = issued.expect("tickets");
    // A URL of the book leads to a ticket that is still to be written.
    assert_eq!(issued.book.urls().count(), 2);
    issued
}
