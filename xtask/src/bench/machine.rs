//! What a figure depends on besides the programs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Load averages of the last 1, 5 and 15 minutes.
pub fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg").context("reading /proc/loadavg")?;
    Ok(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// Processors, kernel, control groups, and the file system that `directory` lies on.
pub fn description(directory: &Path) -> Result<String> {
    let processors = std::thread::available_parallelism().context("counting processors")?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("asking the kernel")?;
    let kernel: Vec<&str> = kernel.trim().splitn(3, ['.', '-']).take(2).collect();
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("reading the mounts")?;
    Ok(format!(
        "{processors} processors, kernel {}, {}, {}.",
        kernel.join("."),
        control_groups(&mounts),
        file_system(&mounts, directory).unwrap_or("unknown file system"),
    ))
}

/// Mount point and type of every mount.
fn each(mounts: &str) -> impl Iterator<Item = (&str, &str)> {
    mounts.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        Some((before.split(' ').nth(4)?, after.split(' ').next()?))
    })
}

fn control_groups(mounts: &str) -> &'static str {
    let has = |kind: &str| each(mounts).any(|(_, found)| found == kind);
    match (has("cgroup"), has("cgroup2")) {
        (true, true) => "cgroup v1 with v2 beside it",
        (true, false) => "cgroup v1",
        (false, true) => "cgroup v2",
        (false, false) => "no cgroups",
    }
}

/// Of several mounts on one point the last one is seen.
fn file_system<'a>(mounts: &'a str, directory: &Path) -> Option<&'a str> {
    each(mounts)
        .filter(|(point, _)| directory.starts_with(point))
        .max_by_key(|(point, _)| point.len())
        .map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_say_what_is_below_a_directory() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/x rw\n\
            2 1 0:5 / /var rw shared:1 - xfs /dev/y rw\n\
            3 1 0:6 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(file_system(mounts, Path::new("/var/tmp")), Some("xfs"));
        assert_eq!(file_system(mounts, Path::new("/variable")), Some("ext4"));
        assert_eq!(control_groups(mounts), "cgroup v2");
    }
}
