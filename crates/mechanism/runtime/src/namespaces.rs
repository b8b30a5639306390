//! Which namespaces are made, and which are joined.

use std::os::fd::{AsFd, OwnedFd};

use berth_sys::rustix::fs::{Mode, OFlags, open, stat};
use berth_sys::rustix::thread::{
    LinkNameSpaceType, ThreadNameSpaceType, UnshareFlags, move_into_link_name_space,
};
use berth_types::oci::{self, NamespaceKind};

use crate::error::{Context, Error, Result};

/// The namespaces of one container.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// Made by the clone.
    pub(crate) cloned: UnshareFlags,
    /// Whether the view of control groups is made anew, once the container is in its own.
    pub(crate) cgroup: bool,
    joined: Vec<Joined>,
}

#[derive(Debug)]
struct Joined {
    kind: NamespaceKind,
    path: String,
    file: OwnedFd,
}

impl Namespaces {
    /// Reads the list, and opens the namespaces that are joined.
    pub(crate) fn new(list: &[oci::Namespace]) -> Result<Self> {
        let mut found = Self {
            cloned: UnshareFlags::empty(),
            cgroup: false,
            joined: Vec::new(),
        };
        for namespace in list {
            match (namespace.kind, &namespace.path) {
                (NamespaceKind::User, _) => {
                    return Err(refused("a user namespace", "run it as the host's root"));
                }
                (NamespaceKind::Mount, Some(_)) => {
                    return Err(refused("another's mount namespace", "leave its path out"));
                }
                (NamespaceKind::Cgroup, None) => found.cgroup = true,
                (kind, None) => found.cloned |= flag(kind),
                (kind, Some(path)) => {
                    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                        .step("open the namespace", path)?;
                    found.joined.push(Joined {
                        kind,
                        path: path.clone(),
                        file,
                    });
                }
            }
        }
        if !found.cloned.contains(UnshareFlags::NEWNS) {
            return Err(refused(
                "the host's mount namespace",
                "list a mount namespace",
            ));
        }
        Ok(found)
    }

    /// Whether the container has a namespace of this kind that is not the monitor's.
    pub(crate) fn has(&self, kind: NamespaceKind) -> bool {
        self.cloned.contains(flag(kind)) || self.joined.iter().any(|j| j.kind == kind)
    }

    /// Whether the network namespace is a new, empty one.
    pub(crate) fn new_network(&self) -> bool {
        self.cloned.contains(UnshareFlags::NEWNET)
    }

    /// Joins what is joined, in the clone. A PID namespace is for children only and was chosen
    /// before the clone, see [`Namespaces::clone_into_pid`].
    pub(crate) fn join(&self) -> Result<()> {
        for Joined { kind, path, file } in &self.joined {
            if *kind != NamespaceKind::Pid {
                move_into_link_name_space(file.as_fd(), Some(link_type(*kind)))
                    .step("join the namespace", path)?;
            }
        }
        Ok(())
    }

    /// Runs `clone` with the container's PID namespace, if one is joined, as that of new children,
    /// and goes back afterwards. In the clone it stays.
    pub(crate) fn clone_into_pid<T>(
        &self,
        clone: impl FnOnce() -> Result<T>,
        is_child: impl FnOnce(&T) -> bool,
    ) -> Result<T> {
        let Some(joined) = self.joined.iter().find(|j| j.kind == NamespaceKind::Pid) else {
            return clone();
        };
        let join = || {
            let kind = Some(LinkNameSpaceType::ProcessID);
            move_into_link_name_space(joined.file.as_fd(), kind)
                .step("join the namespace", &joined.path)
        };
        clone_in_pid(join, clone, is_child)
    }
}

/// Runs `clone` after `join` has chosen another PID namespace for new children, and goes back
/// afterwards. In the clone it stays.
pub(crate) fn clone_in_pid<T>(
    join: impl FnOnce() -> Result<()>,
    clone: impl FnOnce() -> Result<T>,
    is_child: impl FnOnce(&T) -> bool,
) -> Result<T> {
    let own_path = "/proc/self/ns/pid_for_children";
    let own = open(own_path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .step("open the namespace", own_path)?;
    join()?;
    let cloned = clone();
    if !cloned.as_ref().is_ok_and(is_child) {
        let kind = Some(LinkNameSpaceType::ProcessID);
        move_into_link_name_space(own.as_fd(), kind).step("join the namespace", own_path)?;
    }
    cloned
}

/// The kinds of namespaces, but for the PID namespace, that process `pid` has and this one has
/// not. The process is a child that was not reaped, so the number is its own.
pub(crate) fn foreign(pid: i32) -> Result<ThreadNameSpaceType> {
    const KINDS: [(&str, ThreadNameSpaceType); 6] = [
        ("mnt", ThreadNameSpaceType::MOUNT),
        ("net", ThreadNameSpaceType::NETWORK),
        ("ipc", ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION),
        ("uts", ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME),
        ("cgroup", ThreadNameSpaceType::CONTROL_GROUP),
        ("time", ThreadNameSpaceType::TIME),
    ];
    let mut found = ThreadNameSpaceType::empty();
    for (name, kind) in KINDS {
        // A kernel built without a kind has no file for it.
        let Ok(own) = stat(format!("/proc/self/ns/{name}")) else {
            continue;
        };
        let theirs = stat(format!("/proc/{pid}/ns/{name}")).step(
            "look at the namespaces of",
            "the container's init; has it ended?",
        )?;
        found.set(
            kind,
            (own.st_dev, own.st_ino) != (theirs.st_dev, theirs.st_ino),
        );
    }
    if !found.contains(ThreadNameSpaceType::MOUNT) {
        let text = "the container has no mount namespace of its own; start it again";
        return Err(Error::Invalid(text.to_owned()));
    }
    Ok(found)
}

fn refused(what: &str, remedy: &str) -> Error {
    Error::Invalid(format!(
        "cannot start a container in {what}: not supported; {remedy}"
    ))
}

fn flag(kind: NamespaceKind) -> UnshareFlags {
    match kind {
        NamespaceKind::Pid => UnshareFlags::NEWPID,
        NamespaceKind::Network => UnshareFlags::NEWNET,
        NamespaceKind::Mount => UnshareFlags::NEWNS,
        NamespaceKind::Ipc => UnshareFlags::NEWIPC,
        NamespaceKind::Uts => UnshareFlags::NEWUTS,
        NamespaceKind::User => UnshareFlags::NEWUSER,
        NamespaceKind::Cgroup => UnshareFlags::NEWCGROUP,
        NamespaceKind::Time => UnshareFlags::NEWTIME,
    }
}

fn link_type(kind: NamespaceKind) -> LinkNameSpaceType {
    match kind {
        NamespaceKind::Pid => LinkNameSpaceType::ProcessID,
        NamespaceKind::Network => LinkNameSpaceType::Network,
        NamespaceKind::Mount => LinkNameSpaceType::Mount,
        NamespaceKind::Ipc => LinkNameSpaceType::InterProcessCommunication,
        NamespaceKind::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
        NamespaceKind::User => LinkNameSpaceType::User,
        NamespaceKind::Cgroup => LinkNameSpaceType::ControlGroup,
        NamespaceKind::Time => LinkNameSpaceType::Time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(kinds: &[NamespaceKind]) -> Vec<oci::Namespace> {
        kinds
            .iter()
            .map(|kind| oci::Namespace {
                kind: *kind,
                path: None,
            })
            .collect()
    }

    #[test]
    fn what_is_not_listed_is_shared() {
        let kinds = [
            NamespaceKind::Mount,
            NamespaceKind::Pid,
            NamespaceKind::Cgroup,
        ];
        let found = Namespaces::new(&list(&kinds)).unwrap();
        assert_eq!(found.cloned, UnshareFlags::NEWNS | UnshareFlags::NEWPID);
        assert!(found.cgroup && !found.has(NamespaceKind::Network) && !found.new_network());
    }

    #[test]
    fn the_hosts_mounts_are_never_worked_on() {
        assert!(Namespaces::new(&list(&[NamespaceKind::Pid])).is_err());
        assert!(Namespaces::new(&list(&[NamespaceKind::Mount, NamespaceKind::User])).is_err());
    }
}
