//! The uncompressed stream, read from the decoding thread. Every byte is read in one of two ways:
//! *raw*, which records it in the journal, or as the *payload* of a file, which does not.

use std::fs::File;
use std::io::BufWriter;

use berth_unpack::journal::Writer;

use crate::decode::{Piece, Pipeline, Summary};
use crate::failure::{Failure, Result};

/// The unit of tar.
pub const RECORD: usize = 512;

/// A layer's journal file.
pub type Journal = Writer<BufWriter<File>>;

pub struct Stream {
    pipeline: Pipeline,
    block: Vec<u8>,
    /// Where the next byte is in `block`.
    next: usize,
    /// Offset of the next byte in the stream.
    offset: u64,
    end: Option<Summary>,
    pub journal: Option<Journal>,
}

impl Stream {
    pub fn new(pipeline: Pipeline, journal: Option<Journal>) -> Stream {
        Stream {
            pipeline,
            block: Vec::new(),
            next: 0,
            offset: 0,
            end: None,
            journal,
        }
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Sees to it that there is a next byte; `false` at the end of the stream.
    fn fill(&mut self) -> Result<bool> {
        if self.next < self.block.len() {
            return Ok(true);
        }
        if self.end.is_some() {
            return Ok(false);
        }
        let used = std::mem::take(&mut self.block);
        // Reuse is a courtesy; the other thread may have ended.
        let _ = self.pipeline.used.try_send(used);
        self.next = 0;
        match self.pipeline.pieces.recv() {
            Ok(Piece::Block(block)) => self.block = block,
            Ok(Piece::End(summary)) => self.end = Some(summary),
            Ok(Piece::Failed(failure)) => return Err(failure),
            Err(_) => {
                let gone = std::io::Error::other("it ended early");
                return Err(Failure::machine("the decoding thread failed", gone));
            }
        }
        Ok(!self.block.is_empty())
    }

    /// Hands out the next `length` bytes piece by piece.
    fn pass(
        &mut self,
        length: u64,
        record: bool,
        mut sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut left = length;
        while left > 0 {
            if !self.fill()? {
                let what = format!("the archive ends where {left} more bytes should be,");
                return Err(Failure::at(self.offset, what));
            }
            let available = self.block.get(self.next..).unwrap_or_default();
            let wanted = usize::try_from(left).unwrap_or(usize::MAX);
            let piece = available.get(..wanted).unwrap_or(available);
            if let Some(journal) = self.journal.as_mut().filter(|_| record) {
                journal.raw(piece).map_err(journal_failure)?;
            }
            sink(piece)?;
            self.next += piece.len();
            self.offset += piece.len() as u64;
            left -= piece.len() as u64;
        }
        Ok(())
    }

    /// The next record; `None` when the stream ends before it.
    pub fn raw_record(&mut self) -> Result<Option<[u8; RECORD]>> {
        if !self.fill()? {
            return Ok(None);
        }
        let mut record = [0; RECORD];
        let mut filled = 0;
        self.pass(RECORD as u64, true, |piece| {
            if let Some(slot) = record.get_mut(filled..filled + piece.len()) {
                slot.copy_from_slice(piece);
            }
            filled += piece.len();
            Ok(())
        })?;
        Ok(Some(record))
    }

    /// The next `length` bytes, which the caller has limited.
    pub fn raw_vec(&mut self, length: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.pass(length, true, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Reads past bytes nobody needs.
    pub fn raw_skip(&mut self, length: u64) -> Result<()> {
        self.pass(length, true, |_| Ok(()))
    }

    /// Reads bytes that the journal does not record, because it was told of their file.
    pub fn payload(&mut self, length: u64, sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.pass(length, false, sink)
    }

    /// Reads bytes that the journal records.
    pub fn raw(&mut self, length: u64, sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.pass(length, true, sink)
    }

    /// Reads to the end of the stream and closes the journal.
    pub fn finish(&mut self) -> Result<Summary> {
        while self.fill()? {
            let rest = self.block.len() - self.next;
            self.raw_skip(rest as u64)?;
        }
        let Some(summary) = self.end.clone() else {
            return Err(Failure::refused("the stream has no end"));
        };
        if let Some(journal) = self.journal.take() {
            let sha256 = summary.diff_id.as_bytes();
            let finished = journal.finish(summary.stream_bytes, sha256);
            finished.map_err(journal_failure)?;
        }
        Ok(summary)
    }
}

pub fn journal_failure(source: std::io::Error) -> Failure {
    Failure::machine("cannot write the layer's journal", source)
}
