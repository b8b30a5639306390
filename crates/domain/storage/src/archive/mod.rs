//! Tar streams, written: single entries ([`Entry`]) and whole trees ([`write_tree`],
//! [`write_path`]).
//!
//! The form is POSIX pax (`pax(1)`, "pax Interchange Format"): a plain `ustar` header, and before
//! it an extended one for what that cannot hold: times below a second, long names, large numbers,
//! extended attributes. The same tree gives the same bytes: names are sorted, and what is not
//! part of a tree (access times, user names, inode numbers) is not written.
//!
//! Trees belong to strangers. They are read by descriptor, symbolic links are never followed and
//! other mounts are entered only where that is asked for; memory goes with the width of the
//! directories on the way and the number of hard links, both limited, and not with file sizes.

mod entry;
mod options;
mod tree;
mod xattr;

pub use entry::{END, Entry, Kind, Mtime, padding};
pub use options::{ArchiveError, DEPTH_MAX, Form, NAMES_MAX, TreeOptions, Written};
pub use tree::{write_path, write_tree};
