//! Text that is drawn again and again in the same place of a terminal.

use std::io::{self, Write};

/// A page on standard output: each drawing replaces the one before it, without the flicker that
/// clearing the screen first would cost.
#[derive(Debug, Default)]
pub struct Page {
    drawn: bool,
}

impl Page {
    /// A page that is not yet drawn.
    pub fn new() -> Self {
        Self::default()
    }

    /// Draws `text`, whose lines are cut to the terminal's width by nobody.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn draw(&mut self, text: &str) -> io::Result<()> {
        let frame = frame(text, !self.drawn);
        self.drawn = true;
        let mut stdout = io::stdout().lock();
        stdout.write_all(frame.as_bytes())?;
        stdout.flush()
    }
}

/// What draws `text`: from the upper left corner, each line erased behind its end, and everything
/// below the last.
fn frame(text: &str, first: bool) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    out.push_str(if first { "\x1b[2J\x1b[H" } else { "\x1b[H" });
    for line in text.lines() {
        out.push_str(line);
        out.push_str("\x1b[K\n");
    }
    out.push_str("\x1b[J");
    out
}

#[cfg(test)]
mod tests {
    use super::frame;

    #[test]
    fn a_drawing_covers_the_one_before() {
        assert_eq!(
            frame("a\nb\n", true),
            "\x1b[2J\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J"
        );
        assert_eq!(frame("", false), "\x1b[H\x1b[J");
    }
}
