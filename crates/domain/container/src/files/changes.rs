//! What a container changed: its own layer compared with what lies below.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use berth_storage::archive::{DEPTH_MAX, NAMES_MAX};
use berth_sys::rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fgetxattr, openat2, statat,
};
use berth_sys::rustix::io::Errno;

/// Overlay's mark of a directory that hides what lies below it (`overlayfs.rst`).
const OPAQUE: &str = "trusted.overlay.opaque";
/// Mount points that the engine makes in every container, which are no doing of its programs.
const OWN: [&str; 9] = [
    "/.dockerenv",
    "/dev",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/mtab",
    "/etc/resolv.conf",
    "/proc",
    "/run/secrets",
    "/sys",
];

/// Bytes of all paths together: a program can make paths of a hundred thousand bytes, and many.
const BYTES_MAX: usize = 64 << 20;

/// How a path changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is there below too, and different; or a directory in which something changed.
    Modified,
    /// It is not there below.
    Added,
    /// It is there below only.
    Deleted,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Absolute path in the container.
    pub path: String,
    /// What became of it.
    pub kind: ChangeKind,
}

/// All changes of a layer, sorted by path.
///
/// # Errors
/// Something cannot be read, or there is too much of it.
pub(crate) fn changes(upper: &OwnedFd, below: Option<&OwnedFd>) -> io::Result<Vec<FileChange>> {
    let mut walk = Walk {
        changes: Vec::new(),
        bytes: 0,
    };
    walk.directory(upper.as_fd(), below.map(AsFd::as_fd), "", 0)?;
    walk.changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(walk.changes)
}

struct Walk {
    changes: Vec<FileChange>,
    /// Bytes of their paths.
    bytes: usize,
}

/// What a directory's content came to.
#[derive(Default)]
struct Content {
    /// Something in it changed.
    changed: bool,
    /// The engine put something into it.
    ours: bool,
}

impl Walk {
    fn directory(
        &mut self,
        upper: BorrowedFd<'_>,
        below: Option<BorrowedFd<'_>>,
        path: &str,
        depth: usize,
    ) -> io::Result<Content> {
        if depth > DEPTH_MAX {
            return Err(Errno::NAMETOOLONG.into());
        }
        let mut content = Content::default();
        for entry in Dir::new(open(upper, c".")?)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let path = format!("{path}/{}", name.to_string_lossy());
            match self.entry(upper, below, name, &path, depth) {
                // It went while we looked.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => {
                    let found = other?;
                    content.changed |= found.changed;
                    content.ours |= found.ours;
                }
            }
        }
        Ok(content)
    }

    fn entry(
        &mut self,
        upper: BorrowedFd<'_>,
        below: Option<BorrowedFd<'_>>,
        name: &CStr,
        path: &str,
        depth: usize,
    ) -> io::Result<Content> {
        let now = stat(upper, name)?.ok_or(Errno::NOENT)?;
        let before = match below {
            Some(below) => stat(below, name)?,
            None => None,
        };
        let is_ours = OWN.contains(&path) && before.is_none_or(|before| same(&now, &before, true));
        if is_ours {
            return Ok(Content {
                changed: false,
                ours: true,
            });
        }
        if kind(&now) == FileType::CharacterDevice && now.st_rdev == 0 {
            return self.note(before.is_some(), path, ChangeKind::Deleted);
        }
        let is_directory = kind(&now) == FileType::Directory;
        let Some(before) = before else {
            self.note(true, path, ChangeKind::Added)?;
            if is_directory {
                self.directory(open(upper, name)?.as_fd(), None, path, depth + 1)?;
            }
            return Ok(Content {
                changed: true,
                ours: false,
            });
        };
        let was_directory = kind(&before) == FileType::Directory;
        if !is_directory || !was_directory {
            let is_different = !same(&now, &before, false);
            if is_directory {
                self.directory(open(upper, name)?.as_fd(), None, path, depth + 1)?;
            }
            return self.note(is_different, path, ChangeKind::Modified);
        }
        let now_in = open(upper, name)?;
        let before_in = match below {
            Some(below) => Some(open(below, name)?),
            None => None,
        };
        let below = before_in.as_ref().map(AsFd::as_fd);
        let inner = self.directory(now_in.as_fd(), below, path, depth + 1)?;
        let mut is_different = inner.changed || !same(&now, &before, inner.ours);
        if let Some(below) = below
            && is_opaque(&now_in)
        {
            is_different |= self.hidden(now_in.as_fd(), below, path)?;
        }
        let found = self.note(is_different, path, ChangeKind::Modified)?;
        Ok(Content {
            changed: found.changed,
            ours: inner.ours,
        })
    }

    /// What lies below a directory that hides it.
    fn hidden(
        &mut self,
        upper: BorrowedFd<'_>,
        below: BorrowedFd<'_>,
        path: &str,
    ) -> io::Result<bool> {
        let mut any = false;
        for entry in Dir::new(open(below, c".")?)? {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") && stat(upper, name)?.is_none() {
                let path = format!("{path}/{}", name.to_string_lossy());
                self.note(true, &path, ChangeKind::Deleted)?;
                any = true;
            }
        }
        Ok(any)
    }

    fn note(&mut self, changed: bool, path: &str, kind: ChangeKind) -> io::Result<Content> {
        if changed {
            self.bytes += path.len();
            if self.changes.len() >= NAMES_MAX || self.bytes > BYTES_MAX {
                return Err(Errno::TOOBIG.into());
            }
            self.changes.push(FileChange {
                path: path.to_owned(),
                kind,
            });
        }
        Ok(Content {
            changed,
            ours: false,
        })
    }
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether two files are the same as far as that can be told without reading them.
fn same(now: &Stat, before: &Stat, whenever: bool) -> bool {
    let time = |s: &Stat| (s.st_mtime, s.st_mtime_nsec);
    let is_directory = kind(now) == FileType::Directory;
    now.st_mode == before.st_mode
        && (now.st_uid, now.st_gid) == (before.st_uid, before.st_gid)
        && now.st_rdev == before.st_rdev
        && (is_directory || now.st_size == before.st_size)
        && (whenever || time(now) == time(before))
}

fn is_opaque(directory: &OwnedFd) -> bool {
    let mut value = [0; 1];
    fgetxattr(directory, OPAQUE, &mut value[..]).is_ok() && value == *b"y"
}

fn stat(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Stat>> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn open(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(directory, name, flags, Mode::empty(), within)?)
}
