//! What the engine and its monitors hold, from `/proc/PID/smaps_rollup`.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, bail};
use berth_testkit::Engine;

use super::samples::Samples;

/// The monitor as it shows in a list of processes.
const MONITOR: &str = "berth-shim";
const KIB_PER_MIB: f64 = 1024.0;

/// Memory of one process in MiB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    /// Its own pages, and its share of those that several processes map.
    proportional: f64,
    /// Pages that nobody else maps: what its end would free.
    private: f64,
    /// Every page it maps, however many others do too.
    resident: f64,
}

/// While containers run that do nothing.
#[derive(Debug)]
pub struct Idle {
    containers: u32,
    engine_before: Memory,
    engine: Memory,
    proportional: Samples,
    private: Samples,
    resident: Samples,
}

impl Idle {
    /// Looks at the engine and at the monitors of its `containers` running containers.
    pub fn measure(engine: &Engine, containers: u32, engine_before: Memory) -> Result<Self> {
        let id = engine.id().context("the engine runs")?;
        let mut idle = Self {
            containers,
            engine_before,
            engine: of_process(id)?,
            proportional: Samples::default(),
            private: Samples::default(),
            resident: Samples::default(),
        };
        let mut monitors = 0;
        for (process, line) in engine.processes() {
            if process != id && line.contains(MONITOR) {
                let memory = of_process(process)?;
                idle.proportional.push(memory.proportional);
                idle.private.push(memory.private);
                idle.resident.push(memory.resident);
                monitors += 1;
            }
        }
        if monitors != containers {
            bail!(
                "{containers} containers run, with {monitors} monitors: {:#?}",
                engine.processes()
            );
        }
        Ok(idle)
    }
}

/// The memory of a process as the kernel adds it up.
pub fn of_process(id: u32) -> Result<Memory> {
    let path = format!("/proc/{id}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    parse(&text).with_context(|| format!("{path} lacks a line:\n{text}"))
}

fn parse(text: &str) -> Option<Memory> {
    let of = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        let number = line.trim().strip_suffix("kB")?.trim();
        Some(number.parse::<f64>().ok()? / KIB_PER_MIB)
    };
    Some(Memory {
        proportional: of("Pss:")?,
        private: of("Private_Clean:")? + of("Private_Dirty:")?,
        resident: of("Rss:")?,
    })
}

/// The rows of both.
pub fn markdown(fresh: Memory, idle: &Idle) -> String {
    let mut text = "| | PSS | private | RSS |\n|---|---|---|---|\n".to_owned();
    for (name, memory) in [
        ("`berthd`, freshly started", fresh),
        ("`berthd` after the runs above", idle.engine_before),
        (
            &format!("`berthd` with {} running", idle.containers),
            idle.engine,
        ),
    ] {
        let Memory {
            proportional,
            private,
            resident,
        } = memory;
        let _ = writeln!(
            text,
            "| {name} | {proportional:.1} | {private:.1} | {resident:.1} |"
        );
    }
    let _ = writeln!(
        text,
        "| monitor of an idle container, {} running | {} | {} | {} |",
        idle.containers,
        idle.proportional.cell(2),
        idle.private.cell(2),
        idle.resident.cell(2)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_sums() {
        let text = "400000-7ff rollup\nRss:  4096 kB\nPss:   2048 kB\nPss_Dirty:  8 kB\n\
            Private_Clean:   512 kB\nPrivate_Dirty:   256 kB\n";
        assert_eq!(
            parse(text),
            Some(Memory {
                proportional: 2.0,
                private: 0.75,
                resident: 4.0
            })
        );
        assert_eq!(parse("Rss: 1 kB\n"), None);
    }

    #[test]
    fn our_own() {
        let own = of_process(std::process::id()).unwrap();
        assert!(
            own.private > 0.0 && own.proportional >= own.private,
            "{own:?}"
        );
    }
}
