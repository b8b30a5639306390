//! Tests that need another machine than this one run as rows of `cargo xtask ci` in a virtual
//! machine (`dev/run-in-vm`): built here, seen there by a shared directory, counted here.

pub mod groups;
pub mod power;
pub mod systemd;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use crate::counts::{self, Counts};
use crate::workspace;

/// What `dev/run-in-vm` ends with when there is no machine to run in.
const NO_MACHINE: i32 = 125;

/// How often a machine is switched on.
const BOOT_ATTEMPTS: u32 = 3;
/// What `dev/run-in-vm` says of one that does not come up.
const NOT_UP: &str = "the guest was not up after";

/// Runs a machine to its end. Its kernel loses a timer now and then under emulation and never
/// comes up: nothing of the tests has run then and no disk was mounted, so it is switched on again.
fn switched_on(command: impl Fn() -> Result<Command>) -> Result<Output> {
    let mut attempt = 1;
    loop {
        let output = command()?.output().context("starting dev/run-in-vm")?;
        let is_up = output.status.code() != Some(NO_MACHINE)
            || !String::from_utf8_lossy(&output.stderr).contains(NOT_UP);
        if is_up || attempt == BOOT_ATTEMPTS {
            return Ok(output);
        }
        println!("the machine did not come up, and is switched on again");
        attempt += 1;
    }
}

/// A test program of `berth-tests`, and the machine it needs.
pub struct Guest<'a> {
    /// The test program, as cargo names it.
    pub test: &'a str,
    /// Arguments of the test program: filters, `--ignored`.
    pub arguments: &'a [&'a str],
    /// Options of `dev/run-in-vm`: control groups, init, processors, time limit.
    pub options: &'a [&'a str],
}

impl Guest<'_> {
    /// Runs the test program there. A machine that cannot be had is "not run", and said; a test
    /// that began and did not end is a failure.
    pub fn run(&self, root: &Path) -> Result<Counts> {
        let test = build(root, self.test)?;
        let output = switched_on(|| self.command(root, &test))?;
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
            println!("NOT RUN: no virtual machine could be had here");
            return Ok(Counts {
                skipped: 1,
                ..Counts::default()
            });
        }
        println!("the machine ended with {}", output.status);
        Ok(Counts::of_step(false))
    }

    fn command(&self, root: &Path, test: &Path) -> Result<Command> {
        // Programs lie beside the tests' directory.
        let programs =
            (test.parent().and_then(Path::parent)).context("the test lies in no directory")?;
        let mut command = Command::new(root.join("dev/run-in-vm"));
        // In the machine only a memory file system takes an overlay's upper directory.
        command
            .args(["--engine", "qemu"])
            .args(self.options)
            .args(["--env", "PATH", "--env", "BERTH_TEST_ROOT=/tmp", "--share"])
            .arg(programs)
            .arg("--")
            .arg(test)
            .args(self.arguments)
            .current_dir(root)
            .stdin(Stdio::null());
        Ok(command)
    }
}

/// Builds a test program as the tests before did, which is to find it; its path. Of the whole
/// workspace: for one package alone cargo chooses fewer features of what all share, and compiles
/// most of it once more.
pub fn build(root: &Path, test: &str) -> Result<PathBuf> {
    let mut command = workspace::cargo();
    command
        .args(["test", "--locked", "--release", "--workspace"])
        .args(["--test", test, "--no-run", "--message-format=json"])
        .current_dir(root)
        .stderr(Stdio::inherit());
    let output = command
        .output()
        .with_context(|| format!("starting {command:?}"))?;
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let path = message["executable"].as_str()?;
        (message["target"]["name"] == test).then(|| PathBuf::from(path))
    };
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().find_map(executable) {
        Some(path) => Ok(path),
        None => bail!("cargo did not build the test {test} ({})", output.status),
    }
}
