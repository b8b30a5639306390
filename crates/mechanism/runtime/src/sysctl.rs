//! Kernel parameters: only those that belong to a namespace of the container's own.

use std::os::fd::OwnedFd;

use berth_sys::rustix;
use berth_types::oci::NamespaceKind;
use rustix::fs::OFlags;

use crate::error::{Context, Error, Result};
use crate::namespaces::Namespaces;

/// Parameters of an IPC namespace, besides `fs.mqueue.*`.
const IPC: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

/// Parameters of a UTS namespace.
const UTS: [&str; 2] = ["kernel/hostname", "kernel/domainname"];

/// The path of parameter `name` below `/proc/sys`, if the container may have it.
pub(crate) fn path(name: &str, namespaces: &Namespaces) -> Result<String> {
    let path = to_path(name);
    let (kind, word) = if path.starts_with("net/") {
        (NamespaceKind::Network, "network")
    } else if IPC.contains(&path.as_str()) || path.starts_with("fs/mqueue/") {
        (NamespaceKind::Ipc, "IPC")
    } else if UTS.contains(&path.as_str()) {
        (NamespaceKind::Uts, "UTS")
    } else {
        return Err(Error::Invalid(format!(
            "cannot set sysctl {name:?}: it belongs to the whole machine; set it on the host"
        )));
    };
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Error::Invalid(format!(
            "cannot set sysctl {name:?}: this is not a name"
        )));
    }
    if !namespaces.has(kind) {
        return Err(Error::Invalid(format!(
            "cannot set sysctl {name:?}: the container shares the host's {word} namespace; \
             give it one of its own"
        )));
    }
    Ok(path)
}

/// `sysctl(8)`: whichever of `.` and `/` comes first separates, and the other one is plain text
/// or its stand-in.
fn to_path(name: &str) -> String {
    let first = name.find(['.', '/']).and_then(|at| name.get(at..=at));
    if first == Some("/") {
        return name.to_owned();
    }
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    name.chars().map(swap).collect()
}

/// Writes the parameters (path and value). `proc` is the host's: its `sys/` shows the namespaces
/// of whoever opens a file, and no image can have prepared it.
pub(crate) fn write(proc: &OwnedFd, parameters: &[(String, String)]) -> Result<()> {
    for (path, value) in parameters {
        let set = || -> std::io::Result<()> {
            let path = format!("sys/{path}");
            let file = berth_sys::path::open_without_links(proc, &path, OFlags::WRONLY)?;
            rustix::io::write(file, value.as_bytes())?;
            Ok(())
        };
        set().step("set the sysctl", format!("{path} to {value:?}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_types::oci::Namespace;

    #[test]
    fn only_what_belongs_to_the_container() {
        let kinds = [
            NamespaceKind::Mount,
            NamespaceKind::Network,
            NamespaceKind::Ipc,
        ];
        let list = kinds.map(|kind| Namespace { kind, path: None });
        let own = Namespaces::new(&list).unwrap();
        let shared = Namespaces::new(&list[..1]).unwrap();
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(path(name, &own).ok().as_deref(), expected, "{name}");
            assert!(
                path(name, &shared).is_err(),
                "{name} in the host's namespaces"
            );
        };
        check("net.ipv4.ip_forward", Some("net/ipv4/ip_forward"));
        check(
            "net/ipv4/conf/eth0.1/forwarding",
            Some("net/ipv4/conf/eth0.1/forwarding"),
        );
        check(
            "net.ipv4.conf.eth0/1.forwarding",
            Some("net/ipv4/conf/eth0.1/forwarding"),
        );
        check("kernel.shmmax", Some("kernel/shmmax"));
        check("fs.mqueue.msg_max", Some("fs/mqueue/msg_max"));
        check("kernel.hostname", None);
        check("kernel.panic", None);
        check("vm.swappiness", None);
        check("net/../kernel/panic", None);
        check("", None);
    }
}
