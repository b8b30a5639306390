//! Trees that a container filled: removed and measured by descriptor.
//!
//! Nothing in them is trusted. Symbolic links are not followed, mount points are not entered, and
//! neither the depth nor the number of names decides how much memory, stack or how many
//! descriptors are used.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use berth_sys::rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, openat2, renameat_with,
    statat, unlinkat,
};
use berth_sys::rustix::io::Errno;

/// Directories below each other that are open at once.
const DEPTH_MAX: usize = 64;
/// Rounds over one tree; each takes off as many levels as may be open at once.
const ROUNDS_MAX: usize = 1 << 20;
/// Names read before the first of them is removed.
const NAMES_MAX: usize = 4096;
/// Directories that wait to be measured, and files with several names that are remembered.
const PENDING_MAX: usize = 200_000;
/// Longest path that the kernel takes.
const PATH_MAX: usize = 4095;

/// Opens a directory below `parent`, without links and on the same mount.
fn open(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    loop {
        match openat2(parent, name, flags, Mode::empty(), resolve) {
            // A rename elsewhere disturbed the check of `BENEATH`; of a single name this ends.
            Err(Errno::AGAIN) => {}
            result => return result,
        }
    }
}

/// Removes `name` below `parent` with all that is in it; fine if it is not there.
///
/// # Errors
/// The first failure, after everything else has been removed. `EXDEV` for a mount point.
pub(crate) fn remove(parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let name = CString::new(name)?;
    let directory = match open(parent, &name) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => {
            return Ok(unlinkat(parent, &name, AtFlags::empty())?);
        }
        Err(e) => return Err(e.into()),
    };
    let mut removal = Removal {
        top: directory.as_fd(),
        moved_up: 0,
        removed: 0,
        error: None,
    };
    for _ in 0..ROUNDS_MAX {
        let before = removal.removed + removal.moved_up;
        removal.empty(directory.as_fd(), 0);
        match unlinkat(parent, &name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // Deep directories were moved up, or someone still writes.
            Err(Errno::NOTEMPTY) if removal.removed + removal.moved_up > before => {}
            Err(e) => return Err(removal.error.unwrap_or(e).into()),
        }
    }
    Err(Errno::NOTEMPTY.into())
}

struct Removal<'a> {
    top: BorrowedFd<'a>,
    /// Directories that were too deep and now lie in `top`.
    moved_up: u64,
    removed: u64,
    error: Option<Errno>,
}

impl Removal<'_> {
    /// Removes what is in `directory`, as far as that works.
    fn empty(&mut self, directory: BorrowedFd<'_>, depth: usize) {
        loop {
            let before = self.removed;
            let names = match list(directory) {
                Ok(names) => names,
                Err(e) => return self.note(e),
            };
            for (name, kind) in &names {
                if let Err(e) = self.entry(directory, name, *kind, depth) {
                    self.note(e);
                }
            }
            if names.len() < NAMES_MAX || self.removed == before {
                return;
            }
        }
    }

    fn entry(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        kind: FileType,
        depth: usize,
    ) -> Result<(), Errno> {
        if kind != FileType::Directory {
            match unlinkat(directory, name, AtFlags::empty()) {
                Err(Errno::ISDIR) => {}
                result => return self.count(result),
            }
        }
        if depth + 1 >= DEPTH_MAX {
            return self.move_up(directory, name);
        }
        let child = match open(directory, name) {
            Ok(child) => child,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(e),
        };
        self.empty(child.as_fd(), depth + 1);
        match unlinkat(directory, name, AtFlags::REMOVEDIR) {
            // Its content was moved up, or could not be removed and is noted.
            Err(Errno::NOTEMPTY) => Ok(()),
            result => self.count(result),
        }
    }

    fn count(&mut self, result: Result<(), Errno>) -> Result<(), Errno> {
        match result {
            Ok(()) => self.removed += 1,
            Err(Errno::NOENT) => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Renames a directory into the top of the tree, where the next round finds it.
    fn move_up(&mut self, directory: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        loop {
            self.moved_up += 1;
            let free = format!("moved-up-{}", self.moved_up);
            match renameat_with(directory, name, self.top, free, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                result => return result,
            }
        }
    }

    fn note(&mut self, error: Errno) {
        self.error.get_or_insert(error);
    }
}

/// At most [`NAMES_MAX`] names.
fn list(directory: BorrowedFd<'_>) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push((name.to_owned(), entry.file_type()));
        }
        if names.len() == NAMES_MAX {
            break;
        }
    }
    Ok(names)
}

/// A size up to which a tree counts as small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Small {
    /// Most inodes.
    pub inodes: u64,
    /// Most bytes.
    pub bytes: u64,
}

impl Small {
    /// Whatever there is.
    const ALL: Self = Self {
        inodes: u64::MAX,
        bytes: u64::MAX,
    };
}

/// What a tree takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Apparent size of the regular files in bytes, each inode once.
    pub bytes: u64,
    /// Number of inodes, the top directory not counted; a file with several names counts once.
    pub inodes: u64,
    /// Whether everything was counted: false if the tree is absurdly deep or wide.
    pub complete: bool,
}

/// Measures the tree below `top`, which may change meanwhile.
///
/// # Errors
/// A directory cannot be read.
pub(crate) fn measure(top: BorrowedFd<'_>) -> io::Result<Usage> {
    measure_up_to(top, Small::ALL)
}

/// As [`measure`], and gives up, incomplete, where there is more than `most`.
pub(crate) fn measure_up_to(top: BorrowedFd<'_>, most: Small) -> io::Result<Usage> {
    let mut usage = Usage {
        complete: true,
        ..Usage::default()
    };
    let mut seen = HashSet::new();
    let mut pending = vec![Vec::new()];
    while let Some(path) = pending.pop() {
        let name = CString::new(if path.is_empty() {
            b".".to_vec()
        } else {
            path.clone()
        })?;
        let directory = match open(top, &name) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => continue,
            Err(e) => return Err(e.into()),
        };
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(e) => return Err(e.into()),
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            if kind == FileType::Directory {
                let mut child = path.clone();
                if !child.is_empty() {
                    child.push(b'/');
                }
                child.extend_from_slice(name.to_bytes());
                if child.len() > PATH_MAX || pending.len() >= PENDING_MAX {
                    usage.complete = false;
                } else {
                    pending.push(child);
                }
            } else if stat.st_nlink > 1 {
                usage.complete &= seen.len() < PENDING_MAX;
                if seen.len() < PENDING_MAX && !seen.insert(stat.st_ino) {
                    continue;
                }
            }
            usage.inodes += 1;
            if kind == FileType::RegularFile {
                usage.bytes += u64::try_from(stat.st_size).unwrap_or(0);
            }
            if usage.inodes > most.inodes || usage.bytes > most.bytes {
                usage.complete = false;
                return Ok(usage);
            }
        }
    }
    Ok(usage)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;

    use berth_sys::rustix::fs::{CWD, mkdirat, openat};

    use super::*;

    fn fd(path: &std::path::Path) -> OwnedFd {
        openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    #[test]
    fn a_link_is_removed_and_its_target_kept() {
        let place = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "x").unwrap();
        let tree = place.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        symlink(outside.path(), tree.join("a/link")).unwrap();
        symlink(outside.path(), place.path().join("direct")).unwrap();
        let parent = fd(place.path());
        for name in ["tree", "direct", "absent"] {
            remove(parent.as_fd(), name).unwrap();
        }
        assert!(fs::read_dir(place.path()).unwrap().next().is_none());
        assert!(outside.path().join("kept").exists());
    }

    #[test]
    fn depth_and_width_have_no_limit() {
        const LEVELS: usize = 3000;
        let place = tempfile::tempdir().unwrap();
        let parent = fd(place.path());
        mkdirat(&parent, "tree", Mode::RWXU).unwrap();
        let mut here = fd(&place.path().join("tree"));
        for i in 0..2 * NAMES_MAX {
            File::create(place.path().join("tree").join(i.to_string())).unwrap();
        }
        for _ in 0..LEVELS {
            mkdirat(&here, "moved-up-1", Mode::RWXU).unwrap();
            here = openat(&here, "moved-up-1", OFlags::RDONLY, Mode::empty()).unwrap();
        }
        let usage = measure(fd(&place.path().join("tree")).as_fd()).unwrap();
        assert!(
            !usage.complete && usage.inodes > 2 * NAMES_MAX as u64,
            "{usage:?}"
        );
        remove(parent.as_fd(), "tree").unwrap();
        assert!(!place.path().join("tree").exists());
    }

    #[test]
    fn a_file_with_two_names_is_counted_once() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("d")).unwrap();
        fs::write(place.path().join("a"), "12345").unwrap();
        fs::hard_link(place.path().join("a"), place.path().join("d/b")).unwrap();
        fs::write(place.path().join("d/c"), "1").unwrap();
        symlink("a", place.path().join("s")).unwrap();
        let usage = measure(fd(place.path()).as_fd()).unwrap();
        assert_eq!(
            usage,
            Usage {
                bytes: 6,
                inodes: 4,
                complete: true
            }
        );
    }
}
