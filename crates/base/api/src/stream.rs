//! The framing of output without a terminal: both streams in one connection.
//!
//! ```text
//! byte   0        1  2  3    4  5  6  7             8 …
//!        stream   0  0  0    length, big-endian     that many bytes
//! ```
//!
//! Stream 0 is standard input (echoed by nobody), 1 standard output, 2 standard error, 3 an error
//! of the engine itself. Whether a stream is framed depends on the container having a terminal,
//! never on the answer's content type.

/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 8;

/// The most payload one frame may announce; a longer one means that the stream is not framed.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// Which stream a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// Standard input.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// An error of the engine, after which nothing follows.
    Engine,
}

impl StreamKind {
    fn number(self) -> u8 {
        match self {
            Self::Stdin => 0,
            Self::Stdout => 1,
            Self::Stderr => 2,
            Self::Engine => 3,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Stdin),
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            3 => Some(Self::Engine),
            _ => None,
        }
    }
}

/// Bytes that are no frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header names no stream.
    #[error("the output is not framed: no stream has the number {0}")]
    Stream(u8),
    /// The header announces more than [`PAYLOAD_BYTES_MAX`].
    #[error("the output is not framed: a frame of {0} bytes is announced")]
    Length(u32),
    /// The stream ended inside a frame.
    #[error("the output ended in the middle of a frame")]
    Truncated,
}

/// The header of a frame with this many bytes of payload. The caller keeps `payload_bytes` to
/// [`PAYLOAD_BYTES_MAX`]; a larger number is cut to what the header can hold.
pub fn header(kind: StreamKind, payload_bytes: usize) -> [u8; HEADER_BYTES] {
    let length = u32::try_from(payload_bytes)
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    let [a, b, c, d] = length;
    [kind.number(), 0, 0, 0, a, b, c, d]
}

/// A whole frame; a payload over [`PAYLOAD_BYTES_MAX`] becomes several.
pub fn frame(kind: StreamKind, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + HEADER_BYTES);
    for part in payload.chunks(PAYLOAD_BYTES_MAX) {
        out.extend_from_slice(&header(kind, part.len()));
        out.extend_from_slice(part);
    }
    out
}

/// Takes frames apart as their bytes arrive, in pieces of any size. It keeps no payload: what
/// arrives is handed on at once, so a frame may come out in several pieces.
#[derive(Debug, Default)]
pub struct Decoder {
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    /// The frame that is being handed on and how much of it is missing.
    open: Option<(StreamKind, usize)>,
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next payload off the front of `input`; `None` when `input` is used up.
    pub fn next<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<(StreamKind, &'a [u8])>, FrameError> {
        loop {
            if let Some((kind, missing)) = self.open {
                let (payload, rest) = input.split_at(missing.min(input.len()));
                *input = rest;
                let missing = missing - payload.len();
                self.open = (missing > 0).then_some((kind, missing));
                return Ok((!payload.is_empty()).then_some((kind, payload)));
            }
            let Some((&byte, rest)) = input.split_first() else {
                return Ok(None);
            };
            *input = rest;
            self.take_header_byte(byte)?;
        }
    }

    /// To be called at the end of the stream.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.open.is_some() || self.header_bytes > 0 {
            return Err(FrameError::Truncated);
        }
        Ok(())
    }

    fn take_header_byte(&mut self, byte: u8) -> Result<(), FrameError> {
        if let Some(slot) = self.header.get_mut(self.header_bytes) {
            *slot = byte;
        }
        self.header_bytes += 1;
        if self.header_bytes < HEADER_BYTES {
            return Ok(());
        }
        self.header_bytes = 0;
        let [number, _, _, _, a, b, c, d] = self.header;
        let kind = StreamKind::from_number(number).ok_or(FrameError::Stream(number))?;
        let announced = u32::from_be_bytes([a, b, c, d]);
        let length = announced as usize;
        if length > PAYLOAD_BYTES_MAX {
            return Err(FrameError::Length(announced));
        }
        self.open = (length > 0).then_some((kind, length));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Decoder, FrameError, PAYLOAD_BYTES_MAX, StreamKind, frame, header};

    /// Decodes `bytes`, which arrive cut at `cuts`, and joins the pieces of each stream in turn.
    fn decode(bytes: &[u8], piece: usize) -> Result<Vec<(StreamKind, Vec<u8>)>, FrameError> {
        let mut decoder = Decoder::new();
        let mut out: Vec<(StreamKind, Vec<u8>)> = Vec::new();
        for mut input in bytes.chunks(piece) {
            while let Some((kind, payload)) = decoder.next(&mut input)? {
                match out.last_mut() {
                    Some((last, joined)) if *last == kind => joined.extend_from_slice(payload),
                    _ => out.push((kind, payload.to_vec())),
                }
            }
            assert!(input.is_empty());
        }
        decoder.finish()?;
        Ok(out)
    }

    #[test]
    fn the_header_is_dockers() {
        assert_eq!(header(StreamKind::Stdout, 5), [1, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(
            header(StreamKind::Stderr, 0x0102_0304),
            [2, 0, 0, 0, 1, 2, 3, 4]
        );
        assert_eq!(frame(StreamKind::Engine, b"no"), b"\x03\0\0\0\0\0\0\x02no");
    }

    #[test]
    fn an_empty_frame_is_passed_over() {
        let mut bytes = header(StreamKind::Stdout, 0).to_vec();
        bytes.extend(frame(StreamKind::Stderr, b"x"));
        assert_eq!(
            decode(&bytes, 3),
            Ok(vec![(StreamKind::Stderr, b"x".to_vec())])
        );
    }

    #[test]
    fn raw_output_and_cut_frames_are_found_out() {
        assert_eq!(decode(b"hello, world", 4), Err(FrameError::Stream(b'h')));
        assert_eq!(
            decode(b"\x01\0\0\0\x7f\0\0\0", 8),
            Err(FrameError::Length(0x7f00_0000))
        );
        let whole = frame(StreamKind::Stdout, b"abc");
        for cut in 1..whole.len() {
            assert_eq!(
                decode(&whole[..cut], 2),
                Err(FrameError::Truncated),
                "{cut}"
            );
        }
        let large = vec![7; PAYLOAD_BYTES_MAX + 1];
        assert_eq!(
            decode(&frame(StreamKind::Stdout, &large), 65_536),
            Ok(vec![(StreamKind::Stdout, large)])
        );
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same(
            frames in prop::collection::vec((0..4_u8, prop::collection::vec(any::<u8>(), 1..40)), 0..12),
            piece in 1..50_usize,
        ) {
            let mut bytes = Vec::new();
            let mut expected: Vec<(StreamKind, Vec<u8>)> = Vec::new();
            for (number, payload) in frames {
                let kind = StreamKind::from_number(number).unwrap();
                bytes.extend(frame(kind, &payload));
                match expected.last_mut() {
                    Some((last, joined)) if *last == kind => joined.extend(payload),
                    _ => expected.push((kind, payload)),
                }
            }
            prop_assert_eq!(decode(&bytes, piece), Ok(expected));
        }

        #[test]
        fn no_input_is_too_much(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1..9_usize) {
            let _ = decode(&bytes, piece);
        }
    }
}
