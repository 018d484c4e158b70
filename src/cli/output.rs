//! Results, on standard output or in a file.

use std::io::{self, Write};
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

/// Prints a combined report, writes it to a file if asked to, and says how to exit: as the run
/// that it is of.
pub fn report(combined: &Combined, args: &OutputArgs) -> Result<Exit, Error> {
    if let Some(path) = &args.json {
        write_file(path, &render::json(combined))?;
    }
    print(&match args.format {
        Format::Text => render::text(combined),
        Format::Json => render::json(combined),
    })?;
    Ok(match combined.verdict {
        _ if combined.aborted.is_some() => Exit::Aborted,
        RunVerdict::Passed => Exit::Passed,
        RunVerdict::Failed => Exit::ThresholdFailed,
        RunVerdict::Incomplete => Exit::Incomplete,
    })
}

/// Writes `text` to `path`: whoever reads it sees all of it or what was there before.
pub fn write_file(path: &Path, text: &str) -> Result<(), Error> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    tempfile::NamedTempFile::new_in(dir)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|e| e.error)
        })
        .map(drop)
        .map_err(|e| {
            let text = format!("cannot write {}: {e}", path.display());
            Error::new(Exit::BadConfiguration, text)
        })
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
    fn a_folder_that_is_not_there_is_named() {
        let error = write_file(Path::new("/nonexistent/r.json"), "").unwrap_err();
        assert!(error.to_string().contains("/nonexistent/r.json"), "{error}");
        assert_eq!(error.exit(), Exit::BadConfiguration);
    }
}
