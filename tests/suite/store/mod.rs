//! Every store is held to one contract.

mod contract;
mod errors;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::join_all;
use muster::job::Timestamp;
use muster::local::EmbeddedBucket;
use muster::store::{
    Backoff, ByteLimit, FaultRates, FaultyStore, Key, MemoryStore, Now, S3Settings, S3Store,
    Settled, Store, create_settled, probe,
};

use self::contract::{contract, s3_contract};
use crate::fixtures::minio::Minio;
use crate::fixtures::skip::skip;

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
    let whole = connect(settings.clone()).await;
    let found = probe(&whole, 1).await.expect("probed");
    assert_eq!(found.require(&whole), Ok(()), "without a prefix");
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
