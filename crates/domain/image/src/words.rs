//! The words of a Dockerfile instruction: quotes, escapes and variables. Pure.

use crate::error::ImageError;

const ESCAPE: char = '\\';
/// Bytes of one expanded word: variables that hold variables would double without end.
const EXPANDED_MAX: usize = 64 << 10;
/// Substitutions within each other.
const NESTED_MAX: usize = 16;

/// Splits at white space outside of quotes. Quotes and escapes stay in the words.
pub(crate) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut has_quotes = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                if has_quotes || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                has_quotes = false;
                continue;
            }
            None if matches!(c, '\'' | '"') => {
                quote = Some(c);
                has_quotes = true;
            }
            Some(q) if c == q => quote = None,
            _ => {}
        }
        // Nothing can be escaped within single quotes.
        if c == ESCAPE && quote != Some('\'') {
            if let Some(escaped) = chars.next() {
                word.push(c);
                word.push(escaped);
            }
            continue;
        }
        word.push(c);
    }
    if has_quotes || !word.is_empty() {
        words.push(word);
    }
    words
}

/// The text that a word means: without its quotes and escapes, and with the values of its
/// variables, which `lookup` knows.
pub(crate) fn expand(word: &str, lookup: Lookup<'_>) -> Result<String, ImageError> {
    expand_within(word, lookup, 0)
}

/// The values of variables.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

fn expand_within(word: &str, lookup: Lookup<'_>, depth: usize) -> Result<String, ImageError> {
    if depth > NESTED_MAX {
        return Err(ImageError::Change(format!(
            "more than {NESTED_MAX} substitutions are nested"
        )));
    }
    let mut out = String::new();
    let mut chars = word.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        if out.len() > EXPANDED_MAX {
            return Err(ImageError::Change(format!(
                "a word with its variables is longer than {EXPANDED_MAX} bytes"
            )));
        }
        match c {
            '\'' if !quoted => loop {
                match chars.next() {
                    Some('\'') => break,
                    Some(c) => out.push(c),
                    None => return Err(unfinished(word, "a single quote")),
                }
            },
            '"' => quoted = !quoted,
            ESCAPE => match chars.next() {
                // Within double quotes only what has a meaning there can be escaped.
                Some(c) if quoted && !matches!(c, '"' | '$' | ESCAPE) => {
                    out.push(ESCAPE);
                    out.push(c);
                }
                Some(c) => out.push(c),
                None => out.push(ESCAPE),
            },
            '$' => out.push_str(&variable(&mut chars, word, lookup, depth)?),
            c => out.push(c),
        }
    }
    if quoted {
        Err(unfinished(word, "a double quote"))
    } else {
        Ok(out)
    }
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// What stands behind a `$`.
fn variable(
    chars: &mut Chars<'_>,
    word: &str,
    lookup: Lookup<'_>,
    depth: usize,
) -> Result<String, ImageError> {
    if chars.next_if_eq(&'{').is_none() {
        let name = name(chars);
        return Ok(if name.is_empty() {
            "$".to_owned()
        } else {
            lookup(&name).unwrap_or_default()
        });
    }
    let name = name(chars);
    if name.is_empty() {
        return Err(ImageError::Change(format!(
            "bad substitution in {word:?}: a name is missing"
        )));
    }
    let value = lookup(&name);
    let (modifier, counts_empty) = match chars.next() {
        Some('}') => return Ok(value.unwrap_or_default()),
        Some(':') => (chars.next(), false),
        other => (other, true),
    };
    let alternative = expand_within(&braced(chars, word)?, lookup, depth + 1)?;
    let is_set = value
        .as_ref()
        .is_some_and(|value| counts_empty || !value.is_empty());
    match modifier {
        Some('-') if is_set => Ok(value.unwrap_or_default()),
        Some('-') => Ok(alternative),
        Some('+') => Ok(if is_set { alternative } else { String::new() }),
        Some('?') if is_set => Ok(value.unwrap_or_default()),
        Some('?') => Err(ImageError::Change(format!("{name}: {alternative}"))),
        _ => Err(ImageError::Change(format!(
            "unsupported modifier in {word:?}: write ${{{name}:-default}}, ${{{name}:+value}} or \
             ${{{name}:?message}}"
        ))),
    }
}

/// The longest name that follows.
fn name(chars: &mut Chars<'_>) -> String {
    let mut name = String::new();
    while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
        name.push(c);
    }
    name
}

/// The text up to the brace that closes this one.
fn braced(chars: &mut Chars<'_>, word: &str) -> Result<String, ImageError> {
    let mut text = String::new();
    let mut depth = 1;
    for c in chars.by_ref() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok(text);
        }
        text.push(c);
    }
    Err(unfinished(word, "a brace"))
}

fn unfinished(word: &str, what: &str) -> ImageError {
    ImageError::Change(format!(
        "unexpected end of statement: {what} in {word:?} is not closed"
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "A" => Some("1 2".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn words_end_at_spaces_outside_of_quotes() {
        for (text, expected) in [
            ("a b", vec!["a", "b"]),
            (r#" a="x y"  b='1 2' "#, vec![r#"a="x y""#, "b='1 2'"]),
            (r"a=x\ y b", vec![r"a=x\ y", "b"]),
            (r#"a="x\"y z""#, vec![r#"a="x\"y z""#]),
            (r"a='\' b", vec![r"a='\'", "b"]),
            (r#""" b"#, vec![r#""""#, "b"]),
            (r"a\", vec!["a"]),
            ("", vec![]),
        ] {
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[test]
    fn a_word_means_a_text() {
        for (word, expected) in [
            ("$A", "1 2"),
            ("${A}x", "1 2x"),
            ("$Ax", ""),
            (r"\$A", "$A"),
            ("'$A'", "$A"),
            (r#""$A""#, "1 2"),
            (r#""a\nb\"c""#, r#"a\nb"c"#),
            (r"a\nb", "anb"),
            ("${B:-x}", "x"),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY-x}", ""),
            ("${A:+${B:-y}}", "y"),
            ("${B:+x}", ""),
            ("$", "$"),
            ("$1", ""),
            ("it's 'ok'", "its ok"),
        ] {
            let found = expand(word, &lookup);
            if word == "it's 'ok'" {
                // The quotes pair up differently than meant, and one stays open.
                assert!(found.is_err());
            } else {
                assert_eq!(found.unwrap(), expected, "{word}");
            }
        }
        let deep = format!("{}x{}", "${B:-".repeat(1000), "}".repeat(1000));
        let long = |_: &str| Some("x".repeat(EXPANDED_MAX));
        assert!(expand(&deep, &lookup).is_err());
        assert!(expand("$a$a$a$a$a", &long).is_err());
        for wrong in [
            "'a", "\"a", "${", "${A", "${A:x}", "${A:-x", "${}", "${B:?no}",
        ] {
            assert!(expand(wrong, &lookup).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "[a$\\{\\}:\\-+'\" \\\\A]{0,12}") {
            for word in split(&text) {
                let _ = expand(&word, &lookup);
            }
        }
    }
}
