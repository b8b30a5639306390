//! The cgroups below which everything of one engine lives: it makes a container's cgroup below
//! `--cgroup-parent`, and the harness puts the engine itself and so its monitors there too.
//! What is left of an engine is thus found by looking, whoever started it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::run;
use crate::wait::try_until;

/// The harness's own child of the parent: the engine and its monitors.
const ENGINE: &str = "engine";

/// Killed processes are gone within this time, or the kernel is stuck.
const DEATH_LIMIT: Duration = Duration::from_secs(20);

/// One name in every cgroup hierarchy of the machine.
#[derive(Debug)]
pub(crate) struct Scope {
    name: String,
    /// `<hierarchy>/<name>` for every mounted hierarchy, there or not.
    directories: Vec<PathBuf>,
}

impl Scope {
    /// Makes the engine's cgroup `<name>/engine` in the hierarchies that follow processes best:
    /// the unified one and `pids`.
    pub(crate) fn create(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
        let hierarchies = hierarchies(&mounts);
        assert!(!hierarchies.is_empty(), "no cgroup hierarchy is mounted");
        let scope = Self {
            name: name.to_owned(),
            directories: hierarchies
                .iter()
                .map(|(mount, _)| mount.join(name))
                .collect(),
        };
        for (mount, followed) in &hierarchies {
            if *followed {
                let directory = mount.join(name).join(ENGINE);
                if let Err(error) = fs::create_dir_all(&directory) {
                    panic!("cannot make the cgroup {}: {error}", directory.display());
                }
            }
        }
        scope
    }

    /// The value for `--cgroup-parent`.
    pub(crate) fn parent(&self) -> String {
        format!("/{}", self.name)
    }

    /// The files into which a process writes its id to be followed.
    pub(crate) fn entrances(&self) -> Vec<PathBuf> {
        self.existing()
            .map(|parent| parent.join(ENGINE).join("cgroup.procs"))
            .filter(|file| file.exists())
            .collect()
    }

    /// The parent's directories, there or not.
    pub(crate) fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// Every cgroup below the parent, without the harness's own.
    pub(crate) fn groups(&self) -> BTreeSet<PathBuf> {
        let own: Vec<PathBuf> = self
            .directories
            .iter()
            .map(|parent| parent.join(ENGINE))
            .collect();
        self.existing()
            .flat_map(below)
            .filter(|group| !own.contains(group))
            .collect()
    }

    /// Every process below the parent with its command line.
    pub(crate) fn processes(&self) -> BTreeSet<(u32, String)> {
        let mut found = BTreeSet::new();
        for parent in self.existing() {
            for group in below(parent).into_iter().chain([parent.to_path_buf()]) {
                let ids = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
                found.extend(ids.lines().filter_map(|id| id.parse::<u32>().ok()));
            }
        }
        found.into_iter().map(|id| (id, command_line(id))).collect()
    }

    /// Kills every process below the parent and waits until none is left; `false` when some stay.
    pub(crate) fn kill(&self) -> bool {
        try_until(DEATH_LIMIT, || {
            let processes = self.processes();
            if processes.is_empty() {
                return Some(());
            }
            for (id, _) in processes {
                // It may have ended by itself since.
                signal(id, "KILL");
            }
            None
        })
        .is_some()
    }

    /// Removes the parent and all below it; what cannot be removed is returned.
    pub(crate) fn remove(&self) -> Vec<PathBuf> {
        let mut stuck = Vec::new();
        for parent in self.existing() {
            // Children come after their parents in the listing.
            for group in below(parent)
                .into_iter()
                .rev()
                .chain([parent.to_path_buf()])
            {
                let removed =
                    try_until(DEATH_LIMIT, || fs::remove_dir(&group).is_ok().then_some(()));
                if removed.is_none() {
                    stuck.push(group);
                }
            }
        }
        stuck
    }

    fn existing(&self) -> impl Iterator<Item = &Path> {
        self.directories
            .iter()
            .map(PathBuf::as_path)
            .filter(|directory| directory.is_dir())
    }
}

/// Sends a signal by name; whether there was somebody to send it to.
pub(crate) fn signal(process: u32, name: &str) -> bool {
    let mut shell = Command::new("/bin/sh");
    shell.args([
        "-c",
        "kill -s \"$1\" \"$2\" 2>/dev/null",
        "sh",
        name,
        &process.to_string(),
    ]);
    run(&mut shell).status == 0
}

/// All directories below `parent`, each before its own children.
fn below(parent: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut next = vec![parent.to_path_buf()];
    while let Some(directory) = next.pop() {
        // A cgroup may vanish while it is looked at.
        let children: Vec<PathBuf> = fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect();
        found.extend(children.iter().cloned());
        next.extend(children);
    }
    found
}

fn command_line(process: u32) -> String {
    let bytes = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .replace('\0', " ")
        .trim_end()
        .to_owned()
}

/// Mount points of all cgroup hierarchies in a `mountinfo` text (see proc(5)), each with whether
/// the harness follows processes there.
fn hierarchies(mountinfo: &str) -> Vec<(PathBuf, bool)> {
    let mut found = Vec::new();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let (mut before, mut after) = (before.split(' ').skip(3), after.split(' '));
        let (root, mount) = (before.next(), before.next());
        let (kind, options) = (after.next(), after.nth(1).unwrap_or_default());
        let followed = match kind {
            Some("cgroup2") => true,
            Some("cgroup") => options.split(',').any(|option| option == "pids"),
            _ => continue,
        };
        if let (Some("/"), Some(mount)) = (root, mount)
            && !found.iter().any(|(known, _)| known == Path::new(mount))
        {
            found.push((PathBuf::from(mount), followed));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions() {
        let mountinfo = "\
            30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            31 30 0:27 / /sys/fs/cgroup/memory rw,relatime shared:4 - cgroup cgroup rw,memory\n\
            32 30 0:28 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
            33 30 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
            34 30 0:28 /part /elsewhere rw,relatime - cgroup cgroup rw,pids\n";
        let found = hierarchies(mountinfo);
        let expected = [("memory", false), ("pids", true), ("unified", true)]
            .map(|(name, followed)| (Path::new("/sys/fs/cgroup").join(name), followed));
        assert_eq!(found, expected);
    }
}
