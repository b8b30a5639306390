//! The tests of control groups once more on version 2, in a virtual machine, where this machine
//! has version 1.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::counts::{self, Counts};
use crate::workspace;

/// The test program that is run there.
const TEST: &str = "control_groups";
/// Seconds after which the machine is taken down: without the processor's help it is a hundred
/// times slower than this one.
const TIMEOUT: &str = "420";
/// What `dev/run-in-vm` ends with when there is no machine to run in.
const NO_MACHINE: i32 = 125;

/// Runs them. A machine that cannot be had is "not run", and said; a test that began and did not
/// end is a failure.
pub fn run(root: &Path) -> Result<Counts> {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        println!("this machine has version 2: all tests ran on it");
        return Ok(Counts::default());
    }
    let test = build(root)?;
    // Programs lie beside the tests' directory.
    let programs =
        (test.parent().and_then(Path::parent)).context("the test lies in no directory")?;
    let mut command = Command::new(root.join("dev/run-in-vm"));
    // In the machine only a memory file system takes an overlay's upper directory.
    command
        .args(["--engine", "qemu", "--cgroup", "v2", "--timeout", TIMEOUT])
        .args(["--env", "PATH", "--env", "BERTH_TEST_ROOT=/tmp", "--share"])
        .arg(programs)
        .arg("--")
        .arg(&test)
        .current_dir(root)
        .stdin(Stdio::null());
    let output = command
        .output()
        .with_context(|| format!("starting {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}{}", String::from_utf8_lossy(&output.stderr));
    if let Some(found) = counts::total(&said, counts::of_libtest_line) {
        let consistent = output.status.success() == (found.failed == 0);
        return Ok(if consistent {
            found
        } else {
            found.plus(Counts::of_step(false))
        });
    }
    if output.status.code() == Some(NO_MACHINE) && said.trim().is_empty() {
        println!("NOT RUN on version 2 of control groups: no virtual machine could be had here");
        return Ok(Counts {
            skipped: 1,
            ..Counts::default()
        });
    }
    println!("the machine ended with {}", output.status);
    Ok(Counts::of_step(false))
}

/// Builds the test program as the tests before did, which is to find it; its path.
fn build(root: &Path) -> Result<PathBuf> {
    let mut command = workspace::cargo();
    command
        .args(["test", "--locked", "--release", "--package", "berth-tests"])
        .args(["--test", TEST, "--no-run", "--message-format=json"])
        .current_dir(root)
        .stderr(Stdio::inherit());
    let output = command
        .output()
        .with_context(|| format!("starting {command:?}"))?;
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let path = message["executable"].as_str()?;
        (message["target"]["name"] == TEST).then(|| PathBuf::from(path))
    };
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().find_map(executable) {
        Some(path) => Ok(path),
        None => bail!("cargo did not build the test {TEST} ({})", output.status),
    }
}
