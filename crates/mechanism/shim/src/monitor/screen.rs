//! What a terminal shows, for who comes late and for who cannot keep up.
//!
//! A model is kept only while somebody asks for it. What it draws are its cells, cursor and
//! modes; other things that a program sent (titles, clipboards, queries) are not repeated.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use berth_sys::rustix::time::{ClockId, clock_gettime};
use berth_types::oci::ConsoleSize;
use vt100::Parser;

/// Largest model; a terminal can be told to be four thousand million cells large.
const ROWS_MAX: u16 = 500;
const COLUMNS_MAX: u16 = 1000;

/// Smallest model: the parser needs room for a wide character.
const ROWS_MIN: u16 = 2;
const COLUMNS_MIN: u16 = 4;

/// How much is taken between two looks at the clock.
const PIECE: usize = 512;

/// Longest work on what was read at a time, of the processor's time.
const WORK_MAX: Duration = Duration::from_millis(500);

/// The size of a terminal that was never told one.
const UNKNOWN: ConsoleSize = ConsoleSize {
    height: 24,
    width: 80,
};

/// A model of what a terminal shows.
pub struct Screen {
    /// None once the output was too much for it. The monitor must outlive anything that a program
    /// can print.
    parser: Option<Box<Parser>>,
}

impl Screen {
    /// A model that has seen `recent` output.
    pub fn new(size: ConsoleSize, recent: &VecDeque<u8>) -> Self {
        let (rows, columns) = clamped(size);
        let mut screen = Self {
            parser: Some(Box::new(Parser::new(rows, columns, 0))),
        };
        let (older, newer) = recent.as_slices();
        screen.feed(older);
        screen.feed(newer);
        screen
    }

    /// Takes what a program has written. A few bytes can ask for much work (repeat a character
    /// sixty thousand times), so there is a limit to it: what is over is not shown.
    pub fn feed(&mut self, data: &[u8]) {
        let begin = clock_gettime(ClockId::ThreadCPUTime);
        for piece in data.chunks(PIECE) {
            self.guarded(|parser| parser.process(piece));
            let spent = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime) - begin);
            if spent.is_ok_and(|spent| spent > WORK_MAX) {
                return;
            }
        }
    }

    /// Follows the terminal's size.
    pub fn resize(&mut self, size: ConsoleSize) {
        let (rows, columns) = clamped(size);
        self.guarded(|parser| parser.screen_mut().set_size(rows, columns));
    }

    /// What makes another terminal of the same size show the same.
    pub fn redraw(&mut self) -> Vec<u8> {
        let drawn = self.guarded(|parser| parser.screen().state_formatted());
        drawn.unwrap_or_default().into_bytes()
    }

    fn guarded<T>(&mut self, work: impl FnOnce(&mut Parser) -> T) -> Option<T> {
        let parser = self.parser.as_mut()?;
        let done = catch_unwind(AssertUnwindSafe(|| work(parser)));
        if done.is_err() {
            self.parser = None;
        }
        done.ok()
    }
}

fn clamped(size: ConsoleSize) -> (NonZeroU16, NonZeroU16) {
    let part = |wanted: u16, unknown: u16, min: u16, max: u16| {
        let wanted = if wanted == 0 { unknown } else { wanted };
        NonZeroU16::new(wanted.clamp(min, max)).unwrap_or(NonZeroU16::MIN)
    };
    (
        part(size.height, UNKNOWN.height, ROWS_MIN, ROWS_MAX),
        part(size.width, UNKNOWN.width, COLUMNS_MIN, COLUMNS_MAX),
    )
}
