//! The lists beside this crate: `tidy-exceptions.txt` (long files), `tidy-duplicates.txt`
//! (dependencies in more than one version), `tidy-words.txt` (words that must not stand anywhere).

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use super::Findings;
use crate::workspace::SourceFile;

const EXCEPTIONS: &str = "xtask/tidy-exceptions.txt";
const DUPLICATES: &str = "xtask/tidy-duplicates.txt";
/// The only file in which the words may stand.
pub const WORDS: &str = "xtask/tidy-words.txt";

/// The lists as read. The maps go from the excepted thing to the reason.
#[derive(Debug, Default)]
pub struct Lists {
    pub long_files: BTreeMap<String, String>,
    pub duplicates: BTreeMap<String, String>,
    pub words: Vec<String>,
}

impl Lists {
    /// Reads the three lists below `root`.
    pub fn read(root: &Path) -> Result<Self> {
        let read = |path: &str| {
            std::fs::read_to_string(root.join(path)).with_context(|| format!("reading {path}"))
        };
        Ok(Self {
            long_files: reasons(&read(EXCEPTIONS)?),
            duplicates: reasons(&read(DUPLICATES)?),
            words: entries(&read(WORDS)?).map(str::to_owned).collect(),
        })
    }

    /// Every exception has a reason and is still needed.
    pub fn check(&self, files: &[SourceFile], findings: &mut Findings) {
        for (list, entries) in [
            (EXCEPTIONS, &self.long_files),
            (DUPLICATES, &self.duplicates),
        ] {
            for (entry, reason) in entries {
                if reason.is_empty() {
                    findings.breach(
                        list,
                        format!(
                            "`{entry}` has no reason; write it after the name, on the same line"
                        ),
                    );
                }
            }
        }
        for path in self.long_files.keys() {
            if !files.iter().any(|file| file.path == *path) {
                findings.breach(
                    EXCEPTIONS,
                    format!("`{path}` is not a file any more; remove the line"),
                );
            }
        }
    }
}

/// The lines that say something: not empty, not a `#` comment.
fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Lines of the form `THING reason in words`.
fn reasons(text: &str) -> BTreeMap<String, String> {
    entries(text)
        .map(|line| match line.split_once(char::is_whitespace) {
            Some((thing, reason)) => (thing.to_owned(), reason.trim().to_owned()),
            None => (line.to_owned(), String::new()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_thing_and_its_reason() {
        let read = reasons("# why\n\ncrates/a.rs  one table\nlonely\n");
        assert_eq!(
            read.get("crates/a.rs").map(String::as_str),
            Some("one table")
        );
        assert_eq!(read.get("lonely").map(String::as_str), Some(""));
        assert_eq!(read.len(), 2);
    }

    #[test]
    fn exceptions_without_reason_or_file_are_breaches() {
        let lists = Lists {
            long_files: reasons("gone.rs it was long\nhere.rs\n"),
            ..Lists::default()
        };
        let mut findings = Findings::default();
        lists.check(
            &[SourceFile {
                path: "here.rs".into(),
                text: String::new(),
            }],
            &mut findings,
        );
        let messages: Vec<_> = findings
            .breaches
            .iter()
            .map(|breach| breach.message.as_str())
            .collect();
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert!(
            messages
                .iter()
                .any(|message| message.starts_with("`here.rs` has no reason")),
            "{messages:?}"
        );
        assert!(
            messages
                .iter()
                .any(|message| message.starts_with("`gone.rs` is not a file")),
            "{messages:?}"
        );
    }
}
