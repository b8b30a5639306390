//! Where this machine keeps its control groups: `cgroups(7)`, version 1, version 2, or both.

use std::io;
use std::path::{Path, PathBuf};

/// Where a pure version 2 machine has its one tree.
const UNIFIED: &str = "/sys/fs/cgroup";

/// `CGROUP2_SUPER_MAGIC` of `linux/magic.h`.
const CGROUP2_MAGIC: rustix::fs::FsWord = 0x6367_7270;

/// Options of a version 1 mount that are no controllers.
const MOUNT_OPTIONS: [&str; 7] = [
    "rw",
    "ro",
    "xattr",
    "noprefix",
    "clone_children",
    "favordynmods",
    "nofavordynmods",
];

/// Which interface limits are written through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One tree per controller, or per few of them.
    V1,
    /// One tree for all.
    V2,
}

/// One mounted tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Its controllers by name, in the kernel's order; `name=systemd` for a named tree; empty
    /// on version 2.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount_point: PathBuf,
}

impl Tree {
    /// Whether `controller` belongs to this tree.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }
}

/// All trees that a container joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The interface.
    pub version: Version,
    /// The trees: one on version 2, one per mounted hierarchy on version 1.
    pub trees: Vec<Tree>,
    /// Where the version 2 tree of a machine is whose limits are written through version 1.
    pub beside: Option<PathBuf>,
}

impl Layout {
    /// Looks at this machine. On a hybrid one the version 1 trees are used; its version 2 tree
    /// holds no controller that limits anything.
    ///
    /// # Errors
    /// `NotFound` when no control groups are mounted.
    pub fn detect() -> io::Result<Self> {
        if let Ok(found) = rustix::fs::statfs(UNIFIED)
            && found.f_type == CGROUP2_MAGIC
        {
            return Ok(Self::unified(Path::new(UNIFIED)));
        }
        Self::parse(&std::fs::read_to_string("/proc/self/mountinfo")?)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn unified(mount_point: &Path) -> Self {
        let tree = Tree {
            controllers: Vec::new(),
            mount_point: mount_point.to_owned(),
        };
        Self {
            version: Version::V2,
            trees: vec![tree],
            beside: None,
        }
    }

    /// Reads the text of `/proc/self/mountinfo` (`proc(5)`).
    pub(super) fn parse(mountinfo: &str) -> Option<Self> {
        let mut trees: Vec<Tree> = Vec::new();
        let mut unified = None;
        for line in mountinfo.lines() {
            let Some((mount, system)) = line.split_once(" - ") else {
                continue;
            };
            let Some(place) = mount.split(' ').nth(4).map(PathBuf::from) else {
                continue;
            };
            let mut system = system.split(' ');
            match system.next() {
                Some("cgroup2") => unified = unified.or(Some(place)),
                Some("cgroup") => {
                    let controllers = controllers(system.nth(1).unwrap_or_default());
                    // A second mount of the same hierarchy shows the same groups.
                    if !trees.iter().any(|t| t.controllers == controllers) {
                        trees.push(Tree {
                            controllers,
                            mount_point: place,
                        });
                    }
                }
                _ => {}
            }
        }
        if trees
            .iter()
            .any(|t| !t.controllers.iter().all(|c| c.starts_with("name=")))
        {
            return Some(Self {
                version: Version::V1,
                trees,
                beside: unified,
            });
        }
        unified.map(|place| Self::unified(&place))
    }

    /// The tree that holds `controller`; on version 2 there is only one.
    pub fn tree_of(&self, controller: &str) -> Option<usize> {
        match self.version {
            Version::V1 => self.trees.iter().position(|t| t.has(controller)),
            Version::V2 => Some(0),
        }
    }
}

fn controllers(options: &str) -> Vec<String> {
    let option = |o: &&str| !MOUNT_OPTIONS.contains(o) && !o.starts_with("release_agent=");
    options
        .split(',')
        .filter(option)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2_LINE: &str = "30 20 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
    const CPU_LINE: &str =
        "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct";
    const NAMED_LINE: &str = "34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup \
                              rw,xattr,release_agent=/lib/systemd/agent,name=systemd";
    const HYBRID_LINE: &str = "35 31 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";

    #[test]
    fn finds_the_trees() {
        let names = |text: &str| {
            let layout = Layout::parse(text)?;
            Some((
                layout.version,
                layout
                    .trees
                    .iter()
                    .map(|t| t.controllers.join(","))
                    .collect(),
            ))
        };
        let check = |lines: &[&str], expected: Option<(Version, Vec<String>)>| {
            assert_eq!(names(&lines.join("\n")), expected);
        };
        let v1 = vec!["cpu,cpuacct".to_owned(), "name=systemd".to_owned()];
        check(&[V2_LINE], Some((Version::V2, vec![String::new()])));
        check(
            &[HYBRID_LINE, CPU_LINE, NAMED_LINE, CPU_LINE],
            Some((Version::V1, v1)),
        );
        // Nothing but a named tree beside the unified one: limits go to version 2.
        check(
            &[NAMED_LINE, V2_LINE],
            Some((Version::V2, vec![String::new()])),
        );
        // In a container that has a part of each tree and no namespace of its own for them: what
        // is below the mount points is below its own group, wherever that is.
        check(
            &[
                "33 31 0:30 /docker/0123 /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu",
                "34 31 0:31 /docker/0123 /sys/fs/cgroup/pids ro - cgroup pids rw,pids",
                "35 31 0:31 /docker/0123 /elsewhere ro - cgroup pids rw,pids",
            ],
            Some((Version::V1, vec!["cpu".to_owned(), "pids".to_owned()])),
        );
        check(&["22 27 0:21 / /proc rw - proc proc rw"], None);
    }

    #[test]
    fn this_machine_has_control_groups() {
        let layout = Layout::detect().unwrap();
        assert!(layout.trees.iter().all(|t| t.mount_point.is_dir()));
    }
}
