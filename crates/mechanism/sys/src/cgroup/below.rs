//! Groups that a container made below its own.

use std::io;
use std::os::fd::OwnedFd;

use super::end::with_descendants;
use super::{Cgroup, Version, open_directory};

impl Cgroup {
    /// The directory on version 2 of the group, this one or one below it, that `pid` is in, for a
    /// clone straight into it.
    ///
    /// A group that hands controllers down to others takes no process itself (`cgroups(7)`, "no
    /// internal processes"), so a container whose init did that has left its own group. Looked
    /// for below the container's group and nowhere else: a container cannot lead out of it.
    ///
    /// # Errors
    /// `NotFound` on version 1, and when the process is in none of them.
    pub fn unified_of(&self, pid: i32) -> io::Result<OwnedFd> {
        let first = self.members.first().filter(|_| self.version == Version::V2);
        let pid = pid.to_string();
        for path in first.iter().flat_map(|m| with_descendants(&m.path)) {
            // One that went away, or that is threaded and lists no processes, does not have it.
            let listed = std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
            if listed.lines().any(|line| line == pid) {
                return open_directory(&path);
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }
}
