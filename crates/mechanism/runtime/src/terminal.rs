//! The terminal of a process: made inside the container, in the container's own devpts, and its
//! master sent to the monitor.
//!
//! A terminal of the host's devpts would have no name in the container (`tty` would say "not a
//! tty"), and `/dev/console` could not be opened again.

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use berth_sys::path::open_without_links;
use berth_sys::pty::{self, Pty};
use berth_sys::rustix;
use berth_sys::{mount, socket};
use berth_types::oci::ConsoleSize;
use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use crate::Stdio;
use crate::error::{Context, Error, Result};

/// What goes with the master; without a byte, no descriptor is sent.
const MARK: &[u8] = b"t";

/// Makes a terminal in the devpts below `root`, sends its master through `monitor` and returns
/// the terminal.
pub(crate) fn open(
    root: &OwnedFd,
    size: Option<ConsoleSize>,
    monitor: &UnixStream,
) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let directory = open_without_links(root, "/dev/pts", flags)
        .step("open a terminal in", "/dev/pts of the container")?;
    let Pty { master, slave } =
        pty::open(directory.as_fd()).step("open a terminal in", "/dev/pts of the container")?;
    if let Some(size) = size.filter(|size| *size != ConsoleSize::default()) {
        pty::set_size(&slave, size).step("set the size of", "the terminal")?;
    }
    socket::send(monitor, &[IoSlice::new(MARK)], &[master.as_fd()])
        .step("pass on", "the terminal")?;
    Ok(slave)
}

/// Binds the terminal over `/dev/console` below `root`. What is there already must not lead
/// elsewhere: a link would have anything covered, or a directory swapped in (CVE-2025-52565).
pub(crate) fn bind_console(root: &OwnedFd, slave: &OwnedFd) -> Result<()> {
    let name = "/dev/console";
    let path = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dev = open_without_links(root, "/dev", OFlags::PATH | OFlags::DIRECTORY)
        .step("open", "/dev of the container")?;
    let create = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(&dev, "console", create | OFlags::WRONLY, Mode::from(0o600)) {
        Err(Errno::EXIST) => {}
        other => drop(other.step("make", name)?),
    }
    let target = openat(&dev, "console", path, Mode::empty()).step("open", name)?;
    let kind = FileType::from_raw_mode(fstat(&target).step("look at", name)?.st_mode);
    if !matches!(kind, FileType::RegularFile | FileType::CharacterDevice) {
        let text = format!("the image has something else at {name}; mount a tmpfs at /dev");
        return Err(Error::Invalid(text));
    }
    let tree = mount::clone_tree(slave.as_fd(), false).step("bind the terminal to", name)?;
    mount::attach(&tree, &target).step("bind the terminal to", name)
}

/// The terminal as all three standard streams.
pub(crate) fn streams(slave: OwnedFd) -> Result<Stdio> {
    let copy = || slave.try_clone().step("copy", "the terminal");
    Ok(Stdio {
        stdin: copy()?,
        stdout: copy()?,
        stderr: slave,
    })
}

/// The monitor's half: the master, which was sent before the process said that it is ready.
pub(crate) fn receive(process: &UnixStream) -> Result<OwnedFd> {
    let (mut mark, mut descriptors) = ([0; MARK.len()], Vec::new());
    process
        .set_nonblocking(true)
        .and_then(|()| socket::receive(process, &mut mark, &mut descriptors))
        .step("receive", "the terminal")?;
    descriptors
        .pop()
        .ok_or_else(|| Error::Invalid("the terminal did not arrive".to_owned()))
}
