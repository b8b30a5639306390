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

    fn scope(&self, id: ContainerId) -> String {
        format!("{}/{}", self.slice.group(), unit(id))
    }

    /// The group of a container, absolute in the hierarchy.
    pub(crate) fn group(&self, id: ContainerId) -> String {
        self.scope(id) + CONTAINER
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
    fn place(&self, id: ContainerId, monitor: i32, runtime: &Path) -> io::Result<()> {
        let link = runtime.join(GROUP_LINK);
        if let Err(error) = symlink(self.group(id), &link) {
            let same = read_link(runtime).is_some_and(|group| group == self.group(id));
            if !same {
                return Err(error);
            }
        }
        let request = ScopeRequest {
            unit: &unit(id),
            slice: &self.slice,
            description: &format!("Berth container {id}"),
            pid: monitor,
            stopped_after: &STOPPED_AFTER,
        };
        let explained = |error: &dyn std::error::Error| io::Error::other(chain(error));
        self.manager
            .start_scope(request)
            .map_err(|error| explained(&error))?;
        cgroup::step_aside(&self.scope(id), monitor).map_err(|error| explained(&error))
    }
}

/// The group that a run was put into, if it has a scope.
pub(crate) fn read_link(runtime: &Path) -> Option<String> {
    let group = std::fs::read_link(runtime.join(GROUP_LINK)).ok()?;
    group.into_os_string().into_string().ok()
}

/// Waits until the scope of a run that is over is gone; nothing to do for one that has none.
pub(crate) fn leave(runtime: &Path, id: ContainerId) {
    let group = read_link(runtime);
    let Some(scope) = group.as_deref().and_then(|g| g.strip_suffix(CONTAINER)) else {
        return;
    };
    if let Err(error) = cgroup::await_end(scope) {
        tracing::warn!(%id, %error, "systemd has not ended the container's scope");
    }
}
