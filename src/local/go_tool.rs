//! A server that is built from its Go module, once, into the cache.

#![expect(
    clippy::disallowed_methods,
    reason = "waiting for another process's build is this edge's work"
)]

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::cache::{is_executable, on_path};

/// How many of Go's last lines explain a build that failed.
const TAIL_LINES: usize = 15;

/// How often a build says how far it is, in packages.
const PACKAGES_PER_LINE: usize = 100;

/// A program of a Go module, at one version.
#[derive(Clone, Copy, Debug)]
pub struct GoTool {
    /// What the binary is called.
    pub name: &'static str,
    /// The main package, as `go build` takes it.
    pub package: &'static str,
    /// The module's version (`v1.11.0`).
    pub version: &'static str,
}

/// Why a tool can't be had.
#[derive(Debug, thiserror::Error)]
pub enum GoToolError {
    /// There is nothing to build with.
    #[error(
        "{name} is not in {}, and there is no Go on PATH to build {version} with; install Go from your package manager",
        path.display()
    )]
    NoGo {
        /// The tool.
        name: &'static str,
        /// Its pinned version.
        version: &'static str,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The cache can't be written.
    #[error("cannot write {}: {source}; set MUSTER_CACHE_DIR to a directory that can be written", path.display())]
    Cache {
        /// What was being written.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Go said no.
    #[error("building {name} {version} failed at `{step}`:\n{output}")]
    Build {
        /// The tool.
        name: &'static str,
        /// Its pinned version.
        version: &'static str,
        /// The command that failed.
        step: String,
        /// Go's last lines.
        output: String,
    },
}

impl GoTool {
    /// Where this tool is kept below `cache`.
    pub fn path(&self, cache: &Path) -> PathBuf {
        cache.join(self.name).join(self.version).join(self.name)
    }

    /// The tool's binary below `cache`, built first if it isn't there. Processes that ask at
    /// the same time build it once. `progress` gets a line every so often.
    pub async fn ensure(
        &self,
        cache: &Path,
        mut progress: impl FnMut(String),
    ) -> Result<PathBuf, GoToolError> {
        let binary = self.path(cache);
        if is_executable(&binary) {
            return Ok(binary);
        }
        let go = on_path("go", std::env::var_os("PATH").as_ref()).ok_or(GoToolError::NoGo {
            name: self.name,
            version: self.version,
            path: binary.clone(),
        })?;
        let dir = cache.join(self.name).join(self.version);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| GoToolError::Cache { path, source }
        };
        std::fs::create_dir_all(&dir).map_err(failed(&dir))?;
        let lock_path = dir.join("lock");
        let _lock = self
            .lock(&lock_path, &mut progress)
            .await
            .map_err(failed(&lock_path))?;
        if is_executable(&binary) {
            return Ok(binary);
        }

        progress(format!(
            "building {} {} from its Go module; this takes some minutes, once",
            self.name, self.version
        ));
        let work = tempfile::Builder::new()
            .prefix("build-")
            .tempdir_in(&dir)
            .map_err(failed(&dir))?;
        let built = work.path().join(self.name);
        let at = format!("{}@{}", self.package, self.version);
        self.go(&go, work.path(), &["mod", "init", "build"], &mut progress)
            .await?;
        self.go(&go, work.path(), &["get", "-tool", &at], &mut progress)
            .await?;
        let build = ["build", "-v", "-o", self.name, self.package];
        self.go(&go, work.path(), &build, &mut progress).await?;
        std::fs::rename(&built, &binary).map_err(failed(&binary))?;
        progress(format!("built {}", binary.display()));
        Ok(binary)
    }

    /// Holds the lock until the file is dropped.
    async fn lock(&self, path: &Path, progress: &mut impl FnMut(String)) -> io::Result<File> {
        let file = File::create(path)?;
        let mut said = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) => {
                    if !said {
                        progress(format!(
                            "waiting for another process to build {}",
                            self.name
                        ));
                        said = true;
                    }
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    /// Runs one go command in `dir`.
    async fn go(
        &self,
        go: &Path,
        dir: &Path,
        args: &[&str],
        progress: &mut impl FnMut(String),
    ) -> Result<(), GoToolError> {
        let failed = |output: String| GoToolError::Build {
            name: self.name,
            version: self.version,
            step: format!("go {}", args.join(" ")),
            output,
        };
        let mut command = Command::new(go);
        command
            .args(args)
            .current_dir(dir)
            // A workspace or vendoring of the caller's must not change what is built.
            .env("GOWORK", "off")
            .env("GOFLAGS", "-mod=mod")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
        let mut tail: Vec<String> = Vec::new();
        let mut packages = 0usize;
        if let Some(err) = child.stderr.take() {
            let mut lines = BufReader::new(err).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                packages += 1;
                if packages.is_multiple_of(PACKAGES_PER_LINE) {
                    progress(format!("{}: {packages} packages so far", self.name));
                }
                if tail.len() == TAIL_LINES {
                    tail.remove(0);
                }
                tail.push(line);
            }
        }
        let status = child.wait().await.map_err(|e| failed(e.to_string()))?;
        if status.success() {
            Ok(())
        } else {
            Err(failed(tail.join("\n")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOL: GoTool = GoTool {
        name: "tool",
        package: "example.invalid/tool",
        version: "v1.0.0",
    };

    #[tokio::test]
    async fn what_is_there_is_not_built() {
        use std::os::unix::fs::PermissionsExt;
        let cache = tempfile::tempdir().unwrap();
        let path = TOOL.path(cache.path());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        let mut lines = Vec::new();
        let found = TOOL.ensure(cache.path(), |l| lines.push(l)).await.unwrap();
        assert_eq!(found, path);
        assert_eq!(lines, Vec::<String>::new());
    }
}
