//! What the repository consists of: its root, its files, and what `cargo metadata` says of it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The platforms Berth is built for; dependencies of other systems are never compiled.
const PLATFORMS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/// Directories, by name, that hold nothing anybody wrote.
const SKIPPED_DIRECTORIES: [&str; 3] = ["target", ".git", "__pycache__"];

/// The directory of the workspace's `Cargo.toml`.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// The `cargo` that runs us, so that one toolchain does everything.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .env("CARGO_TERM_COLOR", "never")
        .env("NO_COLOR", "1");
    command.stdin(Stdio::null());
    command
}

/// This program, to be started once more. A build may have put another in its place since it
/// began, which the kernel tells behind the path (`proc(5)`); that one is meant then.
pub fn own_program() -> Result<PathBuf> {
    let path = std::env::current_exe().context("finding this program")?;
    Ok(undeleted(path))
}

fn undeleted(path: PathBuf) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    match bytes.strip_suffix(b" (deleted)") {
        Some(there) if !path.exists() => PathBuf::from(OsStr::from_bytes(there)),
        _ => path,
    }
}

/// One file of the repository; `path` is relative to the root, with `/` between its parts.
pub struct SourceFile {
    pub path: String,
    pub text: String,
}

/// Every text file below `root`, in order of path. Files that are not UTF-8 are no text.
pub fn files(root: &Path) -> Result<Vec<SourceFile>> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(directory) = pending.pop() {
        let entries = std::fs::read_dir(&directory)
            .with_context(|| format!("listing {}", directory.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("listing {}", directory.display()))?;
            let name = entry.file_name();
            let kind = entry
                .file_type()
                .with_context(|| format!("looking at {}", entry.path().display()))?;
            if kind.is_dir() {
                if !SKIPPED_DIRECTORIES.iter().any(|skipped| name == *skipped) {
                    pending.push(entry.path());
                }
            } else if kind.is_file() {
                let bytes = std::fs::read(entry.path())
                    .with_context(|| format!("reading {}", entry.path().display()))?;
                if let Ok(text) = String::from_utf8(bytes) {
                    let path = entry.path();
                    let path = path
                        .strip_prefix(root)
                        .unwrap_or(&path)
                        .to_string_lossy()
                        .into_owned();
                    found.push(SourceFile { path, text });
                }
            }
        }
    }
    found.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(found)
}

/// The parsed answer of `cargo metadata --locked`: a lock file that is not up to date is refused.
pub fn metadata(root: &Path) -> Result<Value> {
    let mut command = cargo();
    command
        .args(["metadata", "--locked", "--format-version", "1"])
        .current_dir(root)
        .stderr(Stdio::piped());
    for platform in PLATFORMS {
        command.args(["--filter-platform", platform]);
    }
    let output = command.output().context("starting `cargo metadata`")?;
    if !output.status.success() {
        bail!(
            "`cargo metadata --locked` failed:\n{}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    serde_json::from_slice(&output.stdout).context("reading what `cargo metadata` printed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_built_anew_is_the_one_at_its_path() {
        let told = PathBuf::from("/nowhere/xtask (deleted)");
        assert_eq!(undeleted(told), Path::new("/nowhere/xtask"));
        let plain = PathBuf::from("/nowhere/xtask");
        assert_eq!(undeleted(plain.clone()), plain);
    }
}
