//! The engine under systemd, in a machine that systemd boots and that may go down.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result};

use super::Guest;
use super::groups::MODULES;
use crate::counts::Counts;

/// The machine; a disk, if any, comes on top.
const MACHINE: [&str; 8] = [
    "--init",
    "systemd",
    "--cgroup",
    "v2",
    "--timeout",
    "480",
    "--env",
    "BERTH_THROWAWAY_MACHINE=1",
];

/// Runs the test there, in one boot.
pub fn run(root: &Path) -> Result<Counts> {
    boot(root, "the_engine_is_a_good_service", None)
}

/// Two boots with the data root on one disk.
pub fn soak(root: &Path, _: &[OsString]) -> Result<bool> {
    let directory = std::env::temp_dir().join(format!("berth-reboot-{}", std::process::id()));
    std::fs::create_dir(&directory).with_context(|| format!("making {}", directory.display()))?;
    let image = directory.join("disk");
    let disk = format!("{}:1G,mkfs=ext4,mount=/var/lib/berth", image.display());
    let kept = format!("{},mount=/var/lib/berth", image.display());
    let first = boot(root, "before_a_reboot", Some(&disk));
    let held = first.and_then(|first| {
        let second = boot(root, "after_a_reboot", Some(&kept))?;
        Ok(first.plus(second).failed == 0)
    });
    std::fs::remove_dir_all(&directory)
        .with_context(|| format!("removing {}", directory.display()))?;
    held
}

fn boot(root: &Path, test: &str, disk: Option<&str>) -> Result<Counts> {
    let mut options = MACHINE.to_vec();
    for module in MODULES {
        options.extend(["--module", module]);
    }
    if let Some(disk) = disk {
        options.extend(["--disk", disk]);
    }
    let guest = Guest {
        test: "systemd",
        arguments: &["--exact", test, "--nocapture"],
        options: &options,
    };
    guest.run(root)
}
