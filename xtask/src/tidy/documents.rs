//! Markdown links lead somewhere, and decision records are numbered.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::Findings;
use crate::workspace::SourceFile;

const DECISIONS: &str = "docs/decisions/";

/// Checks all documents among `files`, which lie below `root`.
pub fn check(root: &Path, files: &[SourceFile], findings: &mut Findings) {
    let mut numbers: BTreeMap<&str, &str> = BTreeMap::new();
    for file in files {
        if file.path.ends_with(".md") {
            for (line, target) in links(&file.text) {
                if leads_nowhere(root, &file.path, target) {
                    findings.breach(
                        format!("{}:{line}", file.path),
                        format!("the link `{target}` leads to no file"),
                    );
                }
            }
        }
        if let Some(name) = file.path.strip_prefix(DECISIONS) {
            match decision_number(name) {
                None => findings.breach(
                    &file.path,
                    "a decision record is named NNN-title.md, in small letters",
                ),
                Some(number) => {
                    if let Some(other) = numbers.insert(number, name) {
                        findings.breach(&file.path, format!("has the same number as {other}"));
                    }
                }
            }
        }
    }
}

/// The number in `NNN-title.md`, when the name has that shape.
fn decision_number(name: &str) -> Option<&str> {
    let (number, title) = name.strip_suffix(".md")?.split_once('-')?;
    let is_title = |character: char| {
        character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-'
    };
    let shaped = number.len() == 3
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && !title.is_empty()
        && title.chars().all(is_title);
    shaped.then_some(number)
}

/// Targets of inline links and of link definitions with their line numbers, outside of code.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_fence = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
            continue;
        }
        if in_fence {
            continue;
        }
        // Code spans: every second piece between backticks.
        for piece in line.split('`').step_by(2) {
            for (at, opening) in piece.match_indices("](") {
                let target = piece.get(at + opening.len()..).unwrap_or_default();
                let end = target.find([')', ' ']).unwrap_or(target.len());
                found.push((number + 1, target.get(..end).unwrap_or_default()));
            }
        }
        if let Some(definition) = line.strip_prefix('[')
            && let Some((_, target)) = definition.split_once("]: ")
        {
            found.push((
                number + 1,
                target.split_whitespace().next().unwrap_or_default(),
            ));
        }
    }
    found
}

fn leads_nowhere(root: &Path, document: &str, target: &str) -> bool {
    let target = target.trim_matches(['<', '>']);
    let path = target.split('#').next().unwrap_or_default();
    if path.is_empty() || target.contains("://") || target.starts_with("mailto:") {
        return false;
    }
    match within(Path::new(document).parent().unwrap_or(Path::new("")), path) {
        Some(inside) => !root.join(inside).exists(),
        None => true,
    }
}

/// `path` seen from `directory`, both relative to the root; `None` when it leaves the repository.
fn within(directory: &Path, path: &str) -> Option<PathBuf> {
    let mut result = PathBuf::new();
    for component in directory.join(path).components() {
        match component {
            Component::Normal(name) => result.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !result.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_of_code() {
        let text = "[a](x.md) and [b](y.md#part \"title\") `[c](no.md)`\n```\n[d](no.md)\n```\n[e]: z.md\n";
        assert_eq!(links(text), [(1, "x.md"), (1, "y.md#part"), (5, "z.md")]);
    }

    #[test]
    fn where_links_lead() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (document, target, nowhere) in [
            ("README.md", "Cargo.toml", false),
            ("src/x.md", "../Cargo.toml", false),
            ("src/x.md", "../../../other", true),
            ("README.md", "missing.md", true),
            ("README.md", "/etc/passwd", true),
            ("README.md", "https://example.org/missing", false),
            ("README.md", "#a-heading", false),
        ] {
            assert_eq!(
                leads_nowhere(root, document, target),
                nowhere,
                "{document} -> {target}"
            );
        }
    }

    #[test]
    fn decision_names() {
        for (name, number) in [
            ("001-metadata-store.md", Some("001")),
            ("1-metadata-store.md", None),
            ("001-Metadata.md", None),
            ("001-.md", None),
            ("notes.md", None),
            ("001-x.txt", None),
        ] {
            assert_eq!(decision_number(name), number, "{name}");
        }
    }
}
