//! The main job: a class comes up, every box answers, and the class goes away.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use berth_testkit::{Engine, EngineBuilder};

use super::client::Client;
use super::{IMAGE, machine};

/// Without `--seats`.
pub const SEATS: u32 = 100;
/// The whole measurement, with an ample part for every seat.
const LIMIT: Duration = Duration::from_secs(120);
const LIMIT_OF_A_SEAT: Duration = Duration::from_secs(5);
/// Clock ticks in a second of `/proc/PID/stat`, on every Linux.
const TICKS: f64 = 100.0;

/// What one stage took.
struct Stage {
    what: &'static str,
    wall: Duration,
    /// Processor seconds of the engine and all it started, and of the client.
    engine: f64,
    client: f64,
}

/// Measures one class of `seats` and prints the table in Markdown.
pub fn run(seats: u32) -> Result<bool> {
    let limit = LIMIT + LIMIT_OF_A_SEAT * seats;
    let engine = EngineBuilder::new().network().limit(limit).start();
    engine.import_busybox();
    let berth = Client::berth(&engine)?;
    let names: Vec<String> = (1..=seats).map(|seat| format!("seat{seat}")).collect();
    let list = engine.scratch().join("class.txt");
    fs::write(&list, names.join("\n")).with_context(|| format!("writing {}", list.display()))?;
    let list = list.to_string_lossy();

    let before = machine::load()?;
    let mut stages = vec![
        stage(&engine, "allocate", || {
            berth.time(&["lab", "allocate", &list, "--image", IMAGE])
        })?,
        stage(&engine, "every shell answers", || answers(&berth, &names))?,
        stage(&engine, "status", || berth.time(&["lab", "status"]))?,
    ];
    stages.push(stage(&engine, "deallocate", || {
        berth.time(&["lab", "deallocate", &list])
    })?);
    let left = engine.berth(&["ps", "--all", "--quiet"]);
    if !left.text().is_empty() {
        bail!("containers are left: {left}");
    }
    println!("{}", machine::description(&engine.data_root())?);
    println!(
        "Load average before {before}, after {}.\n",
        machine::load()?
    );
    println!("{}", markdown(seats, &stages));
    Ok(true)
}

/// A command in the shell's own environment of every box, one after the other.
fn answers(berth: &Client, names: &[String]) -> Result<Duration> {
    let begun = Instant::now();
    for name in names {
        berth.time(&[
            "exec",
            name,
            "/bin/sh",
            "-c",
            "test \"$HOSTNAME\" = \"$(hostname)\" || hostname",
        ])?;
    }
    Ok(begun.elapsed())
}

fn stage(
    engine: &Engine,
    what: &'static str,
    work: impl FnOnce() -> Result<Duration>,
) -> Result<Stage> {
    eprintln!("bench: {what}");
    let before = (of_engine(engine), of_clients()?);
    let wall = work()?;
    Ok(Stage {
        what,
        wall,
        engine: of_engine(engine) - before.0,
        client: of_clients()? - before.1,
    })
}

/// Processor seconds of everything that the engine has started, the dead included: those are in
/// the account of who reaped them.
fn of_engine(engine: &Engine) -> f64 {
    let processes = engine.processes();
    let times = processes
        .iter()
        .filter_map(|(pid, _)| ticks(&format!("/proc/{pid}/stat"), 11..15));
    times.sum::<f64>() / TICKS
}

/// Processor seconds of the commands that this process has waited for.
fn of_clients() -> Result<f64> {
    let ticks = ticks("/proc/self/stat", 13..15).context("reading /proc/self/stat")?;
    Ok(ticks / TICKS)
}

/// The sum of some fields behind the program's name in a `stat` file.
fn ticks(path: &str, fields: std::ops::Range<usize>) -> Option<f64> {
    let text = fs::read_to_string(Path::new(path)).ok()?;
    let behind = text.rsplit_once(')')?.1;
    let all: Vec<&str> = behind.split_whitespace().collect();
    let wanted = all.get(fields)?;
    Some(wanted.iter().filter_map(|f| f.parse::<f64>().ok()).sum())
}

fn markdown(seats: u32, stages: &[Stage]) -> String {
    let mut text = format!(
        "{seats} seats:\n\n| | wall s | seats a second | CPU s, engine and boxes | CPU s, client |\n\
         |---|---|---|---|---|\n"
    );
    for stage in stages {
        let wall = stage.wall.as_secs_f64();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {wall:.2} | {:.1} | {:.2} | {:.2} |",
            stage.what,
            f64::from(seats) / wall,
            stage.engine,
            stage.client
        );
    }
    text
}
