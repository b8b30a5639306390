//! Stopping every process of a group without their noticing, and letting them go on.
//!
//! Version 2 has `cgroup.freeze` and tells of the outcome in `cgroup.events`; version 1 has a
//! controller of its own with `freezer.state`, which has to be asked again until it is done.

use std::time::{Duration, Instant};

use super::{Cgroup, CgroupError, Member, Version, counter};

/// How long the processes may take to stop; one that sits in the kernel stops when it leaves it.
const FREEZE_DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks at the state: neither version has an event that both freezing and version 1
/// would give.
const FREEZE_PAUSE: Duration = Duration::from_millis(1);

impl Cgroup {
    /// Stops every process of the group and below it, and waits until all stand still.
    ///
    /// # Errors
    /// There is no freezer on this machine, or they did not stop in time; then they go on.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        let (member, file) = self.freezer_file()?;
        let frozen = match self.version {
            Version::V1 => "FROZEN",
            Version::V2 => "1",
        };
        write(member, file, frozen)?;
        let deadline = Instant::now() + FREEZE_DEADLINE;
        while !self.is_frozen()? {
            if Instant::now() >= deadline {
                self.thaw()?;
                let path = member.path.clone();
                return Err(CgroupError::Restless { path });
            }
            std::thread::sleep(FREEZE_PAUSE);
        }
        Ok(())
    }

    /// Lets the processes of the group go on.
    ///
    /// # Errors
    /// There is no freezer on this machine, or it refuses.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        let (member, file) = self.freezer_file()?;
        let thawed = match self.version {
            Version::V1 => "THAWED",
            Version::V2 => "0",
        };
        write(member, file, thawed)
    }

    /// Whether every process of the group stands still.
    ///
    /// # Errors
    /// There is no freezer on this machine, or its state cannot be read.
    pub fn is_frozen(&self) -> Result<bool, CgroupError> {
        let (member, _) = self.freezer_file()?;
        let file = match self.version {
            Version::V1 => "freezer.state",
            Version::V2 => "cgroup.events",
        };
        let text = member.read(file).map_err(|source| CgroupError::Read {
            path: member.path.join(file),
            source,
        })?;
        Ok(match self.version {
            Version::V1 => text.trim() == "FROZEN",
            Version::V2 => counter(&text, "frozen") == Some(1),
        })
    }

    fn freezer_file(&self) -> Result<(&Member, &'static str), CgroupError> {
        let file = match self.version {
            Version::V1 => "freezer.state",
            Version::V2 => "cgroup.freeze",
        };
        let member = self.member("freezer").ok_or(CgroupError::NoController {
            limit: "pause",
            controller: "freezer",
        })?;
        Ok((member, file))
    }
}

fn write(member: &Member, file: &'static str, value: &str) -> Result<(), CgroupError> {
    member
        .write(file, value)
        .map_err(|source| CgroupError::Freeze {
            path: member.path.join(file),
            source,
        })
}
