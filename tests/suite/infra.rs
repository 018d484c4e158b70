//! muster's functions on AWS, as far as that can be told without an account: templates by
//! cfn-lint, stacks in moto, the roles' rights by a real MinIO.

mod rights;
mod script;
mod templates;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::fixtures::checker::{judge, run};
use crate::fixtures::skip::skip;
use crate::fixtures::tools;

/// A file of `infra/aws/`.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("infra/aws")
        .join(name)
}

/// A file of this test's own.
fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/suite/infra")
        .join(name)
}

/// The Python of AWS's tools; their programs lie beside it.
fn python() -> Option<PathBuf> {
    tools::python(&own("requirements.txt"))
}

/// What one of this test's own scripts prints.
fn printed(script: &mut Command) -> Value {
    let text = run(script).unwrap_or_else(|e| panic!("{e}"));
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn cfn_lint_accepts_the_templates() {
    let Some(python) = python() else {
        skip!("python3");
    };
    let runtime = ("provided.al2023", "provided.al2099");
    let reference = ("!Ref Bucket\n", "!Ref Bukket\n");
    let action = ("s3:GetObject", "s3:ReadObject");
    let logs = ("logs:PutLogEvents", "logs:WriteLogEvents");
    for (name, faults) in [
        ("code.yaml", &[reference][..]),
        ("core.yaml", &[runtime, reference, action]),
        ("prober.yaml", &[runtime, logs, ("Timeout:", "TimeOut:")]),
    ] {
        judge(&file(name), faults, |path| {
            let mut command = Command::new(python.with_file_name("cfn-lint"));
            command.arg(path);
            command
        });
    }
}

#[test]
fn shellcheck_accepts_the_scripts() {
    let Some(python) = python() else {
        skip!("python3");
    };
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("functions/build");
    for (script, faults) in [
        (
            file("muster-aws"),
            [("\"${@:4}\"", "${@:4}"), ("\"$home\"", "$home")],
        ),
        (build, [("\"${flags[@]}\"", "${flags[@]}"), ("esac", "fi")]),
    ] {
        judge(&script, &faults, |path| {
            let mut command = Command::new(python.with_file_name("shellcheck"));
            command.arg(path);
            command
        });
    }
}
