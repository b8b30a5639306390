//! The tests of control groups once more on version 2, in a virtual machine, where this machine
//! has version 1.

use std::path::Path;

use anyhow::Result;

use super::Guest;
use crate::counts::Counts;

/// Runs them.
pub fn run(root: &Path) -> Result<Counts> {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        println!("this machine has version 2: all tests ran on it");
        return Ok(Counts::default());
    }
    let guest = Guest {
        test: "control_groups",
        arguments: &[],
        // Without the processor's help the machine is a hundred times slower than this one.
        options: &["--cgroup", "v2", "--timeout", "420"],
    };
    guest.run(root)
}
