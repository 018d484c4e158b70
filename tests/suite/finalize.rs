//! What a finalizer reads of many vantages in a real MinIO: reports first, tiers only where a
//! report is missing.

use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::fixtures::alone::alone;
use crate::fixtures::minio::Minio;
use crate::fixtures::skip::skip;

#[tokio::test(flavor = "multi_thread")]
async fn tiers_are_read_only_where_a_report_is_missing() {
    let _alone = alone().await;
    let Some(binary) = Minio::binary().await else {
        skip!("minio or Go");
    };
    let dir = TempDir::new().expect("a folder");
    let json = dir.path().join("finalized.json");
    let ended = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["bench", "finalize", "--vantages", "8,60", "--tiers", "2"])
        .arg("--minio")
        .arg(&binary)
        .arg("--json")
        .arg(&json)
        .stdin(Stdio::null())
        .output()
        .expect("muster runs");
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(
        ended.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    let result = std::fs::read_to_string(&json).expect("it was written");
    let result: Value = serde_json::from_str(&result).expect("JSON");
    let runs = result["runs"].as_array().expect("runs");
    for (run, vantages, lost) in [(&runs[0], 8, 0), (&runs[1], 60, 1)] {
        assert_eq!(
            (&run["vantages"], &run["lost"]),
            (&vantages.into(), &lost.into())
        );
        assert_eq!(run["measured"], vantages, "all of them count");
        let requests = &run["requests"];
        // Job, start and abort; each report there is; of each vantage without one what it was
        // doing (heartbeat, ready) and its three tiers.
        let reads = 3 + (vantages - lost) + lost * (2 + 3);
        assert_eq!(requests["reads"], reads, "{requests}");
        // The inputs and the report.
        assert_eq!(requests["creates"], 2, "{requests}");
        assert_eq!(requests["lists"], 1, "{requests}");
        let row = said.lines().find(|l| l.starts_with(&vantages.to_string()));
        assert!(row.is_some(), "{said}");
    }
}
