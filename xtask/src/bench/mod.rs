//! How long the everyday commands take: `cargo xtask bench [--runs N] [--peers]`, and how long a
//! whole class does: `cargo xtask bench class [--seats N]`.
//!
//! An engine of its own is started in namespaces of its own, as the tests do, and is gone
//! afterwards, also after a failure. The commands of all clients are run in turn, so that a busy
//! moment of the machine meets all of them: compare columns of one table, not two tables.

mod class;
mod client;
pub mod machine;
mod memory;
mod peers;
mod phases;
mod samples;

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use berth_testkit::{Engine, EngineBuilder};

use crate::workspace;
use client::Client;
use phases::Phases;
use samples::Table;

/// Without `--runs`.
const RUNS: u32 = 25;
/// More runs say nothing new.
const RUNS_MAX: u32 = 1000;
/// Runs before the first that counts: they fill caches and prove that the command works.
const WARM: u32 = 2;
/// Containers that run while memory and `ps` are measured.
const IDLE: u32 = 20;
/// What a measurement may take at most, beside a part for each run.
const LIMIT: Duration = Duration::from_secs(600);
const LIMIT_OF_A_RUN: Duration = Duration::from_secs(10);

const USAGE: &str = "usage: cargo xtask bench [--runs N] [--peers], or bench class [--seats N]";
/// More do not fit on a machine that runs benchmarks.
const SEATS_MAX: u32 = 2000;
/// A directory with programs that are built already, as the tests take it.
const PROGRAMS_VARIABLE: &str = "BERTH_PROGRAMS";
const IMAGE: &str = "busybox:test";

struct Options {
    runs: u32,
    peers: bool,
}

impl Options {
    fn parse(arguments: &[OsString]) -> Result<Self> {
        let mut options = Self {
            runs: RUNS,
            peers: false,
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.to_str() {
                Some("--peers") => options.peers = true,
                Some("--runs") => {
                    let given = rest.next().and_then(|text| text.to_str()?.parse().ok());
                    options.runs = given
                        .filter(|runs| (1..=RUNS_MAX).contains(runs))
                        .with_context(|| format!("--runs takes 1 to {RUNS_MAX}; {USAGE}"))?;
                }
                _ => bail!("`bench` does not know {argument:?}; {USAGE}"),
            }
        }
        Ok(options)
    }
}

/// Builds the programs, measures, and prints the tables in Markdown on standard output.
pub fn run(root: &Path, arguments: &[OsString]) -> Result<bool> {
    if arguments.first().is_some_and(|word| word == "class") {
        let seats = seats(&arguments[1..])?;
        build(root)?;
        return class::run(seats);
    }
    let options = Options::parse(arguments)?;
    build(root)?;
    let limit = LIMIT + LIMIT_OF_A_RUN * options.runs;
    let engine = EngineBuilder::new().limit(limit).start();
    let fresh = memory::of_process(engine.id().context("the engine has just been started")?)?;
    engine.import_busybox();

    let berth = Client::berth(&engine)?;
    let docker = Client::docker(&engine)?;
    let mut clients = vec![docker, berth];
    let peers = if options.peers {
        Some(peers::Peers::start(root, &engine)?)
    } else {
        None
    };
    clients.extend(peers.iter().flat_map(|peers| peers.clients.iter().cloned()));

    let before = machine::load()?;
    let mut times = Table::new(clients.iter().map(|client| client.label.clone()));
    one_command(&clients, options.runs, &mut times, &["version"])?;
    let run = ["run", "--rm", "--network", "none", IMAGE, "true"];
    one_command(&clients, options.runs, &mut times, &run)?;
    lifecycles(&clients, options.runs, &mut times)?;
    let phases = phases(&engine, options.runs)?;
    let idle = idle(&engine, &clients[..2], options.runs, &mut times)?;
    let after = machine::load()?;
    // The peers' daemon uses the engine's directory, so it has to end first.
    drop(peers);

    println!("{}", machine::description(&engine.data_root())?);
    println!("Load average before {before}, after {after}.\n");
    println!(
        "Wall time of the whole command in ms, n = {}, median [min-max]:\n",
        options.runs
    );
    println!("{}", times.markdown());
    println!("Where a start goes (`berth run --rm --timings --network none`), ms:\n");
    println!("{}", phases.markdown());
    println!("Memory, MiB:\n");
    println!("{}", memory::markdown(fresh, &idle));
    Ok(true)
}

fn seats(arguments: &[OsString]) -> Result<u32> {
    match arguments {
        [] => Ok(class::SEATS),
        [flag, number] if flag == "--seats" => {
            let given = number.to_str().and_then(|text| text.parse().ok());
            given
                .filter(|seats| (1..=SEATS_MAX).contains(seats))
                .with_context(|| format!("--seats takes 1 to {SEATS_MAX}; {USAGE}"))
        }
        _ => bail!("`bench class` does not know {arguments:?}; {USAGE}"),
    }
}

/// What is measured is what is in the tree, unless [`PROGRAMS_VARIABLE`] names other programs.
fn build(root: &Path) -> Result<()> {
    if std::env::var_os(PROGRAMS_VARIABLE).is_some() {
        return Ok(());
    }
    let status = workspace::cargo()
        .args([
            "build",
            "--locked",
            "--release",
            "--quiet",
            "--workspace",
            "--bins",
        ])
        .current_dir(root)
        .status()
        .context("starting `cargo build`")?;
    if !status.success() {
        bail!("the programs do not build, so there is nothing to measure");
    }
    Ok(())
}

/// Calls `measure` with every client in turn; the first [`WARM`] rounds only warm up.
fn in_turn(
    clients: &[Client],
    runs: u32,
    mut measure: impl FnMut(usize, &Client, u32, bool) -> Result<()>,
) -> Result<()> {
    for round in 0..WARM + runs {
        for (column, client) in clients.iter().enumerate() {
            measure(column, client, round, round >= WARM)?;
        }
    }
    Ok(())
}

/// One row for a command that leaves nothing behind.
fn one_command(clients: &[Client], runs: u32, times: &mut Table, command: &[&str]) -> Result<()> {
    let row = command.join(" ");
    eprintln!("bench: {row}");
    in_turn(clients, runs, |column, client, _, counts| {
        times.add(&row, column, counts, client.time(command)?);
        Ok(())
    })
}

fn lifecycles(clients: &[Client], runs: u32, times: &mut Table) -> Result<()> {
    eprintln!("bench: create, start, stop, rm");
    in_turn(clients, runs, |column, client, round, counts| {
        let name = format!("bench-{column}-{round}");
        let create = [
            "create",
            "--network",
            "none",
            "--name",
            &name,
            IMAGE,
            "sleep",
            "1000",
        ];
        for (row, command) in [
            ("create", &create[..]),
            ("start", &["start", &name]),
            ("stop -t 0", &["stop", "-t", "0", &name]),
            ("rm", &["rm", &name]),
        ] {
            times.add(row, column, counts, client.time(command)?);
        }
        Ok(())
    })
}

fn phases(engine: &Engine, runs: u32) -> Result<Phases> {
    eprintln!("bench: phases of a start");
    let mut phases = Phases::default();
    for round in 0..WARM + runs {
        let output = engine.berth(&[
            "run",
            "--rm",
            "--timings",
            "--network",
            "none",
            IMAGE,
            "true",
        ]);
        if output.status != 0 {
            bail!("{output}");
        }
        if round >= WARM {
            phases.add(&output.stderr)?;
        }
    }
    Ok(phases)
}

/// `ps` and memory while [`IDLE`] containers run that do nothing.
fn idle(engine: &Engine, clients: &[Client], runs: u32, times: &mut Table) -> Result<memory::Idle> {
    eprintln!("bench: {IDLE} idle containers");
    let berth = clients.last().context("there is a client")?;
    let names: Vec<String> = (0..IDLE).map(|number| format!("idle-{number}")).collect();
    let before = memory::of_process(engine.id().context("the engine runs")?)?;
    for name in &names {
        let command = ["run", "-d", "--network", "none", "--name", name, IMAGE];
        berth.time(&[&command[..], &["sleep", "1000"]].concat())?;
    }
    let row = format!("ps, {IDLE} running");
    in_turn(clients, runs, |column, client, _, counts| {
        times.add(&row, column, counts, client.time(&["ps"])?);
        Ok(())
    })?;
    let found = memory::Idle::measure(engine, IDLE, before)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    berth.time(&[&["rm", "--force"][..], &names].concat())?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let parse = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            Options::parse(&words).map(|options| (options.runs, options.peers))
        };
        assert_eq!(parse(&[]).ok(), Some((RUNS, false)));
        assert_eq!(parse(&["--peers", "--runs", "3"]).ok(), Some((3, true)));
        for wrong in [&["--runs"][..], &["--runs", "0"], &["--runs", "x"], &["-n"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(seats(&[]).ok(), Some(class::SEATS));
        assert_eq!(seats(&["--seats".into(), "7".into()]).ok(), Some(7));
        assert!(seats(&["--seats".into(), "0".into()]).is_err());
    }
}
