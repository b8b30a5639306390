//! Reading a root file system without being led astray: no symbolic link on the way is followed
//! but those of the merged `/usr`, which are taken into account by name.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use berth_sys::rustix::fs::{
    Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat2, readlinkat,
};
use berth_sys::rustix::io::Errno;

use crate::error::BootstrapError;

/// Directories that a merged `/usr` has as links (`usrmerge`, base-files).
const MERGED: [&str; 7] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"];
/// Largest file that is read; a larger one is left out.
pub const FILE_MAX: u64 = 1 << 30;

/// A root file system.
pub struct Root {
    fd: OwnedFd,
    merged: Vec<&'static str>,
}

/// What lies at a path.
pub enum Found {
    /// Nothing that a package could have put there.
    Nothing,
    /// A directory.
    Directory(Stat),
    /// A symbolic link and where it points.
    Link(Vec<u8>),
    /// A regular file, opened.
    File(Stat, File),
}

impl Root {
    /// Opens a root, `/` for the machine's own.
    ///
    /// # Errors
    /// It is not there or no directory.
    pub fn open(path: &Path) -> Result<Self, BootstrapError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = open(path, flags, Mode::empty()).map_err(|errno| BootstrapError::Read {
            path: path.display().to_string(),
            source: errno.into(),
        })?;
        let mut root = Self {
            fd,
            merged: Vec::new(),
        };
        root.merged = MERGED
            .into_iter()
            .filter(|name| match root.look(name) {
                Ok(Found::Link(target)) => {
                    let target = target.strip_prefix(b"/").unwrap_or(&target);
                    target == format!("usr/{name}").as_bytes()
                }
                _ => false,
            })
            .collect();
        Ok(root)
    }

    /// The directories that are links to those of the same name below `usr`.
    pub fn merged(&self) -> &[&'static str] {
        &self.merged
    }

    /// A path of a package as it is in this root: without its first slash, and below `usr` where
    /// a merged directory leads there.
    pub fn place(&self, path: &str) -> String {
        let path = path.trim_start_matches('/');
        match path.split_once('/') {
            Some((first, _)) if self.merged.contains(&first) => format!("usr/{path}"),
            _ => path.to_owned(),
        }
    }

    /// What lies at a place.
    ///
    /// # Errors
    /// The kernel's answer, but for what is missing or behind a link: that is nothing.
    pub fn look(&self, place: &str) -> Result<Found, BootstrapError> {
        self.found(place).map_err(|errno| BootstrapError::Read {
            path: format!("/{place}"),
            source: errno.into(),
        })
    }

    fn found(&self, place: &str) -> Result<Found, Errno> {
        let fd = match self.at(place, OFlags::PATH) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Found::Nothing),
            Err(errno) => return Err(errno),
        };
        let stat = fstat(&fd)?;
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Found::Directory(stat),
            FileType::Symlink => Found::Link(readlinkat(&fd, "", Vec::new())?.into_bytes()),
            FileType::RegularFile => {
                let file = self.at(place, OFlags::RDONLY | OFlags::NONBLOCK)?;
                let stat = fstat(&file)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                    return Ok(Found::Nothing);
                }
                Found::File(stat, File::from(file))
            }
            _ => Found::Nothing,
        })
    }

    fn at(&self, place: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let within =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        openat2(&self.fd, place, flags, Mode::empty(), within)
    }

    /// A regular file whole; `None` where there is none of a sensible size.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, place: &str) -> Result<Option<Vec<u8>>, BootstrapError> {
        match self.look(place)? {
            Found::File(stat, file) => read(place, &stat, file),
            _ => Ok(None),
        }
    }

    /// As [`Root::read`], as text; what is not UTF-8 is replaced.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn text(&self, place: &str) -> Result<Option<String>, BootstrapError> {
        let bytes = self.read(place)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The names in a directory, sorted; none where there is no directory.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn names(&self, place: &str) -> Result<Vec<String>, BootstrapError> {
        let failed = |errno: Errno| BootstrapError::Read {
            path: format!("/{place}"),
            source: errno.into(),
        };
        let fd = match self.at(place, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
            Err(errno) => return Err(failed(errno)),
        };
        let mut names = Vec::new();
        for entry in Dir::new(fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // What packages have is UTF-8; anything else is not theirs.
            if let Ok(name) = entry.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

/// The bytes of an open file; `None` when it is larger than [`FILE_MAX`].
///
/// # Errors
/// It cannot be read.
pub fn read(place: &str, stat: &Stat, file: File) -> Result<Option<Vec<u8>>, BootstrapError> {
    let size = u64::try_from(stat.st_size).unwrap_or_default();
    if size > FILE_MAX {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    let limit = FILE_MAX + 1;
    let read = file.take(limit).read_to_end(&mut bytes);
    read.map_err(|source: io::Error| BootstrapError::Read {
        path: format!("/{place}"),
        source,
    })?;
    Ok(((bytes.len() as u64) < limit).then_some(bytes))
}
