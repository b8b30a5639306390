//! What is there, so that before and after can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::cgroup::Scope;
use crate::command::run;
use crate::wait::try_until;

/// A monitor that waits for a container. How many there are at a moment is the engine's affair;
/// with the engine they are gone.
const SPARE: &str = "berth-shim spare";

/// How long a link may have no alias.
const NAMED_LIMIT: Duration = Duration::from_secs(2);

/// Links, mounts, firewall tables, cgroups, processes and directories at one moment, one
/// readable line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    things: BTreeSet<String>,
}

impl Census {
    /// Links, mounts and nftables tables in the namespaces that the test itself runs in.
    pub fn host() -> Self {
        Self::of_namespaces("self")
    }

    fn of_namespaces(process: &str) -> Self {
        let mut things = BTreeSet::new();
        let devices = fs::read_to_string(format!("/proc/{process}/net/dev")).unwrap_or_default();
        for link in devices
            .lines()
            .skip(2)
            .filter_map(|line| line.split(':').next())
        {
            things.insert(format!("link {}", link.trim()));
        }
        for mount in mounts(process) {
            things.insert(format!("mount {mount}"));
        }
        for table in firewall_tables(process) {
            things.insert(format!("firewall {table}"));
        }
        Self { things }
    }

    /// Everything that belongs to one engine: its namespaces, cgroups and directories.
    pub(crate) fn of_engine(guardian: u32, scope: &Scope, directories: &[&Path]) -> Self {
        let mut census = Self::of_namespaces(&guardian.to_string());
        for name in spare_links(guardian) {
            census.things.remove(&format!("link {name}"));
        }
        census.things.extend(
            scope
                .groups()
                .iter()
                .map(|group| format!("cgroup {}", group.display())),
        );
        census.things.extend(
            scope
                .processes()
                .into_iter()
                .filter(|(_, line)| line != SPARE)
                .map(|(id, line)| format!("process {id} {line}")),
        );
        for directory in directories {
            let names = fs::read_dir(directory).into_iter().flatten().flatten();
            census
                .things
                .extend(names.map(|entry| format!("directory {}", entry.path().display())));
        }
        census
    }

    /// How many things there are of each kind, such as `cgroup`.
    pub fn kinds(&self) -> BTreeMap<&str, u64> {
        let mut kinds = BTreeMap::new();
        for thing in &self.things {
            let kind = thing.split(' ').next().unwrap_or_default();
            *kinds.entry(kind).or_default() += 1;
        }
        kinds
    }

    /// What `after` has more (`+`) and less (`-`).
    pub fn difference(&self, after: &Self) -> Vec<String> {
        let gone = self
            .things
            .difference(&after.things)
            .map(|thing| format!("- {thing}"));
        let new = after
            .things
            .difference(&self.things)
            .map(|thing| format!("+ {thing}"));
        gone.chain(new).collect()
    }

    /// Insists that `after` is the same.
    ///
    /// # Panics
    /// When it is not, with every difference.
    #[track_caller]
    pub fn assert_same(&self, after: &Self) {
        let difference = self.difference(after);
        assert!(
            difference.is_empty(),
            "something is left behind, or gone:\n{}",
            difference.join("\n")
        );
    }
}

/// Links that no container has yet, in a process's namespace. One that has no alias yet is about
/// to have one.
fn spare_links(process: u32) -> Vec<String> {
    let mut command = Command::new("nsenter");
    command.args([&format!("--net=/proc/{process}/ns/net"), "--"]);
    command.args(["ip", "-o", "link", "show", "type", "veth"]);
    let list = || {
        let text = run(&mut command).ok().to_owned();
        let nameless = |line: &str| line.contains(" veth") && !line.contains("alias");
        (!text.lines().any(nameless)).then_some(text)
    };
    let text = try_until(NAMED_LIMIT, list).unwrap_or_default();
    text.lines()
        .filter(|line| line.trim_end().ends_with(":spare"))
        .filter_map(|line| Some(line.split(": ").nth(1)?.split('@').next()?.to_owned()))
        .collect()
}

/// Mount points with their types in a process's mount namespace.
pub(crate) fn mounts(process: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap_or_default();
    let describe = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        Some(format!(
            "{} ({})",
            before.split(' ').nth(4)?,
            after.split(' ').next()?
        ))
    };
    text.lines().filter_map(describe).collect()
}

/// `family name` of every nftables table; nothing where `nft` is not installed, since then
/// nobody makes one.
fn firewall_tables(process: &str) -> Vec<String> {
    let mut command = Command::new("/bin/sh");
    command.args([
        "-c",
        "command -v nft >/dev/null || exit 0; exec nsenter --net=\"$1\" nft list tables",
        "sh",
    ]);
    command.arg(format!("/proc/{process}/ns/net"));
    run(&mut command)
        .ok()
        .lines()
        .map(|line| line.trim_start_matches("table ").to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_have_a_direction() {
        let census = |things: &[&str]| Census {
            things: things.iter().map(|&thing| thing.to_owned()).collect(),
        };
        let (before, after) = (
            census(&["link lo", "mount /a"]),
            census(&["link lo", "link veth0"]),
        );
        assert_eq!(before.difference(&after), ["- mount /a", "+ link veth0"]);
        assert!(before.difference(&before).is_empty());
    }

    #[test]
    fn the_host_has_a_root_and_a_loopback() {
        let host = Census::host();
        assert!(host.things.contains("link lo"), "{host:?}");
        assert!(
            host.things
                .iter()
                .any(|thing| thing.starts_with("mount / ")),
            "{host:?}"
        );
    }
}
