//! Messages over a blocking socket: the engine's side, and the monitor's until it has started.

use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use berth_sys::socket;

use super::{Decoder, FrameError, Message};

/// A connection that carries whole messages.
#[derive(Debug)]
pub struct Channel {
    socket: UnixStream,
    decoder: Decoder,
}

/// Why a message could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The connection failed, timed out, or ended (`UnexpectedEof`).
    #[error("the connection to the peer failed")]
    Io(#[from] io::Error),
    /// The bytes are no message of this version.
    #[error("the peer's message cannot be read")]
    Frame(#[from] FrameError),
    /// The peer will not talk to us.
    #[error("the peer refused: {0}")]
    Refused(String),
    /// A message that does not belong here.
    #[error("the peer sent something else than was asked for")]
    Unexpected,
}

impl Channel {
    /// A channel over a blocking socket; its timeouts hold for every single read and write.
    pub fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            decoder: Decoder::new(),
        }
    }

    /// Sends one message, the descriptors with its first byte.
    ///
    /// # Errors
    /// [`ChannelError::Io`] and [`ChannelError::Frame`].
    pub fn send(
        &mut self,
        message: &Message,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        let bytes = message.encode()?;
        let (mut rest, mut descriptors) = (bytes.as_slice(), descriptors);
        while !rest.is_empty() {
            let sent = socket::send(&self.socket, &[IoSlice::new(rest)], descriptors)?;
            rest = rest.get(sent..).unwrap_or_default();
            descriptors = &[];
        }
        Ok(())
    }

    /// Receives one message, and not a byte more.
    ///
    /// # Errors
    /// Any [`ChannelError`]; a kind that is not known is [`ChannelError::Unexpected`].
    pub fn receive(&mut self, descriptors: &mut Vec<OwnedFd>) -> Result<Message, ChannelError> {
        let mut piece = [0; 4096];
        loop {
            if let Some(frame) = self.decoder.frame()? {
                return match Message::decode(frame)? {
                    Some(Message::Refused(text)) => Err(ChannelError::Refused(text)),
                    Some(message) => Ok(message),
                    None => Err(ChannelError::Unexpected),
                };
            }
            let wanted = self.decoder.wanted().min(piece.len());
            let (piece, _) = piece.split_at_mut(wanted);
            let received = socket::receive(&self.socket, piece, descriptors)?;
            if received == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.decoder.push(piece.get(..received).unwrap_or_default());
        }
    }

    /// How long one read may take.
    ///
    /// # Errors
    /// `InvalidInput` for no time at all.
    pub fn set_patience(&self, longest: std::time::Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(longest))
    }

    /// The socket, to go on without messages.
    pub fn into_socket(self) -> UnixStream {
        self.socket
    }
}
