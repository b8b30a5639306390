//! The tests of control groups, and the network's start in another machine, once more on version
//! 2, in a virtual machine, where this machine has version 1.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;

use super::Guest;
use crate::counts::Counts;

/// What the default network and its published ports use of the kernel. A module that is not there
/// is asked for when a rule needs it, and every such question repeats those before it: that took
/// forty of them, and the engine three quarters of a minute to start.
pub const MODULES: [&str; 8] = [
    "bridge",
    "veth",
    "nft_chain_nat",
    "nft_nat",
    "nft_masq",
    "nft_ct",
    "nft_fib_ipv4",
    "nf_conntrack_netlink",
];

/// Runs them on version 2.
pub fn run(root: &Path) -> Result<Counts> {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        println!("this machine has version 2: all tests ran on it");
        return Ok(Counts::default());
    }
    on(root, "v2")
}

/// Runs them on all layouts, the older ones on an older kernel, which still has them whole.
pub fn soak(root: &Path, _: &[OsString]) -> Result<bool> {
    let mut held = true;
    for layout in ["v2", "hybrid", "v1"] {
        println!("control groups {layout}");
        held &= on(root, layout)?.failed == 0;
    }
    Ok(held)
}

fn on(root: &Path, layout: &str) -> Result<Counts> {
    let mut options = vec!["--cgroup", layout];
    for module in MODULES {
        options.extend(["--module", module]);
    }
    // Without the processor's help the machine is a hundred times slower than this one.
    options.extend(["--timeout", "420"]);
    let guest = Guest {
        test: "control_groups",
        arguments: &[],
        options: &options,
    };
    guest.run(root)
}
