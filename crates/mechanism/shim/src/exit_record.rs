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

/// Longest record that is read, in bytes; a written one is far shorter.
const LENGTH_MAX: u64 = 64 << 10;

/// Writes the record whole or not at all: a temporary file, renamed. With `durable`, the file and
/// the directory are synced, so that the record survives a power cut once this returns.
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
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o600);
    let mut file = File::from(at::openat(directory, TEMPORARY, flags, mode)?);
    file.write_all(&serde_json::to_vec(record)?)?;
    if durable { file.sync_all() } else { Ok(()) }
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
