//! The tar format: records in, entries out. Nothing here touches the file system.
//!
//! Read are the formats of V7, POSIX (ustar, pax) and GNU (long names, sparse files of the old
//! format and 1.0), as `tar(5)` of libarchive and the GNU tar manual describe them. As in Docker,
//! global pax headers have no effect.

mod entry;
mod header;
mod pax;
mod sparse;

pub use entry::{Entry, Kind, TarReader};
pub use sparse::Area;
