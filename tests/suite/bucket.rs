//! S3 as other clients speak it: what muster's own store doesn't send.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use aws_sdk_s3::primitives::ByteStream;
use muster::local::EmbeddedBucket;
use muster::store::{S3Settings, StaticCredentials};

use crate::fixtures::minio::Minio;
use crate::fixtures::skip::skip;

/// The SDK as it comes: with its own checksums, unlike muster's store.
fn client(settings: &S3Settings) -> Client {
    let StaticCredentials {
        access_key,
        secret_key,
        ..
    } = settings.credentials.clone().expect("credentials");
    let endpoint = settings.endpoint.as_ref().expect("an endpoint");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint.to_string())
        .force_path_style(true)
        .credentials_provider(Credentials::new(
            access_key,
            secret_key.expose(),
            None,
            None,
            "test",
        ))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

#[tokio::test]
async fn the_embedded_bucket_speaks_s3() {
    let bucket = EmbeddedBucket::start().await.expect("a bucket");
    let s3 = client(&bucket.settings().expect("settings"));
    let put = || s3.put_object().bucket("muster");
    for name in ["a", "b/1", "b/2", "c", "d/1", "e"] {
        let body = ByteStream::from_static(b"0123456789");
        put().key(name).body(body).send().await.expect("put");
    }

    let get = || s3.get_object().bucket("muster").key("a");
    for (range, expected) in [
        ("bytes=2-4", "234"),
        ("bytes=7-", "789"),
        ("bytes=-2", "89"),
    ] {
        let part = get().range(range).send().await.expect(range);
        assert!(
            part.content_range().is_some_and(|r| r.ends_with("/10")),
            "{range}"
        );
        let body = part.body.collect().await.expect("a body").into_bytes();
        assert_eq!(body, expected, "{range}");
    }
    let beyond = get()
        .range("bytes=10-")
        .send()
        .await
        .expect_err("nothing there");
    assert_eq!(beyond.code(), Some("InvalidRange"));

    let tag = get().send().await.expect("get").e_tag.expect("a tag");
    let same = get()
        .if_none_match(&tag)
        .send()
        .await
        .expect_err("unchanged");
    assert_eq!(same.raw_response().map(|r| r.status().as_u16()), Some(304));
    let other = get()
        .if_match("\"other\"")
        .send()
        .await
        .expect_err("another tag");
    assert_eq!(other.code(), Some("PreconditionFailed"));
    let swap = |tag: &str| {
        put()
            .key("a")
            .if_match(tag)
            .body(ByteStream::from_static(b"new"))
            .send()
    };
    swap(&tag).await.expect("swapped");
    assert_eq!(
        swap(&tag).await.expect_err("stale").code(),
        Some("PreconditionFailed")
    );
    let delete = || s3.delete_object().bucket("muster").key("a").if_match(&tag);
    assert_eq!(
        delete().send().await.expect_err("stale").code(),
        Some("PreconditionFailed")
    );
    let head = s3
        .head_object()
        .bucket("muster")
        .key("a")
        .send()
        .await
        .expect("head");
    assert_eq!(head.content_length(), Some(3));

    let mut entries = Vec::new();
    let mut token = None;
    loop {
        let page = s3
            .list_objects_v2()
            .bucket("muster")
            .delimiter("/")
            .max_keys(2)
            .set_continuation_token(token)
            .send()
            .await
            .expect("a page");
        assert!(page.key_count().is_some_and(|n| n <= 2), "{page:?}");
        let folders = page.common_prefixes().iter().filter_map(|p| p.prefix());
        entries.extend(folders.map(str::to_owned));
        entries.extend(
            page.contents()
                .iter()
                .filter_map(|o| o.key().map(str::to_owned)),
        );
        token = page.next_continuation_token;
        if token.is_none() {
            break;
        }
    }
    entries.sort();
    assert_eq!(entries, ["a", "b/", "c", "d/", "e"]);

    let huge = ByteStream::from(vec![0; (64 << 20) + 1]);
    let refused = put()
        .key("huge")
        .body(huge)
        .send()
        .await
        .expect_err("too large");
    assert_eq!(refused.code(), Some("EntityTooLarge"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presigned_urls_work_on_the_embedded_bucket() {
    let bucket = EmbeddedBucket::start().await.expect("a bucket");
    let settings = bucket.settings().expect("settings");
    presigned(&settings).await;

    // What a confined key signs stays confined.
    let mut confined = settings;
    confined.credentials = Some(bucket.add_key("tickets/iad"));
    let own = sign_create(&client(&confined), "tickets/iad.json").await;
    assert_eq!(send(&own, own.uri(), "x").0, 200);
    let other = sign_create(&client(&confined), "tickets/sjc.json").await;
    assert_eq!(send(&other, other.uri(), "x").0, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presigned_urls_work_on_minio() {
    let Some(binary) = Minio::binary().await else {
        skip!("minio or go");
    };
    let server = Minio::start(&binary);
    presigned(&server.settings("")).await;
}

/// A URL that creates, once, and a URL that reads, good for nothing else.
async fn presigned(settings: &S3Settings) {
    let s3 = client(settings);
    let create = sign_create(&s3, "ready/iad.json").await;
    assert_eq!(send(&create, create.uri(), "first").0, 200);
    assert_eq!(send(&create, create.uri(), "second").0, 412);
    let (status, _) = request(create.uri(), "PUT", &[], "unconditional");
    assert!(
        matches!(status, 400 | 403),
        "{status}: a signed header can't be left out"
    );
    let elsewhere = create.uri().replace("iad", "sjc");
    assert_eq!(send(&create, &elsewhere, "x").0, 403);

    let read = s3
        .get_object()
        .bucket("muster")
        .key("ready/iad.json")
        .presigned(expiry())
        .await
        .expect("signed");
    assert_eq!(send(&read, read.uri(), ""), (200, "first".to_owned()));
    assert_eq!(request(read.uri(), "DELETE", &[], "").0, 403);
}

async fn sign_create(s3: &Client, key: &str) -> PresignedRequest {
    s3.put_object()
        .bucket("muster")
        .key(key)
        .if_none_match("*")
        .presigned(expiry())
        .await
        .expect("signed")
}

fn expiry() -> PresigningConfig {
    PresigningConfig::expires_in(Duration::from_secs(60)).expect("a minute")
}

/// Sends what was signed to `url`.
fn send(signed: &PresignedRequest, url: &str, body: &str) -> (u16, String) {
    let headers: Vec<(&str, &str)> = signed.headers().collect();
    request(url, signed.method(), &headers, body)
}

/// One HTTP request, with nothing but what is given: its status and body.
fn request(url: &str, method: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let rest = url.strip_prefix("http://").expect("plain HTTP");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut head = format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(host).expect("connected");
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok());
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    (
        status.unwrap_or_else(|| panic!("no status in {answer:?}")),
        body.to_owned(),
    )
}
