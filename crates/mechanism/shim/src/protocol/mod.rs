//! What an engine and a monitor say to each other over a Unix stream socket.
//!
//! ```text
//! frame   kind u16 | version u16 | length u32 | body            little endian
//!
//! engine                              monitor
//!   HELLO ───────────────────────────►
//!                            ◄──────── HELLO, or REFUSED and the end when versions differ
//!
//! on descriptor 0, once:
//!   LAUNCH + descriptors ────────────►  [state directory, runtime directory, parked clients…]
//!   FILTER ──────────────────────────►
//!                            ◄──────── STARTED + [init's pidfd], or FAILED and the end
//!                                       then as after WATCH
//! on monitor.sock, any of:
//!   STATUS ──────────────────────────►
//!                            ◄──────── STARTED + [init's pidfd]
//!   SIGNAL ──────────────────────────►
//!                            ◄──────── DONE
//!   WATCH ───────────────────────────►
//!                            ◄──────── DONE … OOMKILLED, any number … EXITED and the end
//!   ATTACH ──────────────────────────►
//!                            ◄──────── DONE, after which the connection carries the streams:
//!   raw input, shutdown(WR) ends it ─►
//!                            ◄──────── Docker's multiplexed frames, or a terminal's bytes as
//!                                      they are; then the end
//!   EXEC + [parked client] ──────────►
//!   FILTER ──────────────────────────►
//!                            ◄──────── STARTED, or FAILED and the end
//!                                      … EXECEXITED and the end
//!   RESIZE ──────────────────────────►
//!                            ◄──────── DONE
//!   TERMINAL ────────────────────────►
//!                            ◄──────── TERMINALSTATE
//! ```
//!
//! The header, HELLO and REFUSED stay as they are in every future version; all else may change
//! with the version. A kind that is not known is answered with UNSUPPORTED. A frame that cannot
//! be read ends its connection and no other.

mod channel;
mod decoder;
mod message;
mod multiplex;

pub use channel::{Channel, ChannelError};
pub use decoder::{Decoder, Event, FrameError};
pub use message::{
    AttachWant, ExecRequest, LaunchRequest, Message, Resize, Role, Running, TerminalState,
};
pub use multiplex::{LOST_STREAM, OUTPUT_HEADER_LEN, Stream, output_header};

use berth_types::launch::PROTOCOL_VERSION;

/// Length of a frame's header in bytes.
pub const HEADER_LEN: usize = 8;

/// Longest body of a frame in bytes. Only LAUNCH, which holds a whole specification, comes near.
pub const BODY_MAX: usize = 4 << 20;

/// Body of HELLO, the same in every version.
pub const MAGIC: [u8; 8] = *b"berthmon";

/// Most connections that one monitor serves at a time, attached clients included; further ones
/// are closed at once. A further process with a client needs two.
pub const CONNECTIONS_MAX: usize = 256;

/// Most further processes that one monitor keeps at a time.
pub const EXECS_MAX: usize = 128;

/// Most clients that can be parked with a launch.
pub const PARKED_MAX: usize = 32;

/// A frame whose body is not interpreted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is; see [`Message`].
    pub kind: u16,
    /// Version of the sender's protocol.
    pub version: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Frame {
    /// A frame of this version.
    pub fn new(kind: u16, body: Vec<u8>) -> Self {
        Self {
            kind,
            version: PROTOCOL_VERSION,
            body,
        }
    }

    /// The bytes on the wire.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] for a body over [`BODY_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let length = u32::try_from(self.body.len())
            .ok()
            .filter(|_| self.body.len() <= BODY_MAX)
            .ok_or(FrameError::TooLong {
                length: self.body.len(),
            })?;
        let mut bytes = Vec::with_capacity(HEADER_LEN + self.body.len());
        bytes.extend_from_slice(&self.kind.to_le_bytes());
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&self.body);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
