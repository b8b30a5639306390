//! A hundred power cuts, twenty of them with torn and reordered writes. `--seed` repeats a row,
//! `--cuts` and `--volatile` make it shorter.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;

use crate::vm::power;

/// Whether every boot found what was acknowledged.
pub fn run(root: &Path, arguments: &[OsString]) -> Result<bool> {
    let plan = power::plan(arguments)?;
    println!(
        "{} cuts, {} volatile, seed {}",
        plan.cuts, plan.volatile, plan.seed
    );
    let counts = plan.run(root)?;
    println!("{} boots held, {} did not", counts.passed, counts.failed);
    Ok(counts.failed == 0)
}
