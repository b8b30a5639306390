//! Reading a container's log back: the last lines, a span of time, and what comes next.
//!
//! The files are written and rotated by the monitor while they are read; see
//! [`berth_shim::log`] for the format. A file is recognised by its inode, since its name changes
//! with every rotation, and the position is an offset in that file:
//!
//! ```text
//! name.2   name.1   name          names move left with each rotation
//!          ▲ inode, offset        the reader stays in the file that it is in, to its end,
//!                                 and goes on with the next newer one
//! ```
//!
//! A last line without its end is not there yet. In a file that is not written any more it never
//! will be, and is passed over, like anything else that is no record.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::OnceLock;

use berth_shim::log::{RECORD_MAX, SCAN_GAP_MAX, segment_name};
use berth_shim::protocol::Stream;
use berth_sys::rustix::fs::{self as at, Mode, OFlags, inotify};
use berth_sys::rustix::io::Errno;
use berth_types::{ContainerId, Timestamp};
use serde::Deserialize;

/// Bytes that are read at a time.
const READ_MAX: usize = 64 << 10;

/// Longest line that can be a record; a longer one is garbage and is passed over.
const LINE_MAX: usize = 2 * RECORD_MAX;

/// Most files of one log, a guard against a directory full of something else.
const SEGMENTS_MAX: u32 = 10_000;

/// Which part of a log is asked for; the default is all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogOptions {
    /// Only this many records from the end of the log as it is now; the other limits are applied
    /// to them.
    pub tail: Option<u64>,
    /// Nothing earlier than this.
    pub since: Option<Timestamp>,
    /// Nothing later than this.
    pub until: Option<Timestamp>,
}

/// One record: a line, or a piece of a long one, which then has no newline at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Where the container wrote it.
    pub stream: Stream,
    /// When the monitor read it.
    pub time: Timestamp,
    /// The bytes, as far as they were UTF-8; others read U+FFFD.
    pub data: Vec<u8>,
}

/// A position in a log.
#[derive(Debug)]
pub struct LogReader {
    directory: OwnedFd,
    name: String,
    options: LogOptions,
    /// The file being read; none before there is one.
    current: Option<Segment>,
    /// Newer files that were found together with it.
    newer: VecDeque<Segment>,
    /// Bytes of `current` that were read and hold no whole line yet, or lines not returned yet.
    buffer: Vec<u8>,
    /// How much of `buffer` is used up.
    used: usize,
    /// A record later than `until` was seen.
    finished: bool,
    /// Notices of changes in the directory, once somebody waited for them.
    watch: OnceLock<OwnedFd>,
}

/// One file of a log.
#[derive(Debug)]
struct Segment {
    file: File,
    inode: u64,
    /// Where the next read begins.
    offset: u64,
}

/// The members of a record that a reader knows; others are passed over.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    log: String,
    stream: Name,
    time: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Name {
    Stdout,
    Stderr,
}

impl LogReader {
    /// Opens the log of the container `id` in its `directory` at the first record that `options`
    /// may ask for. A log that is not there yet is an empty one.
    ///
    /// # Errors
    /// When the directory or a file cannot be opened or read.
    pub fn open(directory: &Path, id: &ContainerId, options: LogOptions) -> io::Result<Self> {
        let mut reader = Self {
            directory: berth_sys::socket::open_directory(directory)?,
            name: berth_shim::log::file_name(id),
            options,
            current: None,
            newer: VecDeque::new(),
            buffer: Vec::new(),
            used: 0,
            finished: false,
            watch: OnceLock::new(),
        };
        reader.begin()?;
        Ok(reader)
    }

    /// The next record that is there now. None is not the end: ask again when
    /// [`LogReader::watch_fd`] is readable, until [`LogReader::is_finished`] or the container's
    /// exit.
    ///
    /// # Errors
    /// When a file cannot be read.
    #[allow(
        clippy::should_implement_trait,
        reason = "an iterator would be over at the first none"
    )]
    pub fn next(&mut self) -> io::Result<Option<LogRecord>> {
        while !self.finished {
            while let Some(line) = self.take_line() {
                let Ok(line) = serde_json::from_slice::<Line>(&line) else {
                    continue;
                };
                if let Some(record) = self.select(line) {
                    return Ok(Some(record));
                }
                if self.finished {
                    return Ok(None);
                }
            }
            if self.fill()? {
                continue;
            }
            // The file may have been rotated away since its end was read, with more at its end
            // then; so first ask for a newer one, and then read once more.
            let Some(next) = self.next_segment()? else {
                return Ok(None);
            };
            if self.fill()? {
                self.newer.push_front(next);
                continue;
            }
            self.current = Some(next);
            self.buffer.clear();
            self.used = 0;
        }
        Ok(None)
    }

    /// Whether a record later than [`LogOptions::until`] was seen, so that no more will come.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// A descriptor that is readable when the log may have grown or been rotated since the last
    /// [`LogReader::next`] (`inotify(7)` on the container's directory). The first call makes it,
    /// and what happened between the last read and that call goes unnoticed: look once more.
    ///
    /// # Errors
    /// `EMFILE` and `ENOSPC` when the user's limit of inotify instances or watches is reached
    /// (`fs.inotify.max_user_instances`, `max_user_watches`).
    pub fn watch_fd(&self) -> io::Result<BorrowedFd<'_>> {
        if let Some(watch) = self.watch.get() {
            return Ok(watch.as_fd());
        }
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let watch = inotify::init(flags)?;
        let changes = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO;
        let path = format!("/proc/self/fd/{}", self.directory.as_raw_fd());
        inotify::add_watch(&watch, path, changes)?;
        Ok(self.watch.get_or_init(|| watch).as_fd())
    }

    fn begin(&mut self) -> io::Result<()> {
        let mut segments = self.segments()?;
        if let Some(count) = self.options.tail {
            skip_to_tail(&mut segments, count)?;
        }
        self.current = segments.pop_front();
        self.newer = segments;
        Ok(())
    }

    fn select(&mut self, line: Line) -> Option<LogRecord> {
        let LogOptions { since, until, .. } = self.options;
        if until.is_some_and(|until| line.time > until) {
            self.finished = true;
            return None;
        }
        let stream = match line.stream {
            Name::Stdout => Stream::Stdout,
            Name::Stderr => Stream::Stderr,
        };
        let wanted = since.is_none_or(|since| line.time >= since);
        wanted.then(|| LogRecord {
            stream,
            time: line.time,
            data: line.log.into_bytes(),
        })
    }

    /// The next whole line in the buffer, without its newline.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        let rest = self.buffer.get(self.used..)?;
        let length = rest.iter().position(|&byte| byte == b'\n')?;
        let line = rest.get(..length)?.to_vec();
        self.used += length + 1;
        Some(line)
    }

    /// Reads on in the current file; whether there was anything.
    fn fill(&mut self) -> io::Result<bool> {
        self.clear_notices();
        self.buffer.drain(..self.used);
        self.used = 0;
        if self.buffer.len() > LINE_MAX {
            // No record is this long. What is left of it will not parse either.
            self.buffer.clear();
        }
        let Some(segment) = &mut self.current else {
            return Ok(false);
        };
        let before = self.buffer.len();
        self.buffer.resize(before + READ_MAX, 0);
        let space = self.buffer.get_mut(before..).unwrap_or_default();
        let count = read_at(&segment.file, space, segment.offset);
        self.buffer.truncate(before + *count.as_ref().unwrap_or(&0));
        segment.offset += count.as_ref().map_or(0, |count| *count as u64);
        Ok(count? > 0)
    }

    /// Takes the notices of what is about to be read.
    fn clear_notices(&self) {
        let Some(watch) = self.watch.get() else {
            return;
        };
        let mut notices = [0_u8; 4096];
        while berth_sys::rustix::io::read(watch, &mut notices).is_ok_and(|count| count > 0) {}
    }

    /// The file after the current one, if that is no longer the one being written.
    fn next_segment(&mut self) -> io::Result<Option<Segment>> {
        if let Some(next) = self.newer.pop_front() {
            return Ok(Some(next));
        }
        let Some(current) = &self.current else {
            let mut segments = self.segments()?;
            let first = segments.pop_front();
            self.newer = segments;
            return Ok(first);
        };
        let inode = current.inode;
        match self.open_segment(0)? {
            Some(newest) if newest.inode != inode => {}
            _ => return Ok(None),
        }
        let mut segments = self.segments()?;
        if let Some(position) = segments.iter().position(|segment| segment.inode == inode) {
            segments.drain(..=position);
        }
        // Where the current one is gone already, so is perhaps more: go on with the oldest.
        let next = segments.pop_front();
        self.newer = segments;
        Ok(next)
    }

    /// All files, oldest first. They are opened from the newest on: a rotation meanwhile moves
    /// them the same way, so that none is missed, and one that is met twice is known by its inode.
    fn segments(&self) -> io::Result<VecDeque<Segment>> {
        let mut segments = VecDeque::<Segment>::new();
        let (mut number, mut missing) = (0, 0);
        while missing <= SCAN_GAP_MAX && number < SEGMENTS_MAX {
            match self.open_segment(number)? {
                None => missing += 1,
                Some(segment) => {
                    missing = 0;
                    if segments.iter().all(|known| known.inode != segment.inode) {
                        segments.push_front(segment);
                    }
                }
            }
            number += 1;
        }
        Ok(segments)
    }

    fn open_segment(&self, number: u32) -> io::Result<Option<Segment>> {
        let name = segment_name(&self.name, number);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match at::openat(&self.directory, name.as_str(), flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            opened => File::from(opened?),
        };
        let inode = file.metadata()?.ino();
        Ok(Some(Segment {
            file,
            inode,
            offset: 0,
        }))
    }
}

/// Drops files and sets the offset in the first that is left so that `count` lines remain.
fn skip_to_tail(segments: &mut VecDeque<Segment>, count: u64) -> io::Result<()> {
    let mut left = count;
    for index in (0..segments.len()).rev() {
        let Some(segment) = segments.get_mut(index) else {
            continue;
        };
        let (offset, found) = tail_offset(&segment.file, left)?;
        segment.offset = offset;
        left -= found;
        if left == 0 {
            segments.drain(..index);
            return Ok(());
        }
    }
    Ok(())
}

/// Where the last `count` whole lines of the file begin, and how many there are of them. Without
/// any wanted, the end of the last whole line.
fn tail_offset(file: &File, count: u64) -> io::Result<(u64, u64)> {
    let mut block = vec![0; READ_MAX];
    let mut start = file.metadata()?.len();
    // Each line ends in a newline, so the one before the first wanted is number `count` + 1.
    let mut newlines = 0;
    while start > 0 {
        let length = start.min(READ_MAX as u64);
        start -= length;
        let length = usize::try_from(length).unwrap_or(READ_MAX);
        let bytes = block.get_mut(..length).unwrap_or_default();
        file.read_exact_at(bytes, start)?;
        for (position, _) in bytes
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'\n')
        {
            newlines += 1;
            if newlines > count {
                return Ok((start + position as u64 + 1, count));
            }
        }
    }
    Ok((0, newlines))
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;
