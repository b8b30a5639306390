//! `cargo xtask calls [--write]`: the system calls of a start and the like against those that
//! are committed, so that a start that has become longer shows on any machine.
//!
//! They are counted with nothing made ahead: what is made ahead is made at times that differ.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use berth_testkit::{Engine, EngineBuilder};

use super::counts::{self, OPERATIONS};
use super::switches;
use crate::counts::Counts;

/// Lines of hierarchies, operation, calls; of one kind of machine each.
const FILE: &str = "dev/start-counts.tsv";
const HEAD: &str = "# System calls of one operation, engine, monitor and init together, without those that only wait.\n\
    # Written by `cargo xtask calls --write`; `cargo xtask ci` fails where they have grown by more than a tenth.\n\
    # control groups\toperation\tcalls\n";
/// What a count may be above the committed one: a tenth, and a few calls that come and go.
const GROWTH_DIVISOR: u64 = 10;
const GROWTH: u64 = 4;

/// One line of the file.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    hierarchies: String,
    operation: String,
    calls: u64,
}

/// A part of `ci`.
pub fn check(root: &Path) -> Result<Counts> {
    super::build(root)?;
    let hierarchies = hierarchies()?;
    let known = read(root)?;
    let known: Vec<Line> = known
        .into_iter()
        .filter(|line| line.hierarchies == hierarchies)
        .collect();
    if known.is_empty() {
        println!("{FILE} has no counts for {hierarchies}: `cargo xtask calls --write` adds them");
        return Ok(Counts {
            skipped: OPERATIONS.len() as u64,
            ..Counts::default()
        });
    }
    let found = measured(&hierarchies)?;
    Ok(compare(&known, &found))
}

/// Counts anew, and writes the lines of this kind of machine; those of others stay.
pub fn write(root: &Path) -> Result<bool> {
    super::build(root)?;
    let hierarchies = hierarchies()?;
    let mut lines = read(root)?;
    lines.retain(|line| line.hierarchies != hierarchies);
    lines.extend(measured(&hierarchies)?);
    let mut text = HEAD.to_owned();
    for line in &lines {
        let Line {
            hierarchies,
            operation,
            calls,
        } = line;
        let _ = writeln!(text, "{hierarchies}\t{operation}\t{calls}");
    }
    fs::write(root.join(FILE), text).with_context(|| format!("writing {FILE}"))?;
    Ok(true)
}

fn compare(known: &[Line], found: &[Line]) -> Counts {
    let mut counts = Counts::default();
    for line in found {
        let Line {
            operation, calls, ..
        } = line;
        let before = known.iter().find(|one| one.operation == *operation);
        let held =
            before.is_some_and(|one| *calls <= one.calls + one.calls / GROWTH_DIVISOR + GROWTH);
        let before = before.map_or_else(|| "none".to_owned(), |one| one.calls.to_string());
        let verdict = if held { "" } else { "  TOO MANY" };
        println!("{operation:<16} {calls:>6} system calls, committed: {before}{verdict}");
        counts = counts.plus(Counts::of_step(held));
    }
    counts
}

fn measured(hierarchies: &str) -> Result<Vec<Line>> {
    let switches = switches()?;
    let switches: Vec<&str> = switches.iter().map(String::as_str).collect();
    let engine: Engine = EngineBuilder::new().network().args(&switches).start();
    engine.import_busybox();
    let counts = counts::of(&engine)?;
    let lines = OPERATIONS
        .iter()
        .zip(&counts.rows)
        .map(|(operation, row)| Line {
            hierarchies: hierarchies.to_owned(),
            operation: (*operation).to_owned(),
            calls: row.sum(),
        });
    Ok(lines.collect())
}

/// The number of control group hierarchies: a start joins each of them.
fn hierarchies() -> Result<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("reading the mounts")?;
    let count = |kind: &str| {
        let lines = mounts.lines().filter_map(|line| line.split_once(" - "));
        lines
            .filter(|(_, after)| after.split(' ').next() == Some(kind))
            .count()
    };
    Ok(format!("{} v1, {} v2", count("cgroup"), count("cgroup2")))
}

fn read(root: &Path) -> Result<Vec<Line>> {
    let text = fs::read_to_string(root.join(FILE)).with_context(|| format!("reading {FILE}"))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<Line>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
            [hierarchies, operation, calls] => Ok(Line {
                hierarchies: hierarchies.to_owned(),
                operation: operation.to_owned(),
                calls: calls.parse().with_context(|| format!("{FILE}: {line}"))?,
            }),
            _ => bail!("{FILE}: no three columns: {line}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_tenth_and_a_few_is_too_many() {
        let line = |operation: &str, calls| Line {
            hierarchies: "9 v1, 1 v2".to_owned(),
            operation: operation.to_owned(),
            calls,
        };
        let known = [line("start", 100), line("rm", 10)];
        let text = format!("{HEAD}9 v1, 1 v2\tstart\t100\n9 v1, 1 v2\trm\t10\n");
        assert_eq!(parse(&text).ok().as_deref(), Some(&known[..]));
        assert!(parse("a\tb\n").is_err());
        for (found, failed) in [
            ([line("start", 114), line("rm", 15)], 0),
            ([line("start", 115), line("rm", 9)], 1),
            ([line("start", 50), line("new", 1)], 1),
        ] {
            assert_eq!(compare(&known, &found).failed, failed, "{found:?}");
        }
    }
}
