//! The journal of a layer: what its tar stream held besides the contents of files.
//!
//! A registry knows a layer by the digest of its tar stream, and no two tar writers agree on
//! padding, header dialects or order. So the stream is kept, without the payloads that the
//! directory holds anyway, and put together again when the layer is pushed or saved.
//!
//! The file is a series of gzip members. *Main* members, joined, start with [`MAGIC`] and are
//! records in stream order:
//!
//! ```text
//! 'r' length:u32 bytes            bytes of the stream, as they are
//! 'f' size:u64 length:u16 path    the whole content of the regular file at this path
//! 'e' size:u64 sha256:[32]        the end: length and digest of the whole stream
//! ```
//!
//! (little endian; paths are relative to the layer and hold no symbolic link). When a later entry
//! replaces a file whose content is referred to, that content is saved in a member of its own,
//! which may stand between any two main members, even in the middle of a record's run:
//!
//! ```text
//! 'o' index:u64 size:u64 bytes    content of the index-th 'f' record, counted from 0
//! ```

mod length;
mod reader;
mod writer;

pub use length::stream_length;
pub use reader::{JournalError, Reassembly, reassemble};
pub use writer::Writer;

/// The first bytes of the first main member.
pub const MAGIC: &[u8; 16] = b"berth-journal-1\n";

const RAW: u8 = b'r';
const FILE: u8 = b'f';
const END: u8 = b'e';
const ORPHAN: u8 = b'o';

/// Longest `'r'` record.
const RAW_LIMIT: usize = 64 << 10;
