//! The table that `berth run --timings` prints, over many runs.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::samples::Samples;

/// The engine's whole part of a start.
const ENGINE: &str = "engine in all";
/// The launch as the engine sees it; what the monitor and the container's init measure lies in it.
const MONITOR: &str = "engine: monitor";
/// Phases that the engine measures itself, whose names begin so.
const OF_ENGINE: &str = "engine: ";

/// One line of the printed table.
#[derive(Debug, PartialEq)]
struct Line {
    name: String,
    milliseconds: f64,
    /// Whether it stands below the client's `start`.
    inner: bool,
}

/// Samples by phase, in the order of the first run.
#[derive(Debug, Default)]
pub struct Phases {
    rows: Vec<(String, Samples)>,
}

impl Phases {
    /// Takes in one run's table, with what lies between the phases as phases of their own.
    pub fn add(&mut self, printed: &str) -> Result<()> {
        let lines = parse(printed);
        let of = |name: &str| {
            let found = lines.iter().find(|line| line.name == name);
            found
                .map(|line| line.milliseconds)
                .with_context(|| format!("`berth run --timings` printed no `{name}`:\n{printed}"))
        };
        let engine = of(ENGINE)?;
        let monitor = of(MONITOR)?;
        let (start, total) = (of("start")?, of("total")?);
        let inner = lines
            .iter()
            .filter(|line| line.inner && line.name != ENGINE);
        let (own, container): (Vec<&Line>, Vec<&Line>) =
            inner.partition(|line| line.name.starts_with(OF_ENGINE));
        let sum = |lines: &[&Line]| lines.iter().map(|line| line.milliseconds).sum::<f64>();

        let outer = lines.iter().filter(|line| !line.inner);
        for line in outer.filter(|line| !["start", "total"].contains(&line.name.as_str())) {
            self.push(&format!("client: {}", line.name), line.milliseconds);
        }
        self.push("client: start, without the engine's part", start - engine);
        for line in own.iter().filter(|line| line.name != MONITOR) {
            self.push(&line.name, line.milliseconds);
        }
        for line in &container {
            self.push(&format!("container: {}", line.name), line.milliseconds);
        }
        self.push(
            "engine: spawning the monitor, and its answer",
            monitor - sum(&container),
        );
        self.push("engine: actor and records", engine - sum(&own));
        self.push("**start, engine's part**", engine);
        self.push("**total, until the start is answered**", total);
        Ok(())
    }

    fn push(&mut self, name: &str, value: f64) {
        let at = match self.rows.iter().position(|(known, _)| known == name) {
            Some(at) => at,
            None => {
                self.rows.push((name.to_owned(), Samples::default()));
                self.rows.len() - 1
            }
        };
        self.rows[at].1.push(value);
    }

    fn cell(&self, name: &str) -> String {
        let found = self.rows.iter().find(|(known, _)| known == name);
        found.map_or_else(|| "-".to_owned(), |(_, samples)| samples.cell(2))
    }
}

/// The phases of the first in their order with a column for each, then their sums, then what
/// was measured as a whole.
pub fn markdown<const N: usize>(columns: [(&str, &Phases); N]) -> String {
    let heads = columns.map(|(head, _)| head).join(" | ");
    let mut text = format!("| phase | {heads} |\n|---|{}\n", "---|".repeat(N));
    let whole = |name: &str| name.starts_with("**");
    let mut names: Vec<&str> = Vec::new();
    for (_, phases) in columns {
        for (name, _) in &phases.rows {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    let mut row = |name: &str, cells: [String; N]| {
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    };
    for name in names.iter().filter(|name| !whole(name)) {
        row(name, columns.map(|(_, phases)| phases.cell(name)));
    }
    let sums = columns.map(|(_, phases)| {
        let parts = phases.rows.iter().filter(|(name, _)| !whole(name));
        let sum: f64 = parts
            .filter_map(|(_, samples)| samples.median())
            .fold(0.0, |sum, one| sum + one);
        format!("{sum:.2}")
    });
    row("sum of these medians", sums);
    for name in names.iter().filter(|name| whole(name)) {
        row(name, columns.map(|(_, phases)| phases.cell(name)));
    }
    text
}

/// The lines that end in a number. A line that repeats the one before it says nothing new.
fn parse(printed: &str) -> Vec<Line> {
    let lines = printed.lines().filter_map(|line| {
        let (name, number) = line.trim_end().rsplit_once(' ')?;
        Some(Line {
            name: name.trim().to_owned(),
            milliseconds: number.parse().ok()?,
            inner: line.starts_with(' '),
        })
    });
    let mut lines: Vec<Line> = lines.collect();
    lines.dedup();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_become_phases() {
        let printed = "PHASE             MS\n\
            connect           1.000\n\
            start             20.000\n  \
              engine: files     2.000\n  \
              engine: monitor   12.000\n  \
              cgroup            3.000\n  \
              clone             4.000\n  \
              engine in all     17.000\n\
            total             21.000\n";
        let mut phases = Phases::default();
        phases.add(printed).unwrap();
        let found: Vec<(&str, f64)> = phases
            .rows
            .iter()
            .map(|(name, samples)| (name.as_str(), samples.median().unwrap()))
            .collect();
        assert_eq!(
            found,
            [
                ("client: connect", 1.0),
                ("client: start, without the engine's part", 3.0),
                ("engine: files", 2.0),
                ("container: cgroup", 3.0),
                ("container: clone", 4.0),
                ("engine: spawning the monitor, and its answer", 5.0),
                ("engine: actor and records", 3.0),
                ("**start, engine's part**", 17.0),
                ("**total, until the start is answered**", 21.0),
            ]
        );
        let other = Phases::default();
        let table = markdown([("one", &phases), ("other", &other)]);
        assert!(table.contains("| sum of these medians | 21.00 | 0.00 |"));
        assert!(table.contains("| client: connect | 1.00 | - |"));
        assert!(phases.add("PHASE MS\n").is_err());
    }
}
