//! The list of a class: a text with a name a line.

use std::collections::BTreeMap;
use std::fmt;

/// The fewest characters of a name, as for every container.
pub const NAME_MIN: usize = 2;
/// The most characters of a name, so that it can be a host name too.
pub const NAME_MAX: usize = 63;
/// The most names of one list.
pub const NAMES_MAX: usize = 10_000;

/// A line of a list that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// The names of a list in their order. Blank lines and lines that begin with `#` are passed over,
/// as is what stands behind ` #`; blanks around a name, Windows line ends, a byte order mark, and
/// a last line without an end are all taken.
///
/// # Errors
/// Every line that is wrong, not only the first.
pub fn parse(text: &str) -> Result<Vec<String>, Vec<Mistake>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut names = Vec::new();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut mistakes = Vec::new();
    for (index, raw) in text.lines().enumerate() {
        let line = index + 1;
        let name = without_comment(raw).trim();
        if name.is_empty() {
            continue;
        }
        let wrong = match (check_name(name), seen.get(name)) {
            (Err(reason), _) => Some(reason),
            (Ok(()), Some(first)) => Some(format!("{name:?} stands on line {first} already")),
            (Ok(()), None) if names.len() == NAMES_MAX => {
                mistakes.push(Mistake {
                    line,
                    reason: format!("more than {NAMES_MAX} names"),
                });
                break;
            }
            (Ok(()), None) => None,
        };
        match wrong {
            Some(reason) => mistakes.push(Mistake { line, reason }),
            None => {
                seen.insert(name, line);
                names.push(name.to_owned());
            }
        }
    }
    if mistakes.is_empty() {
        Ok(names)
    } else {
        Err(mistakes)
    }
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        return "";
    }
    line.find(" #")
        .or_else(|| line.find("\t#"))
        .map_or(line, |at| &line[..at])
}

/// Whether a name can be a container's: two to 63 characters, a letter or digit first, then
/// letters, digits, `_`, `.` and `-`.
pub fn check_name(name: &str) -> Result<(), String> {
    let first = |c: char| c.is_ascii_alphanumeric();
    let rest = |c: char| first(c) || matches!(c, '_' | '.' | '-');
    if name.chars().count() > NAME_MAX {
        let head: String = name.chars().take(20).collect();
        return Err(format!(
            "the name {head:?}… is longer than {NAME_MAX} characters"
        ));
    }
    if !name.starts_with(first) {
        return Err(format!(
            "the name {name:?} must begin with a letter or a digit (a-z A-Z 0-9)"
        ));
    }
    match name.chars().find(|c| !rest(*c)) {
        None if name.len() < NAME_MIN => Err(format!(
            "the name {name:?} is shorter than {NAME_MIN} characters"
        )),
        Some(c) => Err(format!(
            "the name {name:?} holds {c:?}: letters, digits, '_', '.' and '-' are possible"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sort_of_list_is_read() {
        for (text, wanted) in [
            ("", &[][..]),
            ("user1\nuser2", &["user1", "user2"]),
            ("user1\r\nuser2\r\n", &["user1", "user2"]),
            (
                "\u{feff}aa\n\n  bb  \n# c\n\t# d\nee # f\n",
                &["aa", "bb", "ee"],
            ),
            ("a.b-c_d\n00\n", &["a.b-c_d", "00"]),
            ("\n\n", &[]),
        ] {
            assert_eq!(parse(text).unwrap(), wanted, "{text:?}");
        }
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let long = "x".repeat(64);
        let text = format!("ok\n\n-x\nok\na b\n../etc\n{long}\nÄ\nx\nfine\n");
        let lines: Vec<usize> = parse(&text).unwrap_err().iter().map(|m| m.line).collect();
        assert_eq!(lines, [3, 4, 5, 6, 7, 8, 9]);
        let again = parse("aa\n#\naa\n").unwrap_err();
        assert_eq!(
            again[0].to_string(),
            "line 3: \"aa\" stands on line 1 already"
        );
        assert!(parse(&"x".repeat(63)).is_ok());
    }
}
