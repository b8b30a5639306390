//! The mounts above the root file system.
//!
//! Each is built detached and attached to a descriptor that was resolved below the root, so that
//! no link in an image or a volume leads one astray. Bind sources are copied before the
//! propagation of the host's mounts is changed: a volume that asks to be shared is then in the
//! peer group of its host mount, and one that does not is made private.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use berth_sys::cgroup::{Cgroup, Version};
use berth_sys::mount::{self, Attributes, FsContext};
use berth_sys::path::{self, Kind};
use berth_sys::rustix;
use rustix::fs::{FileType, OFlags, PROC_SUPER_MAGIC, fstat, fstatfs};
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use crate::dev;
use crate::error::{Context, Error, Result};
use crate::plan::{MountKind, PlannedMount};

/// Files of procfs that a container may be given its own version of; no other mount below a
/// procfs is made, because what programs write there must reach the kernel (CVE-2019-19921).
const PROC_FILES: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
];

/// File systems whose superblock other mounts share, so that `ro` is for the mount alone.
const SHARED_SUPERBLOCK: [&str; 7] = [
    "proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2",
];

/// What a mount shows that is on the host now.
pub(crate) enum Source {
    /// Nothing.
    None,
    /// A part of the host's tree.
    Bind(OwnedFd),
    /// The container's control group in every tree, or on version 2 what a container with the
    /// host's view of them has: the whole tree; by the names of controllers.
    Groups(Vec<(Vec<String>, OwnedFd)>),
}

/// The sources on the host, copied while its mounts are still as it has them; in the order of
/// `mounts`.
pub(crate) fn copy_sources(
    mounts: &[PlannedMount],
    cgroup: &Cgroup,
    host_view: bool,
) -> Result<Vec<Source>> {
    let copy = |planned: &PlannedMount| match planned.kind {
        MountKind::Bind(recursive) => copy_bind(planned, recursive).map(Source::Bind),
        MountKind::Cgroup => copy_groups(planned, cgroup, host_view).map(Source::Groups),
        MountKind::FileSystem(_) => Ok(Source::None),
    };
    mounts.iter().map(copy).collect()
}

fn copy_bind(planned: &PlannedMount, recursive: bool) -> Result<OwnedFd> {
    let PlannedMount {
        source, options, ..
    } = planned;
    let tree = mount::clone_path(source, recursive).map_err(|e| {
        if e.kind() == io::ErrorKind::NotFound {
            refused(
                planned,
                format!("bind source path does not exist: {source}"),
            )
        } else {
            failed(planned, format!("cannot use {source} as the source"), e)
        }
    })?;
    let change = |recursive, attributes: Attributes| {
        if attributes == Attributes::default() {
            return Ok(());
        }
        mount::set_attributes(&tree, recursive, &attributes)
    };
    let (propagation, whole) = options
        .propagation
        .unwrap_or((MountPropagationFlags::PRIVATE, true));
    let propagation = Some(propagation);
    change(
        whole,
        Attributes {
            propagation,
            ..Attributes::default()
        },
    )
    .and_then(|()| change(true, options.tree))
    .and_then(|()| change(false, options.own))
    .map_err(|e| failed(planned, "its options are refused".to_owned(), e))?;
    Ok(tree)
}

fn copy_groups(
    planned: &PlannedMount,
    cgroup: &Cgroup,
    host_view: bool,
) -> Result<Vec<(Vec<String>, OwnedFd)>> {
    let propagation = Some(MountPropagationFlags::PRIVATE);
    let change = Attributes {
        propagation,
        ..planned.options.own
    };
    let copy = |path| {
        let tree = mount::clone_path(path, false)?;
        mount::set_attributes(&tree, false, &change)?;
        Ok(tree)
    };
    let whole = host_view && cgroup.version() == Version::V2;
    let groups = cgroup.directories().map(|(tree, path)| {
        // What `/proc/self/cgroup` says must be found below the mount point.
        let path = if whole { &tree.mount_point } else { path };
        let plain = |c: &String| c.strip_prefix("name=").unwrap_or(c).to_owned();
        let names = tree.controllers.iter().map(plain).collect();
        let refused = |e| failed(planned, format!("cannot use {}", path.display()), e);
        Ok((names, copy(path).map_err(refused)?))
    });
    groups.collect()
}

/// What the mounts left to use.
pub(crate) struct Mounted {
    /// The container's null device, if it has a `/dev` of its own.
    pub(crate) null: Option<OwnedFd>,
    /// Whether `/dev` is somebody else's directory.
    pub(crate) foreign_dev: bool,
}

/// Attaches everything below `root`. `sources` are from [`copy_sources`].
pub(crate) fn attach_all(
    root: &OwnedFd,
    mounts: &[PlannedMount],
    sources: Vec<Source>,
    version: Version,
) -> Result<Mounted> {
    let mut mounted = Mounted {
        null: None,
        foreign_dev: false,
    };
    for (planned, source) in mounts.iter().zip(sources) {
        let is_dev = planned.destination == "/dev";
        match (&planned.kind, source) {
            (_, Source::Bind(tree)) => {
                bind(root, planned, &tree)?;
                mounted.foreign_dev |= is_dev;
            }
            (_, Source::Groups(groups)) => mount_groups(root, planned, version, &groups)?,
            (MountKind::Bind(_) | MountKind::Cgroup, Source::None) => {}
            (MountKind::FileSystem(kind), Source::None) => {
                let target = directory(root, planned, kind)?;
                let tree = new_file_system(planned, kind, target.mode)?;
                if is_dev {
                    dev::populate(&tree)?;
                }
                attach(planned, &tree, &target.fd)?;
                if is_dev {
                    mounted.null = Some(dev::null(&tree)?);
                }
            }
        }
    }
    Ok(mounted)
}

fn bind(root: &OwnedFd, planned: &PlannedMount, tree: &OwnedFd) -> Result<()> {
    let is_directory = is_directory(tree).step("look at", &planned.source)?;
    let kind = if is_directory {
        Kind::Directory
    } else {
        Kind::File
    };
    let target = path::make(root, &planned.destination, kind, |_| Ok(()))
        .map_err(|e| failed(planned, "cannot make the mount point".to_owned(), e))?;
    let onto_proc = planned.destination == "/proc" && !is_proc(tree);
    if onto_proc || (is_proc(&target) && !PROC_FILES.contains(&planned.destination.as_str())) {
        let text = "procfs must stay the kernel's own; mount it somewhere else".to_owned();
        return Err(refused(planned, text));
    }
    if is_directory != self::is_directory(&target).step("look at", &planned.destination)? {
        let text = "not a directory: Are you trying to mount a directory onto a file (or \
                    vice-versa)? Check if the specified host path exists and is the expected type";
        return Err(refused(planned, text.to_owned()));
    }
    attach(planned, tree, &target)
}

fn is_directory(fd: &OwnedFd) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(fstat(fd)?.st_mode) == FileType::Directory)
}

/// A directory to mount on.
struct Target {
    fd: OwnedFd,
    /// Its permissions, if the image or an earlier mount has it.
    mode: Option<u32>,
}

fn directory(root: &OwnedFd, planned: &PlannedMount, kind: &str) -> Result<Target> {
    let point = &planned.destination;
    let mut created = false;
    let made = path::make(root, point, Kind::Directory, |_| {
        created = true;
        Ok(())
    });
    let fd = made.map_err(|e| failed(planned, "cannot make the mount point".to_owned(), e))?;
    if matches!(kind, "proc" | "sysfs") {
        // Whoever looks for the kernel's interfaces must find them by this name, in this
        // container: a link could lead into a volume that others change.
        let plain = path::open_without_links(root, point, OFlags::PATH | OFlags::DIRECTORY);
        plain.map_err(|e| failed(planned, format!("{kind} needs an ordinary directory"), e))?;
    } else if is_proc(&fd) {
        let text = "procfs must stay the kernel's own; mount it somewhere else".to_owned();
        return Err(refused(planned, text));
    }
    let mode = (!created)
        .then(|| fstat(&fd).map(|s| s.st_mode & 0o7777).ok())
        .flatten();
    Ok(Target { fd, mode })
}

/// A detached instance of file system `kind`. A tmpfs without a mode of its own gets that of the
/// directory it covers.
fn new_file_system(planned: &PlannedMount, kind: &str, covered: Option<u32>) -> Result<OwnedFd> {
    let options = &planned.options;
    let unknown = |e| match io::Error::kind(&e) {
        io::ErrorKind::NotFound => failed(planned, format!("unknown file system {kind:?}"), e),
        _ => failed(planned, format!("cannot begin a {kind}"), e),
    };
    let context = FsContext::open(kind).map_err(unknown)?;
    let set = |key: &str, value: Option<&str>| {
        let done = match value {
            Some(value) => context.set(key, value),
            None => context.set_flag(key),
        };
        done.map_err(|e| {
            let option = value.map_or(key.to_owned(), |v| format!("{key}={v}"));
            failed(
                planned,
                format!("unknown or invalid mount option {option:?} for {kind}"),
                e,
            )
        })
    };
    if !planned.source.is_empty() {
        set("source", Some(&planned.source))?;
    }
    for (key, value) in &options.data {
        set(key, value.as_deref())?;
    }
    if kind == "tmpfs" && !options.data.iter().any(|(key, _)| key == "mode") {
        let mode = covered.map(|mode| format!("{mode:o}"));
        mode.map_or(Ok(()), |mode| set("mode", Some(&mode)))?;
    }
    let attributes = options.own.set | options.tree.set;
    if attributes.contains(MountAttrFlags::MOUNT_ATTR_RDONLY) && !SHARED_SUPERBLOCK.contains(&kind)
    {
        set("ro", None)?;
    }
    let tree = context
        .mount(attributes)
        .map_err(|e| match context.message() {
            message if message.is_empty() => failed(planned, format!("{kind} refuses"), e),
            message => failed(planned, format!("{kind} refuses ({message})"), e),
        })?;
    if let Some((propagation, recursive)) = options.propagation {
        let change = Attributes {
            propagation: Some(propagation),
            ..Attributes::default()
        };
        mount::set_attributes(&tree, recursive, &change)
            .map_err(|e| failed(planned, "its propagation is refused".to_owned(), e))?;
    }
    Ok(tree)
}

/// Control groups. On version 2 the container's group; on version 1 a directory with the
/// container's group in each tree, and a link for each controller that shares a tree. Inside its
/// own cgroup namespace such a mount is the same as a new one: its top is the namespace's top.
fn mount_groups(
    root: &OwnedFd,
    planned: &PlannedMount,
    version: Version,
    groups: &[(Vec<String>, OwnedFd)],
) -> Result<()> {
    let target = directory(root, planned, "cgroup")?;
    if let (Version::V2, [(_, tree), ..]) = (version, groups) {
        return attach(planned, tree, &target.fd);
    }
    let refuses = |e: io::Error| failed(planned, "cgroup refuses".to_owned(), e);
    let own = planned.options.own;
    let context = FsContext::open("tmpfs").map_err(refuses)?;
    context.set("mode", "755").map_err(refuses)?;
    let top = context
        .mount(own.set - MountAttrFlags::MOUNT_ATTR_RDONLY)
        .map_err(refuses)?;
    attach(planned, &top, &target.fd)?;
    for (names, tree) in groups {
        attach_group(&top, names, tree).map_err(refuses)?;
    }
    mount::set_attributes(&top, false, &own).map_err(refuses)
}

fn attach_group(top: &OwnedFd, names: &[String], tree: &OwnedFd) -> io::Result<()> {
    let name = names.join(",");
    let point = path::make(top, &name, Kind::Directory, |_| Ok(()))?;
    mount::attach(tree, &point)?;
    for alias in names.iter().filter(|n| **n != name) {
        rustix::fs::symlinkat(&name, top, alias)?;
    }
    Ok(())
}

fn attach(planned: &PlannedMount, tree: &OwnedFd, target: &OwnedFd) -> Result<()> {
    mount::attach(tree, target).map_err(|e| failed(planned, "the kernel refuses".to_owned(), e))
}

fn is_proc(fd: impl AsFd) -> bool {
    fstatfs(fd).is_ok_and(|s| s.f_type == PROC_SUPER_MAGIC)
}

fn refused(planned: &PlannedMount, problem: String) -> Error {
    Error::Mount {
        destination: planned.destination.clone(),
        problem,
        source: None,
    }
}

fn failed(planned: &PlannedMount, problem: String, source: io::Error) -> Error {
    Error::Mount {
        destination: planned.destination.clone(),
        problem,
        source: Some(source),
    }
}
