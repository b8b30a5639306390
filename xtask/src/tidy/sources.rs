//! Rules about single files: size, `unsafe`, leftovers, and words that belong to one machine.

use super::rust_text::{self, has_word};
use super::{Findings, lists};
use crate::workspace::SourceFile;

/// Past this a Rust file needs a reason in `xtask/tidy-exceptions.txt`.
const LINES_MAX: usize = 800;
/// Past this a Rust file is worth a question.
const LINES_AIM: usize = 400;

const UNSAFE_IS_AT_HOME: &str = "crates/mechanism/sys/";

/// Markers of unfinished work, in comments.
const UNFINISHED: [&str; 4] = ["TODO", "FIXME", "XXX", "HACK"];
/// Code that only stands for code to come, or for a look while debugging.
const LEFTOVER_CODE: [&str; 4] = ["todo!", "unimplemented!", "dbg!", "#[ignore"];
/// Programs talk to people by these; libraries and the engine never do.
const PRINTS: [&str; 4] = ["print!", "println!", "eprint!", "eprintln!"];
/// Where printing is the job. The monitor's half of the shim is a whole program, and a simulation
/// tells its histories.
const PRINTERS: [&str; 7] = [
    "crates/domain/container/src/sim/",
    "crates/edge/",
    "crates/mechanism/shim/src/monitor/",
    "crates/program/cli/",
    "crates/dev/",
    "tests/",
    "xtask/",
];

/// Checks one file. `lists` holds the exceptions and the forbidden words.
pub fn check(file: &SourceFile, lists: &lists::Lists, findings: &mut Findings) {
    if file.path != lists::WORDS && file.path != "Cargo.lock" {
        words(file, &lists.words, findings);
    }
    if file.path.ends_with(".rs") {
        size(file, lists, findings);
        rust(file, findings);
    } else if is_script(file) {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(comment) = line.trim_start().strip_prefix('#') {
                unfinished(&file.path, number + 1, comment, findings);
            }
        }
    }
}

fn is_script(file: &SourceFile) -> bool {
    file.path.ends_with(".py") || file.path.ends_with(".sh") || file.text.starts_with("#!")
}

fn size(file: &SourceFile, lists: &lists::Lists, findings: &mut Findings) {
    let lines = file.text.lines().count();
    let listed = lists.long_files.contains_key(&file.path);
    if lines > LINES_MAX && !listed {
        findings.breach(
            &file.path,
            format!("{lines} lines; split it, or give the reason for more than {LINES_MAX} in xtask/tidy-exceptions.txt"),
        );
    } else if lines <= LINES_MAX && listed {
        findings.breach(
            &file.path,
            "is not long any more; remove it from xtask/tidy-exceptions.txt",
        );
    } else if lines > LINES_AIM
        && !listed
        && !file.path.contains("tests")
        && !file.path.contains("table")
    {
        findings.remark(&file.path, format!("{lines} lines; aim for {LINES_AIM}"));
    }
}

fn rust(file: &SourceFile, findings: &mut Findings) {
    let parts = rust_text::split(&file.text);
    let may_print = PRINTERS.iter().any(|folder| file.path.starts_with(folder))
        || file.path.ends_with("/main.rs")
        || ["/tests/", "/bin/", "/examples/"]
            .iter()
            .any(|folder| file.path.contains(folder));
    for (number, (code, comments)) in parts.code.lines().zip(parts.comments.lines()).enumerate() {
        let place = || format!("{}:{}", file.path, number + 1);
        if has_word(code, "unsafe") && !file.path.starts_with(UNSAFE_IS_AT_HOME) {
            findings.breach(
                place(),
                format!("`unsafe` stands outside of {UNSAFE_IS_AT_HOME}"),
            );
        }
        for leftover in LEFTOVER_CODE
            .iter()
            .filter(|leftover| has_macro(code, leftover))
        {
            findings.breach(place(), format!("`{leftover}` is a leftover"));
        }
        if !may_print && let Some(print) = PRINTS.iter().find(|print| has_macro(code, print)) {
            findings.breach(
                place(),
                format!("`{print}` in a library; return a value, or log an event"),
            );
        }
        unfinished(&file.path, number + 1, comments, findings);
    }
}

/// Whether `code` uses `name` (which ends or begins with a sign) and not a longer name.
fn has_macro(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|character| character.is_alphanumeric() || character == '_')
    })
}

fn unfinished(path: &str, line: usize, comment: &str, findings: &mut Findings) {
    for marker in UNFINISHED.iter().filter(|marker| has_word(comment, marker)) {
        findings.breach(
            format!("{path}:{line}"),
            format!("`{marker}`: finish it, or file it"),
        );
    }
}

fn words(file: &SourceFile, words: &[String], findings: &mut Findings) {
    for (number, line) in file.text.lines().enumerate() {
        for word in words.iter().filter(|word| stands_in(line, word)) {
            findings.breach(
                format!("{}:{}", file.path, number + 1),
                format!("`{word}` belongs to a machine, not to the project"),
            );
        }
    }
}

/// Whether `word` stands in `line` at the start of a path or name: the `/a/` of `/b/a/` does not.
fn stands_in(line: &str, word: &str) -> bool {
    let continues = |character: char| character.is_alphanumeric() || "_-.}>)*/".contains(character);
    line.match_indices(word).any(|(at, _)| {
        !line
            .get(..at)
            .and_then(|before| before.chars().next_back())
            .is_some_and(continues)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(path: &str, text: &str) -> Vec<String> {
        let lists = lists::Lists {
            words: vec!["/build/".into(), "../shed".into()],
            ..lists::Lists::default()
        };
        let mut findings = Findings::default();
        check(
            &SourceFile {
                path: path.into(),
                text: text.into(),
            },
            &lists,
            &mut findings,
        );
        findings
            .breaches
            .into_iter()
            .map(|breach| breach.message)
            .collect()
    }

    #[test]
    fn leftovers_are_found_where_they_count() {
        for (path, text, expected) in [
            ("crates/domain/a/src/lib.rs", "fn f() { todo!() }", 1),
            ("crates/domain/a/src/lib.rs", "let a = \"todo!()\";", 0),
            ("crates/domain/a/src/lib.rs", "#[ignore = \"slow\"]", 1),
            ("crates/domain/a/src/lib.rs", "// FIXME later", 1),
            ("crates/domain/a/src/lib.rs", "// a hackathon, XXXL", 0),
            ("crates/domain/a/src/lib.rs", "println!(\"x\");", 1),
            ("crates/domain/a/src/lib.rs", "my_println!(\"x\");", 0),
            ("crates/domain/a/src/main.rs", "println!(\"x\");", 0),
            ("crates/domain/a/tests/kernel.rs", "println!(\"x\");", 0),
            ("crates/program/cli/src/ps.rs", "println!(\"x\");", 0),
            ("crates/program/daemon/src/rest.rs", "eprintln!(\"x\");", 1),
            ("crates/domain/a/src/lib.rs", "unsafe { f() }", 1),
            ("crates/mechanism/sys/src/clone.rs", "unsafe { f() }", 0),
            ("dev/tool.sh", "# TODO\n", 1),
            ("dev/tool", "#!/bin/sh\nmktemp -t XXX\n", 0),
            ("notes.md", "unsafe FIXME println!\n", 0),
        ] {
            let found = breaches(path, text);
            assert_eq!(found.len(), expected, "{path}: {text}: {found:?}");
        }
    }

    #[test]
    fn words_of_a_machine() {
        for (line, expected) in [
            ("run `/build/tool`", 1),
            ("x=/build/tool", 1),
            ("see ../shed/plan", 1),
            ("overlay2/1/build/x and $ROOT/build/x", 0),
        ] {
            assert_eq!(breaches("notes.md", line).len(), expected, "{line}");
        }
    }

    #[test]
    fn sizes() {
        let lists = lists::Lists {
            long_files: [
                ("a/long.rs".to_owned(), "a reason".to_owned()),
                ("a/short.rs".to_owned(), "once".to_owned()),
            ]
            .into(),
            ..lists::Lists::default()
        };
        for (path, lines, breaches, remarks) in [
            ("a/b.rs", 400, 0, 0),
            ("a/b.rs", 401, 0, 1),
            ("a/b.rs", 801, 1, 0),
            ("a/b_tests.rs", 700, 0, 0),
            ("a/table.rs", 700, 0, 0),
            ("a/table.rs", 801, 1, 0),
            ("a/long.rs", 900, 0, 0),
            ("a/short.rs", 10, 1, 0),
            ("a/b.txt", 9000, 0, 0),
        ] {
            let mut findings = Findings::default();
            check(
                &SourceFile {
                    path: path.into(),
                    text: "x\n".repeat(lines),
                },
                &lists,
                &mut findings,
            );
            assert_eq!(
                (findings.breaches.len(), findings.remarks.len()),
                (breaches, remarks),
                "{path} {lines}"
            );
        }
    }
}
