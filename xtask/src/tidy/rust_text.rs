//! Splits Rust source into code and comments, line by line, without the contents of literals.
//! A scanner of tokens' outlines only: enough to tell `unsafe` the keyword from `"unsafe"` the text.

/// The same number of lines as the source, with everything but code, or but comments, blanked.
pub struct Parts {
    pub code: String,
    pub comments: String,
}

/// Scans `source`; text that is not valid Rust gives some answer rather than an error.
pub fn split(source: &str) -> Parts {
    let mut scanner = Scanner {
        rest: source,
        parts: Parts {
            code: String::new(),
            comments: String::new(),
        },
    };
    while scanner.step() {}
    scanner.parts
}

/// Whether `word` stands in `text` as a whole identifier.
pub fn has_word(text: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (text.get(..at), text.get(at + word.len()..));
        !before
            .and_then(|before| before.chars().next_back())
            .is_some_and(is_part)
            && !after
                .and_then(|after| after.chars().next())
                .is_some_and(is_part)
    })
}

struct Scanner<'a> {
    rest: &'a str,
    parts: Parts,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

impl Scanner<'_> {
    /// Takes one token's outline off the front; `false` at the end.
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else {
            return false;
        };
        if self.rest.starts_with("//") {
            let length = self.rest.find('\n').unwrap_or(self.rest.len());
            self.take(length, Kind::Comment);
        } else if self.rest.starts_with("/*") {
            self.take(block_comment_length(self.rest), Kind::Comment);
        } else if let Some(length) = raw_string_length(self.rest) {
            self.take(length, Kind::Literal);
        } else if first == '"' {
            self.take(quoted_length(self.rest, '"'), Kind::Literal);
        } else if first == '\'' {
            if is_character_literal(self.rest) {
                self.take(quoted_length(self.rest, '\''), Kind::Literal);
            } else {
                self.take(1, Kind::Code);
            }
        } else if is_identifier_part(first) {
            // Whole identifiers, so that the `r` at the end of `for` never opens a raw string.
            let length = self
                .rest
                .find(|character| !is_identifier_part(character))
                .unwrap_or(self.rest.len());
            self.take(length, Kind::Code);
        } else {
            self.take(first.len_utf8(), Kind::Code);
        }
        true
    }

    fn take(&mut self, length: usize, kind: Kind) {
        let (token, rest) = self
            .rest
            .split_at_checked(length)
            .unwrap_or((self.rest, ""));
        self.rest = rest;
        for character in token.chars() {
            let shown_in = |wanted: Kind| {
                if kind == wanted || character == '\n' {
                    character
                } else {
                    ' '
                }
            };
            self.parts.code.push(shown_in(Kind::Code));
            self.parts.comments.push(shown_in(Kind::Comment));
        }
    }
}

fn is_identifier_part(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Block comments nest.
fn block_comment_length(text: &str) -> usize {
    let mut depth = 0_u32;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth = depth.saturating_sub(1);
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// `r"…"`, `r#"…"#`, `br"…"`, `cr"…"`: the length of the literal when `text` begins with one.
fn raw_string_length(text: &str) -> Option<usize> {
    let after_r = text
        .strip_prefix("br")
        .or_else(|| text.strip_prefix("cr"))
        .or_else(|| text.strip_prefix('r'))?;
    let hashes = after_r.len() - after_r.trim_start_matches('#').len();
    let body = after_r.get(hashes..)?.strip_prefix('"')?;
    let closing = format!("\"{}", "#".repeat(hashes));
    let prefix = text.len() - body.len();
    Some(
        body.find(&closing)
            .map_or(text.len(), |end| prefix + end + closing.len()),
    )
}

/// The length of a literal between two `quote`s, escapes skipped.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if character == quote {
            return at + quote.len_utf8();
        }
    }
    text.len()
}

/// `'x'` and `'\n'` are characters; `'static` and `'_` are lifetimes.
fn is_character_literal(text: &str) -> bool {
    let mut following = text.chars().skip(1);
    match (following.next(), following.next()) {
        (Some('\\'), _) => true,
        (Some(_), Some(second)) => second == '\'',
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_count_only_in_code() {
        for (source, expected) in [
            ("unsafe { x() }", true),
            ("// unsafe\n", false),
            ("/* a /* nested */ unsafe */ fn f() {}", false),
            ("/* a */ unsafe fn f() {}", true),
            ("let a = \"unsafe\";", false),
            ("let a = \"\\\"\"; unsafe {}", true),
            ("let a = r#\"unsafe \" \"#;", false),
            ("for r in a { b(\"x\") } unsafe {}", true),
            ("let a = br\"\\\"; unsafe {}", true),
            ("fn f<'a>(x: &'a str) { unsafe {} }", true),
            ("let quote = '\"'; unsafe {}", true),
            ("let quote = '\\''; unsafe {}", true),
            ("#![deny(unsafe_code)]", false),
            ("let r#type = 1; unsafe {}", true),
        ] {
            assert_eq!(
                has_word(&split(source).code, "unsafe"),
                expected,
                "{source}"
            );
        }
    }

    #[test]
    fn lines_stay_where_they_are() {
        let parts = split("a /* x\ny */ b \"p\nq\" // z\nc");
        let lines = |text: &str| {
            text.lines()
                .map(|line| line.trim().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(&parts.code), ["a", "b", "", "c"]);
        assert_eq!(lines(&parts.comments), ["/* x", "y */", "// z", ""]);
    }
}
