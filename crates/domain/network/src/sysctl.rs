//! Kernel settings of the calling thread's network namespace.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// `/proc/sys/net/FAMILY/conf/LINK/NAME`.
pub(crate) fn of_link(family: &str, link: &str, name: &str) -> PathBuf {
    Path::new("/proc/sys/net")
        .join(family)
        .join("conf")
        .join(link)
        .join(name)
}

/// Sets one, unless it is so already. A kernel without it (IPv6 may be off) needs no setting.
pub(crate) fn set(path: &Path, value: &str) -> io::Result<()> {
    match fs::read_to_string(path) {
        Ok(present) if present.trim() == value => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => fs::write(path, value),
    }
}
