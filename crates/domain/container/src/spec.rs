//! From a record to what the runtime starts: pure, golden-tested.

use std::path::Path;

use berth_sys::caps::{CapSet, Capability};
use berth_types::ContainerId;
use berth_types::launch::{Bundle, Launch, LogTarget, Rootfs, Stdin};
use berth_types::oci::{self, Mount, Namespace, NamespaceKind};

use crate::devices;
use crate::error::ContainerError;
use crate::groups;
use crate::limits;
use crate::process;
use crate::record::{HostSettings, Log, Network, Record};

/// Version of the runtime specification that the bundle follows.
const OCI_VERSION: &str = "1.2.0";
/// Docker's default size of `/dev/shm` in bytes.
pub const SHM_SIZE: u64 = 64 << 20;

/// Paths that tell about the host, and read as empty.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
/// Paths that would change the host.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The default lists of masked and of read-only paths.
pub fn default_paths() -> (Vec<String>, Vec<String>) {
    (
        MASKED.map(str::to_owned).to_vec(),
        READ_ONLY.map(str::to_owned).to_vec(),
    )
}

/// What the host and the engine's configuration add to a record.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// Control group that the engine's containers live below, absolute in the hierarchy.
    pub cgroup_parent: String,
    /// Where systemd makes scopes for them, instead of groups there.
    pub scopes: Option<std::sync::Arc<crate::Scopes>>,
    /// Device nodes of the host, for privileged containers.
    pub devices: Vec<oci::Device>,
    /// The host's own name, for containers that share its network.
    pub hostname: String,
    /// Capabilities that the engine has itself and can therefore give; `ALL` means these.
    pub capabilities: CapSet,
    /// Most open files that the engine can allow a process.
    pub open_files: u64,
}

/// Directories of one container.
#[derive(Debug, Clone, Copy)]
pub struct Dirs<'a> {
    /// `containers/<id>` below the data root.
    pub state: &'a Path,
    /// Read-only layers, topmost first.
    pub lower: &'a [String],
    /// Writable layer.
    pub upper: &'a str,
    /// Overlay work directory.
    pub work: &'a str,
}

/// Everything the monitor needs, from a record.
///
/// # Errors
/// A capability that is not known; the record was checked when it was made, so only after a
/// change of the kernel.
pub fn launch(
    record: &Record,
    facts: &HostFacts,
    dirs: Dirs<'_>,
) -> Result<Launch, ContainerError> {
    let host = &record.host;
    let spec = oci::Spec {
        oci_version: OCI_VERSION.to_owned(),
        process: process::main(record, facts)?,
        root: oci::Root {
            path: String::new(),
            readonly: host.readonly_rootfs,
        },
        hostname: if host.host_uts {
            String::new()
        } else {
            hostname(record, facts).to_owned()
        },
        domainname: record.settings.domainname.clone(),
        mounts: mounts(record, dirs.state),
        linux: linux(record, facts)?,
        annotations: host.annotations.clone(),
    };
    Ok(Launch {
        id: record.id,
        bundle: Bundle {
            spec,
            rootfs: Rootfs::Overlay {
                lower: dirs.lower.to_vec(),
                upper: dirs.upper.to_owned(),
                work: dirs.work.to_owned(),
                volatile: host.auto_remove,
            },
            user: record.settings.user.clone(),
            groups: host.group_add.clone(),
            make_cwd: true,
        },
        log: match &host.log {
            Log::None => LogTarget::None,
            Log::JsonFile {
                max_size,
                max_files,
                ..
            } => LogTarget::JsonFile {
                max_size: *max_size,
                max_files: *max_files,
            },
        },
        stdin: if record.settings.open_stdin {
            Stdin::Pipe {
                once: record.settings.stdin_once,
            }
        } else {
            Stdin::Null
        },
        durable_exit: !host.auto_remove,
    })
}

/// The name a container calls itself.
pub fn hostname<'a>(record: &'a Record, facts: &'a HostFacts) -> &'a str {
    if record.settings.hostname.is_empty() {
        &facts.hostname
    } else {
        &record.settings.hostname
    }
}

/// The control group that a container without a parent of its own is started in, absolute in the
/// hierarchy.
pub fn cgroup_path(id: ContainerId, facts: &HostFacts) -> String {
    match &facts.scopes {
        Some(scopes) => scopes.group(id, None),
        None => groups::plain(id, facts),
    }
}

/// The capabilities of a container: Docker's default fourteen, or all, with what the request
/// adds and drops. `ALL` in either list stands for all that are `available`.
///
/// # Errors
/// A name that is no capability.
pub fn capabilities(host: &HostSettings, available: CapSet) -> Result<CapSet, ContainerError> {
    if host.privileged {
        return Ok(available);
    }
    let all = |list: &[String]| list.iter().any(|c| c.eq_ignore_ascii_case("all"));
    let named = |list: &[String]| -> Result<Vec<Capability>, ContainerError> {
        let names = list.iter().filter(|c| !c.eq_ignore_ascii_case("all"));
        names
            .map(|name| {
                name.parse::<Capability>().map_err(|_| {
                    ContainerError::Invalid(format!(
                        "invalid capability: unknown capability {name:?}: see capabilities(7), or give ALL"
                    ))
                })
            })
            .collect()
    };
    let (add, drop) = (named(&host.cap_add)?, named(&host.cap_drop)?);
    let mut set = match (all(&host.cap_add), all(&host.cap_drop)) {
        (true, _) => available,
        (false, true) => CapSet::EMPTY,
        (false, false) => CapSet::DOCKER_DEFAULT,
    };
    for cap in drop {
        set.remove(cap);
    }
    for cap in add {
        set.insert(cap);
    }
    Ok(set)
}

fn linux(record: &Record, facts: &HostFacts) -> Result<oci::Linux, ContainerError> {
    let host = &record.host;
    let mut resources = limits::resources(&host.limits);
    resources.devices = devices::rules(host)?;
    let (masked, read_only) = default_paths();
    let paths = |own: &Option<Vec<String>>, default: Vec<String>| match own {
        Some(list) => list.clone(),
        None if host.privileged => Vec::new(),
        None => default,
    };
    let mut sysctl = host.sysctls.clone();
    if host.network.is_own() {
        for (key, value) in [
            ("net.ipv4.ip_unprivileged_port_start", "0"),
            ("net.ipv4.ping_group_range", "0 2147483647"),
        ] {
            sysctl
                .entry(key.to_owned())
                .or_insert_with(|| value.to_owned());
        }
    }
    Ok(oci::Linux {
        namespaces: namespaces(host),
        cgroups_path: groups::planned(record, facts)?,
        resources,
        devices: if host.privileged {
            facts.devices.clone()
        } else {
            Vec::new()
        },
        sysctl,
        rootfs_propagation: propagation(host),
        masked_paths: paths(&host.masked_paths, masked),
        readonly_paths: paths(&host.readonly_paths, read_only),
    })
}

/// The propagation of the root mount: as wide as the widest bind mount needs it.
fn propagation(host: &HostSettings) -> String {
    let any = |word: &str| host.binds.iter().any(|b| b.propagation.ends_with(word));
    if any("shared") {
        "shared".into()
    } else if any("slave") {
        "rslave".into()
    } else {
        String::new()
    }
}

fn namespaces(host: &HostSettings) -> Vec<Namespace> {
    let own = [
        (NamespaceKind::Mount, true),
        (NamespaceKind::Pid, !host.host_pid),
        (NamespaceKind::Network, host.network != Network::Host),
        (NamespaceKind::Uts, !host.host_uts),
        (NamespaceKind::Ipc, !host.host_ipc),
        (NamespaceKind::Cgroup, !host.host_cgroupns),
    ];
    own.into_iter()
        .filter(|(_, own)| *own)
        .map(|(kind, _)| Namespace { kind, path: None })
        .collect()
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind: kind.to_owned(),
        source: source.to_owned(),
        options: options.iter().map(|o| (*o).to_owned()).collect(),
    }
}

fn mounts(record: &Record, state: &Path) -> Vec<Mount> {
    let host = &record.host;
    let rw = if host.privileged { "rw" } else { "ro" };
    let shm = if host.shm_size == 0 {
        SHM_SIZE
    } else {
        host.shm_size
    };
    let mut list = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", rw]),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", rw],
        ),
    ];
    if host.host_ipc {
        list.push(mount(
            "/dev/mqueue",
            "bind",
            "/dev/mqueue",
            &["rbind", "nosuid", "noexec", "nodev"],
        ));
        list.push(mount(
            "/dev/shm",
            "bind",
            "/dev/shm",
            &["rbind", "nosuid", "noexec", "nodev"],
        ));
    } else {
        list.push(mount(
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            &["nosuid", "noexec", "nodev"],
        ));
        let size = format!("size={shm}");
        list.push(mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", &size],
        ));
    }
    for (path, options) in &host.tmpfs {
        let mut all = vec!["nosuid", "nodev", "noexec"];
        all.extend(options.split(',').filter(|o| !o.is_empty()));
        list.push(mount(path, "tmpfs", "tmpfs", &all));
    }
    // The network's files come before the request's mounts, which may replace them.
    for name in crate::hostfiles::NAMES {
        let target = format!("/etc/{name}");
        if host.binds.iter().all(|b| b.target != target) {
            let source = state.join(name);
            list.push(mount(
                &target,
                "bind",
                &source.to_string_lossy(),
                &["rbind", "rprivate"],
            ));
        }
    }
    for bind in &host.binds {
        let depth = if bind.flat { "bind" } else { "rbind" };
        let propagation = if bind.propagation.is_empty() {
            "rprivate"
        } else {
            bind.propagation.as_str()
        };
        let access = if bind.read_only { "ro" } else { "rw" };
        list.push(mount(
            &bind.target,
            "bind",
            &bind.source,
            &[depth, propagation, access],
        ));
    }
    list
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
