//! The house rules as tests: `cargo xtask tidy` prints every breach with its place and fails.
//!
//! Lists of exceptions and words lie beside this crate (`tidy-*.txt`): one entry a line, and an
//! exception without a reason is itself a breach.

mod dependencies;
mod documents;
mod layers;
mod licence;
mod lists;
mod rust_text;
mod sources;

use std::path::Path;

use anyhow::Result;

use crate::workspace;

/// One broken rule: where, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Breach {
    place: String,
    message: String,
}

impl Breach {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            message: message.into(),
        }
    }
}

/// What a look at the repository found. Remarks are printed and do not fail.
#[derive(Debug, Default)]
pub struct Findings {
    breaches: Vec<Breach>,
    remarks: Vec<Breach>,
}

impl Findings {
    fn breach(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.breaches.push(Breach::new(place, message));
    }

    fn remark(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.remarks.push(Breach::new(place, message));
    }
}

/// Checks every rule and prints what it found. `Ok(true)` when no rule is broken.
pub fn run(root: &Path) -> Result<bool> {
    let lists = lists::Lists::read(root)?;
    let files = workspace::files(root)?;
    let metadata = workspace::metadata(root)?;
    let mut findings = Findings::default();
    lists.check(&files, &mut findings);
    layers::check(root, &metadata, &mut findings);
    dependencies::check(&metadata, &lists.duplicates, &mut findings);
    for file in &files {
        sources::check(file, &lists, &mut findings);
    }
    documents::check(root, &files, &mut findings);
    for remark in &findings.remarks {
        println!("remark: {}: {}", remark.place, remark.message);
    }
    for breach in &findings.breaches {
        println!("{}: {}", breach.place, breach.message);
    }
    println!(
        "tidy: {} files, {} breaches, {} remarks",
        files.len(),
        findings.breaches.len(),
        findings.remarks.len()
    );
    Ok(findings.breaches.is_empty())
}
