//! What a finalizer reads of many vantages in a real MinIO: reports first, tiers only where a
//! report is missing. What it holds in memory and what it writes, per vantage.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use muster::bench::finalize::run::MadeUp;
use muster::clock;
use muster::rendezvous::drive::{Bucket, run_finalizer};
use muster::store::{MemoryStore, Store};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;

use crate::fixtures::allocations::{allocations, forget_peak};
use crate::fixtures::alone::alone;
use crate::fixtures::minio::Minio;
use crate::fixtures::own_process;
use crate::fixtures::skip::skip;

/// Tiers of each vantage, beside the baseline.
const TIERS: u32 = 20;
/// Bytes on the heap, at the most, that a vantage of a large fleet adds while it is finalized. Half
/// of what its report has (205 kB): what is kept is packed, and no body is.
const HEAP_MAX: i64 = 100_000;
/// Bytes that it adds to the combined report, which is read up to 256 MiB: enough for 20,000.
const REPORT_MAX: i64 = 12_000;

#[tokio::test(flavor = "multi_thread")]
async fn tiers_are_read_only_where_a_report_is_missing() {
    let _alone = alone().await;
    let Some(binary) = Minio::binary().await else {
        skip!("minio or Go");
    };
    let dir = TempDir::new().expect("a folder");
    let json = dir.path().join("finalized.json");
    let ended = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["bench", "finalize", "--vantages", "8,149", "--tiers", "2"])
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
    // The large one by its folders (none, slots, ready, live, reports, tiers) and that of the lost
    // vantage's tiers.
    for (run, vantages, lost, lists) in [(&runs[0], 8, 0, 1), (&runs[1], 149, 1, 7)] {
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
        assert_eq!(requests["lists"], lists, "{requests}");
        let row = said.lines().find(|l| l.starts_with(&vantages.to_string()));
        assert!(row.is_some(), "{said}");
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Held {
    heap: i64,
    report: i64,
}

#[tokio::test]
async fn memory_and_report_grow_by_a_bounded_amount_per_vantage() {
    let held = async |vantages: u32| -> Held {
        let name = "finalize::a_run_in_memory_is_finalized";
        own_process::run(name, &vantages, Duration::from_secs(300)).await
    };
    let (few, many) = (held(80).await, held(160).await);
    let each = |few: i64, many: i64| (many - few) / 80;
    let heap = each(few.heap, many.heap);
    let report = each(few.report, many.report);
    println!("each vantage adds {heap} bytes of heap and {report} to the report");
    assert!(heap < HEAP_MAX, "{heap} bytes: {few:?} {many:?}");
    assert!(report < REPORT_MAX, "{report} bytes: {few:?} {many:?}");
}

#[test]
#[ignore = "run by memory_and_report_grow_by_a_bounded_amount_per_vantage"]
fn a_run_in_memory_is_finalized() {
    own_process::told(async |vantages: u32| {
        let run = MadeUp::new(vantages, TIERS, clock::now()).expect("a run");
        let store = Arc::new(MemoryStore::new(Arc::new(clock::now)));
        let mut objects = run.head().expect("its head");
        for index in 0..vantages {
            objects.extend(run.of_vantage(index).expect("its objects"));
        }
        for object in objects {
            let put = store.put(&object.key.key(), object.body).await;
            put.expect("it is stored");
        }
        forget_peak();
        let before = allocations().live;
        let bucket = Bucket::on_local_time(store);
        let finished = run_finalizer(&bucket, run.id().clone(), false, 1)
            .await
            .expect("it is finalized");
        Held {
            heap: allocations().peak - before,
            report: i64::try_from(finished.body.len()).expect("a size"),
        }
    });
}
