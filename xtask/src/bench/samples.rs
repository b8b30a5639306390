//! Medians, and the table they stand in.

use std::fmt::Write as _;
use std::time::Duration;

/// Measured values of one thing.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn push(&mut self, value: f64) {
        let at = self.0.partition_point(|known| *known <= value);
        self.0.insert(at, value);
    }

    /// The middle value, or the mean of the two in the middle; `None` without values.
    pub fn median(&self) -> Option<f64> {
        let upper = self.0.get(self.0.len() / 2)?;
        let lower = self.0.get((self.0.len() - 1) / 2)?;
        Some(f64::midpoint(*lower, *upper))
    }

    /// `median [min-max]`, or a dash without values.
    pub fn cell(&self, decimals: usize) -> String {
        match (self.median(), self.0.first(), self.0.last()) {
            (Some(median), Some(least), Some(most)) => {
                format!("{median:.decimals$} [{least:.decimals$}-{most:.decimals$}]")
            }
            _ => "-".to_owned(),
        }
    }
}

/// Rows of times in milliseconds, a column for each client.
#[derive(Debug)]
pub struct Table {
    columns: Vec<String>,
    rows: Vec<(String, Vec<Samples>)>,
}

impl Table {
    pub fn new(columns: impl IntoIterator<Item = String>) -> Self {
        Self {
            columns: columns.into_iter().collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a time to a row, which is made at its first time, unless it does not count.
    pub fn add(&mut self, row: &str, column: usize, counts: bool, time: Duration) {
        if !counts {
            return;
        }
        let at = match self.rows.iter().position(|(name, _)| name == row) {
            Some(at) => at,
            None => {
                let empty = vec![Samples::default(); self.columns.len()];
                self.rows.push((row.to_owned(), empty));
                self.rows.len() - 1
            }
        };
        self.rows[at].1[column].push(time.as_secs_f64() * 1e3);
    }

    /// The table with the ratio of each column's median to the second one's, which is `berth`.
    pub fn markdown(&self) -> String {
        const BASE: usize = 1;
        let mut text = format!("| |{}\n|---|", heads(&self.columns));
        text.push_str(&"---|".repeat(self.columns.len()));
        text.push('\n');
        for (name, cells) in &self.rows {
            let base = cells.get(BASE).and_then(Samples::median);
            let _ = write!(text, "| `{name}` |");
            for (column, samples) in cells.iter().enumerate() {
                let _ = write!(text, " {}", samples.cell(1));
                if let (Some(base), Some(median)) = (base, samples.median())
                    && column != BASE
                {
                    let _ = write!(text, " x{:.1}", median / base);
                }
                text.push_str(" |");
            }
            text.push('\n');
        }
        text
    }
}

fn heads(columns: &[String]) -> String {
    columns.iter().fold(String::new(), |mut text, column| {
        let _ = write!(text, " {column} |");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_odd_and_even_numbers_of_values() {
        let mut samples = Samples::default();
        assert_eq!(samples.cell(1), "-");
        for value in [3.0, 1.0, 10.0] {
            samples.push(value);
        }
        assert_eq!(samples.cell(1), "3.0 [1.0-10.0]");
        samples.push(4.0);
        assert_eq!(samples.median(), Some(3.5));
    }

    #[test]
    fn a_table_has_ratios_to_berth_and_leaves_out_what_does_not_count() {
        let mut table = Table::new(["other", "berth", "absent"].map(str::to_owned));
        table.add("run", 0, false, Duration::from_millis(900));
        table.add("run", 0, true, Duration::from_millis(30));
        table.add("run", 1, true, Duration::from_millis(10));
        assert_eq!(
            table.markdown(),
            "| | other | berth | absent |\n|---|---|---|---|\n\
             | `run` | 30.0 [30.0-30.0] x3.0 | 10.0 [10.0-10.0] | - |\n"
        );
    }
}
