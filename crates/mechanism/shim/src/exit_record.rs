//! `exit.json`: how a container ended, written by its monitor before anyone is told, so that no
//! exit is lost while the engine is away.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use berth_sys::rustix::fs::{self as at, AtFlags, Mode, OFlags};
use berth_sys::rustix::io::Errno;
use berth_types::launch::ExitRecord;

/// Its name in the container's directory.
pub const NAME: &str = "exit.json";

/// The name it is written under first.
const TEMPORARY: &str = "exit.json.new";

/// A file of the container that has a block on the disk and that every start writes anew; see
/// [`write`].
const SPARE: &str = "hostname";

/// Longest record that is read, in bytes; a written one is far shorter.
const LENGTH_MAX: u64 = 64 << 10;

/// Writes the record whole or not at all: a temporary file, renamed. With `durable`, the file and
/// the directory are synced, so that the record survives a power cut once this returns.
///
/// On a full disk the record takes the place of the container's `hostname`, so that a container
/// that ends while no engine is there does not end unseen for want of a block.
///
/// # Errors
/// As the file system says; the temporary file is gone then.
pub fn write(directory: BorrowedFd<'_>, record: &ExitRecord, durable: bool) -> io::Result<()> {
    let written = write_temporary(directory, record, durable)
        .and_then(|()| Ok(at::renameat(directory, TEMPORARY, directory, NAME)?));
    if written.is_err() {
        // What failed is told; that the left-over cannot be removed either adds nothing.
        let _ = at::unlinkat(directory, TEMPORARY, AtFlags::empty());
    } else if durable {
        at::fsync(directory)?;
    }
    written
}

fn write_temporary(
    directory: BorrowedFd<'_>,
    record: &ExitRecord,
    durable: bool,
) -> io::Result<()> {
    let bytes = serde_json::to_vec(record)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o600);
    let written = at::openat(directory, TEMPORARY, flags, mode)
        .map_err(io::Error::from)
        .and_then(|file| {
            let mut file = File::from(file);
            file.write_all(&bytes).map(|()| file)
        });
    let file = match written {
        Ok(file) => file,
        Err(error) if is_full(&error) => {
            // The first failure says more than that there was no spare file either.
            write_over_spare(directory, &bytes).map_err(|_| error)?
        }
        Err(error) => return Err(error),
    };
    if durable { file.sync_all() } else { Ok(()) }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Writes into a block that is there. The length is set last: a shorter file would give it back.
fn write_over_spare(directory: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<File> {
    at::renameat(directory, SPARE, directory, TEMPORARY)?;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let mut file = File::from(at::openat(directory, TEMPORARY, flags, Mode::empty())?);
    file.write_all(bytes)?;
    file.set_len(bytes.len() as u64)?;
    Ok(file)
}

/// Reads the record; none where there is no file.
///
/// # Errors
/// As the file system says, and `InvalidData` for a file that is no exit record.
pub fn read(directory: impl AsFd) -> io::Result<Option<ExitRecord>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = match at::openat(directory, NAME, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        opened => File::from(opened?),
    };
    let mut bytes = Vec::new();
    file.take(LENGTH_MAX).read_to_end(&mut bytes)?;
    Ok(Some(serde_json::from_slice(&bytes)?))
}

/// Removes what a monitor that was cut off while it wrote the record has left.
///
/// # Errors
/// As the file system says.
pub fn remove_unfinished(directory: impl AsFd) -> io::Result<()> {
    ignore_missing(at::unlinkat(directory, TEMPORARY, AtFlags::empty()))
}

/// Removes the record of an earlier run, if there is one, before the next begins.
///
/// # Errors
/// As the file system says.
pub fn remove(directory: impl AsFd) -> io::Result<()> {
    ignore_missing(at::unlinkat(directory, NAME, AtFlags::empty()))
}

fn ignore_missing(result: Result<(), Errno>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
