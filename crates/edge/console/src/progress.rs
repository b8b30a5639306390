//! A bar for work of known size.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::terminal::{Stream, is_terminal, size};

/// How often the bar is drawn at most; every step of a large class would be wasted on a terminal.
const REDRAW_INTERVAL: Duration = Duration::from_millis(50);

/// The widest a bar becomes.
const BAR_COLUMNS_MAX: usize = 40;

/// A bar on standard error: `Starting boxes [=====>    ] 12/100 (1 failed)`. Nothing is shown
/// where standard error is no terminal. It is erased when it is dropped.
#[derive(Debug)]
pub struct Progress {
    what: String,
    total: usize,
    done: usize,
    failed: usize,
    drawn: Option<Instant>,
    shown: bool,
}

impl Progress {
    /// A bar for `total` pieces of `what`, such as `Starting boxes`.
    pub fn new(what: impl Into<String>, total: usize) -> Self {
        let mut progress = Self {
            what: what.into(),
            total,
            done: 0,
            failed: 0,
            drawn: None,
            shown: is_terminal(Stream::Stderr) && total > 0,
        };
        progress.draw();
        progress
    }

    /// One more piece is done, well or not.
    pub fn step(&mut self, well: bool) {
        self.done += 1;
        self.failed += usize::from(!well);
        let due = self.drawn.is_none_or(|at| at.elapsed() >= REDRAW_INTERVAL);
        if due || self.done >= self.total {
            self.draw();
        }
    }

    fn draw(&mut self) {
        if !self.shown {
            return;
        }
        self.drawn = Some(Instant::now());
        let columns = size().map_or(80, |size| usize::from(size.columns));
        let line = line(&self.what, self.done, self.total, self.failed, columns);
        // A bar that cannot be drawn is no reason to stop the work.
        let _ = write!(io::stderr(), "\r\x1b[K{line}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            // As above.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(what: &str, done: usize, total: usize, failed: usize, columns: usize) -> String {
    let mut counts = format!("{done}/{total}");
    if failed > 0 {
        counts.push_str(&format!(" ({failed} failed)"));
    }
    // Brackets, two blanks, and the last column, which would wrap.
    let taken = what.chars().count() + counts.len() + 5;
    let width = columns.saturating_sub(taken).min(BAR_COLUMNS_MAX);
    let full = (width * done.min(total)).checked_div(total).unwrap_or(0);
    let mut bar = "=".repeat(full);
    if full < width {
        bar.push('>');
    }
    let text = match width {
        0 => format!("{what} {counts}"),
        _ => format!("{what} [{bar:<width$}] {counts}"),
    };
    text.chars().take(columns.saturating_sub(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn the_bar_fits_and_fills() {
        assert_eq!(line("Go", 0, 4, 0, 20), "Go [>         ] 0/4");
        assert_eq!(line("Go", 2, 4, 1, 31), "Go [=====>    ] 2/4 (1 failed)");
        assert_eq!(line("Go", 4, 4, 0, 20), "Go [==========] 4/4");
        assert_eq!(line("Starting", 1, 2, 0, 8), "Startin");
        for columns in 0..120 {
            let text = line("Starting boxes", 7, 100, 3, columns);
            assert!(text.chars().count() < columns.max(1), "{columns}: {text}");
        }
    }
}
