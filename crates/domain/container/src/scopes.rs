//! Containers in scopes of systemd: the cgroup driver `systemd`.
//!
//! ```text
//! system.slice/berth-ID.scope     systemd's, delegated; limits nothing
//! ├── monitor                     the monitor (version 2; on version 1 it is in the scope itself)
//! └── container                   the container, with its limits: the same group, made by the same
//!                                 code, as that of the driver `cgroupfs`
//! ```
//!
//! systemd writes limits into the groups of its units whenever it thinks that it should; what is
//! below a delegated one it never touches. The monitor is in the scope because a scope begins with
//! a process and ends with its last one, and because the container then depends on no group of the
//! engine's own unit.

use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use berth_shim::Placement;
use berth_sys::cgroup;
use berth_sys::systemd::{Manager, ScopeRequest, Slice};
use berth_types::{ContainerId, chain};

/// The link in a runtime directory that names the container's group. It tells an engine with another
/// driver, or another slice, where the container is.
const GROUP_LINK: &str = "group";
/// The container's group below its scope.
const CONTAINER: &str = "/container";
const PREFIX: &str = "berth-";
const SUFFIX: &str = ".scope";
/// When the machine goes down, scopes are stopped after the unit that stops after the engine, which
/// ends containers in their own way. Not after the engine's service itself: a start that meets the
/// stop of a restart would wait for it.
const STOPPED_AFTER: [&str; 1] = ["berth.socket"];

/// Where scopes are made, and by whom.
#[derive(Debug)]
pub struct Scopes {
    slice: Slice,
    manager: Manager,
}

impl Scopes {
    /// Scopes in `slice`.
    pub fn new(slice: Slice, manager: Manager) -> Self {
        Self { slice, manager }
    }

    /// The group of a container, absolute in the hierarchy: in `slice`, or where the others are.
    pub(crate) fn group(&self, id: ContainerId, slice: Option<&Slice>) -> String {
        let slice = slice.unwrap_or(&self.slice).group();
        format!("{slice}/{}{CONTAINER}", unit(id))
    }

    /// Containers, of whichever engine, that have a scope in the slice.
    pub(crate) fn found(&self) -> impl Iterator<Item = ContainerId> + use<> {
        let names = cgroup::children(&self.slice.group()).into_iter();
        names.filter_map(|name| {
            name.strip_prefix(PREFIX)?
                .strip_suffix(SUFFIX)?
                .parse()
                .ok()
        })
    }
}

fn unit(id: ContainerId) -> String {
    format!("{PREFIX}{id}{SUFFIX}")
}

impl Placement for Scopes {
    fn place(&self, id: ContainerId, group: &str, monitor: i32, runtime: &Path) -> io::Result<()> {
        write_link(runtime, group)?;
        let (scope, slice) = scope_of(group)
            .ok_or_else(|| io::Error::other(format!("{group} is no group of a scope")))?;
        let request = ScopeRequest {
            unit: &unit(id),
            slice: &slice,
            description: &format!("Berth container {id}"),
            pid: monitor,
            stopped_after: &STOPPED_AFTER,
        };
        let explained = |error: &dyn std::error::Error| io::Error::other(chain(error));
        self.manager
            .start_scope(request)
            .map_err(|error| explained(&error))?;
        cgroup::step_aside(scope, monitor).map_err(|error| explained(&error))
    }
}

/// The scope that a container's group lies in, and its slice.
fn scope_of(group: &str) -> Option<(&str, Slice)> {
    let scope = group.strip_suffix(CONTAINER)?;
    let (above, _) = scope.rsplit_once('/')?;
    let slice = match above.rsplit('/').next() {
        Some(name) if !name.is_empty() => name,
        _ => "-.slice",
    };
    Some((scope, Slice::parse(slice).ok()?))
}

/// Tells other engines where the group of a run will be, before anything is made there.
///
/// # Errors
/// The link is there and names another group.
pub(crate) fn write_link(runtime: &Path, group: &str) -> io::Result<()> {
    match symlink(group, runtime.join(GROUP_LINK)) {
        Err(error) if read_link(runtime).is_none_or(|own| own != group) => Err(error),
        _ => Ok(()),
    }
}

/// The group that a run was put into, if it is not where those of `cgroupfs` usually are.
pub(crate) fn read_link(runtime: &Path) -> Option<String> {
    let group = std::fs::read_link(runtime.join(GROUP_LINK)).ok()?;
    group.into_os_string().into_string().ok()
}

/// Waits until the scope of a run that is over is gone; nothing to do for one that has none, whose
/// `group` is another.
pub(crate) fn leave(group: &str, id: ContainerId) {
    let Some((scope, _)) = scope_of(group) else {
        return;
    };
    if let Err(error) = cgroup::await_end(scope) {
        tracing::warn!(%id, %error, "systemd has not ended the container's scope");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_tells_its_scope_and_slice() {
        let check = |group, expected: Option<(&str, &str)>| {
            let found = scope_of(group);
            let found = found.as_ref().map(|(s, slice)| (*s, slice.name()));
            assert_eq!(found, expected, "{group}");
        };
        check(
            "/a.slice/a-b.slice/berth-1.scope/container",
            Some(("/a.slice/a-b.slice/berth-1.scope", "a-b.slice")),
        );
        check(
            "/berth-1.scope/container",
            Some(("/berth-1.scope", "-.slice")),
        );
        check("/berth/1", None);
        check("/a/b/container", None);
    }
}
