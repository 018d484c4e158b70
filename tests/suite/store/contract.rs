//! What every store does.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use muster::clock::{Estimate, OffsetInterval};
use muster::store::{
    Backoff, ByteLimit, Key, List, S3Settings, Settled, Store, StoreError, create_settled, probe,
};

use super::{LIMIT, connect, key, wall_clock};

/// Holds `store`, which must be empty and is left empty, to the contract.
pub async fn contract(store: &dyn Store) {
    creates_never_overwrite(store).await;
    puts_overwrite(store).await;
    replaces_overwrite_what_they_name(store).await;
    sizes_are_checked(store).await;
    times_are_the_stores(store).await;
    listings_are_ordered(store).await;
    listings_go_through_all_pages(store).await;
    races_have_one_winner(store).await;
    creates_settle(store).await;
    let found = probe(store, 0x5eed).await.expect("the store can be probed");
    found
        .require(store)
        .expect("the store has all that is needed");
    assert!(found.delete.is_yes() && found.replace.is_yes(), "{found:?}");
    let left = store.list(&List::all("")).await.expect("listed");
    assert_eq!(left.objects, [], "left behind");
}

async fn creates_never_overwrite(store: &dyn Store) {
    let at = key("once/job.json");
    let missing = store.get(&at, LIMIT).await;
    assert!(
        matches!(missing, Err(StoreError::Absent { .. })),
        "{missing:?}"
    );
    let created = store.create(&at, "first".into()).await.expect("created");
    let again = store.create(&at, "second".into()).await;
    assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
    let read = store.get(&at, LIMIT).await.expect("read");
    assert_eq!(read.body, "first");
    assert_eq!(read.etag, created.etag);
    store.delete(&at).await.expect("deleted");
    let gone = store.get(&at, LIMIT).await;
    assert!(matches!(gone, Err(StoreError::Absent { .. })), "{gone:?}");
    store
        .delete(&at)
        .await
        .expect("deleting what is absent is no error");
    store
        .create(&at, "third".into())
        .await
        .expect("created anew");
    store.delete(&at).await.expect("deleted");
}

async fn puts_overwrite(store: &dyn Store) {
    let at = key("live/iad.json");
    store.put(&at, "1".into()).await.expect("put");
    store.put(&at, "2".into()).await.expect("put again");
    assert_eq!(store.get(&at, LIMIT).await.expect("read").body, "2");
    store.delete(&at).await.expect("deleted");
}

/// How a prober sees that its heartbeat was rewritten.
async fn replaces_overwrite_what_they_name(store: &dyn Store) {
    let at = key("live/iad.json");
    let etag = async |put: &'static str| {
        let put = store.put(&at, put.into()).await.expect("put");
        put.etag.expect("a strong entity tag")
    };
    let read = async || store.get(&at, LIMIT).await.expect("read");
    let first = etag("1").await;
    assert_eq!(read().await.etag.as_ref(), Some(&first));
    let second = store.replace(&at, &first, "2".into()).await;
    let second = second.expect("replaced").etag.expect("a strong entity tag");
    // One's own of which the answer was lost is another object as well.
    let late = store.replace(&at, &first, "3".into()).await;
    assert!(matches!(late, Err(StoreError::Changed { .. })), "{late:?}");
    assert_eq!(read().await.body, "2");
    etag("rewritten").await;
    let late = store.replace(&at, &second, "3".into()).await;
    assert!(matches!(late, Err(StoreError::Changed { .. })), "{late:?}");
    assert_eq!(read().await.body, "rewritten");
    // Of those that race for one object, one replaces it.
    let shared = etag("shared").await;
    let racers = (0..8).map(|n| store.replace(&at, &shared, format!("racer {n}").into()));
    let won = join_all(racers).await.iter().filter(|r| r.is_ok()).count();
    assert_eq!(won, 1);
    store.delete(&at).await.expect("deleted");
    let gone = store.replace(&at, &shared, "4".into()).await;
    assert!(matches!(gone, Err(StoreError::Changed { .. })), "{gone:?}");
    let missing = store.get(&at, LIMIT).await;
    assert!(
        matches!(missing, Err(StoreError::Absent { .. })),
        "{missing:?}"
    );
}

async fn sizes_are_checked(store: &dyn Store) {
    let (empty, large) = (key("sizes/empty"), key("sizes/large"));
    let body = Bytes::from("0123456789abcdef".repeat(5 << 16));
    store.create(&empty, Bytes::new()).await.expect("created");
    store.create(&large, body.clone()).await.expect("created");
    assert_eq!(
        store.get(&empty, ByteLimit(0)).await.expect("read").body,
        ""
    );
    let exact = ByteLimit(5 << 20);
    assert_eq!(store.get(&large, exact).await.expect("read").body, body);
    let short = ByteLimit((5 << 20) - 1);
    match store.get(&large, short).await {
        Err(StoreError::TooLarge { size, limit, .. }) => {
            assert_eq!((size, limit), (5 << 20, short));
        }
        other => panic!("{other:?}"),
    }
    store.delete(&empty).await.expect("deleted");
    store.delete(&large).await.expect("deleted");
}

async fn times_are_the_stores(store: &dyn Store) {
    let at = key("times/x");
    store.create(&at, "x".into()).await.expect("created");
    let read = store.get(&at, LIMIT).await.expect("read").last_modified;
    let listed = store.list(&List::all("times/")).await.expect("listed");
    let listed = listed.objects.first().expect("one object").last_modified;
    assert_eq!(read.as_micros() % 1_000_000, 0, "a read has whole seconds");
    let finer = listed.as_micros() - read.as_micros();
    assert!((0..1_000_000).contains(&finer), "{read} and {listed}");
    let age = wall_clock()().saturating_since(read);
    assert!(age < Duration::from_secs(120), "written {age:?} ago");
    store.delete(&at).await.expect("deleted");
}

async fn listings_are_ordered(store: &dyn Store) {
    let names = [
        "list/a-b",
        "list/a.b",
        "list/a/1",
        "list/a/2",
        "list/b",
        "list/c/x/y",
        "listed",
    ];
    for (size, name) in names.iter().enumerate() {
        store
            .create(&key(name), vec![b'x'; size].into())
            .await
            .expect("created");
    }
    let keys = async |request: List| {
        let listing = store.list(&request).await.expect("listed");
        let keys: Vec<String> = listing.objects.into_iter().map(|entry| entry.key).collect();
        (keys, listing.prefixes)
    };
    let none: [&str; 0] = [];
    let (all, folders) = keys(List::all("list/")).await;
    assert_eq!(
        (all, folders.as_slice()),
        (
            names[..6].iter().map(|n| (*n).to_owned()).collect(),
            &[][..]
        )
    );
    assert_eq!(keys(List::all("list")).await.0.len(), 7);
    let (all, folders) = keys(List::folder("list/")).await;
    assert_eq!(all, ["list/a-b", "list/a.b", "list/b"]);
    assert_eq!(folders, ["list/a/", "list/c/"]);
    let (all, folders) = keys(List::folder("")).await;
    assert_eq!(
        (all, folders),
        (vec!["listed".to_owned()], vec!["list/".to_owned()])
    );
    assert_eq!(
        keys(List::all("list/").after("list/a/1")).await.0,
        ["list/a/2", "list/b", "list/c/x/y"]
    );
    assert_eq!(
        keys(List::all("list/").after("list/a/15")).await.0,
        ["list/a/2", "list/b", "list/c/x/y"]
    );
    assert_eq!(
        keys(List::folder("list/").after("list/b")).await.1,
        ["list/c/"]
    );
    assert_eq!(keys(List::all("list/").after("list/z")).await.0, none);
    assert_eq!(keys(List::all("nothing/")).await.0, none);
    let sizes = store.list(&List::all("list/a/")).await.expect("listed");
    assert_eq!(
        sizes
            .objects
            .iter()
            .map(|entry| entry.size)
            .collect::<Vec<_>>(),
        [2, 3]
    );
    for name in names {
        store.delete(&key(name)).await.expect("deleted");
    }
}

async fn listings_go_through_all_pages(store: &dyn Store) {
    // A page has at most 1,000 entries.
    let keys: Vec<Key> = (0..1005).map(|i| key(&format!("pages/{i:04}/x"))).collect();
    stream::iter(&keys)
        .for_each_concurrent(16, async |at| {
            store.create(at, Bytes::new()).await.expect("created");
        })
        .await;
    let all = store.list(&List::all("pages/")).await.expect("listed");
    let listed: Vec<&str> = all.objects.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(listed, keys.iter().map(Key::as_str).collect::<Vec<_>>());
    let folders = store.list(&List::folder("pages/")).await.expect("listed");
    assert_eq!(folders.prefixes.iter().collect::<BTreeSet<_>>().len(), 1005);
    assert_eq!((folders.prefixes.len(), folders.objects.len()), (1005, 0));
    stream::iter(&keys)
        .for_each_concurrent(16, async |at| store.delete(at).await.expect("deleted"))
        .await;
}

async fn races_have_one_winner(store: &dyn Store) {
    for round in 0..5 {
        let at = key(&format!("race/{round}"));
        let creates = (0..40).map(|i| {
            let at = &at;
            async move { (i, store.create(at, format!("body of {i}").into()).await) }
        });
        let answers = join_all(creates).await;
        let winners: Vec<i32> = answers
            .iter()
            .filter(|(_, a)| a.is_ok())
            .map(|(i, _)| *i)
            .collect();
        let [winner] = winners.as_slice() else {
            panic!("{answers:?}");
        };
        let losses = answers.iter().filter_map(|(_, a)| a.as_ref().err());
        assert!(losses.into_iter().all(StoreError::is_exists), "{answers:?}");
        let read = store.get(&at, LIMIT).await.expect("read");
        assert_eq!(read.body, format!("body of {winner}"));
        store.delete(&at).await.expect("deleted");
    }
}

async fn creates_settle(store: &dyn Store) {
    let at = key("settle/iad.0.json");
    let settle = async |body: &'static str| {
        create_settled(store, &at, body.into(), LIMIT, Backoff::default()).await
    };
    assert_eq!(settle("write 1").await, Ok(Settled::Mine));
    // A retry, by somebody who never heard the answer.
    assert_eq!(settle("write 1").await, Ok(Settled::Mine));
    match settle("write 2").await {
        Ok(Settled::Theirs(object)) => assert_eq!(object.body, "write 1"),
        other => panic!("{other:?}"),
    }
    store.delete(&at).await.expect("deleted");
}

/// What S3 stores add: prefixes keep apart, and each answer is a sample of the store's clock.
pub async fn s3_contract(settings: S3Settings, other_prefix: &str) {
    let mut others = settings.clone();
    others.url = other_prefix.parse().expect("a bucket");
    let (store, others) = (connect(settings).await, connect(others).await);
    others
        .create(&key("job.json"), "theirs".into())
        .await
        .expect("created");
    contract(&store).await;
    let mine = store.get(&key("job.json"), LIMIT).await;
    assert!(matches!(mine, Err(StoreError::Absent { .. })), "{mine:?}");
    others.delete(&key("job.json")).await.expect("deleted");

    let samples = store.dates().take();
    assert!(samples.len() > 100, "{} samples", samples.len());
    let mut offset = Estimate::unknown();
    for sample in &samples {
        // One machine, one clock: each interval must hold zero.
        let seen = OffsetInterval::of(sample).expect("answered after it was asked");
        assert!(seen.lo_us <= 0 && seen.hi_us >= 0, "{sample:?}");
        offset.add(sample);
    }
    let offset = offset.at(wall_clock()()).expect("known");
    assert!(offset.lo_us <= 0 && offset.hi_us >= 0, "{offset:?}");
    assert_eq!(store.dates().take(), []);
}
