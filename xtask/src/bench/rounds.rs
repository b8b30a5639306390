//! Measuring all columns in turn, so that a busy moment of the machine meets all of them.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::driver::Column;
use super::samples::{Table, Unit};

/// Before each sample: what the one before it left to be done after its answer is then mostly
/// done, and not in the next one's time.
const SETTLE: Duration = Duration::from_millis(25);

/// A failure is shown up to this length.
const NOTE_MAX: usize = 300;

/// A value for a row.
pub struct Figure {
    row: String,
    unit: Unit,
    value: f64,
}

impl Figure {
    pub fn milliseconds(row: &str, time: Duration) -> Self {
        Self {
            row: row.to_owned(),
            unit: Unit::Milliseconds,
            value: time.as_secs_f64() * 1e3,
        }
    }

    pub fn seconds(row: &str, time: Duration) -> Self {
        Self {
            row: row.to_owned(),
            unit: Unit::Seconds,
            value: time.as_secs_f64(),
        }
    }

    /// `bytes` in `time`.
    pub fn throughput(row: &str, bytes: u64, time: Duration) -> Self {
        const MEBIBYTE: f64 = 1024.0 * 1024.0;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let bytes = bytes as f64;
        Self {
            row: row.to_owned(),
            unit: Unit::Throughput,
            value: bytes / MEBIBYTE / time.as_secs_f64(),
        }
    }
}

/// How often, after how many rounds that only warm up.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    pub warm: u32,
    pub count: u32,
}

/// The columns, and what has been measured so far.
pub struct Bench {
    pub columns: Vec<Column>,
    pub table: Table,
    /// What failed: an engine that fails has no further samples of that measure.
    pub notes: Vec<String>,
    /// Behind this no further round is begun; see [`Bench::until`].
    end: Instant,
    dice: Dice,
}

impl Bench {
    pub fn new(columns: Vec<Column>) -> Self {
        let names = columns.iter().map(|column| column.label.clone());
        Self {
            table: Table::new(names),
            columns,
            notes: Vec::new(),
            end: Instant::now(),
            dice: Dice(0x2545_f491_4f6c_dd1d),
        }
    }

    /// Sets the time behind which no further round is begun. What is done only once is done
    /// also then.
    pub fn until(&mut self, end: Instant) {
        self.end = end;
    }

    /// The columns for which `wanted` holds.
    pub fn which(&self, wanted: impl Fn(&Column) -> bool) -> Vec<usize> {
        let columns = self.columns.iter().enumerate();
        columns
            .filter(|(_, column)| wanted(column))
            .map(|(number, _)| number)
            .collect()
    }

    /// Calls `measure` with each of the `members` in each round, in an order that changes from
    /// round to round: nobody always comes behind the same neighbour.
    pub fn rounds(
        &mut self,
        what: &str,
        members: &[usize],
        rounds: Rounds,
        mut measure: impl FnMut(&Column, usize, u32) -> Result<Vec<Figure>>,
    ) {
        eprintln!("bench: {what}");
        let mut members = members.to_vec();
        for round in 0..rounds.warm + rounds.count {
            let all = rounds.warm + rounds.count;
            if all > 1 && Instant::now() > self.end {
                let missing = all - round;
                self.note(format!("{what}: no time was left for {missing} rounds"));
                return;
            }
            self.dice.shuffle(&mut members);
            let mut failed = Vec::new();
            for member in &members {
                let column = &self.columns[*member];
                pause();
                match measure(column, *member, round) {
                    Ok(figures) if round >= rounds.warm => {
                        for figure in figures {
                            self.table
                                .add(&figure.row, figure.unit, *member, figure.value);
                        }
                    }
                    Ok(_) => {}
                    Err(error) => {
                        let note = format!("{what}: {}: {error:#}", column.label);
                        self.note(note);
                        failed.push(*member);
                    }
                }
            }
            members.retain(|member| !failed.contains(member));
        }
    }

    /// What fails is noted: it is no reason to lose what has been measured.
    pub fn attempt<T>(&mut self, what: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        match work() {
            Ok(done) => Some(done),
            Err(error) => {
                self.note(format!("{what}: {error:#}"));
                None
            }
        }
    }

    /// Says it at once, and again in the report.
    fn note(&mut self, note: String) {
        eprintln!("bench: {note}");
        let note: String = note.chars().take(NOTE_MAX).collect();
        self.notes.push(note.replace('\n', " "));
    }

    /// One value, measured elsewhere.
    pub fn add(&mut self, column: usize, figure: &Figure) {
        self.table
            .add(&figure.row, figure.unit, column, figure.value);
    }
}

/// Waits [`SETTLE`], for nothing in particular.
fn pause() {
    let (sender, receiver) = mpsc::channel::<()>();
    // Nobody sends: the wait always ends by its limit.
    let _ = receiver.recv_timeout(SETTLE);
    drop(sender);
}

/// Marsaglia's xorshift: the same orders in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % below.max(1)
    }

    fn shuffle(&mut self, values: &mut [usize]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.next(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_differ_and_lose_nobody() {
        let mut dice = Dice(1);
        let mut firsts = [false; 4];
        for _ in 0..100 {
            let mut order = [0, 1, 2, 3];
            dice.shuffle(&mut order);
            firsts[order[0]] = true;
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2, 3]);
        }
        assert_eq!(firsts, [true; 4]);
    }
}
