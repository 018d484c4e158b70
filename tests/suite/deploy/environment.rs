//! What each place puts in a prober's environment is all that it needs.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use super::{document, python, read};
use crate::fixtures::checker::run;
use crate::fixtures::skip::skip;

type Environment = BTreeMap<String, String>;

/// Nothing listens there.
const BUCKET: &str = "http://127.0.0.1:1";

/// `NAME=value` lines.
fn from_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Environment {
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim().into(), value.trim().trim_matches('"').into()))
        .collect()
}

fn from_object(object: &Value) -> Environment {
    let object = object.as_object().expect("an object");
    object
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().expect("a string").into()))
        .collect()
}

/// Whether a prober with this environment gets as far as the bucket.
fn reaches_the_bucket(environment: &Environment) -> bool {
    let mut muster = Command::new(env!("CARGO_BIN_EXE_muster"));
    muster
        .args(["probe", "--timeout", "1s"])
        .env_clear()
        .envs(environment)
        // Else credentials that are missing would be looked for on the network.
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ENDPOINT_URL_S3", BUCKET);
    let ended = run(&mut muster).expect_err("there is no bucket");
    ended.contains(&format!("no answer from {BUCKET}"))
}

#[test]
fn every_place_gives_a_prober_all_that_it_needs() {
    let Some(python) = python() else {
        skip!("python3");
    };
    let compose = document(&python, "compose.yaml");
    let compose = from_object(&compose["services"]["prober-a"]["environment"]);

    let secret = document(&python, "k8s/secret.example.yaml");
    let mut kubernetes = from_object(&secret["stringData"]);
    let label = "k8s-0".to_owned();
    kubernetes.insert("MUSTER_VANTAGE".into(), label);

    let fly = read("prober/fly.toml");
    let (_, env) = fly.split_once("\n[env]\n").expect("[env]");
    let (env, _) = env.split_once("\n[[").expect("the next table");
    let mut fly_machine = from_lines(env.lines());
    fly_machine.insert("FLY_REGION".into(), "iad".into());
    for name in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "LIVEKIT_API_KEY",
        "LIVEKIT_API_SECRET",
    ] {
        assert!(fly.contains(name), "fly.toml names {name} as a secret");
        fly_machine.insert(name.into(), "from-fly-secrets".into());
    }

    let cloud = document(&python, "vm/cloud-init.yaml");
    let file = cloud["write_files"][0]["content"].as_str().expect("a file");
    let vm = from_lines(file.lines());

    for environment in [compose, kubernetes, fly_machine, vm] {
        assert!(reaches_the_bucket(&environment), "{environment:?}");
        for needed in [
            "MUSTER_BUCKET",
            "AWS_SECRET_ACCESS_KEY",
            "LIVEKIT_API_SECRET",
        ] {
            let mut less = environment.clone();
            less.remove(needed);
            assert!(!reaches_the_bucket(&less), "{needed} is not needed");
        }
    }
}
