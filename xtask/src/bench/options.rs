//! What was asked for on the command line.

use std::ffi::OsString;

use anyhow::{Context, Result, bail};

use super::rounds::Rounds;
use super::{WARM, class};

/// Samples of each quick row without `--runs`: alone, beside peers, and with `--quick`.
const RUNS: [u32; 3] = [25, 15, 5];
/// More runs say nothing new.
const RUNS_MAX: u32 = 1000;
/// More do not fit on a machine that runs benchmarks.
const SEATS_MAX: u32 = 2000;

const USAGE: &str = "usage: cargo xtask bench [--runs N] [--peers] [--quick] [--rows NAME,…], with the names run, life, many, images, logs, phases, counts, instructions; or bench class [--seats N]";

/// Rows that are measured together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Group {
    Run,
    Life,
    Many,
    Images,
    Logs,
    Phases,
    Counts,
    Instructions,
}

impl Group {
    const ALL: [Self; 8] = [
        Self::Run,
        Self::Life,
        Self::Many,
        Self::Images,
        Self::Logs,
        Self::Phases,
        Self::Counts,
        Self::Instructions,
    ];

    /// As `--rows` takes it.
    fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Life => "life",
            Self::Many => "many",
            Self::Images => "images",
            Self::Logs => "logs",
            Self::Phases => "phases",
            Self::Counts => "counts",
            Self::Instructions => "instructions",
        }
    }
}

/// A whole run, unless it says less.
#[derive(Debug)]
pub struct Options {
    pub peers: bool,
    pub quick: bool,
    runs: Option<u32>,
    groups: Vec<Group>,
    /// As it was typed, for the report.
    pub typed: String,
}

impl Options {
    pub fn parse(arguments: &[OsString]) -> Result<Self> {
        let words = arguments.iter().map(|word| word.to_string_lossy());
        let mut options = Self {
            peers: false,
            quick: false,
            runs: None,
            groups: Group::ALL.to_vec(),
            typed: words.collect::<Vec<_>>().join(" "),
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.to_str() {
                Some("--peers") => options.peers = true,
                Some("--quick") => options.quick = true,
                Some("--runs") => {
                    let given = rest.next().and_then(|text| text.to_str()?.parse().ok());
                    let runs = given
                        .filter(|runs| (1..=RUNS_MAX).contains(runs))
                        .with_context(|| format!("--runs takes 1 to {RUNS_MAX}; {USAGE}"))?;
                    options.runs = Some(runs);
                }
                Some("--rows") => {
                    let names = rest.next().and_then(|text| text.to_str());
                    let names = names.with_context(|| format!("--rows takes names; {USAGE}"))?;
                    options.groups = names.split(',').map(group).collect::<Result<_>>()?;
                }
                _ => bail!("`bench` does not know {argument:?}; {USAGE}"),
            }
        }
        Ok(options)
    }

    pub fn wants(&self, group: Group) -> bool {
        self.groups.contains(&group)
    }

    /// Of the rows that take milliseconds.
    pub fn rounds(&self) -> Rounds {
        let [alone, beside, quick] = RUNS;
        let usual = match (self.quick, self.peers) {
            (true, _) => quick,
            (false, true) => beside,
            (false, false) => alone,
        };
        Rounds {
            warm: WARM,
            count: self.runs.unwrap_or(usual),
        }
    }
}

fn group(name: &str) -> Result<Group> {
    let known = Group::ALL.into_iter().find(|group| group.name() == name);
    known.with_context(|| format!("there are no rows `{name}`; {USAGE}"))
}

/// Of `bench class`.
pub fn seats(arguments: &[OsString]) -> Result<u32> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let parse = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            let options = Options::parse(&words).ok()?;
            Some((options.rounds().count, options.peers, options.groups.len()))
        };
        assert_eq!(parse(&[]), Some((25, false, 8)));
        assert_eq!(parse(&["--peers", "--runs", "3"]), Some((3, true, 8)));
        assert_eq!(
            parse(&["--quick", "--rows", "run,logs"]),
            Some((5, false, 2))
        );
        for wrong in [
            &["--runs"][..],
            &["--runs", "0"],
            &["--runs", "x"],
            &["--rows", "all"],
            &["-n"],
        ] {
            assert!(parse(wrong).is_none(), "{wrong:?}");
        }
        assert_eq!(seats(&[]).ok(), Some(class::SEATS));
        assert_eq!(seats(&["--seats".into(), "7".into()]).ok(), Some(7));
        assert!(seats(&["--seats".into(), "0".into()]).is_err());
    }
}
