//! Files of this machine as archives, and back.
//!
//! What comes out of a container is whatever its programs made of it, so unpacking follows no link
//! out of the directory it is given, makes no devices, and gives no file the rights of its owner.

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use tar::{Archive, Builder, EntryType};

/// Set user id and set group id, which no file from a container keeps.
const DANGEROUS_MODE: u32 = 0o6000;

/// A file or directory as an archive, made while it is read.
pub struct Packed {
    pipe: PipeReader,
    packer: Option<JoinHandle<io::Result<()>>>,
}

impl Packed {
    /// An archive of what lies at `path`, under `name`; with the name `.` of what lies in it.
    pub fn new(path: PathBuf, name: PathBuf) -> io::Result<Self> {
        let (pipe, writer) = io::pipe()?;
        let packer = std::thread::spawn(move || pack(writer, &path, &name));
        Ok(Self {
            pipe,
            packer: Some(packer),
        })
    }
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.pipe.read(buffer)?;
        if read == 0
            && !buffer.is_empty()
            && let Some(packer) = self.packer.take()
        {
            // A file that could not be read must not look like the end of the archive.
            let ended = packer.join();
            ended.map_err(|_| io::Error::other("the archive could not be made"))??;
        }
        Ok(read)
    }
}

fn pack(writer: PipeWriter, path: &Path, name: &Path) -> io::Result<()> {
    let mut builder = Builder::new(writer);
    builder.follow_symlinks(false);
    builder.sparse(false);
    append(&mut builder, path, name)?;
    builder.into_inner()?.flush()
}

fn append(builder: &mut Builder<PipeWriter>, path: &Path, name: &Path) -> io::Result<()> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    let kind = fs::symlink_metadata(path).map_err(named)?.file_type();
    if kind.is_socket() {
        return Ok(());
    }
    if !kind.is_dir() {
        return builder.append_path_with_name(path, name).map_err(named);
    }
    if name != Path::new(".") {
        builder.append_dir(name, path).map_err(named)?;
    }
    let mut entries: Vec<_> = fs::read_dir(path)
        .and_then(Iterator::collect::<io::Result<Vec<_>>>)
        .map_err(named)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        append(builder, &entry.path(), &name.join(entry.file_name()))?;
    }
    Ok(())
}

/// Unpacks an archive into a directory that exists.
pub fn unpack(archive: impl Read, into: &Path) -> io::Result<()> {
    let mut archive = Archive::new(archive);
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    archive.set_mask(DANGEROUS_MODE);
    let mut directories = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        match entry.header().entry_type() {
            EntryType::Block | EntryType::Char | EntryType::Fifo => {}
            // Their modes come last, or a read-only one could not be filled.
            EntryType::Directory => directories.push(entry),
            _ => {
                entry.unpack_in(into)?;
            }
        }
    }
    for mut directory in directories.into_iter().rev() {
        directory.unpack_in(into)?;
    }
    Ok(())
}

/// Unpacks an archive of one thing, which gets the name `target`; what was there is replaced,
/// unless it is a directory. `contents` says that the archive has what is in the thing instead.
pub fn unpack_as(archive: impl Read, target: &Path, contents: bool) -> io::Result<()> {
    let stage = Stage::beside(target)?;
    unpack(archive, &stage.0)?;
    if contents {
        return fs::rename(&stage.0, target);
    }
    let mut entries = fs::read_dir(&stage.0)?;
    match (entries.next(), entries.next()) {
        (Some(only), None) => fs::rename(only?.path(), target),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the archive holds more or less than the one thing that was asked for",
        )),
    }
}

/// A directory beside the target, gone in the end.
struct Stage(PathBuf);

impl Stage {
    fn beside(target: &Path) -> io::Result<Self> {
        let name = format!(".berth-cp.{}", std::process::id());
        let path = target.with_file_name(name);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // After the renaming there is nothing left in it, or it is not there.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn packed(path: &Path, name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut archive = Packed::new(path.to_owned(), name.into()).unwrap();
        archive.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_tree_goes_there_and_back() {
        let place = tempfile::tempdir().unwrap();
        let from = place.path().join("from");
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::write(from.join("sub/file"), "text").unwrap();
        fs::set_permissions(from.join("sub/file"), fs::Permissions::from_mode(0o4755)).unwrap();
        fs::set_permissions(from.join("sub"), fs::Permissions::from_mode(0o555)).unwrap();
        symlink("sub/file", from.join("link")).unwrap();

        let to = place.path().join("to");
        unpack_as(packed(&from, "from").as_slice(), &to, false).unwrap();
        assert_eq!(fs::read_to_string(to.join("link")).unwrap(), "text");
        let mode = |path: &str| fs::metadata(to.join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("sub"), mode("sub/file")), (0o555, 0o755));

        let inside = place.path().join("inside");
        fs::create_dir(&inside).unwrap();
        unpack(packed(&from, ".").as_slice(), &inside).unwrap();
        assert!(inside.join("sub/file").exists());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 3);
    }

    #[test]
    fn nothing_leaves_the_directory() {
        let place = tempfile::tempdir().unwrap();
        let outside = place.path().join("outside");
        let inside = place.path().join("inside");
        fs::create_dir(&outside).unwrap();
        fs::create_dir(&inside).unwrap();
        let mut builder = Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "way", &outside).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, "way/file", &b"x"[..])
            .unwrap();
        let archive = builder.into_inner().unwrap();
        let _ = unpack(archive.as_slice(), &inside);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_read_is_no_end() {
        let gone = Path::new("/nonexistent/file");
        let mut archive = Packed::new(gone.to_owned(), "file".into()).unwrap();
        let error = archive.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/file"), "{error}");
    }
}
