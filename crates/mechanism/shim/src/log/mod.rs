//! The container's log: Docker's `json-file` format, one object a line, rotated by size.
//!
//! ```text
//! <id>-json.log      being written
//! <id>-json.log.1    the one before, and so on up to .max_files-1
//!
//! {"log":"first line\n","stream":"stdout","time":"2026-01-02T15:04:05.999999999Z","berth":1}
//! {"log":"second\n","stream":"stderr","time":"2026-01-02T15:04:05.999999999Z"}
//! ```
//!
//! A record without a newline at its end is a piece of a line that goes on in the next record of
//! its stream. The first record of every file carries the version of the format; readers pass
//! over members they do not know. A file whose end was torn off by a crash is continued on a new
//! line, so that one record is lost and none is glued to another.

mod encode;
mod rotate;
mod writer;

pub use rotate::{SCAN_GAP_MAX, segment_name};
pub use writer::Writer;

use berth_types::ContainerId;

/// Version of the format, in the member `berth` of each file's first record.
pub const FORMAT_VERSION: u16 = 1;

/// Longest line, in bytes, that is kept in one record; a longer one is split, as Docker does.
pub const LINE_MAX: usize = 16 << 10;

/// Longest encoded record in bytes: every byte of a line can become an escape of six.
pub const RECORD_MAX: usize = 6 * LINE_MAX + 256;

/// Name of the file being written.
pub fn file_name(id: &ContainerId) -> String {
    format!("{id}-json.log")
}
