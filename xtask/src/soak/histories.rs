//! Simulated histories of the engine's containers, far more than `ci` plays: `--seeds N`, from
//! `--first SEED` on.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::workspace;

const SEEDS: u64 = 100_000;
/// Beyond those of `ci`.
const FIRST: u64 = 1_000_000;

/// Whether the rules held in all of them.
pub fn run(root: &Path, arguments: &[OsString]) -> Result<bool> {
    let (mut seeds, mut first) = (SEEDS, FIRST);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let value = words.next().and_then(|value| value.to_str()?.parse().ok());
        match (word.to_str(), value) {
            (Some("--seeds"), Some(value)) => seeds = value,
            (Some("--first"), Some(value)) => first = value,
            _ => bail!("{word:?} is no option here: use --seeds NUMBER and --first SEED"),
        }
    }
    let status = workspace::cargo()
        .args([
            "test",
            "--locked",
            "--release",
            "-p",
            "berth-container",
            "--lib",
        ])
        .args(["sim::stories::whatever", "--", "--nocapture"])
        .env("BERTH_SIM_SEEDS", seeds.to_string())
        .env("BERTH_SIM_FIRST", first.to_string())
        .current_dir(root)
        .status()
        .context("starting the simulation")?;
    Ok(status.success())
}
