//! The helper of `functions/build` that zips, judged by Python's own reader of zip files.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::fixtures::checker::run;
use crate::fixtures::skip::skip;
use crate::fixtures::tools;

/// Prints an archive's entries: name, permissions, date, whether deflated, and content.
const READ: &str = "\
import sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
assert archive.testzip() is None
for e in archive.infolist():
    deflated = e.compress_type == zipfile.ZIP_DEFLATED
    print(e.filename, oct(e.external_attr >> 16), e.create_system, e.date_time[:3], deflated)
    print(archive.read(e).decode(), end='')
";

#[test]
fn a_zip_file_has_the_program_and_nothing_else() {
    let Some(python) = tools::program(&["python3"]) else {
        skip!("python3");
    };
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let [program, zip, again] = ["program", "one.zip", "two.zip"].map(|n| dir.path().join(n));
    let content: String = (0..5_000).map(|i| format!("line {i}\n")).collect();
    fs::write(&program, &content).expect("a file can be written");
    let helper = || {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("functions/zip/Cargo.toml");
        let mut cargo = Command::new(tools::program(&["cargo"]).expect("it builds this test"));
        cargo.args(["run", "--quiet", "--locked", "--manifest-path"]);
        cargo.arg(manifest).args(["--target-dir"]);
        cargo.arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("zip"));
        cargo.arg("--");
        cargo
    };
    for zip in [&zip, &again] {
        run(helper().args([&program, zip])).unwrap_or_else(|e| panic!("{e}"));
    }
    let bytes = |path: &Path| fs::read(path).expect("it was written");
    assert!(
        bytes(&zip) == bytes(&again),
        "the same program, another file"
    );
    assert!(bytes(&zip).len() < content.len() / 3);

    let read = |zip: &Path| run(Command::new(&python).args(["-c", READ]).arg(zip));
    let found = read(&zip).unwrap_or_else(|e| panic!("{e}"));
    let (entry, found) = found.split_once('\n').expect("an entry");
    assert_eq!(entry, "bootstrap 0o100755 3 (2000, 1, 1) True");
    assert!(found == content, "another program");

    // What is broken is found out; what is missing is said.
    let mut broken = bytes(&zip);
    broken[100] ^= 1;
    fs::write(&again, broken).expect("a file can be written");
    read(&again).expect_err("it is broken");
    let missing = [dir.path().join("nothing"), zip];
    run(helper().args(missing)).expect_err("there is no program");
}
