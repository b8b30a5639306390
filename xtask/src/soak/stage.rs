//! Stages of a soak: work by several clients, while somebody reads and somebody sleeps.
//!
//! A reader asks for the list and for single containers all the while. How long its answers took
//! stands beside each stage twice: as the reader saw it, who competes for the processors himself,
//! and as the engine did, from the request's arrival at its handler until the answer was ready. A
//! thread with the precedence of the engine's workers, which does nothing but sleep, tells how late
//! the kernel of this machine wakes anybody meanwhile: no answer can be sooner than that.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use berth_sys::precedence::precede;
use berth_testkit::Engine;
use serde_json::Value;

use super::measure::{Latencies, each};

/// Between two questions of the reader.
const PAUSE: Duration = Duration::from_millis(15);
/// Between two wake-ups of the thread that does nothing else.
const NAP: Duration = Duration::from_millis(3);
/// Nice value and slices of the engine's workers.
const PRECEDENCE: (i32, u64) = (-10, 1_000_000);

/// How long the list and single containers took to be read during a stage, and what part of that
/// was the engine's.
#[derive(Default)]
struct Read {
    list: Latencies,
    list_own: Latencies,
    inspect: Latencies,
    inspect_own: Latencies,
}

impl Read {
    /// A median beyond this is no matter of a busy machine.
    const ABSURD_MS: f64 = 250.0;

    fn check(&self, what: &str) -> Result<()> {
        for (read, own) in [("list", &self.list_own), ("inspect", &self.inspect_own)] {
            let median = own.median();
            ensure!(
                median < Self::ABSURD_MS,
                "during {what} the engine took {median:.0} ms for half of the answers to {read}"
            );
        }
        Ok(())
    }
}

/// One line of the table.
pub struct Stage {
    what: String,
    wall: Duration,
    count: usize,
    own: Latencies,
    read: Read,
    late: Latencies,
    load: String,
}

/// Does the work while a reader reads.
///
/// # Errors
/// Nobody could read, or the engine's own median is absurd.
pub fn stage<T: Sync>(
    engine: &Engine,
    stages: &mut Vec<Stage>,
    what: &str,
    items: &[T],
    clients: usize,
    work: impl Fn(&T) -> Result<()> + Sync,
) -> Result<Vec<anyhow::Error>> {
    eprintln!("soak: {what}");
    let over = AtomicBool::new(false);
    let begun = Instant::now();
    let (own, failed, wall, read, late) = thread::scope(|scope| {
        let reader = scope.spawn(|| read(engine, &over));
        let sleeper = scope.spawn(|| sleep(&over));
        let (own, failed) = each(items, clients, work);
        let wall = begun.elapsed();
        over.store(true, Ordering::Relaxed);
        (own, failed, wall, reader.join(), sleeper.join())
    });
    let (Ok(read), Ok(late)) = (read, late) else {
        bail!("a thread beside {what} panicked")
    };
    let read = read?;
    read.check(what)?;
    stages.push(Stage {
        what: what.to_owned(),
        wall,
        count: items.len(),
        own,
        read,
        late,
        load: crate::bench::machine::load()?,
    });
    Ok(failed)
}

fn read(engine: &Engine, over: &AtomicBool) -> Result<Read> {
    let mut read = Read::default();
    let (_stop, pause) = mpsc::channel::<()>();
    while !over.load(Ordering::Relaxed) {
        let body = timed(
            engine,
            "/containers/json?all=1",
            (&mut read.list, &mut read.list_own),
        )?;
        let list: Vec<Value> = serde_json::from_slice(&body).context("the list")?;
        if let Some(id) = list.first().and_then(|entry| entry["Id"].as_str()) {
            let to = (&mut read.inspect, &mut read.inspect_own);
            timed(engine, &format!("/containers/{id}/json"), to)?;
        }
        let _ = pause.recv_timeout(PAUSE);
    }
    Ok(read)
}

/// Sleeps; how much longer than was asked for.
fn sleep(over: &AtomicBool) -> Latencies {
    // Without the right to it the engine has no precedence either.
    let _ = precede(PRECEDENCE.0, PRECEDENCE.1);
    let mut late = Latencies::default();
    let (_stop, pause) = mpsc::channel::<()>();
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let _ = pause.recv_timeout(NAP);
        late.push(begun.elapsed().saturating_sub(NAP));
    }
    late
}

/// Reads something; how long that took, and the engine's part of it. What is gone meanwhile was
/// answered all the same.
fn timed(engine: &Engine, path: &str, to: (&mut Latencies, &mut Latencies)) -> Result<Vec<u8>> {
    let begun = Instant::now();
    let answer = engine.try_read(path);
    let (answer, own) = answer.with_context(|| format!("GET {path}"))?;
    ensure!(
        matches!(answer.status, 200 | 404),
        "GET {path}: {}",
        answer.status
    );
    to.0.push(begun.elapsed());
    to.1.push(own);
    Ok(answer.body)
}

/// A line for each stage.
pub fn table(stages: &[Stage]) -> String {
    let mut text = "| | wall s | a second | each, ms p50 / p99 / most | `ps` meanwhile | of that the engine | `inspect` meanwhile | of that the engine | woken late by | load |\n|---|---|---|---|---|---|---|---|---|---|\n".to_owned();
    for stage in stages {
        let wall = stage.wall.as_secs_f64();
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "| {} | {wall:.2} | {:.0} | {} | {} | {} | {} | {} | {} | {} |",
            stage.what,
            stage.count as f64 / wall,
            stage.own.cell(),
            stage.read.list.cell(),
            stage.read.list_own.cell(),
            stage.read.inspect.cell(),
            stage.read.inspect_own.cell(),
            stage.late.cell(),
            stage.load
        );
    }
    text
}
