//! What a container's program changed in the user's terminal, and how to undo it.
//!
//! A user who leaves in the middle of an editor would be left with its screen, without a cursor and
//! with a mouse that types. So the output is watched for the private modes that programs set
//! (`ESC [ ? numbers h` and `l`, as xterm's control sequences have them), and those that are not as
//! they were are put back. Nothing else is looked at.

/// The modes that are put back, and whether they are set to begin with: the keys of cursors, wrapped
/// lines, the cursor itself, focus, mice, the other screens, and marked pasting.
const MODES: [(u16, bool); 15] = [
    (1, false),
    (7, true),
    (25, true),
    (47, false),
    (1000, false),
    (1002, false),
    (1003, false),
    (1004, false),
    (1005, false),
    (1006, false),
    (1015, false),
    (1047, false),
    (1049, false),
    (2004, false),
    (2026, false),
];

/// The most numbers of one sequence that are looked at.
const NUMBERS_MAX: usize = 16;

/// The modes that differ from the beginning.
#[derive(Debug, Default)]
pub(crate) struct Modes {
    place: Place,
    numbers: Vec<u16>,
    changed: Vec<u16>,
    /// The keypad sends sequences instead of digits.
    keypad: bool,
    /// There was any sequence at all, so there may be colours.
    coloured: bool,
}

/// Where in a sequence the output is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Text,
    Escape,
    Bracket,
    Private,
}

impl Modes {
    /// Takes the next piece of the output.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        for &byte in piece {
            self.step(byte);
        }
    }

    fn step(&mut self, byte: u8) {
        self.place = match (self.place, byte) {
            (_, 0x1b) => {
                self.coloured = true;
                Place::Escape
            }
            (Place::Escape, b'[') => Place::Bracket,
            (Place::Escape, b'=' | b'>') => {
                self.keypad = byte == b'=';
                Place::Text
            }
            (Place::Escape, b'c') => {
                *self = Self::default();
                Place::Text
            }
            (Place::Bracket, b'?') => {
                self.numbers = vec![0];
                Place::Private
            }
            (Place::Private, b'0'..=b'9') => {
                if let Some(last) = self.numbers.last_mut() {
                    *last = last.saturating_mul(10).saturating_add((byte - b'0').into());
                }
                Place::Private
            }
            (Place::Private, b';') if self.numbers.len() < NUMBERS_MAX => {
                self.numbers.push(0);
                Place::Private
            }
            (Place::Private, b'h' | b'l') => {
                self.set(byte == b'h');
                Place::Text
            }
            _ => Place::Text,
        };
    }

    fn set(&mut self, on: bool) {
        for number in std::mem::take(&mut self.numbers) {
            let Some((_, usual)) = MODES.iter().find(|(mode, _)| *mode == number) else {
                continue;
            };
            self.changed.retain(|mode| *mode != number);
            if on != *usual {
                self.changed.push(number);
            }
        }
    }

    /// What puts everything back; the newest change first.
    pub(crate) fn undo(&self) -> String {
        let mut out = String::new();
        for number in self.changed.iter().rev() {
            let usual = MODES.iter().any(|(mode, on)| mode == number && *on);
            let letter = if usual { 'h' } else { 'l' };
            out.push_str(&format!("\x1b[?{number}{letter}"));
        }
        if self.keypad {
            out.push_str("\x1b>");
        }
        if self.coloured {
            out.push_str("\x1b[0m");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::Modes;

    #[test]
    fn what_was_changed_is_put_back() {
        for (output, undo) in [
            ("plain\n", ""),
            ("\x1b[31mred", "\x1b[0m"),
            ("\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l\x1b[0m"),
            ("\x1b[?1049h\x1b[?1049l", "\x1b[0m"),
            (
                "\x1b[?1000;1006h\x1b=",
                "\x1b[?1006l\x1b[?1000l\x1b>\x1b[0m",
            ),
            ("\x1b[?7h\x1b[?12h\x1b[?99999999h", "\x1b[0m"),
            ("\x1b[?1049h\x1bc", ""),
        ] {
            let mut whole = Modes::default();
            whole.feed(output.as_bytes());
            assert_eq!(whole.undo(), undo, "{output:?}");
            let mut bytes = Modes::default();
            output.bytes().for_each(|byte| bytes.feed(&[byte]));
            assert_eq!(bytes.undo(), undo, "{output:?}");
        }
    }
}
