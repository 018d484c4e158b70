//! One contract for every store, and one meaning for everything that goes wrong with one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use muster::clock::{Estimate, OffsetInterval};
use muster::job::Timestamp;
use muster::local::EmbeddedBucket;
use muster::secret::Secret;
use muster::store::{
    Backoff, ByteLimit, FaultRates, FaultyStore, Key, List, MemoryStore, Now, S3Settings, S3Store,
    Settled, StaticCredentials, Store, StoreError, create_settled, probe,
};

use crate::fixtures::minio::Minio;
use crate::fixtures::{ports, skip::skip};

const LIMIT: ByteLimit = ByteLimit::mib(8);

fn key(text: &str) -> Key {
    text.parse().expect("a key")
}

fn wall_clock() -> Now {
    Arc::new(|| {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("the clock is past 1970");
        Timestamp::from_micros(i64::try_from(since.as_micros()).expect("it fits"))
    })
}

async fn connect(settings: S3Settings) -> S3Store {
    S3Store::connect(settings, wall_clock())
        .await
        .expect("the settings are good")
}

/// What every store does. The store must be empty, and is left empty.
async fn contract(store: &dyn Store) {
    creates_never_overwrite(store).await;
    puts_overwrite(store).await;
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
    assert!(found.delete.is_yes(), "{found:?}");
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
async fn s3_contract(settings: S3Settings, other_prefix: &str) {
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

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract(&MemoryStore::new(wall_clock())).await;
}

#[tokio::test]
async fn the_faulty_store_keeps_the_contract_without_faults() {
    let memory = MemoryStore::new(wall_clock());
    contract(&FaultyStore::new(memory, FaultRates::default(), 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_bucket_keeps_the_contract() {
    let bucket = EmbeddedBucket::start().await.expect("a bucket");
    let mut settings = bucket.settings().expect("settings");
    contract(&connect(settings.clone()).await).await;
    settings.url = "s3://muster/team/a".parse().expect("a bucket");
    s3_contract(settings, "s3://muster/team/ab").await;
}

#[tokio::test]
async fn minio_keeps_the_contract() {
    let Some(binary) = Minio::binary().await else {
        skip!("minio or go");
    };
    let server = Minio::start(&binary);
    s3_contract(server.settings("team/a"), "s3://muster/team/ab").await;
}

#[tokio::test]
async fn minio_keeps_the_contract_over_tls() {
    let Some(binary) = Minio::binary().await else {
        skip!("minio or go");
    };
    let server = Minio::start_with_tls(&binary);
    s3_contract(server.settings("team/a"), "s3://muster/team/ab").await;

    let store = |change: fn(&mut S3Settings, &Minio)| {
        let mut settings = server.settings("");
        change(&mut settings, &server);
        connect(settings)
    };
    let at = key("x");
    let stranger = store(|s, _| s.ca_file = None).await.get(&at, LIMIT).await;
    let said = stranger.as_ref().map_err(ToString::to_string);
    assert!(
        matches!(stranger, Err(StoreError::Unreachable { .. })),
        "{said:?}"
    );
    assert!(said.is_err_and(|m| m.contains("UnknownIssuer") && m.contains("--bucket-ca-file")));
    let plain = store(|s, server| {
        let http = server.endpoint().replace("https", "http");
        s.endpoint = Some(http.parse().expect("an endpoint"));
    });
    let said = plain.await.get(&at, LIMIT).await;
    assert!(
        matches!(said, Err(StoreError::Unsupported { .. })),
        "{said:?}"
    );
    assert!(said.is_err_and(|e| e.to_string().contains("https://")));
}

#[tokio::test]
async fn the_embedded_bucket_says_what_is_wrong() {
    let bucket = EmbeddedBucket::start().await.expect("a bucket");
    let settings = bucket.settings().expect("settings");
    errors(&settings, bucket.add_key("elsewhere/")).await;

    // A confined key reaches its own prefix, and nothing beside it.
    let mut confined = settings;
    confined.credentials = Some(bucket.add_key("runs/r/tiers/iad/"));
    let store = connect(confined).await;
    store
        .create(&key("runs/r/tiers/iad/1.json"), "1".into())
        .await
        .expect("created");
    let own = store
        .list(&List::all("runs/r/tiers/iad/"))
        .await
        .expect("listed");
    assert_eq!(own.objects.len(), 1);
    for other in ["runs/r/tiers/sjc/1.json", "runs/r/tiers/iad", "job.json"] {
        let refused = store.get(&key(other), LIMIT).await;
        assert!(
            matches!(refused, Err(StoreError::Denied { .. })),
            "{other}: {refused:?}"
        );
    }
    let refused = store.list(&List::all("runs/r/tiers/")).await;
    assert!(
        matches!(refused, Err(StoreError::Denied { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn minio_says_what_is_wrong() {
    let Some(binary) = Minio::binary().await else {
        skip!("minio or go");
    };
    let server = Minio::start(&binary);
    let nobody = server.session(
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
        "Action":["s3:GetObject"],"Resource":["arn:aws:s3:::elsewhere/*"]}]}"#,
    );
    errors(&server.settings(""), nobody.await).await;
}

#[tokio::test]
async fn silence_is_given_up_on() {
    // Accepts connections, by its backlog, and never answers.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = mute.local_addr().expect("bound");
    for endpoint in [
        format!("http://{address}"),
        "http://no-such-host.invalid".to_owned(),
    ] {
        let mut settings = S3Settings::new("s3://muster".parse().expect("a bucket"));
        settings.endpoint = Some(endpoint.parse().expect("an endpoint"));
        settings.credentials = Some(StaticCredentials {
            access_key: "any".into(),
            secret_key: Secret::new("any"),
            session_token: None,
        });
        settings.patience.attempt = Duration::from_millis(200);
        settings.patience.operation = Duration::from_secs(2);
        let store = connect(settings).await;
        let said = store.get(&key("x"), LIMIT).await.expect_err("no answer");
        assert!(matches!(said, StoreError::Unreachable { .. }), "{said:?}");
        assert!(said.to_string().contains(&endpoint), "{said}");
        println!("{said}");
    }
}

/// What can go wrong with `good` settings, and `nobody`'s credentials, which may do nothing there.
async fn errors(good: &S3Settings, nobody: StaticCredentials) {
    let at = key("runs/r/job.json");
    let endpoint = good.endpoint.as_ref().expect("an endpoint").to_string();
    let store = async |change: &dyn Fn(&mut S3Settings)| {
        let mut settings = good.clone();
        change(&mut settings);
        connect(settings).await
    };
    let own = good.credentials.clone().expect("credentials");

    let gone = store(&|s| s.url = "s3://no-such-bucket/x".parse().expect("a bucket")).await;
    for answer in every_call(&gone, &at).await {
        assert!(matches!(answer, StoreError::NoBucket { .. }), "{answer:?}");
        let said = answer.to_string();
        assert!(
            said.contains("`no-such-bucket`") && said.contains(&endpoint),
            "{said}"
        );
    }

    let denied = store(&|s| s.credentials = Some(nobody.clone())).await;
    for answer in every_call(&denied, &at).await {
        assert!(matches!(answer, StoreError::Denied { .. }), "{answer:?}");
    }
    let unusable = probe(&denied, 7).await;
    assert!(
        matches!(unusable, Err(StoreError::Denied { .. })),
        "{unusable:?}"
    );

    for (access_key, secret) in [
        (own.access_key.as_str(), "not-the-secret"),
        ("nobody-knows-me", own.secret_key.expose()),
    ] {
        let wrong = StaticCredentials {
            access_key: access_key.to_owned(),
            secret_key: Secret::new(secret),
            session_token: None,
        };
        let stranger = store(&|s| s.credentials = Some(wrong.clone())).await;
        for answer in every_call(&stranger, &at).await {
            assert!(
                matches!(answer, StoreError::BadCredentials { .. }),
                "{answer:?}"
            );
            let said = answer.to_string();
            assert!(
                said.contains("AWS_ACCESS_KEY_ID") && !said.contains(secret),
                "{said}"
            );
        }
    }

    let silent = format!("http://127.0.0.1:{}", ports::free_tcp());
    let unreachable = store(&|s| s.endpoint = Some(silent.parse().expect("an endpoint"))).await;
    for answer in every_call(&unreachable, &at).await {
        assert!(
            matches!(answer, StoreError::Unreachable { .. }),
            "{answer:?}"
        );
        assert!(answer.to_string().contains(&silent), "{answer}");
    }

    let tls = endpoint.replace("http:", "https:");
    let mismatch = store(&|s| s.endpoint = Some(tls.parse().expect("an endpoint"))).await;
    let said = mismatch
        .get(&at, LIMIT)
        .await
        .expect_err("no TLS there")
        .to_string();
    assert!(said.contains("http://"), "{said}");
}

/// The errors of one call each of create, put, get, list and delete.
async fn every_call(store: &dyn Store, at: &Key) -> Vec<StoreError> {
    vec![
        store.create(at, "x".into()).await.expect_err("create"),
        store.put(at, "x".into()).await.expect_err("put"),
        store.get(at, LIMIT).await.expect_err("get"),
        store.list(&List::all("runs/")).await.expect_err("list"),
        store.delete(at).await.expect_err("delete"),
    ]
}

#[tokio::test]
async fn creates_settle_alike_for_all_under_faults() {
    let rates = FaultRates {
        lost_request: 100,
        lost_response: 150,
        conflict: 100,
        exists: 50,
        busy: 100,
        longest_delay: Duration::from_millis(2),
        ..FaultRates::default()
    };
    let backoff = Backoff {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(4),
        tries: 20,
    };
    let (mut settled, mut faults) = (0, 0);
    for seed in 0..100 {
        let store = FaultyStore::new(MemoryStore::new(wall_clock()), rates, seed);
        let (at, store) = (key("slots/iad.0.json"), &store);
        let writers = (0..10).map(|i| {
            let at = &at;
            async move {
                let body = Bytes::from(format!("writer {i}"));
                (
                    body.clone(),
                    create_settled(store, at, body, LIMIT, backoff).await,
                )
            }
        });
        let outcomes = join_all(writers).await;
        let stored = loop {
            if let Ok(object) = store.get(&at, LIMIT).await {
                break object.body;
            }
        };
        for (body, outcome) in outcomes {
            match outcome {
                Ok(Settled::Mine) => assert_eq!(body, stored, "seed {seed}"),
                Ok(Settled::Theirs(o)) => {
                    assert_ne!(body, stored, "seed {seed}");
                    assert_eq!(o.body, stored, "seed {seed}");
                }
                Err(_) => faults += 1,
            }
            settled += 1;
        }
    }
    assert_eq!((settled, faults), (1000, 0));
}
