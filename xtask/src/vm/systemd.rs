//! The engine under systemd, in a machine that systemd boots and that may go down.

use std::path::Path;

use anyhow::Result;

use super::Guest;
use crate::counts::Counts;

/// Runs the test there.
pub fn run(root: &Path) -> Result<Counts> {
    let guest = Guest {
        test: "systemd",
        arguments: &[],
        options: &[
            "--init",
            "systemd",
            "--cgroup",
            "v2",
            "--timeout",
            "480",
            "--env",
            "BERTH_THROWAWAY_MACHINE=1",
        ],
    };
    guest.run(root)
}
