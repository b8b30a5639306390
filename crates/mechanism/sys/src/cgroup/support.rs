//! Which limits this machine can keep, and why it cannot keep the others.

use std::fs;
use std::path::Path;

use super::{Layout, Version, create};

/// Which limits can be set on containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Support {
    /// Memory.
    pub memory: bool,
    /// Swap.
    pub swap: bool,
    /// Processor time: shares and quota.
    pub cpu: bool,
    /// Processors and memory nodes.
    pub cpuset: bool,
    /// Number of processes.
    pub pids: bool,
    /// A sentence for each that cannot: what is missing, and what to do. They begin as Docker's.
    pub warnings: Vec<String>,
}

impl Layout {
    /// Looks at the group `group` (absolute, below every mount point) that containers' groups are
    /// made below, and that has been made itself.
    pub fn support(&self, group: &str) -> Support {
        self.support_of(group, |path| fs::read_to_string(path).ok())
    }

    /// As [`Layout::support`], with files from `read`; an absent one is none.
    pub(super) fn support_of(
        &self,
        group: &str,
        read: impl Fn(&Path) -> Option<String>,
    ) -> Support {
        let mut found = Support::default();
        for (controller, what, has) in [
            ("memory", "memory limit", &mut found.memory),
            ("cpu", "cpu shares and cfs quota", &mut found.cpu),
            ("cpuset", "cpuset", &mut found.cpuset),
            ("pids", "pids limit", &mut found.pids),
        ] {
            match self.lack(controller, group, &read) {
                None => *has = true,
                Some(why) => found
                    .warnings
                    .push(format!("WARNING: No {what} support: {why}")),
            }
        }
        found.swap = found.memory && self.limits_swap(group, &read);
        if found.memory && !found.swap {
            found
                .warnings
                .push("WARNING: No swap limit support: the kernel was started without swap accounting; swapaccount=1 on its command line turns it on".to_owned());
        }
        found
    }

    /// Why containers have no such controller; none where they have it.
    fn lack(
        &self,
        controller: &str,
        group: &str,
        read: &impl Fn(&Path) -> Option<String>,
    ) -> Option<String> {
        let lists = |directory: &Path| {
            let text = read(&directory.join("cgroup.controllers")).unwrap_or_default();
            text.split_whitespace().any(|word| word == controller)
        };
        if self.version == Version::V1 {
            if self.tree_of(controller).is_some() {
                return None;
            }
            return Some(match &self.beside {
                Some(unified) if lists(unified) => format!(
                    "the {controller} controller is bound to the version 2 tree {}, which is not used beside version 1; start the kernel with systemd.unified_cgroup_hierarchy=1 to have all controllers there, or without cgroup_no_v1",
                    unified.display()
                ),
                _ => format!(
                    "no {controller} hierarchy is mounted; mount it below /sys/fs/cgroup if /proc/cgroups has it"
                ),
            });
        }
        let tree = self.trees.first()?;
        let own = create::place(tree, group).ok();
        if own.as_deref().is_some_and(lists) {
            return None;
        }
        let top = tree.mount_point.display();
        Some(if lists(&tree.mount_point) {
            format!(
                "{top} does not hand the {controller} controller down to {group}; a group with processes of its own cannot (cgroups(7), \"no internal processes\"): before the engine starts move those in {top}/cgroup.procs, and in the groups above {group}, into a group beside it"
            )
        } else {
            format!(
                "{top} has no {controller} controller; whoever made this control group, an outer container or service, has to hand it down"
            )
        })
    }

    fn limits_swap(&self, group: &str, read: &impl Fn(&Path) -> Option<String>) -> bool {
        let tree = self
            .tree_of("memory")
            .and_then(|index| self.trees.get(index));
        let Some(tree) = tree else { return false };
        let file = match self.version {
            Version::V1 => Some(tree.mount_point.join("memory.memsw.limit_in_bytes")),
            // The top of the tree has no limits.
            Version::V2 => create::place(tree, group)
                .ok()
                .map(|group| group.join("memory.swap.max")),
        };
        file.is_some_and(|file| read(&file).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "cpuset cpu io memory pids";
    const UNIFIED: &str = "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate";
    const BESIDE: &str = "35 31 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";

    fn v1(controllers: &[&str]) -> String {
        let line =
            |c: &&str| format!("33 31 0:30 / /sys/fs/cgroup/{c} rw - cgroup cgroup rw,{c}\n");
        controllers.iter().map(line).collect()
    }

    /// What can be limited below `/berth/x`, in a word each, and the warnings.
    #[track_caller]
    fn support(mounts: &str, files: &[(&str, &str)]) -> (String, Vec<String>) {
        let layout = Layout::parse(mounts).expect("something is mounted");
        let read = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        };
        let found = layout.support_of("/berth/x", read);
        let words = [
            (found.memory, "memory"),
            (found.swap, "swap"),
            (found.cpu, "cpu"),
            (found.cpuset, "cpuset"),
            (found.pids, "pids"),
        ];
        let words = words
            .into_iter()
            .filter(|(has, _)| *has)
            .map(|(_, word)| word);
        (words.collect::<Vec<_>>().join(" "), found.warnings)
    }

    #[test]
    fn a_whole_machine_has_every_limit() {
        let every = "memory swap cpu cpuset pids";
        let v2 = [
            ("/sys/fs/cgroup/berth/x/cgroup.controllers", ALL),
            ("/sys/fs/cgroup/berth/x/memory.swap.max", "max"),
        ];
        assert_eq!(support(UNIFIED, &v2), (every.to_owned(), vec![]));
        let trees = v1(&["memory", "cpu,cpuacct", "cpuset", "pids"]);
        let swap = ("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", "1");
        assert_eq!(support(&trees, &[swap]), (every.to_owned(), vec![]));
        // A hybrid machine: nothing of use is on its version 2 tree.
        let hybrid = format!("{trees}{BESIDE}\n");
        let nothing = ("/sys/fs/cgroup/unified/cgroup.controllers", "hugetlb");
        assert_eq!(
            support(&hybrid, &[swap, nothing]),
            (every.to_owned(), vec![])
        );
    }

    #[test]
    fn what_is_missing_is_named_with_its_reason() {
        #[track_caller]
        fn check(mounts: &str, files: &[(&str, &str)], has: &str, reason: &str) {
            let (found, warnings) = support(mounts, files);
            assert_eq!(found, has);
            let said = warnings.join("\n");
            assert!(said.contains(reason), "{said}");
        }
        let split = format!("{}{BESIDE}\n", v1(&["cpu,cpuacct", "cpuset"]));
        let beside = [("/sys/fs/cgroup/unified/cgroup.controllers", "memory pids")];
        check(
            &split,
            &beside,
            "cpu cpuset",
            "memory controller is bound to the version 2 tree",
        );
        check(
            &v1(&["cpu", "memory"]),
            &[],
            "memory cpu",
            "no pids hierarchy is mounted",
        );
        check(&v1(&["memory"]), &[], "memory", "No swap limit support");
        // In a container, whose processes are in the group that is its top.
        let full = [("/sys/fs/cgroup/cgroup.controllers", ALL)];
        check(UNIFIED, &full, "", "no internal processes");
        let poor = [
            ("/sys/fs/cgroup/cgroup.controllers", "cpu pids"),
            ("/sys/fs/cgroup/berth/x/cgroup.controllers", "cpu pids"),
        ];
        check(UNIFIED, &poor, "cpu pids", "an outer container or service");
    }
}
