//! Keys by which a user leaves a container, as text and in what is typed.

use crate::error::ConsoleError;

/// Docker's keys where nothing else is said.
pub const DEFAULT: &str = "ctrl-p,ctrl-q";

/// The bytes that a terminal sends for keys such as `ctrl-p,ctrl-q` or `ctrl-@,x`.
///
/// # Errors
/// The text names a key that does not exist, or none.
pub fn parse(text: &str) -> Result<Vec<u8>, ConsoleError> {
    let key = |word: &str| match word.as_bytes() {
        b"DEL" => Some(0x7f),
        [byte] if byte.is_ascii() => Some(*byte),
        [b'c', b't', b'r', b'l', b'-', letter] => match letter {
            b'a'..=b'z' => Some(letter - b'a' + 1),
            b'@' => Some(0),
            b'['..=b'_' => Some(letter - b'[' + 27),
            _ => None,
        },
        _ => None,
    };
    text.split(',')
        .map(key)
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| ConsoleError::Keys {
            text: text.to_owned(),
        })
}

/// Looks for a sequence in what is typed, a piece at a time.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    keys: &'a [u8],
    /// How many of the keys were typed just now.
    matched: usize,
}

/// What is to be done with a piece.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// What goes to the container: without the sequence, and without a possible beginning of one.
    pub pass: Vec<u8>,
    /// Whether the sequence is complete; what is typed behind it is nobody's.
    pub complete: bool,
}

impl<'a> Scanner<'a> {
    /// A scanner for these keys; none are never found.
    pub(crate) fn new(keys: &'a [u8]) -> Self {
        Self { keys, matched: 0 }
    }

    /// Takes the next piece of what is typed.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Scanned {
        let mut pass = Vec::with_capacity(piece.len() + self.matched);
        for &byte in piece {
            self.step(byte, &mut pass);
            if self.matched == self.keys.len() && !self.keys.is_empty() {
                self.matched = 0;
                return Scanned {
                    pass,
                    complete: true,
                };
            }
        }
        Scanned {
            pass,
            complete: false,
        }
    }

    /// What was held back, when nothing more is typed.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let held = self.keys.get(..self.matched).unwrap_or_default();
        self.matched = 0;
        held
    }

    /// The longest beginning of the keys that still ends here stays held back.
    fn step(&mut self, byte: u8, pass: &mut Vec<u8>) {
        let mut held: Vec<u8> = self.keys.get(..self.matched).unwrap_or_default().to_vec();
        held.push(byte);
        let from = (0..=held.len())
            .find(|from| {
                held.get(*from..)
                    .is_some_and(|end| self.keys.starts_with(end))
            })
            .unwrap_or(held.len());
        pass.extend_from_slice(held.get(..from).unwrap_or_default());
        self.matched = held.len() - from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_dockers_names() {
        for (text, bytes) in [
            (DEFAULT, Some(vec![16, 17])),
            ("ctrl-@,a,ctrl-[,ctrl-_", Some(vec![0, b'a', 27, 31])),
            ("ctrl-a", Some(vec![1])),
            ("ctrl-a,DEL", Some(vec![1, 127])),
            ("", None),
            ("ctrl-P", None),
            ("ctrl-,x", None),
            ("esc", None),
        ] {
            assert_eq!(parse(text).ok(), bytes, "{text:?}");
        }
    }

    #[test]
    fn a_sequence_is_found_however_it_is_cut() {
        let keys = [16, 17];
        for (pieces, passed, complete) in [
            (vec![&b"ab"[..]], &b"ab"[..], false),
            (vec![&b"a\x10\x11b"[..]], b"a", true),
            (vec![&b"a\x10"[..], b"\x11"], b"a", true),
            (vec![&b"\x10"[..], b"x\x11"], b"\x10x\x11", false),
            (vec![&b"\x10\x10"[..], b"\x11"], b"\x10", true),
        ] {
            let mut scanner = Scanner::new(&keys);
            let (mut out, mut found) = (Vec::new(), false);
            for piece in &pieces {
                let scanned = scanner.feed(piece);
                out.extend(scanned.pass);
                found |= scanned.complete;
            }
            assert_eq!((out.as_slice(), found), (passed, complete), "{pieces:?}");
        }
    }

    #[test]
    fn a_beginning_is_held_back_and_given_at_the_end() {
        let mut scanner = Scanner::new(&[16, 17]);
        assert_eq!(scanner.feed(b"x\x10").pass, b"x");
        assert_eq!(scanner.rest(), b"\x10");
        assert_eq!(scanner.rest(), b"");
        assert_eq!(
            Scanner::new(&[]).feed(b"all"),
            Scanned {
                pass: b"all".to_vec(),
                complete: false
            }
        );
    }
}
