//! A directory below the target, and what is in it.

use std::os::fd::OwnedFd;

use berth_sys::rustix::fs::{AtFlags, FileType, Stat, statat};
use berth_sys::rustix::io::Errno;

use crate::failure::{Failure, Result};
use crate::names::Path;

/// A directory below the target.
pub struct Directory {
    pub path: Path,
    /// Opened with `O_PATH`.
    pub fd: OwnedFd,
}

impl Directory {
    /// The canonical path of an entry in it.
    pub fn child(&self, name: &[u8]) -> Path {
        if self.path.is_empty() {
            return name.to_vec();
        }
        [&self.path, &b"/"[..], name].concat()
    }
}

/// Overlay's mark of something deleted.
pub fn is_whiteout(stat: &Stat) -> bool {
    kind(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// What a name in a directory is, without following it.
pub fn find(directory: &Directory, name: &[u8]) -> Result<Option<Stat>> {
    match statat(&directory.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Failure::file_system(
            "examine",
            &directory.child(name),
            errno,
        )),
    }
}

/// Like [`find`] for a name that is there.
pub fn stat(directory: &Directory, name: &[u8]) -> Result<Stat> {
    let missing = || Failure::file_system("examine", &directory.child(name), Errno::NOENT);
    find(directory, name)?.ok_or_else(missing)
}
