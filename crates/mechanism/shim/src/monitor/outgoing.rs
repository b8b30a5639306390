//! Bytes on their way to a connection that does not take them as fast as they come.

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::AsFd;

use berth_sys::socket;

/// A queue in front of a nonblocking socket. It holds no memory while it is empty.
#[derive(Debug, Default)]
pub struct Outgoing {
    bytes: Vec<u8>,
    /// How many of `bytes` the socket has taken.
    taken: usize,
}

impl Outgoing {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends a header and a body behind what waits already, straight from where they are as far
    /// as the socket takes them.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn send(&mut self, socket: impl AsFd, header: &[u8], body: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        if self.is_empty() {
            let parts = [IoSlice::new(header), IoSlice::new(body)];
            sent = taken(socket::send(socket, &parts, &[]))?;
        }
        let rest = header.get(sent..).unwrap_or_default();
        self.bytes.extend_from_slice(rest);
        let rest = body
            .get(sent.saturating_sub(header.len())..)
            .unwrap_or_default();
        self.bytes.extend_from_slice(rest);
        Ok(())
    }

    /// Sends what waits, as far as it goes, and returns how many bytes went.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn flush(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let mut total = 0;
        while let Some(rest) = self.bytes.get(self.taken..).filter(|rest| !rest.is_empty()) {
            let sent = taken(socket::send(&socket, &[IoSlice::new(rest)], &[]))?;
            if sent == 0 {
                return Ok(total);
            }
            self.taken += sent;
            total += sent;
        }
        *self = Self::default();
        Ok(total)
    }
}

/// A full socket takes nothing; that is no error.
fn taken(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
