//! What starts probers in containers and on VMs, judged by each platform's own rules.

mod environment;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::fixtures::checker::{judge, replaced, run};
use crate::fixtures::skip::skip;
use crate::fixtures::tools;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of `deploy/`.
fn file(name: &str) -> PathBuf {
    root().join("deploy").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap_or_else(|e| panic!("deploy/{name}: {e}"))
}

/// The checkers' Python; their programs lie beside it.
fn python() -> Option<PathBuf> {
    tools::python(&root().join("tests/suite/deploy/requirements.txt"))
}

fn schema(python: &Path, name: &str, path: &Path) -> Command {
    let mut command = Command::new(python.with_file_name("check-jsonschema"));
    let schema = root().join("tests/suite/deploy").join(name);
    command.arg("--schemafile").arg(schema).arg(path);
    command
}

/// The YAML documents of a file of `deploy/`.
fn documents(python: &Path, name: &str) -> Vec<Value> {
    let script = "import json, sys, yaml\n\
                  print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let printed = run(Command::new(python).args(["-c", script]).arg(file(name)));
    let printed = printed.unwrap_or_else(|e| panic!("{e}"));
    serde_json::from_str(&printed).expect("JSON")
}

fn document(python: &Path, name: &str) -> Value {
    documents(python, name).swap_remove(0)
}

/// The strings of a list.
fn words(list: &Value) -> Vec<&str> {
    let list = list.as_array().expect("a list");
    list.iter().map(|w| w.as_str().expect("a string")).collect()
}

#[test]
fn the_compose_file_follows_its_specification() {
    let Some(python) = python() else {
        skip!("python3");
    };
    let faults = [
        ("restart: \"no\"", "restarts: \"no\""),
        ("interval: 1s", "interval: [1]"),
    ];
    judge(&file("compose.yaml"), &faults, |path| {
        let mut command = Command::new(python.with_file_name("check-jsonschema"));
        command
            .args(["--builtin-schema", "vendor.compose-spec"])
            .arg(path);
        command
    });
}

#[test]
fn compose_starts_as_many_labels_as_the_run_expects_and_publishes_nothing() {
    let Some(python) = python() else {
        skip!("python3");
    };
    let compose = document(&python, "compose.yaml");
    let services = compose["services"].as_object().expect("services");
    let mut labels = BTreeSet::new();
    for (name, service) in services {
        assert!(service.get("ports").is_none(), "{name} publishes a port");
        if service["command"] == serde_json::json!(["probe"]) {
            let label = service["environment"]["MUSTER_VANTAGE"].as_str();
            assert!(labels.insert(label.expect("a label")), "{label:?} twice");
            assert_eq!(service["restart"], "no", "{name}");
        }
    }
    let run = words(&services["coordinator"]["command"]);
    let expected = run.iter().skip_while(|w| **w != "--expect").nth(1);
    assert_eq!(expected, Some(&labels.len().to_string().as_str()));
}

#[test]
fn kubernetes_takes_every_manifest() {
    let Some(python) = python() else {
        skip!("python3");
    };
    let faults = [("metadata:\n", "metadata:\n  surprise: 1\n")];
    let more = [
        ("completions: 3", "completions: three"),
        ("fieldPath:", "path:"),
    ];
    for name in ["secret.example", "probers", "zone", "run", "nightly"] {
        let faults = match name {
            "probers" => [&faults[..], &more].concat(),
            _ => faults.to_vec(),
        };
        judge(&file(&format!("k8s/{name}.yaml")), &faults, |path| {
            let mut command = Command::new(python.with_file_name("kubernetes-validate"));
            command.arg("--strict").arg(path);
            command
        });
    }
}

/// What is wrong with a Job's `spec`, if its pods could run twice or hold more than they need.
fn job_fault(spec: &Value) -> Option<&'static str> {
    let pod = &spec["template"]["spec"];
    // An indexed job with a limit of its own for all pods would delete the healthy ones.
    let retries = match spec["completionMode"].as_str() {
        Some("Indexed") => spec["backoffLimitPerIndex"] != 0 || spec.get("backoffLimit").is_some(),
        _ => spec["backoffLimit"] != 0,
    };
    if retries || pod["restartPolicy"] != "Never" {
        return Some("a pod that failed would run again");
    }
    let container = &pod["containers"][0];
    if pod["securityContext"]["runAsNonRoot"] != true
        || pod["automountServiceAccountToken"] != false
        || container["securityContext"]["capabilities"]["drop"] != serde_json::json!(["ALL"])
    {
        return Some("a pod may more than it needs");
    }
    None
}

#[test]
fn kubernetes_runs_each_pod_once_and_with_the_least_rights() {
    let Some(python) = python() else {
        skip!("python3");
    };
    for name in ["probers", "zone", "run"] {
        let job = document(&python, &format!("k8s/{name}.yaml"));
        assert_eq!(job_fault(&job["spec"]), None, "{name}");

        for (path, value) in [
            ("/spec/backoffLimit", Value::from(1)),
            ("/spec/template/spec/restartPolicy", "OnFailure".into()),
            ("/spec/template/spec/securityContext", Value::Null),
        ] {
            let mut broken = job.clone();
            let (parent, key) = path.rsplit_once('/').expect("a path");
            broken.pointer_mut(parent).expect("it is there")[key] = value;
            assert!(job_fault(&broken["spec"]).is_some(), "{name}: {path}");
        }
    }
}

#[test]
fn kubernetes_runs_the_same_jobs_at_night() {
    let Some(python) = python() else {
        skip!("python3");
    };
    let nightly = documents(&python, "k8s/nightly.yaml");
    let [run, probers] = nightly.as_slice() else {
        panic!("two cron jobs, not {}", nightly.len());
    };
    assert_eq!(run["spec"]["schedule"], probers["spec"]["schedule"]);
    for (cron, name) in [(run, "k8s/run.yaml"), (probers, "k8s/probers.yaml")] {
        let mut once = document(&python, name);
        let spec = once["spec"].as_object_mut().expect("a spec");
        // A cron job keeps its jobs by their number, not by their age.
        spec.remove("ttlSecondsAfterFinished");
        assert_eq!(once["spec"], cron["spec"]["jobTemplate"]["spec"], "{name}");
        assert_eq!(once["metadata"]["name"], cron["metadata"]["name"]);
    }
}

#[test]
fn kubernetes_zones_differ_by_one_word() {
    let manifest = read("k8s/zone.yaml");
    let zone = "eu-west-1a";
    let rest = manifest.lines().filter(|line| !line.starts_with('#'));
    let named: Vec<&str> = rest
        .filter(|line| line.contains(zone))
        .map(str::trim)
        .collect();
    assert_eq!(
        named,
        [
            "name: muster-prober-eu-west-1a",
            "topology.kubernetes.io/zone: eu-west-1a",
            "value: eu-west-1a"
        ]
    );
}

#[test]
fn every_run_is_one_that_muster_would_plan() {
    let Some(python) = python() else {
        skip!("python3");
    };
    let compose = document(&python, "compose.yaml");
    let kubernetes = document(&python, "k8s/run.yaml");
    let commands = [
        &compose["services"]["coordinator"]["command"],
        &kubernetes["spec"]["template"]["spec"]["containers"][0]["args"],
    ];
    let plan = |flags: &[&str]| {
        let mut muster = Command::new(env!("CARGO_BIN_EXE_muster"));
        run(muster
            .args(["plan", "--url", "ws://127.0.0.1:1"])
            .args(flags))
    };
    for command in commands {
        let command = words(command);
        let (name, flags) = command.split_first().expect("a command");
        assert_eq!(*name, "run");
        plan(flags).unwrap_or_else(|e| panic!("{e}"));
        plan(&[flags, &["--ramp", "10,,5"]].concat()).expect_err("no ramp");
    }
}

#[test]
fn the_dockerfile_is_sound() {
    let Some(python) = python() else {
        skip!("python3");
    };
    let faults = [
        ("rust:1.95-bookworm", "rust"),
        ("USER 65532:65532", "USER root"),
        ("[\"/muster\"]", "/muster"),
    ];
    judge(&file("prober/Dockerfile"), &faults, |path| {
        let mut command = Command::new(python.with_file_name("hadolint"));
        command.arg(path);
        command
    });
}

/// Every file that the code reads when it is built, from the root.
fn included(dir: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            included(&path, found);
        } else {
            let text = fs::read_to_string(&path).expect("UTF-8");
            for rest in text.split("include_").skip(1) {
                let (_, rest) = rest.split_once("!(\"").expect("a macro's argument");
                let (name, _) = rest.split_once('"').expect("a file's name");
                let file = dir.join(name).canonicalize().expect("the file is there");
                let root = root().canonicalize().expect("the root is there");
                found.insert(file.strip_prefix(root).expect("it is ours").to_owned());
            }
        }
    }
}

/// Those of `inputs` that lie in none of `places`.
fn left_out<'a>(inputs: &'a BTreeSet<PathBuf>, places: &[&str]) -> Vec<&'a Path> {
    let within = |input: &Path| places.iter().any(|place| input.starts_with(place));
    let inputs = inputs.iter().map(PathBuf::as_path);
    inputs.filter(|input| !within(input)).collect()
}

#[test]
fn the_image_is_built_from_all_that_the_build_reads() {
    let fixed = ["Cargo.toml", "Cargo.lock", "src/main.rs"];
    let mut inputs: BTreeSet<PathBuf> = fixed.iter().map(PathBuf::from).collect();
    included(&root().join("src"), &mut inputs);
    assert!(inputs.len() > fixed.len(), "the clips are read");

    let dockerfile = read("prober/Dockerfile");
    let copied: Vec<&str> = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|sources| !sources.starts_with("--from"))
        .flat_map(|line| line.split(' ').rev().skip(1))
        .collect();
    assert_eq!(left_out(&inputs, &copied), Vec::<&Path>::new(), "COPY");

    let ignore = read("prober/Dockerfile.dockerignore");
    let sent: Vec<&str> = ignore.lines().filter_map(|l| l.strip_prefix('!')).collect();
    assert_eq!(left_out(&inputs, &sent), Vec::<&Path>::new(), "context");

    let without_clips: Vec<&str> = copied.into_iter().filter(|c| *c != "assets").collect();
    assert!(!left_out(&inputs, &without_clips).is_empty());
}

#[test]
fn fly_runs_a_prober_once() {
    let Some(python) = python() else {
        skip!("python3");
    };
    let faults = [
        ("policy = \"never\"", "policy = \"always\""),
        ("[[restart]]", "[restart]"),
        ("[env]\n", "[env]\nAWS_SECRET_ACCESS_KEY = \"x\"\n"),
        ("memory", "memmory"),
    ];
    judge(&file("prober/fly.toml"), &faults, |path| {
        schema(&python, "fly.schema.json", path)
    });
}

#[test]
fn cloud_init_starts_a_prober_on_a_vm() {
    let Some(python) = python() else {
        skip!("python3");
    };
    let faults = [
        ("permissions: \"0600\"", "permissions: 0600"),
        ("runcmd:\n  - |", "runcmd: |"),
        ("write_files:", "write_file:"),
    ];
    judge(&file("vm/cloud-init.yaml"), &faults, |path| {
        schema(&python, "cloud-config.schema.json", path)
    });
    // The schema can't see the first line, without which cloud-init takes the file for nothing.
    assert!(read("vm/cloud-init.yaml").starts_with("#cloud-config\n"));

    let config = document(&python, "vm/cloud-init.yaml");
    let script = config["runcmd"][0].as_str().expect("a script");
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let saved = dir.path().join("runcmd");
    fs::write(&saved, script).expect("the script can be written");
    judge(&saved, &[("--check", "--check $3")], |path| {
        let mut command = Command::new(python.with_file_name("shellcheck"));
        command.args(["--shell", "sh"]).arg(path);
        command
    });
    let started = replaced(script, "\\\n", "");
    assert!(started.trim_end().ends_with("/usr/local/bin/muster probe"));
}
