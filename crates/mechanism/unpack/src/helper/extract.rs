//! Entries in, files out.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use berth_sys::rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timestamps, Uid, chmodat, chownat, fchmod, fchown, fstat,
    futimens, linkat, makedev, mkdirat, mknodat, openat, symlinkat, utimensat,
};
use berth_sys::rustix::io::Errno;
use berth_unpack::Budget;
use berth_unpack::protocol::{Done, path_to_text};

use crate::decode::Pipeline;
use crate::directory::{Directory, find, is_whiteout, kind, stat};
use crate::failure::{Failure, Name, Result};
use crate::manner::Manner;
use crate::names::{Place, split};
use crate::stream::{Journal, Stream, journal_failure};
use crate::tar::{Area, Entry, Kind, TarReader};
use crate::tree::Tree;
use crate::xattr;

/// Unpacks one archive.
pub struct Extractor {
    reader: TarReader,
    tree: Tree,
    ignored_xattrs: u64,
    manner: Manner,
}

impl Extractor {
    pub fn new(
        pipeline: Pipeline,
        target: OwnedFd,
        journal: Option<Journal>,
        budget: &Budget,
        manner: Manner,
    ) -> Extractor {
        let stream = Stream::new(pipeline, journal);
        Extractor {
            reader: TarReader::new(stream, budget),
            tree: Tree::new(target, budget),
            ignored_xattrs: 0,
            manner,
        }
    }

    /// Unpacks everything and says what there is.
    pub fn run(mut self) -> Result<Done> {
        while let Some(mut entry) = self.reader.next()? {
            self.manner.rewrite(&mut entry);
            let done = self.entry(&entry);
            done.map_err(|failure| failure.in_entry(&entry.name, entry.offset))?;
        }
        let summary = self.reader.finish()?;
        self.finish_directories()?;
        Ok(Done {
            diff_id: summary.diff_id,
            digest: summary.digest,
            read_bytes: summary.read_bytes,
            stream_bytes: summary.stream_bytes,
            bytes: self.tree.bytes,
            inodes: self.tree.inodes,
            format: summary.format,
            ignored_xattrs: self.ignored_xattrs,
            opaque: self.tree.opaque().map(path_to_text).collect(),
        })
    }

    fn entry(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind == Kind::Label {
            return self.skip(entry);
        }
        match self.manner.place(entry, &self.tree.meter)? {
            Place::Ignored => self.skip(entry),
            Place::Opaque { directory } => {
                let directory = self.tree.parent(&directory)?;
                self.tree.mark_opaque(&directory.path)?;
                self.skip(entry)
            }
            Place::Whiteout { parent, name } => {
                self.whiteout(&parent, &name)?;
                self.skip(entry)
            }
            Place::Root if entry.kind == Kind::Directory => {
                self.tree.meter.xattrs(&entry.xattrs)?;
                self.directory_attributes(entry, b"")
            }
            Place::Root => Err(Failure::refused(
                "the target itself can only be a directory",
            )),
            Place::Child { parent, name } => {
                self.tree.meter.xattrs(&entry.xattrs)?;
                let parent = self.tree.parent(&parent)?;
                self.manner.check(entry, &parent, &name)?;
                match entry.kind {
                    Kind::File => self.file(entry, &parent, &name),
                    Kind::Directory => self.directory(entry, &parent, &name),
                    Kind::HardLink => self.hard_link(entry, &parent, &name),
                    _ => self.special(entry, &parent, &name),
                }
            }
        }
    }

    /// Reads past the payload of an entry that has no place in the tree.
    fn skip(&mut self, entry: &Entry) -> Result<()> {
        self.reader.stream.raw_skip(entry.payload)?;
        self.reader.padding(entry.payload)
    }

    fn file(&mut self, entry: &Entry, parent: &Rc<Directory>, name: &[u8]) -> Result<()> {
        self.tree.meter.file(entry.size)?;
        let path = parent.child(name);
        let journal = self.reader.stream.journal.as_mut();
        let file = self.tree.create(journal, parent, name, |directory, name| {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
            let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(directory, name, flags, Mode::RUSR | Mode::WUSR)
        })?;
        let mut file = File::from(file);
        self.tree.inodes += 1;
        self.tree.bytes += entry.size;
        let failed = |source: io::Error| match Errno::from_io_error(&source) {
            Some(errno) => Failure::file_system("write", &path, errno),
            None => Failure::machine(format!("cannot write {}", Name(&path)), source),
        };
        let stream = &mut self.reader.stream;
        match &entry.areas {
            Some(areas) => {
                let mut writer = SparseWriter::new(&file, areas);
                stream.raw(entry.payload, |piece| writer.write(piece).map_err(failed))?;
                file.set_len(entry.size).map_err(failed)?;
            }
            None => {
                if let Some(journal) = stream.journal.as_mut().filter(|_| entry.payload > 0) {
                    let index = journal.file(&path, entry.payload);
                    let index = index.map_err(journal_failure)?;
                    let inode = fstat(&file).map_err(|errno| failed(errno.into()))?.st_ino;
                    self.tree.journal_refers(inode, index);
                }
                stream.payload(entry.payload, |piece| file.write_all(piece).map_err(failed))?;
            }
        }
        self.reader.padding(entry.payload)?;
        // Changing the owner takes set-id bits and capabilities away, so it comes first.
        let failed = |errno| Failure::file_system("set the attributes of", &path, errno);
        fchown(&file, owner(entry), group(entry)).map_err(failed)?;
        fchmod(&file, Mode::from_raw_mode(entry.mode)).map_err(failed)?;
        self.ignored_xattrs += xattr::apply(&entry.xattrs, Some(&file))?;
        futimens(&file, &times(entry)).map_err(failed)
    }

    fn directory(&mut self, entry: &Entry, parent: &Rc<Directory>, name: &[u8]) -> Result<()> {
        let path = parent.child(name);
        let private = Mode::RWXU;
        let made = mkdirat(&parent.fd, name, private);
        match made {
            Ok(()) => {
                self.tree.meter.name()?;
                self.tree.inodes += 1;
            }
            Err(Errno::EXIST) => {
                let found = stat(parent, name)?;
                if kind(&found) != FileType::Directory {
                    let journal = self.reader.stream.journal.as_mut();
                    self.tree.create(journal, parent, name, |directory, name| {
                        mkdirat(directory, name, private)
                    })?;
                    self.tree.inodes += 1;
                    if is_whiteout(&found) {
                        self.tree.mark_opaque(&path)?;
                    }
                }
            }
            Err(errno) => return Err(Failure::file_system("create", &path, errno)),
        }
        self.directory_attributes(entry, &path)
    }

    /// Sets what entries below the directory do not disturb, and notes the rest for the end: a
    /// set-group-ID directory would hand its group on to what is made in it.
    fn directory_attributes(&mut self, entry: &Entry, path: &[u8]) -> Result<()> {
        let fd = self.tree.open_for_change(path)?;
        fchown(&fd, owner(entry), group(entry))
            .map_err(|errno| Failure::file_system("set the owner of", path, errno))?;
        self.ignored_xattrs += xattr::apply(&entry.xattrs, Some(&fd))?;
        self.tree.set_directory(path, entry.mode, entry.mtime);
        Ok(())
    }

    fn hard_link(&mut self, entry: &Entry, parent: &Rc<Directory>, name: &[u8]) -> Result<()> {
        let target = self.manner.path(&entry.link, &self.tree.meter)?;
        let Some((target_parent, target_name)) = split(&target) else {
            return Err(Failure::refused("a hard link to the target itself"));
        };
        let missing = || {
            let what = format!("hard link to {}, which is not there", Name(&entry.link));
            Failure::refused(what)
        };
        // Looking must not make directories, as `parent` does.
        let target_parent = self.tree.existing(&target_parent)?.ok_or_else(missing)?;
        let from = target_parent.child(&target_name);
        let Some(found) = find(&target_parent, &target_name)? else {
            return Err(missing());
        };
        if kind(&found) == FileType::Directory {
            return Err(Failure::refused("a hard link to a directory"));
        }
        if from == parent.child(name) {
            return Ok(());
        }
        self.tree.meter.link(found.st_nlink)?;
        let journal = self.reader.stream.journal.as_mut();
        self.tree.create(journal, parent, name, |directory, name| {
            let target_name = target_name.as_slice();
            linkat(
                &target_parent.fd,
                target_name,
                directory,
                name,
                AtFlags::empty(),
            )
        })
    }

    /// Symbolic links, FIFOs and devices.
    fn special(&mut self, entry: &Entry, parent: &Rc<Directory>, name: &[u8]) -> Result<()> {
        let file_type = match entry.kind {
            Kind::CharacterDevice => Some(FileType::CharacterDevice),
            Kind::BlockDevice => Some(FileType::BlockDevice),
            Kind::Fifo => Some(FileType::Fifo),
            _ => None,
        };
        if file_type.is_none() {
            self.tree.meter.path(entry.link.len())?;
            if entry.link.is_empty() {
                return Err(Failure::refused("a symbolic link to nothing"));
            }
        } else if file_type != Some(FileType::Fifo) {
            self.tree.meter.device()?;
            if entry.kind == Kind::CharacterDevice && entry.device == (0, 0) {
                let what = "a character device 0:0 is refused: overlay takes it for a whiteout";
                return Err(Failure::refused(what));
            }
        }
        let (major, minor) = entry.device;
        let journal = self.reader.stream.journal.as_mut();
        self.tree
            .create(journal, parent, name, |directory, name| match file_type {
                None => symlinkat(entry.link.as_slice(), directory, name),
                Some(kind) => {
                    let mode = Mode::RUSR | Mode::WUSR;
                    mknodat(directory, name, kind, mode, makedev(major, minor))
                }
            })?;
        self.tree.inodes += 1;
        let path = parent.child(name);
        let failed = |errno| Failure::file_system("set the attributes of", &path, errno);
        let no_follow = AtFlags::SYMLINK_NOFOLLOW;
        chownat(&parent.fd, name, owner(entry), group(entry), no_follow).map_err(failed)?;
        if file_type.is_some() {
            // Just made and no symbolic link.
            let mode = Mode::from_raw_mode(entry.mode);
            chmodat(&parent.fd, name, mode, AtFlags::empty()).map_err(failed)?;
        }
        self.ignored_xattrs += xattr::apply(&entry.xattrs, None::<&File>)?;
        utimensat(&parent.fd, name, &times(entry), no_follow).map_err(failed)
    }

    /// Hides a name of lower layers. What this layer has itself is not concerned, except that a
    /// directory of both is then this layer's alone.
    fn whiteout(&mut self, parent: &[u8], name: &[u8]) -> Result<()> {
        let parent = self.tree.parent(parent)?;
        if let Some(found) = find(&parent, name)? {
            if kind(&found) == FileType::Directory {
                self.tree.mark_opaque(&parent.child(name))?;
            }
            return Ok(());
        }
        self.tree.create(None, &parent, name, |directory, name| {
            mknodat(
                directory,
                name,
                FileType::CharacterDevice,
                Mode::empty(),
                makedev(0, 0),
            )
        })?;
        self.tree.inodes += 1;
        Ok(())
    }

    fn finish_directories(&mut self) -> Result<()> {
        for (path, mode, mtime) in self.tree.directories() {
            let failed = |errno| Failure::file_system("set the attributes of", path, errno);
            let fd = self.tree.open_for_change(path)?;
            fchmod(&fd, Mode::from_raw_mode(mode)).map_err(failed)?;
            let times = Timestamps {
                last_access: mtime,
                last_modification: mtime,
            };
            futimens(&fd, &times).map_err(failed)?;
        }
        Ok(())
    }
}

fn owner(entry: &Entry) -> Option<Uid> {
    Some(Uid::from_raw(entry.uid))
}

fn group(entry: &Entry) -> Option<Gid> {
    Some(Gid::from_raw(entry.gid))
}

fn times(entry: &Entry) -> Timestamps {
    Timestamps {
        last_access: entry.mtime,
        last_modification: entry.mtime,
    }
}

/// Puts the payload of a sparse file where it belongs.
struct SparseWriter<'a> {
    file: &'a File,
    areas: std::slice::Iter<'a, Area>,
    /// What is left of the present area.
    area: Area,
}

impl<'a> SparseWriter<'a> {
    fn new(file: &'a File, areas: &'a [Area]) -> SparseWriter<'a> {
        SparseWriter {
            file,
            areas: areas.iter(),
            area: Area {
                offset: 0,
                length: 0,
            },
        }
    }

    fn write(&mut self, mut piece: &[u8]) -> io::Result<()> {
        while !piece.is_empty() {
            while self.area.length == 0 {
                // The areas are as long together as the payload.
                self.area = *self.areas.next().ok_or(io::ErrorKind::InvalidData)?;
            }
            let room = usize::try_from(self.area.length).unwrap_or(usize::MAX);
            let (now, later) = piece.split_at(room.min(piece.len()));
            self.file.write_all_at(now, self.area.offset)?;
            self.area.offset += now.len() as u64;
            self.area.length -= now.len() as u64;
            piece = later;
        }
        Ok(())
    }
}
