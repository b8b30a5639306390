//! Freezing a group and letting it go on: the freezer of version 1 (`freezer-subsystem.rst`),
//! `cgroup.freeze` of version 2 (`cgroup-v2.rst`).

use std::io;
use std::time::{Duration, Instant};

use berth_types::task::{Wait, waits};
use rustix::event::Timespec;
use rustix::io::Errno;

use super::{Cgroup, CgroupError, Member, Version, counter};

/// How long the kernel may take to stop every process. One that is in an uninterruptible sleep
/// holds it up.
const FREEZE_DEADLINE: Duration = Duration::from_secs(10);

/// How long to wait between two looks; version 1 has no event for it.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// What the kernel says of the files of a group that was removed.
fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::NODEV];
    Errno::from_io_error(error).is_some_and(|errno| gone.contains(&errno))
}

impl Cgroup {
    /// Freezes every process in the group and below it, or lets them go on; returns when that is
    /// so. Where it does not come about, the group is thawed again.
    ///
    /// # Errors
    /// [`CgroupError::NoController`] without a freezer, [`CgroupError::Freeze`] when a process
    /// cannot be stopped.
    pub fn freeze(&self, on: bool) -> Result<(), CgroupError> {
        match self.turn(on) {
            // Processes that went on to their end: the group is gone with them.
            Err(CgroupError::Freeze { source, .. }) if !on && is_gone(&source) => Ok(()),
            turned => turned,
        }
    }

    fn turn(&self, on: bool) -> Result<(), CgroupError> {
        let (member, file, frozen, thawed) = self.freezer().ok_or(CgroupError::NoController {
            limit: "pause",
            controller: "freezer",
        })?;
        let failed = |source| CgroupError::Freeze {
            path: member.path.clone(),
            source,
        };
        let word = if on { frozen } else { thawed };
        member.write(file, word).map_err(failed)?;
        let deadline = Instant::now() + FREEZE_DEADLINE;
        let _waits = waits(Wait::Freezer, Some(FREEZE_DEADLINE));
        loop {
            if self.frozen_state(member).map_err(failed)? == on {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let _ = member.write(file, thawed);
                return Err(failed(io::ErrorKind::TimedOut.into()));
            }
            if let Ok(pause) = Timespec::try_from(LOOK_AGAIN) {
                let _ = rustix::event::poll(&mut [], Some(&pause));
            }
            // Version 1 tries anew only when it is asked anew.
            member.write(file, word).map_err(failed)?;
        }
    }

    /// Whether the group is frozen. Without a freezer it is not.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn is_frozen(&self) -> Result<bool, CgroupError> {
        let Some((member, ..)) = self.freezer() else {
            return Ok(false);
        };
        self.frozen_state(member)
            .map_err(|source| CgroupError::Read {
                path: member.path.clone(),
                source,
            })
    }

    fn frozen_state(&self, member: &Member) -> io::Result<bool> {
        match self.version {
            Version::V1 => Ok(member.read("freezer.state")?.trim() == "FROZEN"),
            Version::V2 => Ok(counter(&member.read("cgroup.events")?, "frozen") == Some(1)),
        }
    }
}
