//! Control groups: made with their limits, joined, asked, emptied and removed.
//!
//! A container's group has one path. On version 2 it is one directory; on version 1 there is a
//! directory of that path below every mounted hierarchy, and all of them are made, joined and
//! removed together. See `cgroups(7)`.

mod below;
mod create;
mod devices;
mod end;
mod error;
mod freeze;
mod layout;
mod leftover;
mod limits;
mod oom;
mod parents;
mod scope;
mod stats;
mod support;
mod update;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

pub use error::CgroupError;
pub use layout::{Layout, Tree, Version};
pub use leftover::children;
pub use limits::{WHOLE_SET, weight_of_shares};
pub use oom::OomWatch;
pub use parents::{exists, levels, make_level};
pub use scope::{await_end, step_aside};
pub use stats::{IoEntry, Usage};
pub use support::Support;

/// Longest file of a group that is read, other than lists of processes.
const MAX_FILE: usize = 16 * 1024;

/// A container's control group. Dropping it leaves the group alone; see [`Cgroup::remove`].
#[derive(Debug)]
pub struct Cgroup {
    version: Version,
    members: Vec<Member>,
}

/// The group's directory in one tree.
#[derive(Debug)]
struct Member {
    tree: Tree,
    path: PathBuf,
    directory: OwnedFd,
}

impl Cgroup {
    /// The group at `path` (absolute, below every mount point), which exists.
    ///
    /// # Errors
    /// When it is missing from a tree, or no control groups are mounted.
    pub fn open(path: &str) -> Result<Self, CgroupError> {
        let layout = Layout::detect().map_err(CgroupError::Detect)?;
        Self::open_in(&layout, path, |_| true)
    }

    /// Opens the group in those trees of `layout` that are `wanted`.
    fn open_in(
        layout: &Layout,
        path: &str,
        wanted: impl Fn(&Tree) -> bool,
    ) -> Result<Self, CgroupError> {
        let mut members = Vec::with_capacity(layout.trees.len());
        for tree in layout.trees.iter().filter(|tree| wanted(tree)).cloned() {
            let path = create::place(&tree, path)?;
            let directory = open_directory(&path).map_err(|source| CgroupError::Read {
                path: path.clone(),
                source,
            })?;
            members.push(Member {
                tree,
                path,
                directory,
            });
        }
        Ok(Self {
            version: layout.version,
            members,
        })
    }

    /// The interface this machine has.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The one directory of version 2, for a clone straight into the group.
    pub fn unified(&self) -> Option<BorrowedFd<'_>> {
        let first = self.members.first()?;
        (self.version == Version::V2).then(|| first.directory.as_fd())
    }

    /// The directory in each tree. By path, for mounting: a descriptor belongs to the mount
    /// namespace that it was opened in.
    pub fn directories(&self) -> impl Iterator<Item = (&Tree, &Path)> {
        self.members.iter().map(|m| (&m.tree, m.path.as_path()))
    }

    /// Moves the calling process, which has one thread, into the group, in every tree.
    ///
    /// On version 1 that is one file for each hierarchy, which is the least there is: those with
    /// several controllers (`cpu,cpuacct`) are one tree here, a container has a group in each, and
    /// no call moves a process in several at once. The directories are open already.
    ///
    /// # Errors
    /// [`CgroupError::Enter`] names the tree that refused.
    pub fn enter(&self) -> Result<(), CgroupError> {
        // For a thread that moves itself the kernel takes no lock against forks and exits; for a
        // process it does, and waits for an RCU grace period, which is milliseconds on a busy
        // machine. Version 2 has no such file, and a clone straight into the group.
        let file = match self.version {
            Version::V1 => "tasks",
            Version::V2 => "cgroup.procs",
        };
        for member in &self.members {
            member
                .write(file, "0")
                .map_err(|source| CgroupError::Enter {
                    path: member.path.clone(),
                    source,
                })?;
        }
        Ok(())
    }

    /// One file of the group, for statistics: `memory.current` or `cpuacct.usage`.
    ///
    /// # Errors
    /// [`CgroupError::NoController`] when `controller` is not mounted.
    pub fn read(&self, controller: &'static str, file: &str) -> Result<String, CgroupError> {
        let member = self.member(controller).ok_or(CgroupError::NoController {
            limit: "statistic",
            controller,
        })?;
        let read = |source| CgroupError::Read {
            path: member.path.join(file),
            source,
        };
        member.read(file).map_err(read)
    }

    fn member(&self, controller: &str) -> Option<&Member> {
        match self.version {
            Version::V1 => self.members.iter().find(|m| m.tree.has(controller)),
            Version::V2 => self.members.first(),
        }
    }
}

impl Member {
    /// One `write(2)`, as these files want it.
    fn write(&self, file: &str, value: &str) -> io::Result<()> {
        write_at(self.directory.as_fd(), file, value)
    }

    fn read(&self, file: &str) -> io::Result<String> {
        read_at(self.directory.as_fd(), file)
    }
}

fn write_at(directory: BorrowedFd<'_>, file: &str, value: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(directory, file, flags, Mode::empty())?;
    rustix::io::write(fd, value.as_bytes())?;
    Ok(())
}

fn read_at(directory: BorrowedFd<'_>, file: &str) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(directory, file, flags, Mode::empty())?;
    let mut buffer = vec![0; MAX_FILE];
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|r| !r.is_empty()) {
        match rustix::io::read(&fd, rest)? {
            0 => break,
            n => length += n,
        }
    }
    buffer.truncate(length);
    String::from_utf8(buffer).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// The value of `key` in a file of `key value` lines.
fn counter(text: &str, key: &str) -> Option<u64> {
    let value = |line: &str| {
        line.strip_prefix(key)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    };
    text.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_whole_name() {
        let text = "oom_kill_disable 1\nunder_oom 0\noom_kill 3\n";
        assert_eq!(counter(text, "oom_kill"), Some(3));
        assert_eq!(counter("low 0\noom 2\n", "oom_kill"), None);
    }
}
