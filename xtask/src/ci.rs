//! Everything a change must pass. Each runner is one row of [`RUNNERS`]; a later one (a shell or
//! Python suite against another client) is one more row.
//!
//! The very last line is `N passed, N failed`, all runners together. A runner that dies without
//! saying how many of its tests ran counts as one failure: silence is never success.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

use crate::counts::{self, Counts};
use crate::{bench, soak, tidy, vm, workspace};

struct Runner {
    name: &'static str,
    run: fn(&Path) -> Result<Counts>,
}

const RUNNERS: [Runner; 11] = [
    Runner {
        name: "format",
        run: format,
    },
    Runner {
        name: "clippy",
        run: clippy,
    },
    Runner {
        name: "tidy",
        run: tidy_rules,
    },
    Runner {
        name: "build",
        run: build,
    },
    Runner {
        name: "tests",
        run: tests,
    },
    Runner {
        name: "soaks, bounded",
        run: soak::bounded,
    },
    Runner {
        name: "documentation tests",
        run: documentation_tests,
    },
    Runner {
        name: "system calls",
        run: bench::regression::check,
    },
    Runner {
        name: "control groups v2",
        run: vm::groups::run,
    },
    Runner {
        name: "systemd",
        run: vm::systemd::run,
    },
    Runner {
        name: "power cuts",
        run: vm::power::run,
    },
];

/// Runs all runners, whatever the earlier ones found. `Ok(true)` when nothing failed.
pub fn run(root: &Path) -> Result<bool> {
    let mut table = Vec::new();
    for runner in &RUNNERS {
        println!("\n== {} ==", runner.name);
        let outcome = (runner.run)(root).unwrap_or_else(|error| {
            println!("{}: {error:#}", runner.name);
            Counts::of_step(false)
        });
        table.push((runner.name, outcome));
    }
    println!("\n== summary ==");
    for (name, outcome) in &table {
        let skipped = if outcome.skipped > 0 {
            format!(", {} not run", outcome.skipped)
        } else {
            String::new()
        };
        println!(
            "{name:<20} {} passed, {} failed{skipped}",
            outcome.passed, outcome.failed
        );
    }
    let all = table
        .iter()
        .map(|(_, outcome)| *outcome)
        .fold(Counts::default(), Counts::plus);
    println!("{} passed, {} failed", all.passed, all.failed);
    std::io::stdout().flush().context("writing the result")?;
    Ok(all.failed == 0)
}

fn format(root: &Path) -> Result<Counts> {
    step(root, &["fmt", "--all", "--check"])
}

fn clippy(root: &Path) -> Result<Counts> {
    step(
        root,
        &[
            "clippy",
            "--locked",
            "--release",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    )
}

fn tidy_rules(root: &Path) -> Result<Counts> {
    Ok(Counts::of_step(tidy::run(root)?))
}

/// The black-box tests execute the programs; cargo builds only those of the tested package itself.
fn build(root: &Path) -> Result<Counts> {
    step(
        root,
        &["build", "--locked", "--release", "--workspace", "--bins"],
    )
}

fn tests(root: &Path) -> Result<Counts> {
    let mut command = workspace::cargo();
    let nextest = nextest_is_installed(root);
    if nextest {
        command.args([
            "nextest",
            "run",
            "--locked",
            "--cargo-quiet",
            "--no-fail-fast",
            "--no-tests=pass",
        ]);
        command.args([
            "--status-level=slow",
            "--final-status-level=slow",
            "--hide-progress-bar",
        ]);
    } else {
        command.args(["test", "--locked", "--no-fail-fast", "--tests"]);
    }
    command.args(["--release", "--workspace"]);
    let read = if nextest {
        counts::of_nextest_line
    } else {
        counts::of_libtest_line
    };
    counted(root, command, read)
}

fn documentation_tests(root: &Path) -> Result<Counts> {
    let mut command = workspace::cargo();
    command.args([
        "test",
        "--locked",
        "--quiet",
        "--no-fail-fast",
        "--release",
        "--workspace",
        "--doc",
    ]);
    counted(root, command, counts::of_libtest_line)
}

fn nextest_is_installed(root: &Path) -> bool {
    let mut command = workspace::cargo();
    command.args(["nextest", "--version"]).current_dir(root);
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A cargo command that holds or does not; what it says is passed through.
fn step(root: &Path, arguments: &[&str]) -> Result<Counts> {
    let status = workspace::cargo()
        .args(arguments)
        .current_dir(root)
        .status()
        .with_context(|| format!("starting `cargo {}`", arguments.join(" ")))?;
    Ok(Counts::of_step(status.success()))
}

/// Runs a test runner, passing its output through, and adds up its summary lines.
fn counted(root: &Path, mut command: Command, read: fn(&str) -> Option<Counts>) -> Result<Counts> {
    let mut child = command
        .current_dir(root)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {command:?}"))?;
    let kept = Arc::new(Mutex::new(String::new()));
    let readers: Vec<_> = [
        child
            .stdout
            .take()
            .map(|stream| pass_through(stream, &kept)),
        child
            .stderr
            .take()
            .map(|stream| pass_through(stream, &kept)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let status = child.wait().context("waiting for the test runner")?;
    for reader in readers {
        // A reader only ends early when our own output is closed; the counts are then worthless anyway.
        let _ = reader.join();
    }
    let output = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(found) = counts::total(&output, read) else {
        println!("the runner ended with {status} and did not say what ran");
        return Ok(Counts::of_step(false));
    };
    if !status.success() && found.failed == 0 {
        println!("the runner ended with {status} though none of its tests failed");
        return Ok(found.plus(Counts::of_step(false)));
    }
    Ok(found)
}

fn pass_through(
    stream: impl Read + Send + 'static,
    kept: &Arc<Mutex<String>>,
) -> thread::JoinHandle<()> {
    let kept = Arc::clone(kept);
    thread::spawn(move || {
        for line in BufReader::new(stream)
            .split(b'\n')
            .map_while(std::result::Result::ok)
        {
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push_str(&line);
            kept.push('\n');
        }
    })
}
