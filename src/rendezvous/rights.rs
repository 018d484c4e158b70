//! The least that each role must be allowed in the bucket, as IAM policies.
//!
//! One writer for each object: nobody but the coordinator writes the job, no vantage another's
//! objects, and the finalizer touches neither. All may list, because a store answers a missing
//! key with "forbidden" to who may not (S3's `GetObject`), and only a definite answer counts. That
//! right can't be had for a prefix alone: a `GetObject` has no `s3:prefix` that it could be judged
//! by, so that a condition on it forbids missing keys as well.

use serde_json::{Value, json};

use super::keys::RUNS;
use crate::job::Vantage;
use crate::store::BucketUrl;

/// The policy of who runs `muster run`: it writes job, tickets, start and abort (with which it rewrites heartbeats), tries the bucket
/// before (below `probe/`), and finalizes.
pub fn coordinator(bucket: &BucketUrl) -> Value {
    let mut writes = of_run(
        bucket,
        &[
            "job.json",
            "tickets/*.json",
            "start.json",
            "abort.json",
            // Who aborts a run rewrites its heartbeats.
            "live/*.json",
        ],
    );
    writes.extend(results(bucket));
    writes.push(object(bucket, "probe/*"));
    policy(
        bucket,
        &writes,
        &[
            object(bucket, &format!("{RUNS}*")),
            object(bucket, "probe/*"),
        ],
        &[object(bucket, "probe/*")],
    )
}

/// The policy of probers with standing credentials that may take any of these slots.
pub fn prober(bucket: &BucketUrl, slots: &[Vantage]) -> Value {
    let own = slots.iter().map(Vantage::name).flat_map(|slot| {
        [
            format!("slots/{slot}.*.json"),
            format!("ready/{slot}.*.json"),
            format!("live/{slot}.json"),
            format!("tiers/{slot}/*.json"),
            format!("reports/{slot}.report.json"),
            format!("logs/{slot}.jsonl.gz"),
        ]
    });
    let own: Vec<String> = own.collect();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let writes = of_run(bucket, &own);
    let tickets = slots
        .iter()
        .map(|slot| format!("tickets/{}.json", slot.name()));
    let tickets: Vec<String> = tickets.collect();
    let mut read = vec!["job.json", "start.json", "abort.json"];
    read.extend(tickets.iter().map(String::as_str));
    let mut reads = of_run(bucket, &read);
    reads.extend(writes.iter().cloned());
    policy(bucket, &writes, &reads, &[])
}

/// The policy of who runs `muster finalize`: it reads all of a run but the tickets.
pub fn finalizer(bucket: &BucketUrl) -> Value {
    let names = [
        "job.json",
        "start.json",
        "abort.json",
        "slots/*",
        "ready/*",
        "live/*",
        "tiers/*",
        "reports/*",
        "logs/*",
    ];
    let (results, mut reads) = (results(bucket), of_run(bucket, &names));
    reads.extend(results.iter().cloned());
    policy(bucket, &results, &reads, &[])
}

fn results(bucket: &BucketUrl) -> Vec<String> {
    let names = [
        "inputs.*.json",
        "combined.json",
        "combined.*.json",
        "report.html",
        "report.*.html",
    ];
    of_run(bucket, &names)
}

/// These objects of every run.
fn of_run(bucket: &BucketUrl, names: &[&str]) -> Vec<String> {
    let names = names.iter();
    names
        .map(|name| object(bucket, &format!("{RUNS}*/{name}")))
        .collect()
}

fn object(bucket: &BucketUrl, key: &str) -> String {
    let (name, prefix) = (bucket.bucket(), bucket.prefix());
    if prefix.is_empty() {
        format!("arn:aws:s3:::{name}/{key}")
    } else {
        format!("arn:aws:s3:::{name}/{prefix}/{key}")
    }
}

fn policy(bucket: &BucketUrl, writes: &[String], reads: &[String], deletes: &[String]) -> Value {
    let allow = |action: &str, resources: &[String]| json!({"Effect": "Allow", "Action": action, "Resource": resources});
    let list = [format!("arn:aws:s3:::{}", bucket.bucket())];
    let mut statements = vec![
        allow("s3:PutObject", writes),
        allow("s3:GetObject", reads),
        allow("s3:ListBucket", &list),
    ];
    if !deletes.is_empty() {
        statements.push(allow("s3:DeleteObject", deletes));
    }
    json!({"Version": "2012-10-17", "Statement": statements})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_reads_a_ticket() {
        let bucket: BucketUrl = "s3://bucket/nightly".parse().unwrap();
        let iad: Vantage = "iad".parse().unwrap();
        let tickets = |policy: Value| {
            let statements = policy["Statement"].as_array().unwrap().clone();
            let read = statements.iter().find(|s| s["Action"] == "s3:GetObject");
            let read = read.unwrap()["Resource"].as_array().unwrap().clone();
            let all = |r: &str| r.contains("tickets") || r.ends_with("runs/*");
            read.iter()
                .map(|r| r.as_str().unwrap().to_owned())
                .filter(|r| all(r))
                .collect::<Vec<_>>()
        };
        assert!(tickets(finalizer(&bucket)).is_empty());
        assert_eq!(
            tickets(prober(&bucket, &[iad])),
            ["arn:aws:s3:::bucket/nightly/runs/*/tickets/iad.json"]
        );
        let slot = "iad/1".parse().unwrap();
        assert_eq!(
            tickets(prober(&bucket, &[slot])),
            ["arn:aws:s3:::bucket/nightly/runs/*/tickets/iad_1.json"]
        );
    }

    #[test]
    fn a_prefix_is_a_part_of_every_object() {
        let bucket: BucketUrl = "s3://bucket/nightly".parse().unwrap();
        let iad = "iad".parse().unwrap();
        for policy in [
            coordinator(&bucket),
            prober(&bucket, &[iad]),
            finalizer(&bucket),
        ] {
            for statement in policy["Statement"].as_array().unwrap() {
                for resource in statement["Resource"].as_array().unwrap() {
                    let resource = resource.as_str().unwrap();
                    let whole =
                        resource == "arn:aws:s3:::bucket" && statement["Action"] == "s3:ListBucket";
                    assert!(
                        whole || resource.starts_with("arn:aws:s3:::bucket/nightly/"),
                        "{resource}"
                    );
                }
            }
        }
    }
}
