//! Where built tools are kept between checkouts.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// muster's cache directory: `$MUSTER_CACHE_DIR`, else `$XDG_CACHE_HOME/muster`, else
/// `~/.cache/muster`. `None` when none of the three variables is of use.
///
/// `env` reads an environment variable, as [`std::env::var_os`] does.
pub fn cache_dir(env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name| env(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    path("MUSTER_CACHE_DIR")
        // Relative values are ignored, as the XDG base directory specification asks.
        .or_else(|| {
            path("XDG_CACHE_HOME")
                .filter(|p| p.is_absolute())
                .map(|p| p.join("muster"))
        })
        .or_else(|| path("HOME").map(|p| p.join(".cache").join("muster")))
}

/// The first executable called `name` in the directories of a `PATH` value.
pub fn on_path(name: &str, path: Option<&OsString>) -> Option<PathBuf> {
    std::env::split_paths(path?)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

/// Whether `file` is a regular file that somebody may execute.
pub fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(vars: &[(&str, &str)]) -> Option<String> {
        let env = |name: &str| {
            vars.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| OsString::from(v))
        };
        cache_dir(env).map(|p| p.display().to_string())
    }

    #[test]
    fn the_most_specific_variable_wins() {
        let home = ("HOME", "/home/ada");
        let xdg = ("XDG_CACHE_HOME", "/var/cache/ada");
        for (vars, expected) in [
            (&[("MUSTER_CACHE_DIR", "/c"), xdg, home][..], Some("/c")),
            (&[xdg, home], Some("/var/cache/ada/muster")),
            (
                &[("XDG_CACHE_HOME", "relative"), home],
                Some("/home/ada/.cache/muster"),
            ),
            (
                &[("MUSTER_CACHE_DIR", ""), home],
                Some("/home/ada/.cache/muster"),
            ),
            (&[], None),
        ] {
            assert_eq!(dir(vars).as_deref(), expected, "{vars:?}");
        }
    }

    #[test]
    fn only_executables_are_found_on_the_path() {
        let path = OsString::from("/nonexistent:/bin:relative");
        assert!(on_path("sh", Some(&path)).is_some());
        assert!(on_path("no-such-tool", Some(&path)).is_none());
        assert!(on_path("sh", None).is_none());
    }
}
