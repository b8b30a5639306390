//! The keys by which a client leaves a terminal: as text, and in what is typed.

/// ctrl-p, ctrl-q: the keys unless the client names others.
const DEFAULT: [u8; 2] = [0x10, 0x11];
/// Most keys in a sequence.
const KEYS_MAX: usize = 32;

/// The text names no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Invalid detach keys ({text}) provided: give at most {KEYS_MAX} of a character or ctrl-<a-z, @, [, \\, ], ^ or _>, with commas in between"
)]
pub struct KeysError {
    text: String,
}

/// A sequence of keys, as the bytes that a terminal sends for them; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

impl Default for DetachKeys {
    fn default() -> Self {
        Self(DEFAULT.to_vec())
    }
}

impl DetachKeys {
    /// Reads Docker's words for keys: characters and `ctrl-<one of a-z@[\]^_>`, with commas in
    /// between. Nothing is the default.
    ///
    /// # Errors
    /// Something else.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        keys.filter(|keys| keys.len() <= KEYS_MAX)
            .map(Self)
            .ok_or_else(|| KeysError {
                text: text.to_owned(),
            })
    }
}

fn key(word: &str) -> Option<u8> {
    match word.as_bytes() {
        &[byte] if byte.is_ascii() => Some(byte),
        b"DEL" => Some(0x7f),
        &[
            b'c',
            b't',
            b'r',
            b'l',
            b'-',
            byte @ (b'a'..=b'z' | b'@' | b'['..=b'_'),
        ] => Some(byte & 0x1f),
        _ => None,
    }
}

/// Looks for the keys in what a client types. A sequence that began is held back until it is
/// complete or the next byte does not fit.
#[derive(Debug)]
pub struct Scanner {
    keys: Vec<u8>,
    /// How many of the keys were typed just now.
    held: usize,
}

impl Scanner {
    /// A scanner at the start of the input.
    pub fn new(keys: DetachKeys) -> Self {
        Self {
            keys: keys.0,
            held: 0,
        }
    }

    /// Takes what was typed and appends to `passed` what is for the program. True when the client
    /// detaches; what it typed behind that is dropped.
    pub fn scan(&mut self, typed: &[u8], passed: &mut Vec<u8>) -> bool {
        for &byte in typed {
            let mut seen = self.keys[..self.held].to_vec();
            seen.push(byte);
            if seen == self.keys {
                self.held = 0;
                return true;
            }
            // As much is held back as may still become the sequence.
            let held = (0..=seen.len().min(self.keys.len()))
                .rev()
                .find(|&n| seen.ends_with(&self.keys[..n]))
                .unwrap_or(0);
            passed.extend_from_slice(&seen[..seen.len() - held]);
            self.held = held;
        }
        false
    }

    /// What is still held back, at the end of the input.
    pub fn rest(&mut self) -> &[u8] {
        let held = std::mem::take(&mut self.held);
        &self.keys[..held]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_words_for_keys() {
        let keys = |text| DetachKeys::parse(text).map(|k| k.0);
        assert_eq!(keys("").unwrap(), [0x10, 0x11]);
        assert_eq!(
            keys("ctrl-a,ctrl-@,ctrl-_,ctrl-[,ctrl-\\").unwrap(),
            [1, 0, 31, 27, 28]
        );
        assert_eq!(keys("a,ctrl-x,b").unwrap(), [b'a', 24, b'b']);
        assert_eq!(keys("DEL").unwrap(), [127]);
        for bad in ["ctrl-", "ctrl-A", "ctrl-1", "ab", ",", "a,", "é", "alt-a"] {
            assert!(keys(bad).unwrap_err().to_string().contains(bad), "{bad}");
        }
        assert!(keys(&["a"; 33].join(",")).is_err());
    }

    /// What passes of `pieces`, and whether they detach; `~` and `!` are the keys.
    fn typed(keys: &str, pieces: &[&str]) -> (String, bool) {
        let mut scanner = Scanner::new(DetachKeys::parse(keys).unwrap());
        let mut passed = Vec::new();
        let detached = pieces
            .iter()
            .any(|piece| scanner.scan(piece.as_bytes(), &mut passed));
        passed.extend_from_slice(scanner.rest());
        (String::from_utf8(passed).unwrap(), detached)
    }

    #[test]
    fn keys_detach_however_they_arrive_and_all_else_passes() {
        assert_eq!(typed("~,!", &["ab~!cd"]), ("ab".into(), true));
        assert_eq!(typed("~,!", &["ab~", "!cd"]), ("ab".into(), true));
        assert_eq!(
            typed("~,!", &["~", "x~", "~", "y"]),
            ("~x~~y".into(), false)
        );
        assert_eq!(typed("~,!", &["~~", "!"]), ("~".into(), true));
        assert_eq!(typed("~,!", &["end~"]), ("end~".into(), false));
        assert_eq!(typed("a,a,b", &["aaa", "b"]), ("a".into(), true));
        assert_eq!(typed("x", &["yx"]), ("y".into(), true));
    }
}
