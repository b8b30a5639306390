//! The target directory: finding parents, making room, and knowing what was made.
//!
//! A path is *canonical* here when it holds no symbolic link; every kernel call gets a canonical
//! path below the target, with symbolic links forbidden, or a directory descriptor and one component
//! that is not followed. Links in the parents of an entry are resolved here, component by component
//! within the target, so nothing the archive made leads outside, even without the `chroot` that the
//! process is in. Nobody else writes here meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use berth_sys::rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, mkdirat, openat, openat2,
    readlinkat, statat, unlinkat,
};
use berth_sys::rustix::io::Errno;
use berth_unpack::Budget;
use berth_unpack::protocol::OPAQUE_LIMIT;

use crate::directory::{Directory, is_whiteout, kind, stat};
use crate::failure::{Failure, Name, Result};
use crate::limits::Meter;
use crate::names::{Path, split};
use crate::stream::{Journal, journal_failure};

/// Symbolic links on the way to one entry: the kernel's limit.
const SYMLINKS: u32 = 40;
/// Permissions of a directory that the archive does not mention but needs.
const IMPLIED: u32 = 0o755;

/// What is to be done about a directory at the end, when no more entries disturb it.
#[derive(Default)]
struct Pending {
    mode_and_mtime: Option<(u32, Timespec)>,
    opaque: bool,
}

pub struct Tree {
    root: OwnedFd,
    pub meter: Meter,
    /// The last parent, under the path it was asked for.
    cached: Option<(Path, Rc<Directory>)>,
    /// By canonical path.
    pending: BTreeMap<Path, Pending>,
    /// Journal index of each file whose content the journal refers to, by inode number.
    payloads: HashMap<u64, u64>,
    opaque_bytes: u64,
    /// Inodes that are there now.
    pub inodes: u64,
    /// Bytes of regular files that are there now.
    pub bytes: u64,
}

impl Tree {
    pub fn new(root: OwnedFd, budget: &Budget) -> Tree {
        Tree {
            root,
            meter: Meter::new(budget),
            cached: None,
            pending: BTreeMap::new(),
            payloads: HashMap::new(),
            opaque_bytes: 0,
            inodes: 0,
            bytes: 0,
        }
    }

    fn open(&self, path: &[u8], flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let beneath =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        openat2(&self.root, path, flags, Mode::empty(), beneath)
    }

    /// Opens a directory by its canonical path.
    pub fn directory(&self, path: &[u8]) -> Result<Directory> {
        let fd = self.open(path, OFlags::PATH);
        fd.map(|fd| Directory {
            path: path.to_vec(),
            fd,
        })
        .map_err(|errno| Failure::file_system("open", path, errno))
    }

    /// Opens a directory for changing it by its canonical path.
    pub fn open_for_change(&self, path: &[u8]) -> Result<OwnedFd> {
        let fd = self.open(path, OFlags::RDONLY);
        fd.map_err(|errno| Failure::file_system("open", path, errno))
    }

    /// The directory that a path leads to, within the target; what is missing is made.
    pub fn parent(&mut self, path: &[u8]) -> Result<Rc<Directory>> {
        if let Some((asked, directory)) = &self.cached
            && asked == path
        {
            return Ok(Rc::clone(directory));
        }
        let directory = Rc::new(match self.open(path, OFlags::PATH) {
            Ok(fd) => Directory {
                path: path.to_vec(),
                fd,
            },
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => {
                let walked = self.walk(path, true)?;
                walked.ok_or_else(|| Failure::file_system("open", path, Errno::NOENT))?
            }
            Err(errno) => return Err(Failure::file_system("open", path, errno)),
        });
        self.cached = Some((path.to_vec(), Rc::clone(&directory)));
        Ok(directory)
    }

    /// The directory that a path leads to, within the target, if it is there.
    pub fn existing(&mut self, path: &[u8]) -> Result<Option<Directory>> {
        match self.open(path, OFlags::PATH) {
            Ok(fd) => Ok(Some(Directory {
                path: path.to_vec(),
                fd,
            })),
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => self.walk(path, false),
            Err(errno) => Err(Failure::file_system("open", path, errno)),
        }
    }

    /// Goes through a path component by component. `None` only when something is missing that is
    /// not to be made.
    fn walk(&mut self, path: &[u8], make: bool) -> Result<Option<Directory>> {
        let mut ahead = vec![path.to_vec()];
        let mut here = self.directory(b"")?;
        let mut links = 0;
        while let Some(mut rest) = ahead.pop() {
            let component = match rest.iter().position(|byte| *byte == b'/') {
                Some(slash) => {
                    let after = rest.split_off(slash);
                    ahead.push(after.get(1..).unwrap_or_default().to_vec());
                    rest
                }
                None => rest,
            };
            match component.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    let (above, _) = split(&here.path).unwrap_or_default();
                    here = self.directory(&above)?;
                    continue;
                }
                _ => {}
            }
            let path = here.child(&component);
            self.meter.path(path.len())?;
            match statat(&here.fd, component.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if kind(&stat) == FileType::Symlink => {
                    links += 1;
                    if links > SYMLINKS {
                        return Err(Failure::refused("too many symbolic links on the way"));
                    }
                    let target = readlinkat(&here.fd, component.as_slice(), Vec::new())
                        .map_err(|errno| Failure::file_system("read", &path, errno))?
                        .into_bytes();
                    if target.starts_with(b"/") {
                        here = self.directory(b"")?;
                    }
                    ahead.push(target);
                    continue;
                }
                Ok(stat) if kind(&stat) == FileType::Directory => {}
                Ok(stat) if is_whiteout(&stat) && make => {
                    self.remove(None, &here, &component)?;
                    self.imply(&here, &component)?;
                    self.mark_opaque(&path)?;
                }
                Ok(_) if !make => return Ok(None),
                Ok(_) => {
                    let what = format!("{} is on the way and no directory", Name(&path));
                    return Err(Failure::refused(what));
                }
                Err(Errno::NOENT) if !make => return Ok(None),
                Err(Errno::NOENT) => self.imply(&here, &component)?,
                Err(errno) => return Err(Failure::file_system("examine", &path, errno)),
            }
            here = self.directory(&path)?;
        }
        Ok(Some(here))
    }

    /// Makes a directory that the archive does not mention.
    fn imply(&mut self, directory: &Directory, name: &[u8]) -> Result<()> {
        self.meter.name()?;
        self.inodes += 1;
        mkdirat(&directory.fd, name, Mode::from_raw_mode(IMPLIED))
            .map_err(|errno| Failure::file_system("create", &directory.child(name), errno))
    }

    /// Makes something with `make`, in place of what may be there.
    pub fn create<T>(
        &mut self,
        journal: Option<&mut Journal>,
        directory: &Directory,
        name: &[u8],
        make: impl Fn(&OwnedFd, &[u8]) -> std::result::Result<T, Errno>,
    ) -> Result<T> {
        self.meter.name()?;
        let made = match make(&directory.fd, name) {
            Err(Errno::EXIST) => {
                self.remove(journal, directory, name)?;
                make(&directory.fd, name)
            }
            other => other,
        };
        made.map_err(|errno| Failure::file_system("create", &directory.child(name), errno))
    }

    /// Notes that the journal refers to the content of the file with this inode number.
    pub fn journal_refers(&mut self, inode: u64, index: u64) {
        self.payloads.insert(inode, index);
    }

    /// Notes what the end is to make of a directory.
    pub fn set_directory(&mut self, path: &[u8], mode: u32, mtime: Timespec) {
        let pending = self.pending.entry(path.to_vec()).or_default();
        pending.mode_and_mtime = Some((mode, mtime));
    }

    /// Notes that a directory hides what lies below it.
    pub fn mark_opaque(&mut self, path: &[u8]) -> Result<()> {
        let pending = self.pending.entry(path.to_vec()).or_default();
        if !pending.opaque {
            pending.opaque = true;
            self.opaque_bytes += path.len() as u64 + 1;
        }
        if self.opaque_bytes > OPAQUE_LIMIT {
            return Err(Failure::refused(format!(
                "the paths of its opaque directories are longer than {OPAQUE_LIMIT} bytes together"
            )));
        }
        Ok(())
    }

    /// The directories with a mode and time to be set, by canonical path.
    pub fn directories(&self) -> impl Iterator<Item = (&[u8], u32, Timespec)> {
        self.pending.iter().filter_map(|(path, pending)| {
            let (mode, mtime) = pending.mode_and_mtime?;
            Some((path.as_slice(), mode, mtime))
        })
    }

    /// The opaque directories, by canonical path.
    pub fn opaque(&self) -> impl Iterator<Item = &[u8]> {
        let opaque = self.pending.iter().filter(|(_, pending)| pending.opaque);
        opaque.map(|(path, _)| path.as_slice())
    }

    /// Removes what is there, a directory with all it holds.
    pub fn remove(
        &mut self,
        mut journal: Option<&mut Journal>,
        directory: &Directory,
        name: &[u8],
    ) -> Result<()> {
        let found = stat(directory, name)?;
        if kind(&found) != FileType::Directory {
            if kind(&found) == FileType::Symlink {
                self.cached = None;
            }
            return self.remove_file(journal.as_deref_mut(), directory, name, &found);
        }
        self.cached = None;
        let top = directory.child(name);
        self.forget_directories(&top);
        // Each directory is read twice: for what it holds, and when that is gone.
        let mut stack = vec![top];
        while let Some(path) = stack.last().cloned() {
            let here = self.directory(&path)?;
            let before = stack.len();
            for child in self.list(&path)? {
                let found = stat(&here, &child)?;
                if kind(&found) == FileType::Directory {
                    stack.push(here.child(&child));
                } else {
                    self.remove_file(journal.as_deref_mut(), &here, &child, &found)?;
                }
            }
            if stack.len() > before {
                continue;
            }
            stack.pop();
            let Some((above, name)) = split(&path) else {
                continue;
            };
            let above = self.directory(&above)?;
            unlinkat(&above.fd, name.as_slice(), AtFlags::REMOVEDIR)
                .map_err(|errno| Failure::file_system("remove", &path, errno))?;
            self.inodes = self.inodes.saturating_sub(1);
        }
        Ok(())
    }

    fn remove_file(
        &mut self,
        journal: Option<&mut Journal>,
        directory: &Directory,
        name: &[u8],
        found: &Stat,
    ) -> Result<()> {
        let failed = |errno| Failure::file_system("remove", &directory.child(name), errno);
        let regular = kind(found) == FileType::RegularFile;
        let size = u64::try_from(found.st_size).unwrap_or_default();
        if regular && let Some(index) = self.payloads.remove(&found.st_ino) {
            let journal = journal.ok_or_else(|| failed(Errno::INVAL))?;
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = openat(&directory.fd, name, flags, Mode::empty()).map_err(failed)?;
            let saved = journal.orphan(index, size, File::from(file));
            saved.map_err(journal_failure)?;
        }
        unlinkat(&directory.fd, name, AtFlags::empty()).map_err(failed)?;
        if found.st_nlink == 1 {
            self.inodes = self.inodes.saturating_sub(1);
            if regular {
                self.bytes = self.bytes.saturating_sub(size);
            }
        }
        Ok(())
    }

    fn list(&self, path: &[u8]) -> Result<Vec<Path>> {
        let failed = |errno| Failure::file_system("list", path, errno);
        let directory = Dir::new(self.open_for_change(path)?).map_err(failed)?;
        let mut names = Vec::new();
        for entry in directory {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        Ok(names)
    }

    fn forget_directories(&mut self, path: &[u8]) {
        let below = |end: u8| [path, &[end]].concat();
        // Everything that starts with the path and a slash.
        let range = self.pending.range(below(b'/')..below(b'/' + 1));
        let mut gone: Vec<Path> = range.map(|(path, _)| path.clone()).collect();
        gone.push(path.to_vec());
        for path in gone {
            if self
                .pending
                .remove(&path)
                .is_some_and(|pending| pending.opaque)
            {
                self.opaque_bytes -= path.len() as u64 + 1;
            }
        }
    }
}
