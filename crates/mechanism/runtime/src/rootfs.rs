//! The root file system: an overlay or a directory, mounted over `/` of the new mount namespace
//! and then made its root.
//!
//! It needs no directory to be mounted on: the old root serves, which nobody else can see here
//! and which is let go of at the end.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use berth_sys::mount::{self, Attributes, FsContext};
use berth_sys::rustix;
use berth_types::launch::Rootfs;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{
    MountAttrFlags, MountFlags, MountPropagationFlags, UnmountFlags, mount_change, unmount,
};

use crate::error::{Context, Error, Result};
use crate::options;

/// Makes the copied mounts of the host independent of it: as slaves they still follow its
/// unmounts, so that a container does not keep a removed disk busy.
pub(crate) fn separate(propagation: &str) -> Result<()> {
    let change = match options::propagation(propagation) {
        Some((MountPropagationFlags::PRIVATE, _)) => MountPropagationFlags::PRIVATE,
        _ => MountPropagationFlags::DOWNSTREAM,
    };
    mount_change("/", change | MountPropagationFlags::REC).step("change the propagation of", "/")
}

/// Mounts the root file system over the old root, and gives its top directory.
pub(crate) fn mount_over_root(rootfs: &Rootfs) -> Result<OwnedFd> {
    let old_root = old_root()?;
    let failed = |problem: &str| {
        let problem = problem.to_owned();
        move |source| Error::Root { problem, source }
    };
    let tree = match rootfs {
        Rootfs::Directory(path) => {
            let tree = mount::clone_path(path, true).map_err(failed(path))?;
            let private = Attributes {
                propagation: Some(MountPropagationFlags::PRIVATE),
                ..Attributes::default()
            };
            mount::set_attributes(&tree, true, &private).map_err(failed(path))?;
            tree
        }
        Rootfs::Overlay {
            lower,
            upper,
            work,
            volatile,
        } => {
            let overlay = Overlay {
                lower,
                upper,
                work,
                volatile: *volatile,
            };
            match overlay.detached() {
                Ok(tree) => tree,
                // Refused as a whole: by a kernel that does not know this way, or rightly.
                Err((problem, first)) if first.kind() == io::ErrorKind::InvalidInput => {
                    return overlay.mount_over(&old_root).map_err(|_| Error::Root {
                        problem,
                        source: first,
                    });
                }
                Err((problem, source)) => return Err(Error::Root { problem, source }),
            }
        }
    };
    mount::attach(&tree, &old_root).map_err(failed("/"))?;
    Ok(tree)
}

fn old_root() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, "/", flags, Mode::empty()).step("open", "/")
}

struct Overlay<'a> {
    lower: &'a [String],
    upper: &'a str,
    work: &'a str,
    volatile: bool,
}

type Problem = (String, io::Error);

impl Overlay<'_> {
    /// With one call per layer, so that their number and names are not limited by a page of
    /// options. `EINVAL` where the kernel is too old for that (`lowerdir+`, Linux 6.5; before, it
    /// took any word and refused at the end) or a name is too long for the call.
    fn detached(&self) -> std::result::Result<OwnedFd, Problem> {
        let context = FsContext::open("overlay").map_err(|e| ("overlay".to_owned(), e))?;
        let set = |key: &str, path: &str| {
            context
                .set(key, path)
                .map_err(|e| explained(&context, path, e))
        };
        for lower in self.lower {
            set("lowerdir+", lower)?;
        }
        set("upperdir", self.upper)?;
        set("workdir", self.work)?;
        if self.volatile {
            context
                .set_flag("volatile")
                .map_err(|e| explained(&context, "volatile", e))?;
        }
        let mounted = context.mount(MountAttrFlags::empty());
        mounted.map_err(|e| explained(&context, self.upper, e))
    }

    /// With `mount(2)`, whose options must fit a page: the layers are opened and named by the
    /// numbers of their descriptors, relative to `/proc/self/fd`.
    fn mount_over(&self, target: &OwnedFd) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &str| openat(CWD, path, flags, Mode::empty());
        let lower = self
            .lower
            .iter()
            .map(|l| open(l))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let (upper, work) = (open(self.upper)?, open(self.work)?);
        let numbers: Vec<String> = lower.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
        let mut data = format!(
            "lowerdir={},upperdir={},workdir={}",
            numbers.join(":"),
            upper.as_raw_fd(),
            work.as_raw_fd()
        );
        if self.volatile {
            data.push_str(",volatile");
        }
        let data = std::ffi::CString::new(data).map_err(|_| io::ErrorKind::InvalidInput)?;
        rustix::process::chdir("/proc/self/fd")?;
        let target = target.as_raw_fd().to_string();
        rustix::mount::mount(
            "overlay",
            target,
            "overlay",
            MountFlags::empty(),
            data.as_c_str(),
        )?;
        // The descriptor of the old root still means what is below the overlay; `..` of the root
        // crosses to what is on top of it.
        let mounted = openat(CWD, "/..", flags, Mode::empty())?;
        rustix::process::chdir("/")?;
        Ok(mounted)
    }
}

fn explained(context: &FsContext, subject: &str, source: io::Error) -> Problem {
    match context.message() {
        message if message.is_empty() => (subject.to_owned(), source),
        message => (format!("{subject} ({message})"), source),
    }
}

/// Makes `root`, mounted over the old root, the root of this mount namespace, and lets go of the
/// old one and of every mount below it.
pub(crate) fn enter(root: &OwnedFd, propagation: &str) -> Result<()> {
    rustix::process::fchdir(root).step("enter", "the new root")?;
    // With both names the same, the old root ends up on top of the new one, and is unmounted
    // from there: no directory for it has to exist in the image.
    rustix::process::pivot_root(".", ".").step("change the root to", "the container's")?;
    unmount(".", UnmountFlags::DETACH).step("let go of", "the host's root")?;
    rustix::process::chdir("/").step("enter", "the new root")?;
    let (change, recursive) = match options::propagation(propagation) {
        Some(found @ (MountPropagationFlags::SHARED | MountPropagationFlags::UNBINDABLE, _)) => {
            found
        }
        _ => return Ok(()),
    };
    let change = Attributes {
        propagation: Some(change),
        ..Attributes::default()
    };
    mount::set_attributes(root, recursive, &change).step("change the propagation of", "/")
}

/// Makes the root read-only, without what is mounted below.
pub(crate) fn make_readonly(root: &OwnedFd) -> Result<()> {
    let change = Attributes {
        set: MountAttrFlags::MOUNT_ATTR_RDONLY,
        ..Attributes::default()
    };
    mount::set_attributes(root, false, &change).step("make read-only", "/")
}
