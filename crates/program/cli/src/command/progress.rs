//! What the engine says while it works: a line for each layer on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::fmt::Write as _;

use berth_api::client::ProgressStream;
use berth_api::{ProgressDetail, ProgressMessage};
use berth_console::{Stream, terminal};

use crate::engine::refused;
use crate::exit::Exit;
use crate::format::human;
use crate::say;

/// Bars are drawn on terminals at least this wide.
const BAR_FROM_COLUMNS: u16 = 110;
/// Width of a bar.
const BAR_COLUMNS: i64 = 50;

/// Where the messages go.
#[derive(Debug)]
pub struct Display {
    stream: Stream,
    /// The terminal's width; `None` where there is none.
    columns: Option<u16>,
    /// The line of every object that has one, counted from the first.
    lines: HashMap<String, usize>,
}

impl Display {
    /// A display on standard output or standard error.
    pub fn new(stream: Stream) -> Self {
        let columns =
            terminal::is_terminal(stream).then(|| terminal::size().map_or(80, |size| size.columns));
        Self {
            stream,
            columns,
            lines: HashMap::new(),
        }
    }

    /// Shows every message of a stream.
    ///
    /// # Errors
    /// The stream broke, or ended with the engine's failure.
    pub async fn all(&mut self, stream: &mut ProgressStream) -> Result<(), Exit> {
        while let Some(message) = stream.next().await.map_err(|e| refused(&e))? {
            if let Some(failure) = message.failed() {
                return Err(Exit::failed(failure));
            }
            let text = self.draw(&message);
            match self.stream {
                Stream::Stderr => say::note(&text),
                _ => say::out(&text),
            }
        }
        Ok(())
    }

    /// The text for one message, with what moves the cursor to its line and back.
    fn draw(&mut self, message: &ProgressMessage) -> String {
        let moving = message.progress_detail.is_some() || message.progress.is_some();
        let Some(columns) = self.columns else {
            return plain(message);
        };
        let id = message.id.as_deref().unwrap_or_default();
        let mut out = String::new();
        let mut up = 0;
        if moving && !id.is_empty() {
            let next = self.lines.len();
            let line = *self.lines.entry(id.to_owned()).or_insert_with(|| {
                out.push('\n');
                next
            });
            up = self.lines.len() - line;
            let _ = write!(out, "\x1b[{up}A");
        } else {
            // What follows begins a part of its own.
            self.lines.clear();
        }
        if moving {
            out.push_str("\x1b[2K\r");
        }
        if !id.is_empty() {
            let _ = write!(out, "{id}: ");
        }
        let status = message.status.as_deref().unwrap_or_default();
        match (&message.progress_detail, &message.stream) {
            (Some(detail), _) => {
                let _ = write!(out, "{status} {}\r", bar(detail, columns));
            }
            (None, Some(text)) => out.push_str(text),
            (None, None) => {
                let _ = writeln!(out, "{status}");
                up = up.saturating_sub(1);
            }
        }
        if up > 0 {
            let _ = write!(out, "\x1b[{up}B");
        }
        out
    }
}

/// Without a terminal only results are shown, not how far they are.
fn plain(message: &ProgressMessage) -> String {
    let known = |detail: &ProgressDetail| !bar(detail, 0).is_empty();
    if message.progress_detail.as_ref().is_some_and(known) {
        return String::new();
    }
    let mut out = String::new();
    if let Some(id) = message.id.as_deref().filter(|id| !id.is_empty()) {
        let _ = write!(out, "{id}: ");
    }
    match &message.stream {
        Some(text) if !text.is_empty() => out.push_str(text),
        _ => {
            let _ = writeln!(out, "{}", message.status.as_deref().unwrap_or_default());
        }
    }
    out
}

/// How far something is: `[=====>    ]  1.2MB/3.4MB`, or as much of it as is known.
fn bar(detail: &ProgressDetail, columns: u16) -> String {
    let (current, total) = (detail.current.unwrap_or(0), detail.total.unwrap_or(0));
    let size = |bytes| human::decimal_size(bytes, 4);
    if current <= 0 && total <= 0 {
        return String::new();
    }
    if total <= 0 {
        return format!("{:>8}", size(current));
    }
    let share = (current.saturating_mul(100) / total).clamp(0, 100) / 2;
    let mut out = String::new();
    if columns > BAR_FROM_COLUMNS {
        let full = "=".repeat(usize::try_from(share).unwrap_or(0));
        let arrow = if share < BAR_COLUMNS { ">" } else { "" };
        let rest = usize::try_from(BAR_COLUMNS - share - 1).unwrap_or(0);
        let _ = write!(out, "[{full}{arrow}{:rest$}]  ", "");
    }
    let numbers = match current > total {
        true => format!("{:>8}", size(current)),
        false => format!("{:>8}/{}", size(current), size(total)),
    };
    out + &numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(id: &str, status: &str, detail: Option<(i64, i64)>) -> ProgressMessage {
        ProgressMessage {
            id: (!id.is_empty()).then(|| id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: detail.map(|(current, total)| ProgressDetail {
                current: Some(current),
                total: Some(total),
            }),
            ..ProgressMessage::default()
        }
    }

    #[test]
    fn without_a_terminal_only_results_are_told() {
        assert_eq!(plain(&about("ab", "Downloading", Some((1, 2)))), "");
        assert_eq!(
            plain(&about("ab", "Pull complete", None)),
            "ab: Pull complete\n"
        );
        assert_eq!(
            plain(&about("ab", "Pulling fs layer", Some((0, 0)))),
            "ab: Pulling fs layer\n"
        );
    }

    #[test]
    fn every_object_keeps_its_line() {
        let mut display = Display {
            stream: Stream::Stdout,
            columns: Some(80),
            lines: HashMap::new(),
        };
        assert_eq!(
            display.draw(&about("a", "Load", Some((1000, 2000)))),
            "\n\x1b[1A\x1b[2K\ra: Load      1kB/2kB\r\x1b[1B"
        );
        assert_eq!(
            display.draw(&about("b", "Load", Some((0, 0)))),
            "\n\x1b[1A\x1b[2K\rb: Load \r\x1b[1B"
        );
        assert_eq!(
            display.draw(&about("a", "Load", Some((2000, 2000)))),
            "\x1b[2A\x1b[2K\ra: Load      2kB/2kB\r\x1b[2B"
        );
        assert_eq!(display.draw(&about("", "done", None)), "done\n");
        assert!(display.lines.is_empty());
    }

    #[test]
    fn bars() {
        let detail = |current, total| ProgressDetail {
            current: Some(current),
            total: Some(total),
        };
        assert_eq!(
            bar(&detail(20, 100), 120),
            format!("[{}>{}]       20B/100B", "=".repeat(10), " ".repeat(39))
        );
        assert_eq!(
            bar(&detail(100, 100), 120),
            format!("[{}]      100B/100B", "=".repeat(50))
        );
        assert_eq!(bar(&detail(5, 0), 120), "      5B");
    }
}
