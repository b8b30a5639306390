//! Medians, and the table they stand in.

use std::fmt::Write as _;

/// With as many values the outermost tenths are left out of the range.
const TENTHS: usize = 10;

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

    /// The least and the most of the middle eight tenths, or of all where they are few.
    fn range(&self) -> Option<(f64, f64)> {
        let cut = if self.0.len() >= TENTHS {
            self.0.len() / TENTHS
        } else {
            0
        };
        let least = self.0.get(cut)?;
        let most = self.0.get(self.0.len() - 1 - cut)?;
        Some((*least, *most))
    }

    /// `median [p10-p90]`, one value by itself, or a dash without values.
    pub fn cell(&self, decimals: usize) -> String {
        match (self.median(), self.range()) {
            (Some(median), _) if self.0.len() == 1 => format!("{median:.decimals$}"),
            (Some(median), Some((least, most))) => {
                format!("{median:.decimals$} [{least:.decimals$}-{most:.decimals$}]")
            }
            _ => "-".to_owned(),
        }
    }
}

/// What a row counts in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    Milliseconds,
    Seconds,
    /// MiB a second: the only one of which more is better.
    Throughput,
}

impl Unit {
    fn decimals(self) -> usize {
        match self {
            Self::Milliseconds => 1,
            Self::Seconds => 2,
            Self::Throughput => 0,
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Milliseconds => "",
            Self::Seconds => ", s",
            Self::Throughput => ", MiB/s",
        }
    }

    fn is_better(self, left: f64, right: f64) -> bool {
        match self {
            Self::Throughput => left > right,
            Self::Milliseconds | Self::Seconds => left < right,
        }
    }
}

/// Rows of figures, a column for each way of asking an engine.
#[derive(Debug)]
pub struct Table {
    columns: Vec<String>,
    rows: Vec<(String, Unit, Vec<Samples>)>,
}

impl Table {
    pub fn new(columns: impl IntoIterator<Item = String>) -> Self {
        Self {
            columns: columns.into_iter().collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a value to a row, which is made at its first value.
    pub fn add(&mut self, row: &str, unit: Unit, column: usize, value: f64) {
        let at = match self.rows.iter().position(|(name, _, _)| name == row) {
            Some(at) => at,
            None => {
                let empty = vec![Samples::default(); self.columns.len()];
                self.rows.push((row.to_owned(), unit, empty));
                self.rows.len() - 1
            }
        };
        self.rows[at].2[column].push(value);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The given columns, with the ratio of each median to that of the first one of them. What
    /// is better than the first stands in bold.
    pub fn markdown(&self, columns: &[usize]) -> String {
        let mut text = "| |".to_owned();
        for column in columns {
            let _ = write!(text, " {} |", self.columns[*column]);
        }
        let _ = writeln!(text, "\n|---|{}", "---|".repeat(columns.len()));
        for (name, unit, cells) in &self.rows {
            if columns.iter().all(|column| cells[*column].0.is_empty()) {
                continue;
            }
            let base = columns.first().and_then(|column| cells[*column].median());
            let _ = write!(text, "| `{name}`{} |", unit.suffix());
            for (number, column) in columns.iter().enumerate() {
                let _ = write!(text, " {}", cells[*column].cell(unit.decimals()));
                if let (Some(base), Some(median)) = (base, cells[*column].median())
                    && number > 0
                {
                    let mark = if unit.is_better(median, base) {
                        "**"
                    } else {
                        ""
                    };
                    let _ = write!(text, " {mark}x{:.2}{mark}", median / base);
                }
                text.push_str(" |");
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_range() {
        let mut samples = Samples::default();
        assert_eq!(samples.cell(1), "-");
        samples.push(3.0);
        assert_eq!(samples.cell(1), "3.0");
        for value in [1.0, 10.0] {
            samples.push(value);
        }
        assert_eq!(samples.cell(1), "3.0 [1.0-10.0]");
        samples.push(4.0);
        assert_eq!(samples.median(), Some(3.5));
        for _ in 0..6 {
            samples.push(4.0);
        }
        assert_eq!(samples.cell(0), "4 [3-4]");
    }

    #[test]
    fn a_table_has_ratios_to_its_first_column() {
        let columns = ["berth", "other", "hidden", "absent"];
        let mut table = Table::new(columns.map(str::to_owned));
        table.add("run", Unit::Milliseconds, 1, 30.0);
        table.add("run", Unit::Milliseconds, 0, 10.0);
        table.add("load", Unit::Throughput, 0, 100.0);
        table.add("load", Unit::Throughput, 1, 150.0);
        table.add("not here", Unit::Seconds, 2, 1.0);
        assert_eq!(
            table.markdown(&[0, 1, 3]),
            "| | berth | other | absent |\n|---|---|---|---|\n\
             | `run` | 10.0 | 30.0 x3.00 | - |\n\
             | `load`, MiB/s | 100 | 150 **x1.50** | - |\n"
        );
    }
}
