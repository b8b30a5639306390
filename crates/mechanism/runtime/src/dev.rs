//! `/dev`: the nodes and links that every container has, and those that one asks for.

use std::os::fd::{AsFd, OwnedFd};

use berth_sys::path::{self, Kind};
use berth_sys::rustix;
use berth_types::oci::Device;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, makedev, mknodat, openat, statat,
    symlinkat,
};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};

/// Name, major and minor number.
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Name and target.
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

const NODE_MODE: u32 = 0o666;

/// Fills `dev`, usually a tmpfs that nobody else has seen yet. What an image already has there
/// must be what it is called.
pub(crate) fn populate(dev: &OwnedFd) -> Result<()> {
    for (name, major, minor) in NODES {
        let number = makedev(major, minor);
        match mknodat(
            dev,
            name,
            FileType::CharacterDevice,
            Mode::from(NODE_MODE),
            number,
        ) {
            Err(Errno::EXIST) => verify(dev, name, number)?,
            other => other.step("make the device", format!("/dev/{name}"))?,
        }
    }
    for (name, target) in LINKS {
        match symlinkat(target, dev, name) {
            Err(Errno::EXIST) => {}
            other => other.step("make the link", format!("/dev/{name}"))?,
        }
    }
    Ok(())
}

fn verify(dev: &OwnedFd, name: &str, number: u64) -> Result<()> {
    let found =
        statat(dev, name, AtFlags::SYMLINK_NOFOLLOW).step("look at", format!("/dev/{name}"))?;
    let is_device = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice;
    if is_device && found.st_rdev == number {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "the image has something else at /dev/{name}; mount a tmpfs at /dev"
    )))
}

/// The null device of `dev`, checked to be one.
pub(crate) fn null(dev: impl AsFd) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(dev, "null", flags, Mode::empty()).step("open", "/dev/null")?;
    let stat = fstat(&fd).step("look at", "/dev/null")?;
    if is_null(&stat) {
        return Ok(fd);
    }
    Err(Error::Invalid(
        "/dev/null is not the null device".to_owned(),
    ))
}

/// Whether a file is the null device.
pub(crate) fn is_null(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == makedev(1, 3)
}

/// Makes the device nodes that the specification lists, below `root`.
pub(crate) fn make_listed(root: &OwnedFd, devices: &[Device]) -> Result<()> {
    devices.iter().try_for_each(|device| make_one(root, device))
}

fn make_one(root: &OwnedFd, device: &Device) -> Result<()> {
    let kind = match device.kind {
        'c' | 'u' => FileType::CharacterDevice,
        'b' => FileType::BlockDevice,
        'p' => FileType::Fifo,
        other => {
            let text = format!(
                "cannot make {}: {other:?} is no type of device",
                device.path
            );
            return Err(Error::Invalid(text));
        }
    };
    let (parent, name) = device.path.rsplit_once('/').unwrap_or(("/", &device.path));
    let make = || -> std::io::Result<()> {
        let parent = path::make(root, &format!("/{parent}"), Kind::Directory, |_| Ok(()))?;
        let number = makedev(device.major, device.minor);
        let mode = Mode::from(device.file_mode & 0o7777);
        match mknodat(&parent, name, kind, mode, number) {
            // Never replaced: the directory may be a volume, and the node somebody's.
            Err(Errno::EXIST) => {
                let found = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
                let same = FileType::from_raw_mode(found.st_mode) == kind
                    && (kind == FileType::Fifo || found.st_rdev == number);
                return if same {
                    Ok(())
                } else {
                    Err(Errno::EXIST.into())
                };
            }
            other => other?,
        }
        let owner = (
            Some(Uid::from_raw(device.uid)),
            Some(Gid::from_raw(device.gid)),
        );
        Ok(chownat(
            &parent,
            name,
            owner.0,
            owner.1,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    };
    make().step("make the device", &device.path)
}
