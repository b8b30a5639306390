//! What a run has found, as Markdown that can stand in `docs/benchmarks.md` as it is.

use std::fmt::Write as _;

use super::counts::{self, Counts};
use super::driver::Column;
use super::instructions;
use super::memory::Account;
use super::options::Options;
use super::phases::{self, Phases};
use super::rounds::Bench;

pub struct Report<'a> {
    pub options: &'a Options,
    pub machine: String,
    /// Load averages before and after.
    pub load: (String, String),
    /// Their versions, in a run beside peers.
    pub peers: Option<String>,
    /// The flags with which nothing is made ahead.
    pub ahead: Vec<String>,
    pub bench: &'a Bench,
    pub account: &'a Account,
    /// Without a network, and on the bridge.
    pub phases: Option<[Phases; 2]>,
    /// Of Berth's engine, then of the one without anything made ahead.
    pub counts: Vec<Counts>,
    /// With nothing made ahead.
    pub instructions: Vec<instructions::Row>,
}

impl Report<'_> {
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "`cargo xtask bench {}`. {}\nLoad average before {}, after {}.\n",
            self.options.typed, self.machine, self.load.0, self.load.1
        );
        text.push_str(self.peers.as_deref().unwrap_or_default());
        if !self.ahead.is_empty() {
            let _ = writeln!(text, "Pools empty: `berthd {}`.", self.ahead.join(" "));
        }
        let _ = writeln!(
            text,
            "n = {} (one for sums, few for megabytes); ms unless said, median [p10-p90] (of fewer \
             than ten: [min-max]); x = ratio to the first column, bold where the first one is \
             worse. All columns of both tables were measured in turn, in changing order.",
            self.options.rounds().count
        );
        self.figures(
            "Each engine by its own command line",
            Column::is_command,
            &mut text,
        );
        self.figures(
            "All engines by one client of the API",
            |column| !column.is_command(),
            &mut text,
        );
        heading("Memory, MiB: PSS (private)", &mut text);
        text.push_str(&self.account.markdown());
        if let Some([none, bridge]) = &self.phases {
            heading(
                "Where a start goes (`berth run --rm --timings`), ms",
                &mut text,
            );
            text.push_str(&phases::markdown([("none", none), ("bridge", bridge)]));
        }
        for (counts, label) in self.counts.iter().zip(["", ", pools empty"]) {
            heading(&format!("System calls{label}"), &mut text);
            text.push_str(&counts::markdown(counts));
        }
        if !self.instructions.is_empty() {
            heading(
                "User instructions, thousands, with nothing made ahead",
                &mut text,
            );
            text.push_str(&instructions::markdown(&self.instructions));
        }
        if !self.bench.notes.is_empty() {
            heading("What failed", &mut text);
            for note in &self.bench.notes {
                let _ = writeln!(text, "- {note}");
            }
        }
        text
    }

    fn figures(&self, title: &str, wanted: impl Fn(&Column) -> bool, text: &mut String) {
        let columns = self.bench.which(wanted);
        if !self.bench.table.is_empty() {
            heading(title, text);
            text.push_str(&self.bench.table.markdown(&columns));
        }
    }
}

fn heading(title: &str, text: &mut String) {
    let _ = writeln!(text, "\n### {title}\n");
}
