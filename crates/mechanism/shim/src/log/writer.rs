//! Writing a log: lines out of pieces of output, one `write(2)` for all that came in one read.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use berth_sys::rustix::fs::{self as at, AtFlags, Mode, OFlags};
use berth_sys::rustix::io::Errno;
use berth_types::Timestamp;

use super::encode::{self, Clock};
use super::{LINE_MAX, RECORD_MAX, rotate};
use crate::protocol::Stream;

/// Encoded bytes that are collected before they are written.
const BATCH_MAX: usize = 256 << 10;

/// The writer of one log.
///
/// Nothing that goes wrong with the log stops the container. A record that cannot be written is
/// dropped and counted, and once there is room again a record says how many were.
#[derive(Debug)]
pub struct Writer {
    directory: OwnedFd,
    name: String,
    max_size: u64,
    max_files: u32,
    file: OwnedFd,
    /// Bytes in `file`.
    size: u64,
    /// The file ends inside a record that could not be taken back.
    torn: bool,
    /// Rotation failed during this write and is not tried again before the next.
    rotation_failed: bool,
    /// Records dropped since the last that was written.
    dropped: u64,
    batch: Vec<u8>,
    /// Beginnings of lines whose end has not come, each at most [`LINE_MAX`] bytes.
    begun: [Vec<u8>; 2],
    clock: Clock,
}

impl Writer {
    /// Opens the log `name` in `directory` for appending and makes it where there is none.
    /// A file is rotated at `max_size` bytes; `max_files` are kept, the current one included.
    ///
    /// # Errors
    /// When the file cannot be opened or made.
    pub fn open(
        directory: BorrowedFd<'_>,
        name: String,
        max_size: u64,
        max_files: u32,
    ) -> io::Result<Self> {
        let file = open_file(directory, &name)?;
        let size = u64::try_from(at::fstat(&file)?.st_size).unwrap_or(0);
        rotate::prune(directory, &name, max_files);
        Ok(Self {
            torn: size > 0 && !ends_with_newline(&file, size),
            directory: directory.try_clone_to_owned()?,
            name,
            max_size,
            max_files,
            file,
            size,
            rotation_failed: false,
            dropped: 0,
            batch: Vec::new(),
            begun: [Vec::new(), Vec::new()],
            clock: Clock::default(),
        })
    }

    /// Takes what was read from `stream` at `now`. Whole lines are written before this returns;
    /// the beginning of an unfinished one is kept until the rest comes.
    pub fn write(&mut self, stream: Stream, data: &[u8], now: Timestamp) {
        self.with_lines(stream, now, |lines| {
            let mut rest = data;
            while let Some(newline) = memchr::memchr(b'\n', rest) {
                let (line, after) = rest.split_at(newline + 1);
                lines.end(line);
                rest = after;
            }
            lines.begin(rest);
        });
    }

    /// Writes an unfinished line as it is: `stream` has ended.
    pub fn finish(&mut self, stream: Stream, now: Timestamp) {
        self.with_lines(stream, now, |lines| lines.end(&[]));
    }

    /// How many records were dropped since the last that was written.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Removes the file again if it holds nothing: the container did not start.
    pub fn discard_empty(self) {
        if self.size == 0 {
            // A file that cannot be removed is an empty log, which harms nobody.
            let _ = at::unlinkat(&self.directory, self.name.as_str(), AtFlags::empty());
        }
    }

    /// Gives memory back that is only needed while there is output.
    pub fn release_memory(&mut self) {
        self.batch = Vec::new();
        self.begun.iter_mut().for_each(Vec::shrink_to_fit);
    }

    fn with_lines(&mut self, stream: Stream, now: Timestamp, act: impl FnOnce(&mut Lines<'_>)) {
        let mut clock = std::mem::take(&mut self.clock);
        let slot = usize::from(stream == Stream::Stderr);
        let begun = std::mem::take(&mut self.begun[slot]);
        self.rotation_failed = false;
        self.batch.reserve(BATCH_MAX.min(RECORD_MAX));
        let mut lines = Lines {
            log: self,
            stream,
            time: clock.text(now),
            begun,
        };
        act(&mut lines);
        self.begun[slot] = lines.begun;
        self.flush(now);
        self.clock = clock;
    }

    fn record(&mut self, line: &[u8], stream: Stream, time: &str) {
        if self.size + self.batch.len() as u64 >= self.max_size && !self.rotation_failed {
            self.append_batch();
            if self.size >= self.max_size {
                self.rotate();
            }
        } else if self.batch.len() >= BATCH_MAX {
            self.append_batch();
        }
        let first_of_file = self.size == 0 && self.batch.is_empty();
        encode::record(&mut self.batch, line, stream, time, first_of_file);
    }

    fn flush(&mut self, now: Timestamp) {
        if self.dropped > 0 && !self.batch.is_empty() {
            self.note_dropped(now);
        }
        self.append_batch();
    }

    /// Says how many records are missing, if there is room to say it.
    fn note_dropped(&mut self, now: Timestamp) {
        let text = format!(
            "berth: {} log records were dropped: no room for them\n",
            self.dropped
        );
        let mut notice = Vec::new();
        let time = now.to_string();
        encode::record(
            &mut notice,
            text.as_bytes(),
            Stream::Stderr,
            &time,
            self.size == 0,
        );
        if self.append(&notice) == notice.len() {
            self.dropped = 0;
        }
    }

    fn append_batch(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let written = self.append(&batch);
        let lost = batch.get(written..).unwrap_or_default();
        self.dropped += memchr::memchr_iter(b'\n', lost).count() as u64;
        self.batch = batch;
        self.batch.clear();
    }

    /// Appends whole records and returns how many bytes of them are in the file; a record that
    /// went in only partly is taken back.
    fn append(&mut self, records: &[u8]) -> usize {
        if self.torn && write_all(&self.file, b"\n") == 1 {
            self.torn = false;
            self.size += 1;
        }
        if self.torn {
            return 0;
        }
        let written = write_all(&self.file, records);
        let mut whole = written;
        if written < records.len() {
            let complete = records.get(..written).unwrap_or_default();
            whole = memchr::memrchr(b'\n', complete).map_or(0, |newline| newline + 1);
            let length = self.size + whole as u64;
            self.torn = whole < written && at::ftruncate(&self.file, length).is_err();
        }
        self.size += if self.torn { written } else { whole } as u64;
        whole
    }

    fn rotate(&mut self) {
        let directory = self.directory.as_fd();
        let next = rotate::shift(directory, &self.name, self.max_files)
            .map_err(io::Error::from)
            .and_then(|()| open_file(directory, &self.name));
        match next {
            Ok(file) => {
                self.file = file;
                self.size = 0;
                self.torn = false;
            }
            // Go on in the old file, under whatever name it has now.
            Err(_) => self.rotation_failed = true,
        }
    }
}

/// The lines of one call.
struct Lines<'a> {
    log: &'a mut Writer,
    stream: Stream,
    time: &'a str,
    begun: Vec<u8>,
}

impl Lines<'_> {
    /// The last part of a line, with its newline; or without, at the end of the stream.
    fn end(&mut self, part: &[u8]) {
        if self.begun.is_empty() {
            let last = self.split(part);
            if !last.is_empty() {
                self.log.record(last, self.stream, self.time);
            }
        } else {
            self.begin(part);
            self.log.record(&self.begun, self.stream, self.time);
            self.begun.clear();
        }
    }

    /// A part of a line that is not its last.
    fn begin(&mut self, part: &[u8]) {
        if self.begun.is_empty() {
            let last = self.split(part);
            self.begun.extend_from_slice(last);
            return;
        }
        let mut rest = part;
        while !rest.is_empty() {
            let room = (LINE_MAX + 1)
                .saturating_sub(self.begun.len())
                .min(rest.len());
            let (head, tail) = rest.split_at(room);
            self.begun.extend_from_slice(head);
            rest = tail;
            if self.begun.len() > LINE_MAX {
                let cut = encode::split_point(&self.begun);
                let piece = self.begun.get(..cut).unwrap_or(&self.begun);
                self.log.record(piece, self.stream, self.time);
                self.begun.drain(..cut);
            }
        }
    }

    /// Records what is over [`LINE_MAX`] and returns the rest.
    fn split<'b>(&mut self, mut line: &'b [u8]) -> &'b [u8] {
        while line.len() > LINE_MAX {
            let (piece, rest) = line.split_at(encode::split_point(line));
            self.log.record(piece, self.stream, self.time);
            line = rest;
        }
        line
    }
}

fn open_file(directory: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(at::openat(
        directory,
        name,
        flags,
        Mode::from_raw_mode(0o640),
    )?)
}

fn ends_with_newline(file: &OwnedFd, size: u64) -> bool {
    let mut last = [0];
    matches!(
        berth_sys::rustix::io::pread(file, &mut last, size - 1),
        Ok(1)
    ) && last == *b"\n"
}

/// Writes as much as goes and returns how many bytes that was.
fn write_all(file: &OwnedFd, bytes: &[u8]) -> usize {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match berth_sys::rustix::io::write(file, rest) {
            Ok(count) if count > 0 => written += count,
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => break,
        }
    }
    written
}
