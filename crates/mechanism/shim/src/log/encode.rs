//! One log record as text, byte for byte as Docker's own driver writes it: Go's JSON escapes,
//! HTML characters included, and U+FFFD for each byte that is not UTF-8.

use std::fmt::Write as _;

use berth_types::Timestamp;

use super::{FORMAT_VERSION, LINE_MAX};
use crate::protocol::Stream;

/// Appends the record of one `line`, which may or may not end in a newline.
pub fn record(out: &mut Vec<u8>, line: &[u8], stream: Stream, time: &str, first_of_file: bool) {
    out.extend_from_slice(b"{\"log\":\"");
    escape(out, line);
    out.extend_from_slice(match stream {
        Stream::Stdout => b"\",\"stream\":\"stdout\",\"time\":\"",
        Stream::Stderr => b"\",\"stream\":\"stderr\",\"time\":\"",
    });
    out.extend_from_slice(time.as_bytes());
    out.push(b'"');
    if first_of_file {
        out.extend_from_slice(format!(",\"berth\":{FORMAT_VERSION}").as_bytes());
    }
    out.extend_from_slice(b"}\n");
}

fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return escape_text(out, text.as_bytes());
    }
    for chunk in bytes.utf8_chunks() {
        escape_text(out, chunk.valid().as_bytes());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// `text` is valid UTF-8.
fn escape_text(out: &mut Vec<u8>, mut text: &[u8]) {
    loop {
        let (plain, rest) = text.split_at(plain_length(text));
        out.extend_from_slice(plain);
        let Some((&byte, mut after)) = rest.split_first() else {
            return;
        };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            LINE_SEPARATORS => match after {
                [0x80, last @ (0xa8 | 0xa9), tail @ ..] => {
                    out.extend_from_slice(if *last == 0xa8 {
                        b"\\u2028"
                    } else {
                        b"\\u2029"
                    });
                    after = tail;
                }
                _ => out.push(byte),
            },
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let digit = |value: u8| HEX[usize::from(value & 0xf)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]);
            }
        }
        text = after;
    }
}

/// First byte of U+2028 and U+2029, which JSON allows and JavaScript did not; and of other
/// characters, which are left as they are.
const LINE_SEPARATORS: u8 = 0xe2;

const fn is_special(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&' | LINE_SEPARATORS)
}

/// Length of the part at the start that is written as it is. Looks at whole blocks first: the
/// compiler turns that loop into vector instructions.
fn plain_length(text: &[u8]) -> usize {
    const BLOCK: usize = 32;
    let clean = text
        .chunks_exact(BLOCK)
        .take_while(|block| !block.iter().fold(false, |found, &b| found | is_special(b)))
        .count()
        * BLOCK;
    let tail = text.get(clean..).unwrap_or_default();
    clean
        + tail
            .iter()
            .position(|&b| is_special(b))
            .unwrap_or(tail.len())
}

/// Where to cut a line of more than [`LINE_MAX`] bytes: there, or up to three bytes earlier so as
/// not to cut through a character.
pub fn split_point(line: &[u8]) -> usize {
    let head = line.get(..LINE_MAX).unwrap_or(line);
    let window = head.len().saturating_sub(3);
    for start in (window..head.len()).rev() {
        match head.get(start..) {
            Some([0x80..=0xbf, ..]) => {}
            Some(last @ [0xc0..=0xff, ..]) => {
                let cut_through = std::str::from_utf8(last).is_err_and(|e| e.error_len().is_none());
                return if cut_through { start } else { head.len() };
            }
            _ => return head.len(),
        }
    }
    head.len()
}

/// Formats times for records. All records of one read share a time, and most share the second
/// with those before, so the calendar is computed once a second.
#[derive(Debug, Default)]
pub struct Clock {
    /// The second that `text` starts with.
    second: i64,
    /// RFC 3339 with up to nine digits of fraction, none of them a trailing zero.
    text: String,
}

/// Length of `2026-01-02T15:04:05`.
const SECONDS_LENGTH: usize = 19;

impl Clock {
    /// The text of `time`.
    pub fn text(&mut self, time: Timestamp) -> &str {
        let second = time.as_seconds();
        if second != self.second || self.text.len() < SECONDS_LENGTH {
            self.second = second;
            self.text = time.to_string();
            return &self.text;
        }
        self.text.truncate(SECONDS_LENGTH);
        let nanos = time.as_nanos().rem_euclid(1_000_000_000);
        if nanos != 0 {
            let (mut fraction, mut digits) = (nanos, 9_usize);
            while fraction % 10 == 0 {
                fraction /= 10;
                digits -= 1;
            }
            // Writing to a string cannot fail.
            let _ = write!(self.text, ".{fraction:0digits$}");
        }
        self.text.push('Z');
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &[u8], expected: &str) {
        let mut out = Vec::new();
        escape(&mut out, line);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn escapes_as_go_does() {
        check(b"", "");
        check(
            b"plain text, long enough to fill one whole block and more",
            "plain text, long enough to fill one whole block and more",
        );
        check(
            b"q\" b\\ n\n r\r t\t e\x1b z\0 d\x7f",
            "q\\\" b\\\\ n\\n r\\r t\\u0009 e\\u001b z\\u0000 d\x7f",
        );
        check(
            b"<a href='x'>&</a>",
            "\\u003ca href='x'\\u003e\\u0026\\u003c/a\\u003e",
        );
        check(
            "é € 𝄞 “ \u{2028}\u{2029}\u{202a}".as_bytes(),
            "é € 𝄞 “ \\u2028\\u2029\u{202a}",
        );
        // One replacement for each byte, also of a character that was begun.
        check(
            b"a\xffb\xe2\x82c\xe2\x82",
            "a\\ufffdb\\ufffd\\ufffdc\\ufffd\\ufffd",
        );
        check(b"\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd");
    }

    #[test]
    fn a_long_line_is_not_cut_through_a_character() {
        let cut = |tail: &[u8]| {
            let mut line = vec![b'a'; LINE_MAX - 2];
            line.extend_from_slice(tail);
            split_point(&line)
        };
        assert_eq!(cut(b"bcdef"), LINE_MAX);
        assert_eq!(cut("€uro".as_bytes()), LINE_MAX - 2);
        assert_eq!(cut("éé".as_bytes()), LINE_MAX);
        assert_eq!(cut("bé".as_bytes()), LINE_MAX - 1);
        assert_eq!(cut(b"\x80\x80\x80\x80"), LINE_MAX, "not UTF-8 anyway");
        assert_eq!(cut(b"\xff\x80\x80"), LINE_MAX);
    }

    #[test]
    fn times_are_those_of_the_timestamp_type() {
        let mut clock = Clock::default();
        for nanos in [
            0,
            1,
            999_999_999,
            1_500_000_000,
            1_500_000_000,
            1_000_000_000,
            2_000_100_000,
        ] {
            let time = Timestamp::from_nanos(1_700_000_000_000_000_000 + nanos);
            assert_eq!(clock.text(time), time.to_string());
        }
        assert_eq!(
            clock.text(Timestamp::from_nanos(7)),
            "1970-01-01T00:00:00.000000007Z"
        );
    }
}
