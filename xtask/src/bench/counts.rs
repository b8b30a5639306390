//! System calls of one create, start, exec, stop and rm, by who makes them: figures that are the
//! same on a busy machine.
//!
//! `strace` follows the engine, its monitors and the containers' processes until they execute
//! what they are for. Calls that only wait are left out, for how often somebody wakes is a
//! matter of time.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use berth_testkit::{Engine, wait_until};

use super::driver::{Column, Kind, Network};
use super::trace::{Call, Role, Trace};

/// Containers before the first that counts, and those that count.
const WARM: usize = 2;
const ROUNDS: usize = 7;
/// What follows an answer is over within this time, also under `strace`.
const SETTLE: Duration = Duration::from_millis(150);
/// `strace` is attached, or gone, within this time.
const LIMIT: Duration = Duration::from_secs(30);
/// Calls that wait for somebody else.
const WAITS: [&str; 10] = [
    "futex",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "poll",
    "ppoll",
    "restart_syscall",
    "sched_yield",
    "clock_nanosleep",
    "nanosleep",
];

/// What is counted, in the order in which a container lives.
pub const OPERATIONS: [&str; 6] = [
    "create",
    "start, none",
    "start, bridge",
    "exec true",
    "stop -t 0",
    "rm",
];

/// The one of which the most frequent calls are named, and how many of them.
const DETAILED: usize = 2;
const FREQUENT: usize = 16;

/// Medians for one operation: by role, until the answer and behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Row {
    pub until: [u64; 3],
    pub behind: [u64; 3],
}

impl Row {
    pub fn sum(&self) -> u64 {
        self.until.iter().chain(&self.behind).sum()
    }
}

/// What was counted.
#[derive(Debug, Default)]
pub struct Counts {
    /// Of [`OPERATIONS`].
    pub rows: [Row; OPERATIONS.len()],
    /// The most frequent calls of a start on the bridge: role, name, number.
    frequent: Vec<(Role, String, u64)>,
}

/// When an operation was asked for, answered, and when the next one came, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Window {
    operation: usize,
    asked: u64,
    answered: u64,
    over: u64,
}

/// Counts on an engine that has the image.
pub fn of(engine: &Engine) -> Result<Counts> {
    let id = engine.id().context("the engine runs")?;
    let column = Column::by_api(0, Kind::Berth, &engine.socket(), "berthd");
    let output = engine.scratch().join("calls");
    // Not measured: what only the very first containers need.
    for round in 0..WARM {
        lives(&column, round, &mut Vec::new())?;
    }
    let threads = numbers(&format!("/proc/{id}/task"))?;
    let mut monitors: Vec<u32> = engine.processes().into_iter().map(|(id, _)| id).collect();
    monitors.retain(|monitor| *monitor != id);
    let strace = attach(id, &monitors, &output)?;
    let mut windows = Vec::new();
    let lived = (WARM..WARM + ROUNDS).try_for_each(|round| lives(&column, round, &mut windows));
    detach(strace)?;
    lived?;
    let text = fs::read(&output).with_context(|| format!("reading {}", output.display()))?;
    let trace = Trace::read(&String::from_utf8_lossy(&text), &threads, &monitors);
    Ok(count(&trace.calls, &windows))
}

/// One container from its creation to its end, and one more to be started on the bridge.
fn lives(column: &Column, round: usize, windows: &mut Vec<Window>) -> Result<()> {
    let none = format!("counted-{round}");
    let bridged = format!("bridged-{round}");
    column.create(&bridged, Network::Bridge)?;
    pause();
    let steps: [&dyn Fn() -> Result<Duration>; OPERATIONS.len()] = [
        &|| column.create(&none, Network::None),
        &|| column.start(&none),
        &|| column.start(&bridged),
        &|| column.exec(&none),
        &|| column.stop(&none),
        &|| column.remove(&none),
    ];
    for (operation, step) in steps.into_iter().enumerate() {
        let asked = now()?;
        step()?;
        let answered = now()?;
        pause();
        windows.push(Window {
            operation,
            asked,
            answered,
            over: now()?,
        });
    }
    column.remove_by_force(&[&bridged])?;
    pause();
    Ok(())
}

fn count(calls: &[Call], windows: &[Window]) -> Counts {
    let mut all: HashMap<(usize, bool, Role), Vec<u64>> = HashMap::new();
    for window in windows {
        for role in Role::COUNTED {
            for behind in [false, true] {
                let times = if behind {
                    window.answered..window.over
                } else {
                    window.asked..window.answered
                };
                let found = calls.iter().filter(|call| {
                    call.role == role
                        && times.contains(&call.time)
                        && !WAITS.contains(&call.name.as_str())
                });
                all.entry((window.operation, behind, role))
                    .or_default()
                    .push(found.count() as u64);
            }
        }
    }
    let mut counts = Counts {
        frequent: frequent(calls, windows),
        ..Counts::default()
    };
    for ((operation, behind, role), mut values) in all {
        values.sort_unstable();
        let median = values.get(values.len() / 2).copied().unwrap_or_default();
        let row = &mut counts.rows[operation];
        let side = if behind {
            &mut row.behind
        } else {
            &mut row.until
        };
        side[role as usize] = median;
    }
    counts
}

/// In the last of the [`DETAILED`] operations, both until the answer and behind it.
fn frequent(calls: &[Call], windows: &[Window]) -> Vec<(Role, String, u64)> {
    let window = windows.iter().rev().find(|one| one.operation == DETAILED);
    let mut found: Vec<(Role, String, u64)> = Vec::new();
    for call in calls {
        let inside = window.is_some_and(|one| (one.asked..one.over).contains(&call.time));
        if !inside || call.role == Role::Container || WAITS.contains(&call.name.as_str()) {
            continue;
        }
        let known = found
            .iter_mut()
            .find(|(role, name, _)| *role == call.role && *name == call.name);
        match known {
            Some((_, _, number)) => *number += 1,
            None => found.push((call.role, call.name.clone(), 1)),
        }
    }
    found.sort_by_key(|(_, _, number)| std::cmp::Reverse(*number));
    found.truncate(FREQUENT);
    found
}

/// Attaches to every thread there is; what they make is followed.
fn attach(engine: u32, monitors: &[u32], output: &Path) -> Result<Child> {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-ttt", "-s", "0", "-o"])
        .arg(output);
    for process in [engine].iter().chain(monitors) {
        command.args(["-p", &process.to_string()]);
    }
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting strace (package strace)")?;
    let all = || {
        [engine].iter().chain(monitors).all(|process| {
            let threads = numbers(&format!("/proc/{process}/task")).unwrap_or_default();
            threads.iter().all(|thread| is_traced(*process, *thread))
        })
    };
    wait_until("strace is attached", LIMIT, || all().then_some(()));
    Ok(child)
}

fn detach(mut strace: Child) -> Result<()> {
    let status = Command::new("kill")
        .args(["-s", "INT", &strace.id().to_string()])
        .status()
        .context("starting kill")?;
    if !status.success() {
        bail!("strace ended before it was told to");
    }
    strace.wait().context("waiting for strace")?;
    Ok(())
}

fn is_traced(process: u32, thread: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/task/{thread}/status"));
    let status = status.unwrap_or_default();
    let tracer = status
        .lines()
        .find_map(|line| line.strip_prefix("TracerPid:"));
    // A thread that has ended since needs no tracer.
    tracer.is_none_or(|tracer| tracer.trim() != "0")
}

fn numbers(directory: &str) -> Result<Vec<u32>> {
    let entries = fs::read_dir(directory).with_context(|| format!("listing {directory}"))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.parse().ok()).collect())
}

fn now() -> Result<u64> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(u64::try_from(time.as_micros())?)
}

fn pause() {
    let (sender, receiver) = mpsc::channel::<()>();
    // Nobody sends: the wait always ends by its limit.
    let _ = receiver.recv_timeout(SETTLE);
    drop(sender);
}

/// The table of one engine.
pub fn markdown(counts: &Counts) -> String {
    let mut text =
        "| | engine | monitor | init until it executes | until the answer | behind it |\n\
        |---|---|---|---|---|---|\n"
            .to_owned();
    for (operation, row) in OPERATIONS.iter().zip(&counts.rows) {
        let [engine, monitor, init] = row.until;
        let until: u64 = row.until.iter().sum();
        let behind: u64 = row.behind.iter().sum();
        let _ = writeln!(
            text,
            "| `{operation}` | {engine} | {monitor} | {init} | {until} | {behind} |"
        );
    }
    let frequent = counts.frequent.iter().map(|(role, name, number)| {
        let role = format!("{role:?}").to_lowercase();
        format!("{role} {name} {number}")
    });
    let _ = writeln!(
        text,
        "\nMost frequent in `{}`: {}.",
        OPERATIONS[DETAILED],
        frequent.collect::<Vec<_>>().join(", ")
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_fall_into_windows() {
        let call = |time, role, name: &str| Call {
            time,
            role,
            name: name.to_owned(),
        };
        let calls = [
            call(9, Role::Engine, "read"),
            call(10, Role::Engine, "read"),
            call(11, Role::Engine, "futex"),
            call(12, Role::Init, "mount"),
            call(13, Role::Container, "mount"),
            call(20, Role::Monitor, "write"),
            call(31, Role::Monitor, "write"),
        ];
        let window = Window {
            operation: 1,
            asked: 10,
            answered: 20,
            over: 30,
        };
        let expected = Row {
            until: [1, 0, 1],
            behind: [0, 1, 0],
        };
        let counts = count(&calls, &[window]);
        assert_eq!(counts.rows[1], expected);
        assert_eq!(counts.rows[0], Row::default());
        assert!(markdown(&counts).contains("| `start, none` | 1 | 0 | 1 | 2 | 1 |"));
    }
}
