//! Frames out of bytes that arrive in any pieces. Does no I/O, so that the engine's async code,
//! the blocking client and the monitor's event loop share it.

use berth_types::launch::{ExitRecord, PROTOCOL_VERSION};

use super::{BODY_MAX, Frame, HEADER_LEN, Message};

/// Bytes that are no frame of this protocol. The connection they came on is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A body longer than [`BODY_MAX`].
    #[error("a frame of {length} bytes is over the limit of {BODY_MAX}")]
    TooLong {
        /// Announced length of the body.
        length: usize,
    },
    /// A frame of another version than [`PROTOCOL_VERSION`].
    #[error(
        "the peer speaks version {theirs} of the monitor protocol, this side version {PROTOCOL_VERSION}"
    )]
    Version {
        /// Version of the peer.
        theirs: u16,
    },
    /// HELLO without [`super::MAGIC`]: the peer is something else altogether.
    #[error("the peer does not speak the monitor protocol")]
    Magic,
    /// A body that does not fit its kind.
    #[error("the body of a frame of kind {kind} cannot be read")]
    Body {
        /// Kind of the frame.
        kind: u16,
        /// What the parser says, where there is one.
        #[source]
        source: Option<serde_json::Error>,
    },
}

/// What the control connection of a running container tells its engine.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// The kernel has killed so many processes of the container in this run for want of memory. A
    /// new link begins with it where there were some.
    OomKilled(u64),
    /// The container ended; the record is on disk as well. Nothing follows.
    Exited(ExitRecord),
    /// The further process whose link this is ended, with this exit code as a shell counts.
    /// Nothing follows.
    ExecExited(i32),
}

/// Collects bytes until they make a frame.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Takes what was read from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// How many bytes are missing to the end of the header or, once that is there, of the frame;
    /// zero when a frame is complete. Who reads no more than this never takes a byte of what
    /// follows the frame, which matters where a connection changes to raw streams.
    pub fn wanted(&self) -> usize {
        match self.header() {
            None => HEADER_LEN - self.bytes.len(),
            Some((_, _, length)) => (HEADER_LEN + length).saturating_sub(self.bytes.len()),
        }
    }

    /// The next whole frame, if there is one.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] as soon as the header announces too much.
    pub fn frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some((kind, version, length)) = self.header() else {
            return Ok(None);
        };
        if length > BODY_MAX {
            return Err(FrameError::TooLong { length });
        }
        let end = HEADER_LEN + length;
        let Some(body) = self.bytes.get(HEADER_LEN..end) else {
            return Ok(None);
        };
        let frame = Frame {
            kind,
            version,
            body: body.to_vec(),
        };
        self.bytes.drain(..end);
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
        Ok(Some(frame))
    }

    /// The next event on a link that [`crate::Task::take_link`] or [`crate::ExecTask::take_link`] gave; answers to requests, which
    /// do not belong there, are passed over.
    ///
    /// # Errors
    /// Whatever makes the link useless; treat it as the end of the stream.
    pub fn event(&mut self) -> Result<Option<Event>, FrameError> {
        while let Some(frame) = self.frame()? {
            match Message::decode(frame)? {
                Some(Message::OomKilled(kills)) => return Ok(Some(Event::OomKilled(kills))),
                Some(Message::Exited(record)) => return Ok(Some(Event::Exited(record))),
                Some(Message::ExecExited(code)) => return Ok(Some(Event::ExecExited(code))),
                _ => {}
            }
        }
        Ok(None)
    }

    fn header(&self) -> Option<(u16, u16, usize)> {
        let [a, b, c, d, e, f, g, h] = *self.bytes.first_chunk::<HEADER_LEN>()?;
        let length = u32::from_le_bytes([e, f, g, h]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        Some((
            u16::from_le_bytes([a, b]),
            u16::from_le_bytes([c, d]),
            length,
        ))
    }
}

/// Whether the frame is of this version.
pub(super) fn check_version(frame: &Frame) -> Result<(), FrameError> {
    match frame.version {
        PROTOCOL_VERSION => Ok(()),
        theirs => Err(FrameError::Version { theirs }),
    }
}
