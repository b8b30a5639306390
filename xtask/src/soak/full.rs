//! Every call of every operation that may need room on the disk finds none, once and from then on;
//! every sync fails once (`tests/tests/power_every_write.rs`, which `ci` runs bounded).

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Whether each was done or refused with a sentence, and nothing was left of it.
pub fn run(root: &Path, arguments: &[OsString]) -> Result<bool> {
    if let Some(word) = arguments.first() {
        bail!("{word:?} is no option here: there are none");
    }
    // The engine that is tried is the one that lies in the build directory.
    for words in [
        &["build", "--workspace", "--bins"][..],
        &[
            "test",
            "--package",
            "berth-tests",
            "--test",
            "power_every_write",
        ],
    ] {
        let mut command = workspace::cargo();
        command.args(words).args(["--locked", "--release"]);
        if words.first() == Some(&"test") {
            command
                .env("BERTH_EVERY_WRITE", "1")
                .args(["--", "--nocapture"]);
        }
        let status = command.current_dir(root).status();
        let status = status.with_context(|| format!("starting {command:?}"))?;
        if !status.success() {
            return Ok(false);
        }
    }
    Ok(true)
}
