//! How long the everyday commands take, and what they cost: `cargo xtask bench [--runs N]
//! [--peers] [--quick] [--rows NAME,…]`; and how long a whole class takes: `cargo xtask bench
//! class [--seats N]`.
//!
//! An engine of its own is started in namespaces of its own, as the tests do, and is gone
//! afterwards, also after a failure. All engines, each by its own command line and by one client
//! of the API, are asked in turn, so that a busy moment of the machine meets all of them:
//! compare columns of one table, not two tables.

mod class;
mod client;
mod counts;
mod driver;
mod http;
mod instructions;
pub mod machine;
mod memory;
mod options;
mod peers;
mod phases;
pub mod regression;
mod report;
mod rounds;
mod rows;
mod samples;
mod trace;

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use berth_testkit::{Engine, EngineBuilder, program};

use crate::workspace;
use client::Client;
use driver::{Column, Kind};
use memory::{Account, Source, Usage};
use options::{Group, Options};
use phases::Phases;
use report::Report;
use rounds::{Bench, Rounds};

/// What a measurement may take at most: a hung engine ends it.
const LIMIT: Duration = Duration::from_secs(1800);
/// What the groups of rows may take together, alone and beside peers; behind its share of it, and
/// what those before it have left, a group begins no further round. What is missing is said.
const BUDGET: [Duration; 2] = [Duration::from_secs(200), Duration::from_secs(12 * 60)];
/// The groups with their shares in percent.
const SHARES: [(Group, u32); 5] = [
    (Group::Run, 20),
    (Group::Life, 20),
    (Group::Many, 36),
    (Group::Images, 12),
    (Group::Logs, 12),
];
/// Containers that sleep side by side; with `--quick` the second.
const MANY: [u32; 2] = [100, 20];
/// Samples of what moves megabytes; with `--quick` the second.
const HEAVY: [u32; 2] = [3, 1];
/// Rounds that only fill caches and prove that the command works.
const WARM: u32 = 2;

const IMAGE: &str = "busybox:test";
/// Flags of the engine that say how much is made ahead begin so.
const AHEAD: &str = "--spare-";
/// A directory with programs that are built already, as the tests take it.
const PROGRAMS_VARIABLE: &str = "BERTH_PROGRAMS";

/// Builds the programs, measures, and prints the tables in Markdown on standard output.
/// `Ok(false)`: something failed, which the report names.
pub fn run(root: &Path, arguments: &[OsString]) -> Result<bool> {
    if arguments.first().is_some_and(|word| word == "class") {
        let seats = options::seats(&arguments[1..])?;
        build(root)?;
        return class::run(seats);
    }
    let options = Options::parse(arguments)?;
    build(root)?;
    if options.peers {
        peers::enclose(root)?;
    }
    let engine = started(&[]);
    let without = switches()?;
    let bare = (!without.is_empty()).then(|| started(&without));
    let complaints = engine.scratch().join("complaints");
    let peers = match options.peers {
        true => Some(peers::Peers::start(root, &complaints)?),
        false => None,
    };
    let subjects = subjects(&engine, bare.as_ref(), peers.as_ref());
    let fresh = usages(&subjects)?;
    for engine in [Some(&engine), bare.as_ref()].into_iter().flatten() {
        engine.import_busybox();
    }
    let before = machine::load()?;
    let mut bench = Bench::new(columns(&engine, bare.as_ref(), peers.as_ref())?);
    let mut account = Account {
        labels: subjects.iter().map(|(label, _)| label.clone()).collect(),
        fresh,
        before: Vec::new(),
        many: Vec::new(),
        count: MANY[usize::from(options.quick)],
        namespace: None,
    };
    if !without.is_empty() {
        account.namespace = bench.attempt("a namespace", memory::of_namespace);
    }
    measure(&options, &engine, &subjects, &mut bench, &mut account)?;
    let phases = options.wants(Group::Phases).then(|| {
        let count = options.rounds().count;
        ["none", "bridge"].map(|network| {
            let found = bench.attempt("phases", || phases(&engine, count, network));
            found.unwrap_or_default()
        })
    });
    let mut counts = Vec::new();
    let mut instructions = Vec::new();
    for engine in [Some(&engine), bare.as_ref()].into_iter().flatten() {
        if options.wants(Group::Counts) {
            eprintln!("bench: system calls");
            counts.extend(bench.attempt("system calls", || counts::of(engine)));
        }
    }
    if options.wants(Group::Instructions) {
        eprintln!("bench: instructions");
        // Without anything made ahead, for that is made at times that differ.
        let engine = bare.as_ref().unwrap_or(&engine);
        let found = bench.attempt("instructions", || instructions::of(root, engine));
        instructions.extend(found.into_iter().flatten());
    }
    let report = Report {
        options: &options,
        machine: machine::description(&engine.data_root())?,
        load: (before, machine::load()?),
        peers: peers.as_ref().map(|peers| peers.head.clone()),
        ahead: without,
        bench: &bench,
        account: &account,
        phases,
        counts,
        instructions,
    };
    println!("{}", report.markdown());
    let whole = bench.notes.is_empty();
    drop(subjects);
    drop(peers);
    Ok(whole)
}

/// All groups of rows that are wanted, as long as there is time.
fn measure(
    options: &Options,
    engine: &Engine,
    subjects: &[(String, Source<'_>)],
    bench: &mut Bench,
    account: &mut Account,
) -> Result<()> {
    let rounds = options.rounds();
    let quick = usize::from(options.quick);
    let heavy = Rounds {
        warm: 0,
        count: HEAVY[quick],
    };
    let mut archive = None;
    let mut end = Instant::now();
    for (group, share) in SHARES {
        end += BUDGET[usize::from(options.peers)] * share / 100;
        bench.until(end);
        if !options.wants(group) {
            continue;
        }
        if matches!(group, Group::Images | Group::Logs) && archive.is_none() {
            archive = Some(rows::archive(engine)?);
        }
        match (group, &archive) {
            (Group::Run, _) => rows::run(bench, rounds),
            (Group::Life, _) => rows::life(bench, rounds),
            (Group::Many, _) => {
                account.before = usages(subjects)?;
                rows::many(bench, MANY[quick], rounds, |_| {
                    account.many = usages(subjects)?;
                    Ok(())
                })?;
            }
            (Group::Images, Some(archive)) => rows::images(bench, archive, heavy)?,
            (Group::Logs, Some(archive)) => {
                if !options.wants(Group::Images) {
                    rows::stay(bench, archive);
                }
                rows::logs(bench, heavy);
            }
            _ => {}
        }
    }
    Ok(())
}

fn started(arguments: &[String]) -> Engine {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    EngineBuilder::new()
        .network()
        .args(&arguments)
        .limit(LIMIT)
        .start()
}

/// What starts an engine that makes nothing ahead; empty when it never does.
fn switches() -> Result<Vec<String>> {
    let output = Command::new(program("berthd"))
        .arg("--help")
        .output()
        .context("asking berthd for its flags")?;
    let help = String::from_utf8_lossy(&output.stdout);
    let flags = help
        .split(|letter: char| !(letter.is_ascii_lowercase() || letter == '-'))
        .filter(|word| word.starts_with(AHEAD));
    Ok(flags
        .flat_map(|flag| [flag.to_owned(), "0".to_owned()])
        .collect())
}

/// The engines of the memory table, Berth's first.
fn subjects<'a>(
    engine: &'a Engine,
    bare: Option<&'a Engine>,
    peers: Option<&peers::Peers>,
) -> Vec<(String, Source<'a>)> {
    let mut subjects = vec![("berthd".to_owned(), Source::Engine(engine))];
    if let Some(bare) = bare {
        subjects.push(("berthd, pools empty".to_owned(), Source::Engine(bare)));
    }
    for (peers, peer) in peers
        .iter()
        .flat_map(|all| all.peers.iter().map(move |one| (all, one)))
    {
        let label = match peer.kind {
            Kind::Podman => "podman's service (its command needs none)",
            Kind::Docker | Kind::Berth => "dockerd and containerd",
        };
        let source = Source::Peer(peer.kind, peers.directory.clone());
        subjects.push((label.to_owned(), source));
    }
    subjects
}

/// Each engine's own command line first, then all sockets; numbers of subjects as in
/// [`subjects`].
fn columns(
    engine: &Engine,
    bare: Option<&Engine>,
    peers: Option<&peers::Peers>,
) -> Result<Vec<Column>> {
    let mut commands = Vec::new();
    let mut apis = Vec::new();
    let own = engine.socket();
    commands.push(Column::by_command(
        0,
        Kind::Berth,
        &own,
        Client::berth(engine)?,
    ));
    commands.push(Column::by_command(
        0,
        Kind::Berth,
        &own,
        Client::docker(engine)?,
    ));
    apis.push(Column::by_api(0, Kind::Berth, &own, "berthd"));
    let mut subject = 1;
    if let Some(bare) = bare {
        let mut client = Client::berth(bare)?;
        "berth, pools empty".clone_into(&mut client.label);
        commands.push(Column::by_command(
            subject,
            Kind::Berth,
            &bare.socket(),
            client,
        ));
        apis.push(Column::by_api(
            subject,
            Kind::Berth,
            &bare.socket(),
            "berthd, pools empty",
        ));
        subject += 1;
    }
    for peer in peers.iter().flat_map(|peers| &peers.peers) {
        let label = match peer.kind {
            Kind::Podman => "podman's service",
            Kind::Docker | Kind::Berth => "dockerd",
        };
        let mut client = peer.client.clone();
        if peer.kind == Kind::Docker {
            "docker CLI on dockerd".clone_into(&mut client.label);
        }
        commands.push(Column::by_command(subject, peer.kind, &peer.socket, client));
        apis.push(Column::by_api(subject, peer.kind, &peer.socket, label));
        subject += 1;
    }
    commands.extend(apis);
    Ok(commands)
}

fn usages(subjects: &[(String, Source<'_>)]) -> Result<Vec<Usage>> {
    subjects.iter().map(|(_, source)| source.usage()).collect()
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

/// What `berth run --timings` says, over many runs.
fn phases(engine: &Engine, runs: u32, network: &str) -> Result<Phases> {
    eprintln!("bench: phases of a start, {network}");
    let mut phases = Phases::default();
    for round in 0..WARM + runs {
        let output = engine.berth(&[
            "run",
            "--rm",
            "--timings",
            "--network",
            network,
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
