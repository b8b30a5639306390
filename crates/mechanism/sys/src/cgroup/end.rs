//! The end of a group: who is inside, killing them, removing the directories.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use berth_types::task::{Wait, waits};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::{Cgroup, CgroupError, Member, Version, open_directory, read_at};
use crate::pidfd;

/// How many groups one container may have made below its own.
const MAX_DESCENDANTS: usize = 4096;

/// How often the members are listed and killed: a fork can outrun one round, not many.
const MAX_ROUNDS: usize = 64;

/// How long killed processes may take to go, all rounds together.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// How often a busy directory is tried again, and how long each time. Its last process has been
/// reaped by then; what is awaited is the kernel's own release of it, for which there is no event.
const REMOVE_RETRIES: usize = 100;
const REMOVE_PAUSE: Duration = Duration::from_millis(2);

impl Cgroup {
    /// The processes in the group and in groups below it, in the caller's numbers.
    ///
    /// # Errors
    /// When a list cannot be read.
    pub fn pids(&self) -> Result<Vec<i32>, CgroupError> {
        let Some(member) = self.member("pids").or(self.members.first()) else {
            return Ok(Vec::new());
        };
        let mut pids = Vec::new();
        for path in with_descendants(&member.path) {
            let file = path.join("cgroup.procs");
            match std::fs::read_to_string(&file) {
                Ok(text) => pids.extend(text.lines().filter_map(|l| l.parse::<i32>().ok())),
                // The group went away meanwhile, and its processes before it.
                Err(e) if gone(&e) => {}
                Err(source) => return Err(CgroupError::Read { path: file, source }),
            }
        }
        Ok(pids)
    }

    /// Kills every process in the group and below it, and waits until none is left.
    ///
    /// # Errors
    /// [`CgroupError::Survivors`] when some are left after ten seconds.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        let deadline = Instant::now() + KILL_DEADLINE;
        let _waits = waits(Wait::KilledProcesses, Some(KILL_DEADLINE));
        for _ in 0..MAX_ROUNDS {
            let pids = self.pids()?;
            if pids.is_empty() {
                return Ok(());
            }
            self.signal(&pids);
            let processes: Vec<OwnedFd> = pids
                .iter()
                .filter_map(|pid| pidfd::open(*pid).ok())
                .collect();
            await_all(&processes, deadline);
            if Instant::now() >= deadline {
                break;
            }
        }
        match (self.pids()?.len(), self.members.first()) {
            (count @ 1.., Some(member)) => Err(CgroupError::Survivors {
                path: member.path.clone(),
                count,
            }),
            _ => Ok(()),
        }
    }

    /// One round of SIGKILL: by the kernel where it can (`cgroup.kill`, Linux 5.14), else by
    /// number while the group is frozen, so that none of the numbers can be forked away or reused.
    fn signal(&self, pids: &[i32]) {
        if let Some(member) = self.members.first()
            && self.version == Version::V2
            && member.write("cgroup.kill", "1").is_ok()
        {
            return;
        }
        let freezer = self.freezer();
        if let Some((member, file, on, _)) = freezer {
            let _ = member.write(file, on);
        }
        for process in pids.iter().filter_map(|pid| pidfd::open(*pid).ok()) {
            let _ = pidfd::send_signal(&process, libc::SIGKILL);
        }
        if let Some((member, file, _, off)) = freezer {
            let _ = member.write(file, off);
        }
    }

    /// The file that freezes, and the words for on and off.
    pub(super) fn freezer(&self) -> Option<(&Member, &'static str, &'static str, &'static str)> {
        let member = self.member("freezer")?;
        Some(match self.version {
            Version::V1 => (member, "freezer.state", "FROZEN", "THAWED"),
            Version::V2 => (member, "cgroup.freeze", "1", "0"),
        })
    }

    /// Removes the group and what the container made below it. Its processes must be gone.
    ///
    /// # Errors
    /// The first directory that stayed; the others are removed all the same.
    pub fn remove(self) -> Result<(), CgroupError> {
        let mut first = Ok(());
        for member in &self.members {
            let Err(source) = remove_tree(&member.path) else {
                continue;
            };
            if first.is_ok() {
                first = Err(CgroupError::Remove {
                    path: member.path.clone(),
                    source,
                });
            }
        }
        first
    }
}

fn gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

/// Waits until every one of `processes` has ended, or `deadline` is reached.
fn await_all(processes: &[OwnedFd], deadline: Instant) {
    for process in processes {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(timeout) = Timespec::try_from(left) else {
            return;
        };
        let mut polled = [PollFd::new(process, PollFlags::IN)];
        let _ = rustix::event::poll(&mut polled, Some(&timeout));
    }
}

/// `path` and the groups below it, parents first.
pub(super) fn with_descendants(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    let mut next = 0;
    while let Some(parent) = found.get(next).cloned() {
        next += 1;
        // Counting links saves listing a directory in the common case of no child.
        let links = rustix::fs::stat(&parent).map_or(0, |s| s.st_nlink);
        if links == 2 {
            continue;
        }
        let Ok(entries) = std::fs::read_dir(&parent) else {
            continue;
        };
        let directories = entries
            .flatten()
            .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
        for entry in directories.take(MAX_DESCENDANTS.saturating_sub(found.len())) {
            found.push(entry.path());
        }
    }
    found
}

/// Children before parents.
fn remove_tree(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir(path) {
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    for directory in with_descendants(path).iter().rev() {
        remove_one(directory)?;
    }
    Ok(())
}

fn remove_one(path: &Path) -> io::Result<()> {
    for _ in 0..REMOVE_RETRIES {
        match std::fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) if e.raw_os_error() != Some(libc::EBUSY) => return Err(e),
            Err(_) => await_release(path)?,
        }
    }
    std::fs::remove_dir(path)
}

/// A busy group has processes, whose end can be awaited, or is being released.
fn await_release(path: &Path) -> io::Result<()> {
    let text = match open_directory(path).and_then(|d| read_at(d.as_fd(), "cgroup.procs")) {
        Err(e) if gone(&e) => return Ok(()),
        other => other?,
    };
    let deadline = Instant::now() + REMOVE_PAUSE;
    let mut pids = text.lines().filter_map(|l| l.parse::<i32>().ok());
    match pids.find_map(|pid| pidfd::open(pid).ok()) {
        Some(process) => await_all(&[process], deadline),
        None => {
            if let Ok(pause) = Timespec::try_from(REMOVE_PAUSE) {
                let _ = rustix::event::poll(&mut [], Some(&pause));
            }
        }
    }
    Ok(())
}
