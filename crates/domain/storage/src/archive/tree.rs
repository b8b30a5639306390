//! A directory as a tar stream.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use berth_sys::rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, major, minor, openat2,
    readlinkat, statat,
};
use berth_sys::rustix::io::Errno;

use super::entry::{END, Entry, Kind, Mtime, padding};
use super::options::{
    ArchiveError, DEPTH_MAX, Form, LINK_BYTES_MAX, NAMES_MAX, TreeOptions, Written,
};
use super::xattr::xattrs;

/// Bytes read from a file at once.
const PIECE: usize = 128 << 10;
/// What a name that hides another begins with (image specification, `layer.md`, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Writes the tree below `top`, then the end of the archive. Blocks as long as the sink does; give
/// it a buffer or a pipe.
///
/// # Errors
/// The tree cannot be read or goes beyond the limits, or the sink fails. What was written by then
/// is no archive: it has no end.
pub fn write_tree(
    top: BorrowedFd<'_>,
    options: &TreeOptions,
    sink: impl Write,
) -> Result<Written, ArchiveError> {
    let mut writer = Writer::new(options, sink);
    let path = options.name.clone();
    let directory = writer
        .open(top, c".", OFlags::DIRECTORY)
        .map_err(failed("open", &path))?;
    let first = if path.is_empty() {
        writer.frame(directory, path)?
    } else {
        writer.directory(directory, path)?
    };
    writer.descend(first)?;
    writer.finish()
}

/// As [`write_tree`], for whatever `name` in the directory `parent` is: a file, a link, a directory
/// with all that is in it. It is called [`TreeOptions::name`] in the archive.
///
/// # Errors
/// As [`write_tree`].
pub fn write_path(
    parent: BorrowedFd<'_>,
    name: &CStr,
    options: &TreeOptions,
    sink: impl Write,
) -> Result<Written, ArchiveError> {
    let mut writer = Writer::new(options, sink);
    if let Some(directory) = writer.entry(parent, name, &options.name)? {
        let first = writer.directory(directory, options.name.clone())?;
        writer.descend(first)?;
    }
    writer.finish()
}

struct Writer<'a, W> {
    sink: W,
    options: &'a TreeOptions,
    /// Device and inode of the files with several names, and the path of the first.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// Bytes of those paths.
    link_bytes: usize,
    names: usize,
    piece: Vec<u8>,
    written: Written,
}

/// A directory that is being written: what of it is still to come, in reverse order.
struct Frame {
    directory: OwnedFd,
    /// Its path in the archive, with a slash at the end; empty for a top without a name.
    path: Vec<u8>,
    rest: Vec<CString>,
}

impl<'a, W: Write> Writer<'a, W> {
    fn new(options: &'a TreeOptions, sink: W) -> Self {
        Self {
            sink,
            options,
            links: HashMap::new(),
            link_bytes: 0,
            names: 0,
            piece: vec![0; PIECE],
            written: Written::default(),
        }
    }

    fn finish(mut self) -> Result<Written, ArchiveError> {
        self.put(&END)?;
        self.sink.flush().map_err(ArchiveError::Sink)?;
        Ok(self.written)
    }

    fn descend(&mut self, first: Frame) -> Result<(), ArchiveError> {
        let mut stack = vec![first];
        while let Some(frame) = stack.last_mut() {
            let Some(name) = frame.rest.pop() else {
                stack.pop();
                continue;
            };
            self.names = self.names.saturating_sub(1);
            let path = [&frame.path, name.to_bytes()].concat();
            let Some(directory) = self.entry(frame.directory.as_fd(), &name, &path)? else {
                continue;
            };
            if stack.len() >= DEPTH_MAX {
                return Err(too_large(&path, "directories below each other"));
            }
            stack.push(self.directory(directory, path)?);
        }
        Ok(())
    }

    /// Writes everything that is no directory; returns one that is, opened.
    fn entry(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: &[u8],
    ) -> Result<Option<OwnedFd>, ArchiveError> {
        let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => {
                self.written.vanished += 1;
                return Ok(None);
            }
            Err(errno) => return Err(failed("look at", path)(errno)),
        };
        let layer = self.options.form == Form::Layer;
        if layer && name.to_bytes().starts_with(WHITEOUT) {
            self.written.ambiguous += 1;
            return Ok(None);
        }
        let device = (major(stat.st_rdev), minor(stat.st_rdev));
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile | FileType::Directory => return self.opened(parent, name, path),
            FileType::CharacterDevice if layer && device == (0, 0) => {
                self.whiteout(path, name)?;
                return Ok(None);
            }
            FileType::CharacterDevice => Kind::Character(device.0, device.1),
            FileType::BlockDevice => Kind::Block(device.0, device.1),
            FileType::Fifo => Kind::Fifo,
            FileType::Symlink => {
                let target = readlinkat(parent, name, Vec::new()).map_err(failed("read", path))?;
                self.plain(path, &stat, Kind::Symlink(target.to_bytes()))?;
                return Ok(None);
            }
            FileType::Socket | FileType::Unknown => {
                self.written.sockets += 1;
                return Ok(None);
            }
        };
        self.plain(path, &stat, kind)?;
        Ok(None)
    }

    /// An entry without content or attributes, or another name of one that was there before.
    fn plain(&mut self, path: &[u8], stat: &Stat, kind: Kind<'_>) -> Result<(), ArchiveError> {
        if let Some(first) = self.known(path, stat)? {
            return self.header(path, stat, Kind::Link(&first), &[]);
        }
        self.header(path, stat, kind, &[])
    }

    /// A regular file is written; a directory is returned. What it is now counts, and not what it
    /// was when it was looked at.
    fn opened(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: &[u8],
    ) -> Result<Option<OwnedFd>, ArchiveError> {
        let file = match self.open(parent, name, OFlags::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => {
                self.written.vanished += 1;
                return Ok(None);
            }
            // Another mount: its directory is shown, its content is not of this tree.
            Err(Errno::XDEV) => {
                let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(failed("look at", path))?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    self.header(&[path, b"/"].concat(), &stat, Kind::Directory, &[])?;
                }
                return Ok(None);
            }
            Err(errno) => return Err(failed("open", path)(errno)),
        };
        let stat = fstat(&file).map_err(failed("look at", path))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Ok(Some(file)),
            FileType::RegularFile => {
                if let Some(first) = self.known(path, &stat)? {
                    self.header(path, &stat, Kind::Link(&first), &[])?;
                    return Ok(None);
                }
                let (xattrs, _) = xattrs(&file, self.options.form, path)?;
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                self.header(path, &stat, Kind::File { size }, &xattrs)?;
                self.content(file.into(), size, path)?;
                Ok(None)
            }
            _ => {
                self.written.vanished += 1;
                Ok(None)
            }
        }
    }

    /// Exactly `size` bytes and their padding, whatever has become of the file.
    fn content(&mut self, mut file: File, size: u64, path: &[u8]) -> Result<(), ArchiveError> {
        let mut left = size;
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let piece = self.piece.get_mut(..room).unwrap_or_default();
            let read = match file.read(piece) {
                Ok(0) => break,
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(failed("read", path)(e)),
            };
            let piece = self.piece.get(..read).unwrap_or_default();
            self.sink.write_all(piece).map_err(ArchiveError::Sink)?;
            left -= read as u64;
        }
        if left > 0 {
            self.written.shrunk += 1;
            io::copy(&mut io::repeat(0).take(left), &mut self.sink).map_err(ArchiveError::Sink)?;
        }
        self.put(padding(size))
    }

    /// The entry of a directory, and its content for later.
    fn directory(&mut self, directory: OwnedFd, mut path: Vec<u8>) -> Result<Frame, ArchiveError> {
        let stat = fstat(&directory).map_err(failed("look at", &path))?;
        let (xattrs, opaque) = xattrs(&directory, self.options.form, &path)?;
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        self.header(&path, &stat, Kind::Directory, &xattrs)?;
        if opaque {
            self.empty(&[&path, OPAQUE].concat())?;
        }
        self.frame(directory, path)
    }

    fn frame(&mut self, directory: OwnedFd, path: Vec<u8>) -> Result<Frame, ArchiveError> {
        let mut rest = Vec::new();
        for entry in Dir::read_from(&directory).map_err(failed("read", &path))? {
            let entry = entry.map_err(failed("read", &path))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.names += 1;
            if self.names > NAMES_MAX {
                return Err(too_large(&path, "names in a directory"));
            }
            rest.push(name.to_owned());
        }
        rest.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Frame {
            directory,
            path,
            rest,
        })
    }

    /// The entry that hides `name` of the layers below.
    fn whiteout(&mut self, path: &[u8], name: &CStr) -> Result<(), ArchiveError> {
        let name = name.to_bytes();
        let parent = path.strip_suffix(name).unwrap_or_default();
        self.empty(&[parent, WHITEOUT, name].concat())
    }

    /// An empty file that is a mark; the same for every tree.
    fn empty(&mut self, path: &[u8]) -> Result<(), ArchiveError> {
        self.written.entries += 1;
        self.put(&Entry::file(path, 0, 0o600).header())
    }

    /// The first path of a file with several names; nothing for a file that is met first.
    fn known(&mut self, path: &[u8], stat: &Stat) -> Result<Option<Vec<u8>>, ArchiveError> {
        if stat.st_nlink < 2 {
            return Ok(None);
        }
        let key = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.links.get(&key) {
            return Ok(Some(first.clone()));
        }
        self.link_bytes += path.len();
        if self.links.len() >= NAMES_MAX || self.link_bytes > LINK_BYTES_MAX {
            return Err(too_large(path, "files with several names"));
        }
        self.links.insert(key, path.to_vec());
        Ok(None)
    }

    fn header(
        &mut self,
        path: &[u8],
        stat: &Stat,
        kind: Kind<'_>,
        xattrs: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<(), ArchiveError> {
        let entry = Entry {
            path,
            kind,
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: Mtime {
                seconds: stat.st_mtime,
                nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            },
            xattrs,
        };
        self.written.entries += 1;
        self.put(&entry.header())
    }

    fn open(&self, parent: BorrowedFd<'_>, name: &CStr, more: OFlags) -> Result<OwnedFd, Errno> {
        // A file that became a FIFO must not make the open wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | more;
        let mut resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        if !self.options.cross_mounts {
            resolve |= ResolveFlags::NO_XDEV;
        }
        loop {
            match openat2(parent, name, flags, Mode::empty(), resolve) {
                // A rename elsewhere disturbed the check of `BENEATH`; of a single name this ends.
                Err(Errno::AGAIN) => {}
                result => return result,
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.sink.write_all(bytes).map_err(ArchiveError::Sink)
    }
}

pub(super) fn failed<E: Into<io::Error>>(
    operation: &'static str,
    path: &[u8],
) -> impl FnOnce(E) -> ArchiveError {
    let path = show(path);
    move |source| ArchiveError::Read {
        operation,
        path,
        source: source.into(),
    }
}

fn too_large(path: &[u8], limit: &'static str) -> ArchiveError {
    let path = show(path);
    ArchiveError::TooLarge { path, limit }
}

pub(super) fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
