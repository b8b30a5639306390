//! Writing a journal while its archive is unpacked.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{END, FILE, MAGIC, ORPHAN, RAW, RAW_LIMIT};

/// Writes one journal. A journal without [`Writer::finish`] has no end record and is refused when
/// it is read.
pub struct Writer<W: Write> {
    /// The open main member, or the sink between members.
    member: Member<W>,
    /// Bytes of the stream not yet made a record.
    pending: Vec<u8>,
    files: u64,
}

enum Member<W: Write> {
    Open(Box<GzEncoder<W>>),
    Closed(W),
    /// Only while a member is being exchanged, or after that failed.
    Lost,
}

impl<W: Write> Writer<W> {
    /// Starts a journal in `sink`, which should be buffered.
    ///
    /// # Errors
    /// What the sink answers.
    pub fn new(sink: W) -> io::Result<Writer<W>> {
        let mut writer = Writer {
            member: Member::Closed(sink),
            pending: Vec::with_capacity(RAW_LIMIT),
            files: 0,
        };
        writer.open()?.write_all(MAGIC)?;
        Ok(writer)
    }

    /// Records bytes of the stream.
    ///
    /// # Errors
    /// What the sink answers.
    pub fn raw(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.pending.len() == RAW_LIMIT {
                self.flush_raw()?;
            }
            let room = RAW_LIMIT - self.pending.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.pending.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Records that the content of a file follows in the stream; the answer is its index. `path`
    /// is relative to the layer, without symbolic links.
    ///
    /// # Errors
    /// `InvalidInput` for a path beyond 65535 bytes, or what the sink answers.
    pub fn file(&mut self, path: &[u8], size: u64) -> io::Result<u64> {
        let length = u16::try_from(path.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.flush_raw()?;
        let member = self.open()?;
        member.write_all(&[FILE])?;
        member.write_all(&size.to_le_bytes())?;
        member.write_all(&length.to_le_bytes())?;
        member.write_all(path)?;
        self.files += 1;
        Ok(self.files - 1)
    }

    /// Saves the content of a file that [`Writer::file`] recorded and that is about to go.
    ///
    /// # Errors
    /// `UnexpectedEof` when the content is shorter than `size`, or what source and sink answer.
    pub fn orphan(&mut self, index: u64, size: u64, content: impl Read) -> io::Result<()> {
        self.flush_raw()?;
        self.close()?;
        let member = self.open()?;
        member.write_all(&[ORPHAN])?;
        member.write_all(&index.to_le_bytes())?;
        member.write_all(&size.to_le_bytes())?;
        if io::copy(&mut content.take(size), member)? != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.close()
    }

    /// Ends the journal of a stream of this length and SHA-256, and gives the sink back.
    ///
    /// # Errors
    /// What the sink answers.
    pub fn finish(mut self, stream_bytes: u64, sha256: &[u8; 32]) -> io::Result<W> {
        self.flush_raw()?;
        let member = self.open()?;
        member.write_all(&[END])?;
        member.write_all(&stream_bytes.to_le_bytes())?;
        member.write_all(sha256)?;
        self.close()?;
        match self.member {
            Member::Closed(mut sink) => {
                sink.flush()?;
                Ok(sink)
            }
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush_raw(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let member = self.open()?;
        member.write_all(&[RAW])?;
        // At most `RAW_LIMIT`.
        member.write_all(&(pending.len() as u32).to_le_bytes())?;
        member.write_all(&pending)?;
        self.pending = pending;
        self.pending.clear();
        Ok(())
    }

    fn open(&mut self) -> io::Result<&mut GzEncoder<W>> {
        self.member = match std::mem::replace(&mut self.member, Member::Lost) {
            Member::Closed(sink) => {
                Member::Open(Box::new(GzEncoder::new(sink, Compression::fast())))
            }
            other => other,
        };
        match &mut self.member {
            Member::Open(encoder) => Ok(encoder),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn close(&mut self) -> io::Result<()> {
        self.member = match std::mem::replace(&mut self.member, Member::Lost) {
            Member::Open(encoder) => Member::Closed(encoder.finish()?),
            other => other,
        };
        Ok(())
    }
}
