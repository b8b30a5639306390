//! Paths that read as empty, and paths that cannot be written.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use berth_sys::mount::{self, Attributes, FsContext};
use berth_sys::path;
use berth_sys::rustix::fs::{FileType, OFlags, fstat};
use berth_sys::rustix::mount::MountAttrFlags;

use crate::error::{Context, Result};

const READ_ONLY: Attributes = Attributes {
    set: MountAttrFlags::MOUNT_ATTR_RDONLY,
    clear: MountAttrFlags::empty(),
    propagation: None,
};

/// Covers each of `paths` that exists below `root`: files with the null device `null`, which must
/// be the container's own (whoever may change its mode changes it everywhere), directories with
/// an empty file system that all of them share.
pub(crate) fn mask(root: &OwnedFd, paths: &[String], null: &OwnedFd) -> Result<()> {
    let mut empty: Option<OwnedFd> = None;
    for name in paths {
        let Some(target) = existing(root, name).step("open the masked path", name)? else {
            continue;
        };
        let is_directory =
            fstat(&target).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory);
        let cover = || -> io::Result<OwnedFd> {
            let tree = match &empty {
                _ if !is_directory => mount::clone_tree(null.as_fd(), false)?,
                Some(empty) => mount::clone_tree(empty.as_fd(), false)?,
                None => empty_directory()?,
            };
            mount::attach(&tree, &target)?;
            Ok(tree)
        };
        let tree = cover().step("mask", name)?;
        if is_directory {
            empty.get_or_insert(tree);
        }
    }
    Ok(())
}

fn empty_directory() -> io::Result<OwnedFd> {
    let context = FsContext::open("tmpfs")?;
    context.set("size", "0")?;
    context.set("nr_inodes", "1")?;
    context.mount(
        MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC,
    )
}

/// Makes each of `paths` that exists below `root` read-only, with what is mounted below it.
pub(crate) fn make_readonly(root: &OwnedFd, paths: &[String]) -> Result<()> {
    for name in paths {
        let Some(target) = existing(root, name).step("open the read-only path", name)? else {
            continue;
        };
        let cover = || -> io::Result<()> {
            let tree = mount::clone_tree(target.as_fd(), true)?;
            mount::set_attributes(&tree, true, &READ_ONLY)?;
            mount::attach(&tree, &target)
        };
        cover().step("make read-only", name)?;
    }
    Ok(())
}

fn existing(root: &OwnedFd, name: &str) -> io::Result<Option<OwnedFd>> {
    match path::open(root, name, OFlags::PATH) {
        Ok(fd) => Ok(Some(fd)),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(e) => Err(e),
    }
}
