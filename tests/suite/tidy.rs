//! The repository's own rules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use muster::exit::Exit;

/// A file with more lines has more than one idea.
const LINES_MAX: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every Rust file below `dir`, by its path from the root, with its text.
fn rust_files(dir: &str) -> Vec<(String, String)> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(dir), &mut found);
    found.sort();
    assert!(!found.is_empty(), "no Rust files below {dir}");
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("UTF-8");
            let name = path.strip_prefix(root()).expect("below the root");
            (name.display().to_string(), text)
        })
        .collect()
}

fn all_rust_files() -> Vec<(String, String)> {
    [
        rust_files("src"),
        rust_files("functions"),
        rust_files("tests"),
    ]
    .concat()
}

/// Fails with all of `faults` at once.
fn none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut faults = Vec::new();
    for (name, text) in all_rust_files() {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            faults.push(format!("{name}: {lines} lines, at most {LINES_MAX}"));
        }
        if !text.starts_with("//! ") {
            faults.push(format!(
                "{name}: the first line says what the file is: //! …"
            ));
        }
    }
    if read("src/main.rs").lines().count() >= 30 {
        faults.push("src/main.rs: parses, runs, exits; under 30 lines".into());
    }
    none(faults);
}

#[test]
fn nothing_is_called_by_a_name_that_says_nothing() {
    let faults = all_rust_files()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| {
            name.split(['/', '.'])
                .any(|part| matches!(part, "util" | "utils" | "common" | "helpers" | "misc"))
        })
        .collect();
    none(faults);
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    // Spelled so that this file does not find itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("to", "do!("),
    ];
    let mut faults = Vec::new();
    for (name, text) in all_rust_files() {
        for (line, i) in text.lines().zip(1..) {
            if marks.iter().any(|mark| line.contains(mark)) {
                faults.push(format!("{name}:{i}: {}", line.trim()));
            }
        }
    }
    none(faults);
}

#[test]
fn the_map_names_every_module() {
    let map = read("ARCHITECTURE.md");
    let docs = read("src/lib.rs");
    let mut faults = Vec::new();
    for line in docs.lines() {
        let Some(module) = line
            .strip_prefix("pub mod ")
            .and_then(|l| l.strip_suffix(';'))
        else {
            continue;
        };
        if !docs.contains(&format!("[`{module}`]")) {
            faults.push(format!("src/lib.rs does not say what `{module}` is"));
        }
        let (folder, file) = (format!("src/{module}/"), format!("src/{module}.rs"));
        if !map.contains(&folder) && !map.contains(&file) {
            faults.push(format!("ARCHITECTURE.md does not name {folder}"));
        }
    }
    for folder in ["functions/", "deploy/", "infra/", "tests/"] {
        if !map.contains(folder) || !root().join(folder).is_dir() {
            faults.push(format!(
                "ARCHITECTURE.md and the tree differ about {folder}"
            ));
        }
    }
    none(faults);
}

#[test]
fn the_readme_knows_every_flag_and_exit_code() {
    let readme = read("README.md");
    let mut faults = Vec::new();
    let help = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_muster"))
            .args(args)
            .output()
            .expect("muster runs");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let commands: Vec<String> = help(&["--help"])
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|command| command != "help")
        .collect();
    assert!(!commands.is_empty());
    for command in commands {
        if !readme.contains(&format!("`muster {command}")) {
            faults.push(format!("README.md does not name `muster {command}`"));
        }
        for flag in help(&[&command, "--help"])
            .split_whitespace()
            .filter(|word| word.starts_with("--") && word.len() > 2)
        {
            let flag = flag.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            if !readme.contains(flag) && !matches!(flag, "--help" | "--version") {
                faults.push(format!(
                    "README.md does not name {flag} of muster {command}"
                ));
            }
        }
    }
    for exit in Exit::ALL {
        if !readme.contains(&format!("\n| {} |", exit.code())) {
            faults.push(format!(
                "README.md has no row for exit code {}",
                exit.code()
            ));
        }
    }
    faults.dedup();
    none(faults);
}

#[test]
fn cargo_knows_which_program_to_run() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(root())
        .output()
        .expect("cargo");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        metadata["packages"][0]["default_run"], "muster",
        "the README's `cargo run` has several programs to choose from"
    );
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    let mut faults = Vec::new();
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "functions/README.md",
        "deploy/README.md",
        "infra/README.md",
    ] {
        let text = read(document);
        let folder = Path::new(document).parent().expect("a file");
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            if !root().join(folder).join(path).exists() {
                faults.push(format!("{document}: {target} leads nowhere"));
            }
        }
    }
    none(faults);
}

#[test]
fn the_changelog_has_a_place_for_the_next_change() {
    assert!(read("CHANGELOG.md").contains("\n## Unreleased\n"));
}
