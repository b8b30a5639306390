//! Pieces of text: shortened, quoted.

use std::fmt::Write as _;

/// Digits of a shortened id.
const SHORT_ID: usize = 12;

/// The first twelve digits of an id, without the name of its hash.
pub fn short_id(id: &str) -> &str {
    let bare = id.split_once(':').map_or(id, |(_, digits)| digits);
    bare.get(..SHORT_ID).unwrap_or(bare)
}

/// `text` in at most `width` columns of a terminal, with `…` for what was cut off.
pub fn ellipsis(text: &str, width: usize) -> String {
    let columns = |c: char| if is_wide(c) { 2 } else { 1 };
    if text.chars().map(columns).sum::<usize>() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += columns(c);
        if used > width {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

/// Whether a terminal gives two columns to the character (East Asian wide and full-width forms).
fn is_wide(c: char) -> bool {
    matches!(u32::from(c),
        0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1f64f
        | 0x1f900..=0x1f9ff | 0x20000..=0x3fffd)
}

/// `text` in double quotes with Go's escapes.
pub fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if c < ' ' || c == '\x7f' => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_counts_columns() {
        for (text, wanted) in [
            ("sleep infinity", "sleep infinity"),
            (
                "/bin/sh -c \"while true; do sleep 1; done\"",
                "/bin/sh -c \"while t…",
            ),
            ("éééééééééééééééééééééééééééééé", "ééééééééééééééééééé…"),
            ("exactly twenty chars", "exactly twenty chars"),
            ("日本語日本語日本語日本語", "日本語日本語日本語…"),
        ] {
            assert_eq!(ellipsis(text, 20), wanted);
        }
    }

    #[test]
    fn ids_and_quotes() {
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("abc"), "abc");
        assert_eq!(quote("a\"b\\c\n\x01é"), "\"a\\\"b\\\\c\\n\\x01é\"");
    }
}
