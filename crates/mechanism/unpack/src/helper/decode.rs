//! The decoding thread: reads the archive, decompresses it, hashes both streams, and hands blocks
//! to the thread that writes files. The two overlap; the blocks in flight are bounded.

use std::cell::{Cell, RefCell};
use std::io::{self, BufReader, Read};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use berth_types::Digest;
use berth_unpack::Budget;
use berth_unpack::protocol::Format;
use sha2::{Digest as _, Sha256};

use crate::codec;
use crate::failure::{Failure, Result};

/// Size of a block of the uncompressed stream.
const BLOCK: usize = 256 << 10;
/// Blocks between the threads; as many again may be at either end.
const BLOCKS: usize = 4;
/// How much of the archive is read at once.
const READ_AHEAD: usize = 256 << 10;

/// What the thread hands over.
pub enum Piece {
    /// The next bytes of the uncompressed stream, at least one.
    Block(Vec<u8>),
    /// There are no more.
    End(Summary),
    /// There are no more, and that is wrong.
    Failed(Failure),
}

/// The facts about a whole stream.
#[derive(Debug, Clone)]
pub struct Summary {
    pub format: Format,
    /// Of the stream as read.
    pub digest: Digest,
    pub read_bytes: u64,
    /// Of the uncompressed stream.
    pub diff_id: Digest,
    pub stream_bytes: u64,
}

/// The other end of the decoding thread.
pub struct Pipeline {
    pub pieces: Receiver<Piece>,
    /// Takes blocks back for reuse.
    pub used: SyncSender<Vec<u8>>,
}

/// The limits that are the decoder's to enforce.
#[derive(Clone)]
struct Limits {
    stream_bytes: u64,
    ratio: u64,
    ratio_floor: u64,
}

/// Starts the thread. It runs `confine` before it reads anything.
///
/// # Errors
/// When no thread can be made.
pub fn spawn(
    archive: impl Read + Send + 'static,
    budget: &Budget,
    confine: impl FnOnce() -> Result<()> + Send + 'static,
) -> Result<(Pipeline, JoinHandle<()>)> {
    let (to_writer, pieces) = sync_channel(BLOCKS);
    let (used, recycled) = sync_channel(2 * BLOCKS);
    let limits = Limits {
        stream_bytes: budget.stream_bytes,
        ratio: budget.ratio,
        ratio_floor: budget.ratio_floor,
    };
    let thread = std::thread::Builder::new().spawn(move || {
        let result = confine().and_then(|()| run(archive, &limits, &to_writer, &recycled));
        let last = match result {
            Ok(Some(summary)) => Piece::End(summary),
            Ok(None) => return,
            Err(failure) => Piece::Failed(failure),
        };
        // Nobody listens when the other thread failed first.
        let _ = to_writer.send(last);
    });
    let thread = thread.map_err(|source| Failure::machine("cannot start a thread", source))?;
    Ok((Pipeline { pieces, used }, thread))
}

/// Decodes until the end; `None` when the other thread has gone.
fn run(
    archive: impl Read + 'static,
    limits: &Limits,
    pieces: &SyncSender<Piece>,
    recycled: &Receiver<Vec<u8>>,
) -> Result<Option<Summary>> {
    let meter = Rc::new(Meter::default());
    let source = Source {
        inner: archive,
        meter: Rc::clone(&meter),
    };
    let mut source = BufReader::with_capacity(READ_AHEAD, source);
    let start = peek(&mut source).map_err(|error| meter.failure(Format::Plain, &error))?;
    let format = codec::detect(&start);
    let mut decoder = codec::decoder(format, io::Cursor::new(start).chain(source));
    let mut hash = Sha256::new();
    let mut stream_bytes = 0;
    loop {
        let mut block = recycled.try_recv().unwrap_or_default();
        block.resize(BLOCK, 0);
        let (length, error) = fill(&mut *decoder, &mut block);
        block.truncate(length);
        stream_bytes += length as u64;
        if format != Format::Plain {
            hash.update(&block);
        }
        let over = limits.check(stream_bytes, meter.count.get());
        // What was decoded before a fault is good and lets the message name the entry.
        if length > 0 && over.is_ok() && pieces.send(Piece::Block(block)).is_err() {
            return Ok(None);
        }
        over?;
        if let Some(error) = error {
            return Err(meter.failure(format, &error));
        }
        if length < BLOCK {
            break;
        }
    }
    let digest = Digest::from_sha256(meter.hash.borrow_mut().finalize_reset().into());
    let diff_id = match format {
        Format::Plain => digest,
        _ => Digest::from_sha256(hash.finalize().into()),
    };
    Ok(Some(Summary {
        format,
        digest,
        read_bytes: meter.count.get(),
        diff_id,
        stream_bytes,
    }))
}

/// The first bytes, as many as tell the format.
fn peek(source: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    source
        .take(codec::MAGIC_BYTES as u64)
        .read_to_end(&mut start)?;
    Ok(start)
}

/// Fills the block as far as the stream goes; an error comes with what was read before it.
fn fill(decoder: &mut dyn Read, block: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut length = 0;
    while length < block.len() {
        match decoder.read(&mut block[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (length, Some(error)),
        }
    }
    (length, None)
}

impl Limits {
    fn check(&self, stream_bytes: u64, read_bytes: u64) -> Result<()> {
        if stream_bytes > self.stream_bytes {
            return Err(Failure::budget("stream_bytes", self.stream_bytes));
        }
        let allowed = read_bytes.saturating_mul(self.ratio);
        if stream_bytes > self.ratio_floor && stream_bytes > allowed {
            return Err(Failure::budget("ratio", self.ratio));
        }
        Ok(())
    }
}

/// What went through a [`Source`].
#[derive(Default)]
struct Meter {
    count: Cell<u64>,
    hash: RefCell<Sha256>,
    /// The archive could not be read: decoders wrap errors, and this one is not the archive's.
    broken: RefCell<Option<io::Error>>,
}

impl Meter {
    fn failure(&self, format: Format, error: &io::Error) -> Failure {
        if let Some(source) = self.broken.borrow_mut().take() {
            return Failure::machine("cannot read the archive", source);
        }
        let name = codec::name(format);
        let count = self.count.get();
        Failure::refused(if error.kind() == io::ErrorKind::UnexpectedEof {
            format!("the {name} data is cut off after {count} bytes")
        } else {
            format!("the {name} data is damaged in the first {count} bytes ({error})")
        })
    }
}

/// Counts and hashes what is read.
struct Source<R> {
    inner: R,
    meter: Rc<Meter>,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(read) => {
                self.meter.count.set(self.meter.count.get() + read as u64);
                self.meter.hash.borrow_mut().update(&buffer[..read]);
                Ok(read)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    let copy = error.raw_os_error().map(io::Error::from_raw_os_error);
                    let copy = copy.unwrap_or_else(|| error.kind().into());
                    self.meter.broken.borrow_mut().replace(copy);
                }
                Err(error)
            }
        }
    }
}
