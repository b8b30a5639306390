//! Which images a list shows. Pure.

use std::sync::Arc;

use berth_types::{Caller, ImageReference, Timestamp};

use crate::index::Index;
use crate::record::Image;

/// What a list shows; the default is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only images without a name, or only those with one.
    pub dangling: Option<bool>,
    /// Only names that match one of these patterns, `*`, `?` and `[a-z]` as in a shell, against
    /// `name` or `name:tag`; a `*` does not match a `/`.
    pub references: Vec<String>,
    /// Only images with all of these labels: `key` or `key=value`.
    pub labels: Vec<String>,
    /// Only images made before this time.
    pub before: Option<Timestamp>,
    /// Only images made after this time.
    pub since: Option<Timestamp>,
}

/// An image in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The image.
    pub image: Arc<Image>,
    /// Its names, those that the filter let through.
    pub references: Vec<ImageReference>,
}

/// The images that the caller sees and the filter lets through, the newest first.
pub(crate) fn list(index: &Index, caller: &Caller, filter: &Filter) -> Vec<Listed> {
    let mut listed: Vec<Listed> = index
        .visible(caller)
        .filter(|image| has_labels(image, &filter.labels))
        .filter(|image| filter.before.is_none_or(|time| image.created < time))
        .filter(|image| filter.since.is_none_or(|time| image.created > time))
        .filter_map(|image| {
            let mut references = index.references_of(image);
            if filter
                .dangling
                .is_some_and(|dangling| dangling != references.is_empty())
            {
                return None;
            }
            if !filter.references.is_empty() {
                references.retain(|r| filter.references.iter().any(|p| names(p, r)));
                if references.is_empty() {
                    return None;
                }
            }
            Some(Listed {
                image: Arc::clone(image),
                references,
            })
        })
        .collect();
    listed.sort_by_key(|entry| (std::cmp::Reverse(entry.image.created), entry.image.id));
    listed
}

pub(crate) fn has_labels(image: &Image, wanted: &[String]) -> bool {
    let labels = &image.config.config.labels;
    wanted.iter().all(|wanted| match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|v| v == value),
        None => labels.contains_key(wanted),
    })
}

fn names(pattern: &str, reference: &ImageReference) -> bool {
    let pattern = pattern.as_bytes();
    matches(pattern, reference.to_string().as_bytes())
        || matches(pattern, reference.familiar_name().as_bytes())
}

/// Shell patterns over one path component at a time, by Go's `path.Match`. Compares without
/// recursion: of several `*` only the last is ever tried again.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, t));
                Some(1)
            }
            Some(_) => text
                .get(t)
                .and_then(|c| one(pattern.get(p..).unwrap_or_default(), *c)),
            None if t == text.len() => return true,
            None => None,
        };
        match (step, retry) {
            (Some(length), _) => {
                t += usize::from(pattern.get(p) != Some(&b'*'));
                p += length;
            }
            (None, Some((star, from))) if text.get(from).is_some_and(|c| *c != b'/') => {
                retry = Some((star, from + 1));
                (p, t) = (star + 1, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// Whether the head of `pattern`, which is no `*`, matches `c`; then how long that head is.
fn one(pattern: &[u8], c: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => (c != b'/').then_some(1),
        [b'\\', literal, ..] => (c == *literal).then_some(2),
        [b'[', rest @ ..] => {
            let end = rest.iter().skip(1).position(|c| *c == b']')? + 1;
            let set = rest.get(..end)?;
            let (set, negated) = match set {
                [b'^', set @ ..] => (set, true),
                set => (set, false),
            };
            (in_set(set, c) != negated && c != b'/').then_some(end + 2)
        }
        [literal, ..] => (c == *literal).then_some(1),
        [] => None,
    }
}

fn in_set(mut set: &[u8], c: u8) -> bool {
    loop {
        match set {
            [low, b'-', high, rest @ ..] => {
                if (*low..=*high).contains(&c) {
                    return true;
                }
                set = rest;
            }
            [single, rest @ ..] => {
                if *single == c {
                    return true;
                }
                set = rest;
            }
            [] => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_a_shell() {
        for (pattern, text, expected) in [
            ("busybox", "busybox", true),
            ("busy*", "busybox:latest", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?[a-c]x", "zbx", true),
            ("[^a]b", "ab", false),
            ("\\*", "*", true),
            ("[", "[", false),
            ("", "", true),
            ("**", "", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }
}
