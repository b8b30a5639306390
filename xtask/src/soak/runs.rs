//! `cargo xtask soak runs [--runs N]`: `run --rm` again and again, and nothing grows.
//!
//! Most are made as requests to the API, some by the stock client, some on the default network
//! with a published port. What the engine holds and what there is of its kinds in the kernel, in
//! the database and on disk is counted after a tenth of the runs, after half, and at the end.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use berth_testkit::{Engine, EngineBuilder, wait_until};
use serde_json::{Value, json};

use super::measure::{Held, Latencies, all_well, ask, each, number};

/// Without `--runs`.
const RUNS: u32 = 10_000;
/// Clients at the same time.
const CLIENTS: usize = 4;
/// One of so many is made by the stock client.
const BY_CLIENT: u32 = 50;
/// One of so many is on the default network.
const ON_BRIDGE: u32 = 5;
/// The whole, with an ample part for every run.
const LIMIT: Duration = Duration::from_secs(180);
/// See [`LIMIT`].
const LIMIT_OF_ONE: Duration = Duration::from_millis(500);
/// What is left for after an answer is done within this time, and idle threads are gone.
const SETTLED: Duration = Duration::from_secs(40);
/// What an engine may hold more than after a tenth of the runs: pools that are filled at another
/// moment.
const SPARE_DESCRIPTORS: u64 = 8;
/// See [`SPARE_DESCRIPTORS`].
const SPARE_THREADS: u64 = 6;
/// Private memory that an allocator keeps back, in KiB, and as a part of what there was.
const SPARE_MEMORY: (u64, f64) = (8 << 10, 1.15);
/// Without this each thread keeps some of what it freed, which counts as what lives.
const EXACT: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0");
/// KiB that may live more after all runs than after half of them: 26 bytes for each of five thousand
/// runs. The database keeps pages.
const SPARE_LIVE: u64 = 128;
/// How much the database file may have grown; it grows in steps.
const SPARE_FILE: (u64, f64) = (1 << 20, 1.5);

const IMAGE: &str = "busybox:test";

/// What there is at one moment.
struct Count {
    runs: usize,
    held: Held,
    /// What has to be the same after every run, by name.
    things: BTreeMap<String, u64>,
    /// Bytes of the database file.
    file: u64,
}

/// The soak itself.
pub fn run(_root: &Path, arguments: &[OsString]) -> Result<bool> {
    again(number(arguments, &[("--runs", RUNS)])?[0])
}

fn again(runs: u32) -> Result<bool> {
    let limit = LIMIT + LIMIT_OF_ONE * runs;
    let builder = EngineBuilder::new().network().limit(limit);
    let engine = builder.env(EXACT.0, EXACT.1).start();
    engine.import_busybox();
    let all: Vec<u32> = (0..runs).collect();
    let (tenth, half) = (all.len() / 10, all.len() / 2);
    let (mut counts, mut latencies) = (Vec::new(), Latencies::default());
    let begun = Instant::now();
    for (from, to) in [(0, tenth), (tenth, half), (half, all.len())] {
        eprintln!("soak: runs {from} to {to}");
        let (times, failed) = each(&all[from..to], CLIENTS, |n| one(&engine, *n));
        all_well("running", &failed)?;
        latencies.merge(times);
        let first = counts.first();
        counts.push(settle(&engine, to, first)?);
    }
    let wall = begun.elapsed().as_secs_f64();
    println!("{}", table(&counts));
    println!(
        "{runs} runs in {wall:.1} s, {:.0} a second; each, ms p50 / p99 / most: {}; load {}",
        f64::from(runs) / wall,
        latencies.cell(),
        crate::bench::machine::load()?
    );
    engine.assert_consistent();
    let (Some(first), Some(last)) = (counts.first(), counts.last()) else {
        return Ok(false);
    };
    let mut grown = growth(first, last);
    if let Some(middle) = counts.get(counts.len() / 2) {
        grown.extend(leak(middle, last));
    }
    ensure!(
        grown.is_empty(),
        "something has grown: {}",
        grown.join("; ")
    );
    Ok(true)
}

/// One `run --rm`.
fn one(engine: &Engine, n: u32) -> Result<()> {
    let bridge = n.is_multiple_of(ON_BRIDGE);
    let network = if bridge { "bridge" } else { "none" };
    if n.is_multiple_of(BY_CLIENT) {
        let ran = engine.docker(&["run", "--rm", "--network", network, IMAGE, "true"]);
        ensure!(ran.status == 0, "docker run: {ran}");
        return Ok(());
    }
    let ports = match bridge {
        true => json!({ "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "" }] }),
        false => json!({}),
    };
    let body = json!({
        "Image": IMAGE,
        "Cmd": ["true"],
        "ExposedPorts": { "80/tcp": {} },
        "HostConfig": { "AutoRemove": true, "NetworkMode": network, "PortBindings": ports }
    });
    let made = ask(engine, "POST", "/containers/create", Some(&body), &[201])?;
    let made: Value = serde_json::from_slice(&made).context("what create says")?;
    let id = made["Id"].as_str().context("an id")?;
    let start = format!("/containers/{id}/start");
    ask(engine, "POST", &start, None, &[204])?;
    // It may be gone already.
    let wait = format!("/containers/{id}/wait?condition=removed");
    ask(engine, "POST", &wait, None, &[200, 404]).map(drop)
}

/// Counts when what was left for after the answers is done: until it is as at first, or does not
/// come to be.
fn settle(engine: &Engine, runs: usize, first: Option<&Count>) -> Result<Count> {
    let end = Instant::now() + SETTLED;
    let mut before: Option<Count> = None;
    wait_until("what was left behind is counted", SETTLED * 2, || {
        let now = match count(engine, runs) {
            Ok(now) => now,
            Err(error) => return Some(Err(error)),
        };
        // Without anything to compare with: until it stands still and the threads have gone.
        let is_settled = match (first, &before) {
            (Some(first), _) => growth(first, &now).is_empty() && leak(first, &now).is_none(),
            (None, Some(before)) => {
                before.things == now.things && before.held.threads == now.held.threads
            }
            (None, None) => false,
        };
        if is_settled || Instant::now() > end {
            return Some(Ok(now));
        }
        before = Some(now);
        pause();
        None
    })
}

/// Longer than a thread that has nothing to do lives, a few times over.
fn pause() {
    let (_stop, pause) = std::sync::mpsc::channel::<()>();
    let _ = pause.recv_timeout(Duration::from_secs(1));
}

fn count(engine: &Engine, runs: usize) -> Result<Count> {
    let id = engine.id().context("the engine runs")?;
    let mut things = BTreeMap::new();
    let lines = |name: &str| -> Result<u64> {
        let path = format!("/proc/{id}/{name}");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        Ok(text.lines().count() as u64)
    };
    things.insert("mounts".to_owned(), lines("mountinfo")?);
    things.insert("links".to_owned(), lines("net/dev")?);
    things.insert("network namespaces".to_owned(), namespaces(id)?);
    for (kind, number) in engine.census().kinds() {
        things.insert(format!("{kind}, in the census"), number);
    }
    let rules = engine.in_namespaces("nft", &["list", "ruleset"]);
    things.insert(
        "lines of firewall".to_owned(),
        rules.ok().lines().count() as u64,
    );
    let report = ask(engine, "GET", "/berth/fsck", None, &[200])?;
    let report: Value = serde_json::from_slice(&report).context("the check")?;
    let rows = report["rows"].as_object().context("rows")?;
    for (table, number) in rows {
        things.insert(format!("rows of {table}"), number.as_u64().unwrap_or(0));
    }
    let (data, run) = (engine.data_root(), engine.exec_root());
    things.insert("files of data".to_owned(), entries(&data));
    things.insert("files of run".to_owned(), entries(&run));
    let file = data.join("meta.db");
    let file = fs::metadata(&file).with_context(|| format!("reading {}", file.display()))?;
    Ok(Count {
        runs,
        held: Held::of_engine(engine)?,
        things,
        file: file.len(),
    })
}

/// Network namespaces that the engine holds by a descriptor.
fn namespaces(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/fd");
    let entries = fs::read_dir(&path).with_context(|| format!("reading {path}"))?;
    let named = |entry: fs::DirEntry| fs::read_link(entry.path()).ok();
    let names = entries.flatten().filter_map(named);
    Ok(names
        .filter(|name| name.to_string_lossy().starts_with("net:"))
        .count() as u64)
}

fn entries(directory: &Path) -> u64 {
    let list = fs::read_dir(directory).into_iter().flatten().flatten();
    list.map(|entry| {
        let below = entry.file_type().is_ok_and(|kind| kind.is_dir());
        1 + if below { entries(&entry.path()) } else { 0 }
    })
    .sum()
}

/// What `last` has more than `first` and may not have.
fn growth(first: &Count, last: &Count) -> Vec<String> {
    let mut grown = Vec::new();
    let mut limit = |what: &str, before: u64, now: u64, most: u64| {
        if now > most {
            grown.push(format!("{what}: {before}, then {now}"));
        }
    };
    let part = |value: u64, (spare, factor): (u64, f64)| {
        let scaled = (value as f64 * factor) as u64;
        scaled + spare
    };
    let (was, is) = (&first.held, &last.held);
    let most = was.descriptors + SPARE_DESCRIPTORS;
    limit("descriptors", was.descriptors, is.descriptors, most);
    limit(
        "threads",
        was.threads,
        is.threads,
        was.threads + SPARE_THREADS,
    );
    let most = part(was.private, SPARE_MEMORY);
    limit("private KiB", was.private, is.private, most);
    limit(
        "bytes of database",
        first.file,
        last.file,
        part(first.file, SPARE_FILE),
    );
    for (what, now) in &last.things {
        let before = first.things.get(what).copied().unwrap_or(0);
        limit(what, before, *now, before);
    }
    grown
}

/// What lives after the second half of the runs and did not before.
fn leak(middle: &Count, last: &Count) -> Option<String> {
    let (was, is) = (middle.held.live, last.held.live);
    let runs = last.runs.saturating_sub(middle.runs).max(1);
    let bytes = (is.saturating_sub(was) * 1024) / runs as u64;
    (is > was + SPARE_LIVE)
        .then(|| format!("live KiB: {was}, then {is}, which is {bytes} bytes for each run"))
}

fn table(counts: &[Count]) -> String {
    let column = |title: String, of: &dyn Fn(&Count) -> String| {
        let cells: Vec<String> = counts.iter().map(of).collect();
        format!("| {title} | {} |\n", cells.join(" | "))
    };
    let mut text = column("after runs".to_owned(), &|c| c.runs.to_string());
    text.push_str(&format!("|---|{}\n", "---|".repeat(counts.len())));
    text += &column("descriptors".into(), &|c| c.held.descriptors.to_string());
    text += &column("threads".into(), &|c| c.held.threads.to_string());
    text += &column("private KiB".into(), &|c| c.held.private.to_string());
    text += &column("live KiB".into(), &|c| c.held.live.to_string());
    text += &column("resident KiB".into(), &|c| c.held.resident.to_string());
    text += &column("bytes of database".into(), &|c| c.file.to_string());
    let names: std::collections::BTreeSet<&String> = counts
        .iter()
        .flat_map(|count| count.things.keys())
        .collect();
    for name in names {
        text += &column(name.clone(), &|c| {
            c.things.get(name).copied().unwrap_or(0).to_string()
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(descriptors: u64, mounts: u64, file: u64) -> Count {
        Count {
            runs: 1,
            held: Held {
                descriptors,
                threads: 5,
                private: 10_000,
                resident: 10_000,
                live: 1_000,
            },
            things: [("mounts".to_owned(), mounts)].into(),
            file,
        }
    }

    #[test]
    fn a_leak_is_what_lives() {
        let (middle, mut last) = (count(20, 7, 4 << 20), count(20, 7, 4 << 20));
        last.runs = 1025;
        last.held.live += SPARE_LIVE;
        assert_eq!(leak(&middle, &last), None);
        last.held.live += 256;
        let told = leak(&middle, &last).unwrap();
        assert!(
            told.ends_with("1000, then 1384, which is 384 bytes for each run"),
            "{told}"
        );
    }

    #[test]
    fn growth_is_named_and_spare_is_none() {
        let first = count(20, 7, 4 << 20);
        assert!(growth(&first, &count(28, 7, 7 << 20)).is_empty());
        let grown = growth(&first, &count(29, 8, 8 << 20));
        assert_eq!(
            grown,
            [
                "descriptors: 20, then 29",
                "bytes of database: 4194304, then 8388608",
                "mounts: 7, then 8"
            ]
        );
    }
}
