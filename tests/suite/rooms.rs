//! The room service against a real livekit-server.

use std::time::Duration;

use muster::job::RunId;
use muster::rooms::{Keys, RoomError, Rooms};
use muster::secret::Secret;

use crate::fixtures::{livekit, ports, skip};

fn keys(key: &str, secret: &str) -> Keys {
    Keys {
        api_key: key.to_owned(),
        api_secret: Secret::new(secret),
    }
}

fn run(id: &str) -> RunId {
    id.parse().expect("a run id")
}

#[tokio::test]
async fn a_run_deletes_only_its_own_rooms() {
    let Some(server) = livekit::start().await else {
        skip::skip!("livekit-server or Go");
    };
    let rooms = Rooms::new(server.url(), &keys(server.key(), server.secret().expose()));
    let minute = Duration::from_secs(60);
    let create = async |room: &str, by: &str| rooms.create(room, &run(by), minute).await;
    assert!(create("ours", "r1").await.expect("created"));
    create("ours", "r1")
        .await
        .expect("the same run may ask twice");
    create("theirs", "r2").await.expect("created");

    let found = rooms.find("ours").await.expect("listed");
    assert_eq!(found.and_then(|r| r.run), Some(run("r1")));
    let error = create("theirs", "r1").await.expect_err("it is r2's");
    assert!(matches!(error, RoomError::Exists { .. }), "{error}");
    assert!(error.to_string().contains("`theirs`"), "{error}");

    assert!(!rooms.delete("theirs", &run("r1")).await.expect("answered"));
    assert!(rooms.delete("ours", &run("r1")).await.expect("deleted"));
    assert!(
        !rooms
            .delete("ours", &run("r1"))
            .await
            .expect("gone already")
    );
    let left: Vec<String> = rooms
        .list()
        .await
        .expect("listed")
        .into_iter()
        .map(|r| r.name)
        .collect();
    assert_eq!(left, ["theirs"]);
    assert!(matches!(
        rooms.must_exist("ours").await,
        Err(RoomError::Absent { .. })
    ));
}

#[tokio::test]
async fn each_failure_has_its_cause() {
    let Some(server) = livekit::start().await else {
        skip::skip!("livekit-server or Go");
    };
    let wrong_secret = keys(server.key(), "another-secret-of-more-than-32-characters");
    for bad in [wrong_secret, keys("nobody", server.secret().expose())] {
        let error = Rooms::new(server.url(), &bad)
            .list()
            .await
            .expect_err("wrong keys");
        let text = error.to_string();
        assert!(text.contains(&format!("`{}`", bad.api_key)), "{text}");
        assert!(text.contains("LIVEKIT_API_SECRET"), "{text}");
        assert!(!text.contains(bad.api_secret.expose()), "{text}");
    }
    let url = format!("ws://127.0.0.1:{}", ports::free_tcp());
    let error = Rooms::new(&url, &keys(server.key(), server.secret().expose()))
        .list()
        .await
        .expect_err("nobody there");
    assert!(matches!(error, RoomError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&url), "{error}");
}
