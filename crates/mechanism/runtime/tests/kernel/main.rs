//! Real containers on the real kernel; needs root and a static busybox.
//!
//! Each case runs in a process of its own, this executable again, because only a process of one
//! thread may start a container. The arguments are those of the standard harness that matter:
//! `--list`, and parts of names.

mod exec;
mod further;
mod isolation;
mod life;
mod limits;
mod paths;
mod support;

use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use berth_sys::pidfd;
use berth_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};

/// One test.
type Case = (&'static str, fn());

/// Names the case that a child of the runner runs.
const CASE_VARIABLE: &str = "BERTH_RUNTIME_CASE";

/// A guard against hanging, not a measure of speed.
const CASE_TIMEOUT: Duration = Duration::from_secs(120);

/// A case that cannot take signal 9 for an answer would otherwise be waited for.
const KILL: i32 = 9;

fn cases() -> impl Iterator<Item = Case> {
    [
        isolation::CASES,
        paths::CASES,
        exec::CASES,
        limits::CASES,
        life::CASES,
        further::CASES,
    ]
    .into_iter()
    .flatten()
    .copied()
}

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(CASE_VARIABLE) {
        let (_, case) = cases()
            .find(|(n, _)| *n == name)
            .expect("a case of this name");
        case();
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let chosen: Vec<Case> = cases()
        .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str())))
        .collect();
    if arguments.iter().any(|a| a == "--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let failed: Vec<&str> = chosen
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !passes(name))
        .collect();
    println!(
        "\n{} passed; {} failed {failed:?}",
        chosen.len() - failed.len(),
        failed.len()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn passes(name: &str) -> bool {
    let mut child = Command::new(std::env::current_exe().expect("own path"))
        .env(CASE_VARIABLE, name)
        .stdin(Stdio::null())
        .spawn()
        .expect("run a case");
    let process = pidfd::open(child.id() as i32).expect("open a case");
    let timeout = Timespec::try_from(CASE_TIMEOUT).expect("a small number");
    let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout)).unwrap_or(0);
    if ended == 0 {
        println!("{name}: still running after {CASE_TIMEOUT:?}, killed");
        let _ = pidfd::send_signal(&process, KILL);
    }
    let passed = child.wait().is_ok_and(|status| status.success());
    if !passed {
        support::sweep(child.id());
    }
    println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
    passed
}
