//! Results, on standard output or in a file.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::args::{Format, OutputArgs};
use crate::error::Error;
use crate::exit::Exit;
use crate::render;
use crate::report::{Combined, RunVerdict};

/// Prints a result. A reader that has closed the pipe has read what it wanted.
pub fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| {
            if text.ends_with('\n') {
                Ok(())
            } else {
                out.write_all(b"\n")
            }
        })
        .and_then(|()| out.flush());
    match written {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            let text = format!("cannot write the result to standard output: {e}");
            Err(Error::new(Exit::Internal, text))
        }
        _ => Ok(()),
    }
}

/// Fails if `--json` names what can't be written: to be called before anything starts.
pub fn check_writable(args: &OutputArgs) -> Result<(), Error> {
    check_path(args.json.as_deref())
}

/// As [`check_writable`], for a command that has no other format.
pub fn check_path(json: Option<&Path>) -> Result<(), Error> {
    let Some(path) = json else {
        return Ok(());
    };
    check_file("--json", path)
}

/// Fails if the file that a flag names can't be written.
pub fn check_file(flag: &str, path: &Path) -> Result<(), Error> {
    let tried = if path.is_dir() {
        Err(io::ErrorKind::IsADirectory.into())
    } else {
        let tried = tempfile::NamedTempFile::new_in(folder(path)).map(drop);
        // Without the name that was tried.
        tried.map_err(|e| e.kind().into())
    };
    tried.map_err(|e: io::Error| {
        let text = format!(
            "cannot write {flag} {}: {e}; name a file in a folder that exists and can be written",
            path.display()
        );
        Error::new(Exit::BadConfiguration, text)
    })
}

/// Prints a combined report, writes it to a file if asked to, and says how to exit: as the run
/// that it is of.
pub fn report(combined: &Combined, args: &OutputArgs) -> Result<Exit, Error> {
    // First what can't be lost.
    print(&match args.format {
        Format::Text => render::text(combined),
        Format::Json => render::json(combined),
    })?;
    if let Some(path) = &args.json {
        keep(path, &render::json(combined))?;
    }
    Ok(match combined.verdict {
        _ if combined.aborted.is_some() => Exit::Aborted,
        RunVerdict::Passed => Exit::Passed,
        RunVerdict::Failed => Exit::ThresholdFailed,
        RunVerdict::Incomplete => Exit::Incomplete,
    })
}

/// Writes a result that was printed to `path` as well.
pub fn keep(path: &Path, text: &str) -> Result<(), Error> {
    write_file(path, text).map_err(|e| {
        let text = format!("the result is printed, but not in {}: {e}", path.display());
        Error::new(Exit::Internal, text)
    })
}

/// Writes `text` to `path`, as its owner's alone: whoever reads it sees all of it or what was there
/// before.
pub fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    write(path, text, 0o600)
}

/// The same of what isn't secret: who may read it, the umask says.
fn write_file(path: &Path, text: &str) -> io::Result<()> {
    write(path, text, 0o666)
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder(path))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// The folder that `path` is in.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        write_file(&path, "first").unwrap();
        write_file(&path, "second").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_result_is_for_whom_the_umask_says_and_a_secret_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |name: &str| {
            let metadata = std::fs::metadata(dir.path().join(name)).unwrap();
            metadata.permissions().mode() & 0o777
        };
        std::fs::write(dir.path().join("plain"), "").unwrap();
        write_file(&dir.path().join("result"), "").unwrap();
        write_secret(&dir.path().join("secret"), "").unwrap();
        assert_eq!(mode("result"), mode("plain"));
        assert_eq!(mode("secret"), 0o600);
    }

    #[test]
    fn what_can_not_be_written_is_named_beforehand() {
        let dir = tempfile::tempdir().unwrap();
        let to = |path: &Path| {
            check_writable(&OutputArgs {
                format: Format::Text,
                json: Some(path.to_owned()),
            })
        };
        to(&dir.path().join("report.json")).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        for wrong in [dir.path(), Path::new("/nonexistent/report.json")] {
            let error = to(wrong).unwrap_err();
            let path = wrong.display().to_string();
            assert!(error.to_string().contains(&path), "{error}");
            assert_eq!(error.exit(), Exit::BadConfiguration);
        }
    }
}
