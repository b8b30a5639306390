//! Giving up rights: identity, capabilities, `no_new_privs` and the system call filter.
//!
//! The order is forced by what each step needs. The bounding set shrinks while `CAP_SETPCAP` is
//! there. Groups go before the user, whose change keeps the permitted capabilities once. Without
//! `no_new_privs` the filter needs `CAP_SYS_ADMIN`, so it is loaded before the last capabilities
//! go; with it, the filter is the last thing of all.

use berth_sys::caps::{self, CapSet, ThreadCaps};
use berth_sys::rustix;
use berth_sys::seccomp::Filter;
use rustix::process::{Gid, Signal, Uid};

use crate::error::{Context, Result};
use crate::phases::Stopwatch;
use crate::plan::Capabilities;
use crate::user::Identity;

/// What is left when the program starts.
pub(crate) struct Rights<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) capabilities: Capabilities,
    pub(crate) no_new_privileges: bool,
    pub(crate) filter: Option<&'a Filter>,
}

impl Rights<'_> {
    /// Gives up everything else.
    pub(crate) fn apply(&self, stopwatch: &mut Stopwatch) -> Result<()> {
        caps::limit_bounding(self.capabilities.bounding)?;
        let full = caps::get()?.permitted;
        self.become_user()?;
        stopwatch.mark("user");
        match (self.filter, self.no_new_privileges) {
            (Some(filter), false) => {
                let all = ThreadCaps {
                    effective: full,
                    permitted: full,
                    inheritable: CapSet::EMPTY,
                };
                caps::set(&all)?;
                die_with_monitor()?;
                filter.load().step("load", "the system call filter")?;
                self.drop_capabilities()?;
            }
            (filter, no_new_privileges) => {
                self.drop_capabilities()?;
                die_with_monitor()?;
                if no_new_privileges {
                    rustix::thread::set_no_new_privs(true).step("set", "no_new_privs")?;
                }
                if let Some(filter) = filter {
                    filter.load().step("load", "the system call filter")?;
                }
            }
        }
        stopwatch.mark("seccomp");
        Ok(())
    }

    fn become_user(&self) -> Result<()> {
        let Identity {
            uid, gid, groups, ..
        } = self.identity;
        let subject = || format!("user {uid}, group {gid}");
        let groups: Vec<Gid> = groups.iter().map(|g| Gid::from_raw(*g)).collect();
        rustix::thread::set_thread_groups(&groups).step("take the groups of", subject())?;
        let gid = Gid::from_raw(*gid);
        rustix::thread::set_thread_res_gid(gid, gid, gid).step("become", subject())?;
        let uid = Uid::from_raw(*uid);
        if !uid.is_root() {
            rustix::thread::set_keep_capabilities(true).step("keep capabilities of", subject())?;
        }
        rustix::thread::set_thread_res_uid(uid, uid, uid).step("become", subject())
    }

    fn drop_capabilities(&self) -> Result<()> {
        let Capabilities {
            effective,
            permitted,
            inheritable,
            ambient,
            ..
        } = self.capabilities;
        // A user who is not root keeps nothing across an execve but what is ambient, whatever is
        // set here; an ordinary container's user sees empty sets.
        caps::set(&ThreadCaps {
            effective,
            permitted,
            inheritable,
        })?;
        if !ambient.is_empty() {
            caps::raise_ambient(ambient)?;
        }
        Ok(())
    }
}

/// Has the kernel kill this process when the monitor dies. A change of identity cancels it, so it
/// is asked for at the beginning and again after.
pub(crate) fn die_with_monitor() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .step("tie the container to", "its monitor")
}
