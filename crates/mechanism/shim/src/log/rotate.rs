//! Rotation: the files of one log, renamed from the oldest to the newest.
//!
//! Every step is one rename, and no record is ever in two files or in none: a crash between two
//! steps leaves one number free, which the next rotation fills before it moves anything else. So
//! at most one number is ever missing below the highest. The one record that renames replace is
//! the oldest file, when as many are kept as may be.

use std::os::fd::BorrowedFd;

use berth_sys::rustix::fs::{self as at, AtFlags};
use berth_sys::rustix::io::Errno;

/// How many numbers in a row may be missing before a reader has seen the oldest file: one from a
/// crash, one from a rotation that is going on.
pub const SCAN_GAP_MAX: u32 = 2;

/// Most superfluous files that are looked for when a log is opened with a lower limit than before.
const PRUNE_MAX: u32 = 64;

/// Name of the file with this number: 0 is the one being written.
pub fn segment_name(name: &str, number: u32) -> String {
    match number {
        0 => name.to_owned(),
        number => format!("{name}.{number}"),
    }
}

/// Moves every file one number up, `name` to `name.1` last, replacing the oldest. With one file
/// kept in all, that one is removed.
pub fn shift(directory: BorrowedFd<'_>, name: &str, max_files: u32) -> Result<(), Errno> {
    if max_files <= 1 {
        return ignore_missing(at::unlinkat(directory, name, AtFlags::empty()));
    }
    let mut free = 1;
    while free < max_files - 1 && exists(directory, &segment_name(name, free))? {
        free += 1;
    }
    for number in (0..free).rev() {
        let (from, to) = (segment_name(name, number), segment_name(name, number + 1));
        ignore_missing(at::renameat(
            directory,
            from.as_str(),
            directory,
            to.as_str(),
        ))?;
    }
    Ok(())
}

/// Removes files beyond the number that is kept, left from a time when more were.
pub fn prune(directory: BorrowedFd<'_>, name: &str, max_files: u32) {
    for number in max_files.max(1)..max_files.max(1) + PRUNE_MAX {
        let removed = at::unlinkat(
            directory,
            segment_name(name, number).as_str(),
            AtFlags::empty(),
        );
        if removed.is_err() {
            return;
        }
    }
}

fn exists(directory: BorrowedFd<'_>, name: &str) -> Result<bool, Errno> {
    match at::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

fn ignore_missing(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
