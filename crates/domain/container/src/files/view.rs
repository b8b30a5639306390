//! A container's root file system as a descriptor.
//!
//! Of a running container it is the root of its init, with all that is mounted in it. Of any other
//! it is an overlay of its layers, mounted for nobody: the mount is never attached to a directory,
//! so no process sees it, and it goes with the descriptor. For reading, the container's own layer
//! is one more lower layer, which disturbs neither a start nor a program that runs.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use berth_storage::Snapshot;
use berth_sys::mount::FsContext;
use berth_sys::process::identity;
use berth_sys::rustix::fs::{CWD, Mode, OFlags, openat};
use berth_sys::rustix::mount::MountAttrFlags;
use berth_types::launch::ProcessIdentity;

/// The root of a process, with the mounts that it sees.
///
/// # Errors
/// The process is gone, or the kernel refuses.
pub(crate) fn of_process(process: ProcessIdentity) -> io::Result<OwnedFd> {
    let root = directory(Path::new(&format!("/proc/{}/root", process.pid)))?;
    // Opened first and asked afterwards: the number may have gone to another process before.
    if identity(process.pid)? != process {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(root)
}

/// The root of a container that does not run, for reading.
///
/// # Errors
/// The kernel's answer.
pub(crate) fn to_read(snapshot: &Snapshot) -> io::Result<OwnedFd> {
    let mut layers = vec![snapshot.upper.clone()];
    layers.extend(snapshot.lower.iter().cloned());
    merged(&layers)
}

/// What a container's own layer lies upon; nothing where there is nothing.
///
/// # Errors
/// The kernel's answer.
pub(crate) fn below(snapshot: &Snapshot) -> io::Result<Option<OwnedFd>> {
    if snapshot.lower.is_empty() {
        return Ok(None);
    }
    merged(&snapshot.lower).map(Some)
}

/// The root of a container that does not run, for writing. Nobody else may mount it meanwhile.
///
/// # Errors
/// The kernel's answer.
pub(crate) fn to_write(snapshot: &Snapshot) -> io::Result<OwnedFd> {
    if snapshot.lower.is_empty() {
        return directory(&snapshot.upper);
    }
    let context = overlay(&snapshot.lower)?;
    set(&context, "upperdir", &snapshot.upper)?;
    set(&context, "workdir", &snapshot.work)?;
    mounted(&context, MountAttrFlags::empty())
}

fn merged(layers: &[PathBuf]) -> io::Result<OwnedFd> {
    match layers {
        // The kernel makes no overlay of one directory alone.
        [only] => directory(only),
        layers => mounted(&overlay(layers)?, MountAttrFlags::MOUNT_ATTR_RDONLY),
    }
}

fn overlay(layers: &[PathBuf]) -> io::Result<FsContext> {
    let context = FsContext::open("overlay")?;
    for layer in layers {
        set(&context, "lowerdir+", layer)?;
    }
    Ok(context)
}

fn set(context: &FsContext, key: &str, path: &Path) -> io::Result<()> {
    let set = context.set(key, &path.to_string_lossy());
    set.map_err(|source| explained(context, source))
}

fn mounted(context: &FsContext, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let mounted = context.mount(attributes);
    mounted.map_err(|source| explained(context, source))
}

fn explained(context: &FsContext, source: io::Error) -> io::Error {
    match context.message() {
        message if message.is_empty() => source,
        message => io::Error::new(source.kind(), format!("{source} ({message})")),
    }
}

/// Opens a directory that is the engine's own, or a process's root.
pub(crate) fn directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}
