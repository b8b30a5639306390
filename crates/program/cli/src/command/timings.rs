//! `--timings`: where the time of a start went.

use std::fmt::Write as _;
use std::time::Instant;

use berth_api::berth::Timings;
use berth_console::table::columns;

/// The client's own phases as they pass, then the engine's within the last.
#[derive(Debug)]
pub struct Stopwatch {
    begun: Instant,
    last: Instant,
    phases: Vec<(&'static str, u128)>,
}

impl Stopwatch {
    /// A watch that starts now.
    pub fn start() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            last: now,
            phases: Vec::new(),
        }
    }

    /// Ends a phase, which began where the one before it ended.
    pub fn lap(&mut self, name: &'static str) {
        let now = Instant::now();
        self.phases
            .push((name, now.duration_since(self.last).as_micros()));
        self.last = now;
    }

    /// Prints the table on standard error.
    pub fn print(&self, engine: Option<&Timings>) {
        let total = self.last.duration_since(self.begun).as_micros();
        crate::say::note(&table(&self.phases, total, engine));
    }
}

/// The client's phases, of which the start is the last; the engine's stand below it, set in.
fn table(client: &[(&str, u128)], total: u128, engine: Option<&Timings>) -> String {
    let mut rows = vec![("PHASE".to_owned(), "MS".to_owned())];
    let mut add = |name: String, micros: u128| rows.push((name, milliseconds(micros)));
    for (name, micros) in client {
        add((*name).to_owned(), *micros);
    }
    for phase in engine.map(|t| t.phases.as_slice()).unwrap_or_default() {
        add(format!("  {}", phase.name), phase.us.into());
    }
    if let Some(timings) = engine {
        add("  engine in all".to_owned(), timings.total_us.into());
    }
    add("total".to_owned(), total);
    let cells: Vec<Vec<&str>> = rows
        .iter()
        .map(|(a, b)| vec![a.as_str(), b.as_str()])
        .collect();
    let mut text = columns(&cells);
    if engine.is_none() {
        let _ = writeln!(text, "(the engine did not say where its part went)");
    }
    text
}

fn milliseconds(micros: u128) -> String {
    format!("{}.{:03}", micros / 1000, micros % 1000)
}

#[cfg(test)]
mod tests {
    use berth_api::berth::{TimingPhase, Timings};

    use super::table;

    #[test]
    fn the_engines_phases_stand_below_the_start() {
        let engine = Timings {
            total_us: 5123,
            phases: vec![TimingPhase {
                name: "clone".to_owned(),
                us: 900,
            }],
        };
        assert_eq!(
            table(&[("connect", 150), ("start", 6001)], 6151, Some(&engine)),
            "PHASE             MS\n\
             connect           0.150\n\
             start             6.001\n  \
               clone           0.900\n  \
               engine in all   5.123\n\
             total             6.151\n"
        );
    }
}
