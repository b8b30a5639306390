//! Mounts as descriptors: a mount is built detached, and attached to a directory descriptor.
//!
//! No function here takes a path that a container could have prepared: a target is a descriptor
//! that [`crate::path`] resolved.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
};

/// Longest text that is read from a file system context after a failure, in bytes.
const MAX_MESSAGE: usize = 1024;

/// A file system that is being configured (`fsopen(2)`).
#[derive(Debug)]
pub struct FsContext(OwnedFd);

impl FsContext {
    /// Begins a file system of type `kind`.
    ///
    /// # Errors
    /// `ENODEV` when the kernel does not know the type.
    pub fn open(kind: &str) -> io::Result<Self> {
        Ok(Self(rustix::mount::fsopen(
            kind,
            FsOpenFlags::FSOPEN_CLOEXEC,
        )?))
    }

    /// Sets an option that has a value; at most 255 bytes.
    ///
    /// # Errors
    /// `EINVAL` when the file system does not know the option or does not accept the value.
    pub fn set(&self, key: &str, value: &str) -> io::Result<()> {
        Ok(rustix::mount::fsconfig_set_string(&self.0, key, value)?)
    }

    /// Sets an option that is a bare word.
    ///
    /// # Errors
    /// `EINVAL` when the file system does not know it.
    pub fn set_flag(&self, key: &str) -> io::Result<()> {
        Ok(rustix::mount::fsconfig_set_flag(&self.0, key)?)
    }

    /// Makes the superblock and a detached mount of it.
    ///
    /// # Errors
    /// What the file system says; [`FsContext::message`] may know more.
    pub fn mount(&self, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
        rustix::mount::fsconfig_create(&self.0)?;
        Ok(rustix::mount::fsmount(
            &self.0,
            FsMountFlags::FSMOUNT_CLOEXEC,
            attributes,
        )?)
    }

    /// The oldest unread message of the kernel about this context, without its severity letter;
    /// empty if there is none. Worth reading after a failure.
    pub fn message(&self) -> String {
        let mut buffer = [0; MAX_MESSAGE];
        let length = rustix::io::read(&self.0, &mut buffer).unwrap_or(0);
        // A record is a severity letter, a space, and the text.
        String::from_utf8_lossy(buffer.get(2..length).unwrap_or_default())
            .trim()
            .to_owned()
    }
}

/// A detached copy of what is mounted at `path` on the host, links followed; see [`clone_tree`].
///
/// # Errors
/// As `open_tree(2)`.
pub fn clone_path(path: impl AsRef<Path>, recursive: bool) -> io::Result<OwnedFd> {
    let flags = clone_flags(recursive);
    Ok(rustix::mount::open_tree(
        rustix::fs::CWD,
        path.as_ref(),
        flags,
    )?)
}

fn clone_flags(recursive: bool) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags | OpenTreeFlags::AT_RECURSIVE
    } else {
        flags
    }
}

/// A detached copy of the mount that holds `directory`, rooted there; with `recursive` also of
/// the mounts below it. A copy of a shared mount is in its peer group.
///
/// # Errors
/// As `open_tree(2)`.
pub fn clone_tree(directory: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    let flags = clone_flags(recursive) | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(rustix::mount::open_tree(directory, "", flags)?)
}

/// Attaches the detached mount `tree` on top of `target`, a directory or a file.
///
/// # Errors
/// `ENOTDIR` when one is a directory and the other is not.
pub fn attach(tree: impl AsFd, target: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(
        tree.as_fd(),
        "",
        target.as_fd(),
        "",
        flags,
    )?)
}

/// What [`set_attributes`] changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Flags to set.
    pub set: MountAttrFlags,
    /// Flags to clear; done before `set`.
    pub clear: MountAttrFlags,
    /// Propagation type to change to, one of the four.
    pub propagation: Option<MountPropagationFlags>,
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            set: MountAttrFlags::empty(),
            clear: MountAttrFlags::empty(),
            propagation: None,
        }
    }
}

/// `struct mount_attr` of `linux/mount.h`.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Changes attributes of the mount behind `tree`, and of those below it with `recursive`, in one
/// step (`mount_setattr(2)`, Linux 5.12).
///
/// # Errors
/// `EPERM` for a flag that is locked, `EINVAL` for a descriptor that is not the root of a mount.
pub fn set_attributes(tree: impl AsFd, recursive: bool, change: &Attributes) -> io::Result<()> {
    let mut clear = u64::from(change.clear.bits());
    // The access time modes are one field and not bits: whoever sets one clears all.
    if change.set.intersects(MountAttrFlags::MOUNT_ATTR__ATIME) {
        clear |= u64::from(MountAttrFlags::MOUNT_ATTR__ATIME.bits());
    }
    let attr = MountAttr {
        attr_set: u64::from(change.set.bits()),
        attr_clr: clear,
        propagation: change.propagation.map_or(0, |p| u64::from(p.bits())),
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string and `attr` a valid `mount_attr` of the given size,
    // which the kernel only reads.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
