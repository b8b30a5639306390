//! Reading a journal: the exact tar stream of a layer, from its directory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use berth_sys::rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use berth_types::{Digest, ErrorKind};
use flate2::bufread::GzDecoder;
use sha2::{Digest as _, Sha256};

use super::{END, FILE, MAGIC, ORPHAN, RAW};

/// How much of the journal file is read at once.
const READ_AHEAD: usize = 64 << 10;

/// Why a layer cannot be put together again. While bytes are read it is the inner error of the
/// [`io::Error`].
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The journal is damaged or incomplete.
    #[error("the layer's journal is damaged: {0}; pull the image again")]
    Damaged(&'static str),
    /// The journal could not be read.
    #[error("cannot read the layer's journal")]
    Read(#[source] io::Error),
    /// A file of the layer could not be opened.
    #[error("cannot open {path:?} in the layer's directory; was the layer changed?")]
    Open {
        /// The file, relative to the layer.
        path: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A file of the layer is no longer what it was.
    #[error("{path:?} in the layer's directory has changed; pull the image again")]
    Changed {
        /// The file, relative to the layer.
        path: String,
    },
    /// All parts are there, but together they are another stream.
    #[error("the layer's directory has changed: it gives {found} instead of {expected}")]
    Digest {
        /// The digest of the stream that was unpacked.
        expected: Digest,
        /// The digest of what the directory holds now.
        found: Digest,
    },
}

impl JournalError {
    /// Always `Internal`: whoever asked could not have asked better.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

impl From<JournalError> for io::Error {
    fn from(error: JournalError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// Opens the tar stream that was unpacked into `directory` while `journal` was written. `journal`
/// must be seekable and starts at offset 0, wherever its position is. The whole journal is read
/// once to find the contents of replaced files.
///
/// # Errors
/// [`JournalError::Damaged`] when the journal has no end, or [`JournalError::Read`].
pub fn reassemble(journal: File, directory: OwnedFd) -> Result<Reassembly, JournalError> {
    let journal = Arc::new(journal);
    let (main, orphans) = open(&journal)?;
    Ok(Reassembly {
        main,
        journal,
        directory,
        orphans,
        files: 0,
        segment: Segment::Boundary,
        hash: Sha256::new(),
        produced: 0,
    })
}

/// The records of a journal, and the contents that are not among them.
pub(super) fn open(
    journal: &Arc<File>,
) -> Result<(MainMembers, HashMap<u64, Orphan>), JournalError> {
    let orphans = find_orphans(journal)?;
    let mut main = MainMembers {
        decoder: None,
        next: 0,
        skip: orphans.values().map(|o| (o.start, o.end)).collect(),
        journal: Arc::clone(journal),
    };
    let mut magic = [0; MAGIC.len()];
    main.exact(&mut magic)?;
    if &magic != MAGIC {
        return Err(JournalError::Damaged("it does not start as one"));
    }
    Ok((main, orphans))
}

/// Reads the exact tar stream of a layer. The last `read` fails with [`JournalError::Digest`]
/// inside when the stream is not the one that was unpacked.
pub struct Reassembly {
    main: MainMembers,
    journal: Arc<File>,
    directory: OwnedFd,
    orphans: HashMap<u64, Orphan>,
    files: u64,
    segment: Segment,
    hash: Sha256,
    produced: u64,
}

enum Segment {
    /// The next record decides.
    Boundary,
    Raw {
        left: u64,
    },
    File {
        file: File,
        left: u64,
        path: Vec<u8>,
    },
    Orphan {
        decoder: Box<GzDecoder<At>>,
        left: u64,
    },
    End,
}

/// Where the content of a replaced file lies in the journal.
pub(super) struct Orphan {
    start: u64,
    end: u64,
    size: u64,
}

impl Read for Reassembly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let (read, left) = match &mut self.segment {
                Segment::End => return Ok(0),
                Segment::Boundary => {
                    self.segment = self.next_segment()?;
                    continue;
                }
                Segment::Raw { left } => (self.main.some(clip(buffer, *left))?, left),
                Segment::File { file, left, path } => {
                    let read = file.read(clip(buffer, *left))?;
                    if read == 0 && *left > 0 {
                        let path = display(path);
                        return Err(JournalError::Changed { path }.into());
                    }
                    (read, left)
                }
                Segment::Orphan { decoder, left } => {
                    let read = decoder.read(clip(buffer, *left))?;
                    if read == 0 && *left > 0 {
                        return Err(JournalError::Damaged("a replaced file is cut off").into());
                    }
                    (read, left)
                }
            };
            *left -= read as u64;
            if *left == 0 {
                self.segment = Segment::Boundary;
            }
            if read > 0 {
                self.hash.update(&buffer[..read]);
                self.produced += read as u64;
                return Ok(read);
            }
        }
    }
}

impl Reassembly {
    fn next_segment(&mut self) -> Result<Segment, JournalError> {
        match self.main.array::<1>()? {
            [RAW] => Ok(Segment::Raw {
                left: u64::from(u32::from_le_bytes(self.main.array()?)),
            }),
            [FILE] => {
                let size = u64::from_le_bytes(self.main.array()?);
                let mut path = vec![0; usize::from(u16::from_le_bytes(self.main.array()?))];
                self.main.exact(&mut path)?;
                let index = self.files;
                self.files += 1;
                self.content(index, size, path)
            }
            [END] => {
                let size = u64::from_le_bytes(self.main.array()?);
                let expected = Digest::from_sha256(self.main.array()?);
                let found = Digest::from_sha256(self.hash.finalize_reset().into());
                if (size, expected) == (self.produced, found) {
                    Ok(Segment::End)
                } else {
                    Err(JournalError::Digest { expected, found })
                }
            }
            _ => Err(JournalError::Damaged("a record of unknown type")),
        }
    }

    fn content(&self, index: u64, size: u64, path: Vec<u8>) -> Result<Segment, JournalError> {
        if let Some(orphan) = self.orphans.get(&index) {
            let mut decoder = GzDecoder::new(At::new(&self.journal, orphan.start));
            let mut head = [0; 17];
            decoder.read_exact(&mut head).map_err(JournalError::Read)?;
            if orphan.size != size {
                return Err(JournalError::Damaged("a replaced file of another size"));
            }
            return Ok(Segment::Orphan {
                decoder: Box::new(decoder),
                left: size,
            });
        }
        // A file that became a FIFO must not make the open wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let beneath =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let directory = self.directory.as_fd();
        let opened = openat2(directory, path.as_slice(), flags, Mode::empty(), beneath)
            .and_then(|file| fstat(&file).map(|stat| (file, stat)));
        let (file, stat) = opened.map_err(|errno| JournalError::Open {
            path: display(&path),
            source: errno.into(),
        })?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !regular || u64::try_from(stat.st_size) != Ok(size) {
            let path = display(&path);
            return Err(JournalError::Changed { path });
        }
        Ok(Segment::File {
            file: file.into(),
            left: size,
            path,
        })
    }
}

fn clip(buffer: &mut [u8], left: u64) -> &mut [u8] {
    let length = usize::try_from(left).unwrap_or(usize::MAX);
    let length = length.min(buffer.len());
    &mut buffer[..length]
}

fn display(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// Reads every member once; those that hold the content of replaced files are found by index.
fn find_orphans(journal: &Arc<File>) -> Result<HashMap<u64, Orphan>, JournalError> {
    let mut orphans = HashMap::new();
    let mut at = At::new(journal, 0);
    loop {
        let start = at.position();
        if at.fill_buf().map_err(JournalError::Read)?.is_empty() {
            return Ok(orphans);
        }
        let mut decoder = GzDecoder::new(at);
        let mut head = Vec::new();
        let read = (&mut decoder).take(17).read_to_end(&mut head);
        read.and_then(|_| io::copy(&mut decoder, &mut io::sink()))
            .map_err(JournalError::Read)?;
        at = decoder.into_inner();
        if let [ORPHAN, numbers @ ..] = head.as_slice() {
            let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).ok();
            let both = numbers.split_at_checked(8);
            let both = both.and_then(|(index, size)| number(index).zip(number(size)));
            let (index, size) = both.ok_or(JournalError::Damaged("a short member"))?;
            let end = at.position();
            orphans.insert(index, Orphan { start, end, size });
        }
    }
}

/// The main members, joined.
pub(super) struct MainMembers {
    decoder: Option<GzDecoder<At>>,
    /// Where the next member starts, while there is no decoder.
    next: u64,
    /// Members to jump over: start and end.
    skip: HashMap<u64, u64>,
    journal: Arc<File>,
}

impl MainMembers {
    /// At least one byte, unless the buffer is empty.
    fn some(&mut self, buffer: &mut [u8]) -> Result<usize, JournalError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let mut decoder = match self.decoder.take() {
                Some(decoder) => decoder,
                None => {
                    while let Some(end) = self.skip.remove(&self.next) {
                        self.next = end;
                    }
                    let mut at = At::new(&self.journal, self.next);
                    if at.fill_buf().map_err(JournalError::Read)?.is_empty() {
                        return Err(JournalError::Damaged("it has no end record"));
                    }
                    GzDecoder::new(at)
                }
            };
            let read = decoder.read(buffer).map_err(JournalError::Read)?;
            if read > 0 {
                self.decoder = Some(decoder);
                return Ok(read);
            }
            self.next = decoder.into_inner().position();
        }
    }

    fn exact(&mut self, mut buffer: &mut [u8]) -> Result<(), JournalError> {
        while !buffer.is_empty() {
            let read = self.some(buffer)?;
            buffer = &mut buffer[read..];
        }
        Ok(())
    }

    /// Passes over bytes.
    pub(super) fn skip(&mut self, mut count: u64) -> Result<(), JournalError> {
        let mut buffer = [0; 4096];
        while count > 0 {
            let read = self.some(clip(&mut buffer, count))?;
            count -= read as u64;
        }
        Ok(())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], JournalError> {
        let mut array = [0; N];
        self.exact(&mut array)?;
        Ok(array)
    }
}

/// A position in the journal file, of which several may be open.
struct At {
    file: Arc<File>,
    /// File offset of the end of `buffer`.
    offset: u64,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl At {
    fn new(file: &Arc<File>, offset: u64) -> At {
        At {
            file: Arc::clone(file),
            offset,
            buffer: vec![0; READ_AHEAD].into(),
            start: 0,
            end: 0,
        }
    }

    /// File offset of the next byte.
    fn position(&self) -> u64 {
        self.offset - (self.end - self.start) as u64
    }
}

impl BufRead for At {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            self.end = self.file.read_at(&mut self.buffer, self.offset)?;
            self.offset += self.end as u64;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, amount: usize) {
        self.start = (self.start + amount).min(self.end);
    }
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let read = available.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}
