//! A run of another build's making.

use std::process::Command;
use std::sync::Arc;

use muster::job::RunId;
use muster::local::EmbeddedBucket;
use muster::rendezvous::document;
use muster::rendezvous::keys::{Folder, Item, RunKey};
use muster::rendezvous::objects::Ready;
use muster::store::{List, S3Store, Store};

#[tokio::test(flavor = "multi_thread")]
async fn a_prober_that_cannot_carry_out_its_job_says_so_on_both_sides_and_loads_nothing() {
    let bucket = EmbeddedBucket::start().await.expect("a bucket");
    let settings = bucket.settings().expect("its settings");
    let credentials = settings.credentials.clone().expect("its key");
    let store = S3Store::connect(settings, Arc::new(muster::clock::now))
        .await
        .expect("the bucket opens");
    let run: RunId = "r1".parse().expect("an id");
    let job = RunKey::new(&run, Item::Job);
    let body = br#"{"schema": 2, "run": "r1", "fleet": "whoever"}"#;
    store
        .create(&job.key(), bytes::Bytes::from_static(body))
        .await
        .expect("the job is written");

    let output = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["probe", "--run", "r1", "--vantage", "iad"])
        .env_clear()
        .env("MUSTER_BUCKET", "s3://muster")
        .env("AWS_ENDPOINT_URL_S3", bucket.endpoint())
        .env("AWS_ACCESS_KEY_ID", &credentials.access_key)
        .env("AWS_SECRET_ACCESS_KEY", credentials.secret_key.expose())
        .env("LIVEKIT_API_KEY", "key")
        .env("LIVEKIT_API_SECRET", "secret-of-at-least-32-characters")
        .output()
        .expect("muster can be run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(104), "{stderr}");
    let why = "job.json has schema 2, and this muster reads 1; update it";
    assert!(stderr.contains(why), "{stderr}");

    let left = store
        .list(&List::all("runs/"))
        .await
        .expect("lists")
        .objects;
    let ready = store
        .list(&Folder::Ready.list(&run))
        .await
        .expect("lists")
        .objects;
    assert_eq!((left.len(), ready.len()), (2, 1), "{left:?}");
    let key: RunKey = ready[0].key.parse().expect("a key");
    let object = store
        .get(&key.key(), key.limit())
        .await
        .expect("it is there");
    let ready: Ready = document::read(&key, &object.body).expect("a ready");
    let unfit = ready.unfit.expect("it takes no part");
    assert!(
        unfit.contains(why) && unfit.contains(&ready.build),
        "{unfit}"
    );
}
