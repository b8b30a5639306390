//! The kernel's kills for want of memory: how many there were, and being told of the next one.
//! Version 1: `memory.rst`, sections 9 and 10; version 2: `cgroup-v2.rst`, `memory.events`.
//!
//! `memory.oom.group` stays as the kernel has it, 0: one process is killed and not the whole
//! container, which is what Docker's users know on both versions.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{Mode, OFlags};

use super::{Cgroup, CgroupError, Version, counter};

/// Longest `memory.events`: six lines.
const EVENTS_MAX: usize = 512;

/// A descriptor that becomes ready when the kernel may have killed a process of the group, or of
/// one below it (on version 1: of the group itself), for want of memory.
#[derive(Debug)]
pub struct OomWatch {
    version: Version,
    fd: OwnedFd,
}

impl OomWatch {
    /// Whether it becomes readable. Where it does not, it reports `EPOLLERR`, and would be
    /// readable all the time.
    pub fn is_readable(&self) -> bool {
        self.version == Version::V1
    }

    /// Makes it wait for the next time. On version 1 the news comes before the kill is counted.
    pub fn clear(&self) {
        let mut buffer = [0; EVENTS_MAX];
        // Neither can fail but for a group that is gone, which has no more news.
        match self.version {
            Version::V1 => drop(rustix::io::read(&self.fd, &mut buffer[..8])),
            Version::V2 => drop(rustix::io::pread(&self.fd, &mut buffer, 0)),
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Cgroup {
    /// How many processes the kernel has killed because memory was short: on version 2 in the
    /// group and below it, on version 1 in the group. Without a memory controller none.
    ///
    /// # Errors
    /// When the counter cannot be read.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        let file = match self.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        let Some(member) = self.member("memory") else {
            return Ok(0);
        };
        match member.read(file) {
            Ok(text) => Ok(counter(&text, "oom_kill").unwrap_or(0)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(source) => Err(CgroupError::Read {
                path: member.path.join(file),
                source,
            }),
        }
    }

    /// Asks the kernel to tell of kills; none where it cannot.
    pub fn watch_oom(&self) -> Option<OomWatch> {
        let member = self.member("memory")?;
        let open = |file: &str| -> io::Result<OwnedFd> {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            Ok(rustix::fs::openat(
                &member.directory,
                file,
                flags,
                Mode::empty(),
            )?)
        };
        let fd = match self.version {
            Version::V1 => {
                let told = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
                let source = open("memory.oom_control").ok()?;
                let numbers = format!("{} {}", told.as_raw_fd(), source.as_raw_fd());
                member.write("cgroup.event_control", &numbers).ok()?;
                told
            }
            Version::V2 => open("memory.events").ok()?,
        };
        let watch = OomWatch {
            version: self.version,
            fd,
        };
        if self.version == Version::V2 {
            // What was never read has always changed.
            watch.clear();
        }
        Some(watch)
    }
}
