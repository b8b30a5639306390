//! Paths that clients name, found in a container's root and never outside it.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use berth_sys::path;
use berth_sys::rustix::fs::{FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};

/// A path as Docker's clients mean it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Absolute, without `.` and `..`, without a slash at the end.
    pub path: String,
    /// Whether it ends with a slash or a dot: then it is a directory, and a link is followed.
    pub is_directory: bool,
    /// What the top entry of an archive is called.
    pub name: String,
}

impl Wanted {
    /// Reads a path; nothing for one that is none.
    pub fn read(text: &str) -> Option<Self> {
        if text.is_empty() || text.contains('\0') {
            return None;
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let dotted = text == "." || text.ends_with("/.");
        let is_directory = dotted || text.ends_with('/') || parts.is_empty();
        let name = match parts.last() {
            _ if dotted => ".",
            None => "/",
            Some(last) => last,
        };
        Some(Self {
            name: name.to_owned(),
            path: format!("/{}", parts.join("/")),
            is_directory,
        })
    }

    /// The directory above and the last part; nothing for the root.
    pub fn split(&self) -> Option<(&str, &str)> {
        let (above, name) = self.path.rsplit_once('/')?;
        (!name.is_empty()).then_some((if above.is_empty() { "/" } else { above }, name))
    }
}

/// What was found.
pub(crate) struct Found {
    /// Itself, opened with `O_PATH`, a link not followed.
    pub fd: OwnedFd,
    /// What it is.
    pub stat: Stat,
    /// Its directory and its name in it, but for a directory that was named with a slash.
    pub inside: Option<(OwnedFd, CString)>,
}

impl Found {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::Directory
    }
}

/// Finds a path below a root.
///
/// # Errors
/// The kernel's answer: `ENOENT`, `ENOTDIR`, `ELOOP`.
pub(crate) fn find(root: &OwnedFd, wanted: &Wanted) -> io::Result<Found> {
    let split = if wanted.is_directory {
        None
    } else {
        wanted.split()
    };
    let (fd, inside) = match split {
        None => {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            (path::open(root, &wanted.path, flags)?, None)
        }
        Some((above, name)) => {
            let above = path::open(root, above, OFlags::PATH | OFlags::DIRECTORY)?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            // One name, which is neither `.` nor `..`: it cannot lead anywhere.
            let fd = openat(&above, name, flags, Mode::empty())?;
            (fd, Some((above, CString::new(name)?)))
        }
    };
    let stat = fstat(&fd)?;
    Ok(Found { fd, stat, inside })
}

/// Where a descriptor below a root is, as an absolute path in it. For words and for comparing
/// only: it may have been moved since.
///
/// # Errors
/// The kernel does not say.
pub(crate) fn path_of(fd: &OwnedFd) -> io::Result<String> {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    Ok(link.to_string_lossy().into_owned())
}

/// Where a symbolic link leads in the end, as an absolute path; as far as is known, where that is
/// not there.
pub(crate) fn end_of_link(root: &OwnedFd, wanted: &Wanted, link: &OwnedFd) -> String {
    let found = path::open(root, &wanted.path, OFlags::PATH).and_then(|fd| path_of(&fd));
    found.unwrap_or_else(|_| {
        let target = readlinkat(link, "", Vec::new()).unwrap_or_default();
        let target = target.to_string_lossy().into_owned();
        let above = wanted.split().map_or("/", |(above, _)| above);
        let whole = if target.starts_with('/') {
            target
        } else {
            format!("{above}/{target}")
        };
        Wanted::read(&whole).map_or(whole, |wanted| wanted.path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_docker_reads_them() {
        let read = |text: &str| {
            let wanted = Wanted::read(text).unwrap();
            (wanted.path, wanted.name, wanted.is_directory)
        };
        let whole = |path: &str, name: &str, dir| (path.to_owned(), name.to_owned(), dir);
        assert_eq!(read("etc/passwd"), whole("/etc/passwd", "passwd", false));
        assert_eq!(read("/a//b/../c/"), whole("/a/c", "c", true));
        assert_eq!(read("/a/."), whole("/a", ".", true));
        assert_eq!(read("/"), whole("/", "/", true));
        assert_eq!(read("."), whole("/", ".", true));
        assert_eq!(read("../../etc"), whole("/etc", "etc", false));
        assert_eq!(Wanted::read(""), None);
        assert_eq!(Wanted::read("a\0b"), None);
    }
}
