//! One meaning for everything that goes wrong with a store.

use std::time::Duration;

use muster::local::EmbeddedBucket;
use muster::secret::Secret;
use muster::store::{Key, List, S3Settings, StaticCredentials, Store, StoreError, probe};

use super::{LIMIT, connect, key};
use crate::fixtures::minio::Minio;
use crate::fixtures::{ports, skip::skip};

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
async fn minio_says_what_is_wrong_with_tls() {
    let Some(binary) = Minio::binary().await else {
        skip!("minio or go");
    };
    let server = Minio::start_with_tls(&binary);
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
