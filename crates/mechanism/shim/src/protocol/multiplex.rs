//! How output travels to an attached client: as Docker's clients read it, so that the engine
//! copies bytes through without looking at them.
//!
//! ```text
//! stream u8 | 0 0 0 | length u32 big endian | bytes
//! ```

/// Length of the header before each piece of output.
pub const OUTPUT_HEADER_LEN: usize = 8;

/// The stream number of a piece that only watchers are sent: eight bytes, the number (u64, little
/// endian) of output bytes that were skipped because the watcher did not read.
pub const LOST_STREAM: u8 = 0x10;

/// One of the two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Its number in Docker's framing and in the container.
    pub const fn number(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }

    /// Its name in a log record.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The header of `length` bytes of the stream with this number.
pub const fn output_header(stream: u8, length: u32) -> [u8; OUTPUT_HEADER_LEN] {
    let [a, b, c, d] = length.to_be_bytes();
    [stream, 0, 0, 0, a, b, c, d]
}
