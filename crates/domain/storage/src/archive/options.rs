//! What a tree is written as, and what comes of it.

use std::io;

use berth_types::ErrorKind;

/// Directories below each other at most; as many as an unpacked archive may have.
pub const DEPTH_MAX: usize = 512;
/// Names in all directories on the way from the top, and hard links that are remembered, at most.
pub const NAMES_MAX: usize = 2_000_000;
/// Bytes of the paths of hard links that are remembered, together: one path may have a hundred
/// thousand.
pub(super) const LINK_BYTES_MAX: usize = 128 << 20;
/// How a tree is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Plain,
    /// As the upper directory of an overlay, into a layer of an image: 0:0 devices and opaque
    /// directories become `.wh.` entries, and names that look like those are left out.
    Layer,
}

/// What of a tree is written.
#[derive(Debug, Clone)]
pub struct TreeOptions {
    /// How the tree is read.
    pub form: Form,
    /// The top directory's path in the archive, which gets an entry of its own; empty writes the
    /// content alone.
    pub name: Vec<u8>,
    /// Whether other mounts in the tree are entered.
    pub cross_mounts: bool,
}

/// What was written, and what could not be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Entries, extended headers not counted.
    pub entries: u64,
    /// Sockets, which no archive holds.
    pub sockets: u64,
    /// Files that became shorter while they were read, and are filled up with zeros.
    pub shrunk: u64,
    /// Names that went away after their directory was read.
    pub vanished: u64,
    /// Names that in a layer would mean something else.
    pub ambiguous: u64,
}

/// Why a tree was not written to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// A file or directory could not be read.
    #[error("cannot {operation} {path:?}")]
    Read {
        /// What was attempted: `open`.
        operation: &'static str,
        /// The path in the archive.
        path: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Whoever takes the stream does not any more.
    #[error("cannot write the archive")]
    Sink(#[source] io::Error),
    /// The tree is too deep or too wide.
    #[error("{path:?} goes beyond what an archive may hold: {limit}")]
    TooLarge {
        /// The path in the archive.
        path: String,
        /// Which limit.
        limit: &'static str,
    },
    /// An overlay was written with options under which its upper directory does not stand alone.
    #[error(
        "{path:?} was renamed by reference (overlay's {attribute}): mount overlays with redirect_dir=off and metacopy=off, or copy the directory inside the container"
    )]
    Reference {
        /// The path in the archive.
        path: String,
        /// The extended attribute.
        attribute: &'static str,
    },
}

impl ArchiveError {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. } | Self::Sink(_) => ErrorKind::Internal,
            Self::TooLarge { .. } => ErrorKind::Invalid,
            Self::Reference { .. } => ErrorKind::Unsupported,
        }
    }
}
