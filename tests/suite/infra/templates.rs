//! What no template may do: open something to the world, keep logs for ever, retry load.

use std::process::Command;

use serde_json::{Value, json};

use super::{file, own, printed, python};
use crate::fixtures::skip::skip;

/// Every resource type that is in use. A gateway or a function's URL would be a way in.
const TYPES: [&str; 10] = [
    "AWS::IAM::Policy",
    "AWS::IAM::Role",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::Function",
    "AWS::Lambda::Permission",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::S3::BucketPolicy",
    "AWS::Scheduler::Schedule",
    "AWS::Scheduler::ScheduleGroup",
];

/// A value's elements, or the value itself: IAM takes one for a list of one.
fn each(value: &Value) -> Vec<&Value> {
    value
        .as_array()
        .map_or_else(|| vec![value], |list| list.iter().collect())
}

/// The statements of every policy in `value`.
fn statements(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, inner)| match name.as_str() {
                "Statement" => each(inner),
                _ => statements(inner),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(statements).collect(),
        _ => Vec::new(),
    }
}

/// Everything in `template` that must not be.
fn faults(template: &Value) -> Vec<String> {
    let resources = template["Resources"].as_object().expect("resources");
    let of = |kind: &str| -> Vec<(&String, &Value)> {
        let all = resources.iter().filter(|(_, r)| r["Type"] == kind);
        all.map(|(name, r)| (name, &r["Properties"])).collect()
    };
    let mut faults = Vec::new();
    for (name, parameter) in template["Parameters"].as_object().expect("parameters") {
        if parameter["Description"].as_str().is_none_or(str::is_empty) {
            faults.push(format!("{name} is not explained"));
        }
    }
    for (name, resource) in resources {
        if !TYPES.iter().any(|known| resource["Type"] == *known) {
            faults.push(format!("{name} is a {}", resource["Type"]));
        }
        for statement in statements(resource) {
            let allowed = statement["Effect"] != "Deny";
            if allowed && each(&statement["Principal"]).contains(&&json!("*")) {
                faults.push(format!("{name} is open to everyone"));
            }
            let wide = |value: &Value| each(value).iter().any(|one| **one == json!("*"));
            if allowed && (wide(&statement["Resource"]) || wide(&statement["Action"])) {
                faults.push(format!("{name} allows more than it names"));
            }
        }
    }
    for (name, bucket) in of("AWS::S3::Bucket") {
        let public = &bucket["PublicAccessBlockConfiguration"];
        let closed = json!({
            "BlockPublicAcls": true, "BlockPublicPolicy": true,
            "IgnorePublicAcls": true, "RestrictPublicBuckets": true,
        });
        if *public != closed || bucket.get("BucketEncryption").is_none() {
            faults.push(format!("{name} is not private and encrypted"));
        }
        let tls = of("AWS::S3::BucketPolicy").into_iter().any(|(_, policy)| {
            policy["Bucket"] == json!({"Ref": name})
                && statements(policy).iter().any(|statement| {
                    statement["Effect"] == "Deny"
                        && statement["Action"] == "s3:*"
                        && statement["Condition"]
                            == json!({"Bool": {"aws:SecureTransport": "false"}})
                })
        });
        if !tls {
            faults.push(format!("{name} may be reached without TLS"));
        }
    }
    for (_, bucket) in of("AWS::S3::Bucket") {
        let Some(told) = bucket.get("NotificationConfiguration") else {
            continue;
        };
        let rules = each(&bucket["LifecycleConfiguration"]["Rules"]);
        let ends =
            |rule: &&Value| rule["Prefix"] == "runs/" && rule.get("ExpirationInDays").is_some();
        if !rules.iter().any(ends) {
            faults.push("runs are kept for ever".to_owned());
        }
        let report = json!([{"Name": "prefix", "Value": "runs/"}, {"Name": "suffix", "Value": ".report.json"}]);
        let [event] = &each(&told["LambdaConfigurations"])[..] else {
            faults.push("there is more than one event".to_owned());
            continue;
        };
        if event["Event"] != "s3:ObjectCreated:*"
            || event["Function"] != json!({"Fn::GetAtt": ["Finalizer", "Arn"]})
            || event["Filter"]["S3Key"]["Rules"] != report
        {
            faults.push("reports are not told to the finalizer".to_owned());
        }
    }
    for (name, permission) in of("AWS::Lambda::Permission") {
        if permission.get("SourceAccount").is_none() || permission.get("SourceArn").is_none() {
            faults.push(format!("{name} admits other accounts"));
        }
    }
    for (name, function) in of("AWS::Lambda::Function") {
        if function.get("ReservedConcurrentExecutions").is_none() {
            faults.push(format!("{name} has no limit on its number"));
        }
        let log = &function["LoggingConfig"]["LogGroup"]["Ref"];
        let group = log.as_str().and_then(|log| resources.get(log));
        if group.is_none_or(|group| group["Properties"].get("RetentionInDays").is_none()) {
            faults.push(format!("{name} keeps its log for ever"));
        }
        // The finalizer puts on no load.
        let retries = if name == "Finalizer" { 2 } else { 0 };
        let told = of("AWS::Lambda::EventInvokeConfig")
            .into_iter()
            .any(|(_, c)| {
                c["FunctionName"] == json!({"Ref": name}) && c["MaximumRetryAttempts"] == retries
            });
        if !told {
            faults.push(format!("{name} is retried other than {retries} times"));
        }
    }
    faults
}

#[test]
fn templates_open_nothing_to_the_world() {
    let Some(python) = python() else {
        skip!("python3");
    };
    let script = own("template.py");
    let load = |name| printed(Command::new(&python).arg(&script).arg(file(name)));
    for name in ["code.yaml", "core.yaml", "prober.yaml"] {
        assert_eq!(faults(&load(name)), Vec::<String>::new(), "{name}");
    }

    let statement = "Properties/Policies/0/PolicyDocument/Statement/0";
    for (name, at, value, fault) in [
        (
            "code.yaml",
            "Bucket/Properties/PublicAccessBlockConfiguration/BlockPublicPolicy".into(),
            json!(false),
            "private",
        ),
        (
            "code.yaml",
            "BucketPolicy/Properties/PolicyDocument/Statement/0/Effect".into(),
            json!("Allow"),
            "everyone",
        ),
        (
            "core.yaml",
            "BucketPolicy/Properties/PolicyDocument/Statement/0/Condition".into(),
            json!({}),
            "TLS",
        ),
        (
            "core.yaml",
            "FinalizerPermission/Properties".into(),
            json!({}),
            "other accounts",
        ),
        (
            "core.yaml",
            "Bucket/Properties/LifecycleConfiguration/Rules/0/Prefix".into(),
            json!("run/"),
            "for ever",
        ),
        (
            "core.yaml",
            "Bucket/Properties/NotificationConfiguration/LambdaConfigurations/0/Filter/S3Key/Rules/1/Value".into(),
            json!(".json"),
            "not told",
        ),
        (
            "core.yaml",
            "ScheduleGroup/Type".into(),
            json!("AWS::Lambda::Url"),
            "is a ",
        ),
        (
            "prober.yaml",
            format!("Role/{statement}/Resource"),
            json!("*"),
            "more than it names",
        ),
        (
            "prober.yaml",
            format!("Role/{statement}/Action"),
            json!(["*"]),
            "more than it names",
        ),
        (
            "prober.yaml",
            "Invoke/Properties/MaximumRetryAttempts".into(),
            json!(2),
            "retried",
        ),
        (
            "prober.yaml",
            "Log/Properties".into(),
            json!({}),
            "for ever",
        ),
        (
            "prober.yaml",
            "Prober/Properties/ReservedConcurrentExecutions".into(),
            Value::Null,
            "limit",
        ),
    ] as [(&str, String, Value, &str); 12]
    {
        let mut template = load(name);
        let pointer = format!("/Resources/{at}");
        let found = template.pointer_mut(&pointer);
        *found.unwrap_or_else(|| panic!("{name} has no {at}")) = value;
        if fault == "limit" {
            let prober = template
                .pointer_mut("/Resources/Prober/Properties")
                .expect("there");
            prober
                .as_object_mut()
                .expect("an object")
                .remove("ReservedConcurrentExecutions");
        }
        let faults = faults(&template);
        assert!(faults.iter().any(|f| f.contains(fault)), "{at}: {faults:?}");
    }
    let mut template = load("prober.yaml");
    template["Parameters"]["MemoryMiB"]["Description"] = Value::Null;
    assert_eq!(faults(&template), ["MemoryMiB is not explained"]);
}
