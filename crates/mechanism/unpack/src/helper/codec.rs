//! Compression formats: told apart by their first bytes, decoded to their very end.
//!
//! All of them may be several streams joined. What follows the last one is an error, except zeros
//! after gzip, which tapes and some registries leave there and gzip(1) accepts.

use std::io::{self, BufRead, Read};

use berth_unpack::protocol::Format;
use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// The longest magic number.
pub const MAGIC_BYTES: usize = 6;
/// Largest window of a zstd frame: what `zstd --long` makes and decodes without being asked.
const ZSTD_WINDOW: u64 = 128 << 20;
/// Largest dictionary of an xz block, in KiB: three times what `xz -9` needs.
const XZ_MEMORY_KIB: u32 = 200 << 10;

/// The format of a stream that starts like this.
pub fn detect(start: &[u8]) -> Format {
    match start {
        [0x1f, 0x8b, ..] => Format::Gzip,
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Format::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Format::Xz,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Format::Zstd,
        _ => Format::Plain,
    }
}

/// What a format is called in messages.
pub fn name(format: Format) -> &'static str {
    match format {
        Format::Plain => "tar",
        Format::Gzip => "gzip",
        Format::Bzip2 => "bzip2",
        Format::Xz => "xz",
        Format::Zstd => "zstd",
    }
}

/// The decoded bytes of `source`.
pub fn decoder<R: BufRead + 'static>(format: Format, source: R) -> Box<dyn Read> {
    match format {
        Format::Plain => Box::new(source),
        Format::Gzip => Box::new(Gzip::Member(Box::new(GzDecoder::new(source)))),
        Format::Bzip2 => Box::new(MultiBzDecoder::new(source)),
        Format::Xz => Box::new(XzReader::new_mem_limit(source, true, XZ_MEMORY_KIB)),
        Format::Zstd => Box::new(Zstd::new(source)),
    }
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// The members of a gzip stream, joined.
enum Gzip<R: BufRead> {
    Member(Box<GzDecoder<R>>),
    Ended,
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Gzip::Member(member) = self else {
                return Ok(0);
            };
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let Gzip::Member(member) = std::mem::replace(self, Gzip::Ended) else {
                return Ok(0);
            };
            let mut source = member.into_inner();
            match source.fill_buf()?.first() {
                None => return Ok(0),
                Some(0) => only_zeros(source)?,
                Some(_) => *self = Gzip::Member(Box::new(GzDecoder::new(source))),
            }
        }
    }
}

fn only_zeros(mut source: impl BufRead) -> io::Result<()> {
    loop {
        let padding = source.fill_buf()?;
        let length = padding.len();
        if length == 0 {
            return Ok(());
        }
        if padding.iter().any(|byte| *byte != 0) {
            return Err(invalid("something follows the end of the data"));
        }
        source.consume(length);
    }
}

/// The frames of a zstd stream, joined, without the skippable ones.
struct Zstd<R: BufRead> {
    source: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(source: R) -> Zstd<R> {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_WINDOW);
        Zstd {
            source,
            decoder,
            in_frame: false,
        }
    }

    /// Starts the next frame; `false` at the end of the stream.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let skipped = io::copy(&mut (&mut self.source).take(length), &mut io::sink())?;
                    if skipped != length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(invalid(error.to_string())),
            }
        }
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.in_frame {
                if !self.next_frame()? {
                    return Ok(0);
                }
                self.in_frame = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(|error| invalid(error.to_string()))?;
            }
            let read = self.decoder.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let stored = self.decoder.get_checksum_from_data();
            if stored.is_some() && stored != self.decoder.get_calculated_checksum() {
                return Err(invalid("the checksum of a frame is wrong"));
            }
            self.in_frame = false;
        }
    }
}
