//! One archive, unpacked by a process that can do nothing else.
//!
//! Layers come from strangers, so the parsers and decoders that read them run in `berth-unpack`, a
//! helper that is confined to the target directory before it reads the first byte. This library is
//! the caller's half: [`Unpacker`] starts the helper and turns its report into a value, [`Budget`]
//! says how much an archive may ask for, and [`reassemble`] gives back the exact tar stream of an
//! unpacked layer from its directory and its [`journal`].
//!
//! ```text
//! caller                                     helper (stdin = socket)
//!   | socketpair, spawn ------------------------>| dies with its parent from here on
//!   | request: one JSON line; descriptors ------>| archive, target directory, journal?
//!   |                                            | no_new_privs, chroot, capabilities, limits,
//!   |                                            | Landlock, seccomp; one thread decodes,
//!   | archive bytes (file, pipe or socket) =====>| the other writes files
//!   |<------------------ report: JSON until EOF -| exits
//!   | sets trusted.overlay.opaque where the report says: that alone would take CAP_SYS_ADMIN
//! ```
//!
//! The target becomes an overlay layer: whiteouts are 0:0 character devices, owners are the
//! archive's numbers. Nothing is synced; the caller does that once for the file system.

mod budget;
mod error;
pub mod journal;
pub mod protocol;
mod unpacker;

pub use budget::{Budget, Devices};
pub use error::UnpackError;
pub use journal::{JournalError, Reassembly, reassemble, stream_length};
pub use protocol::Format;
pub use unpacker::{Unpacked, Unpacker};
