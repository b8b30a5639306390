//! The vocabulary of Berth: identities, names, digests, sizes, times and error kinds.
//!
//! Everything here is plain data. The crate does no I/O, knows no async runtime and no wire
//! format of any API, so that the monitor, the engine and the command line can share it.

mod digest;
mod duration;
mod error;
mod id;
mod limit;
mod owner;
mod reference;
mod size;
mod timestamp;

pub mod keys;
pub mod launch;
pub mod oci;
pub mod task;

pub use digest::{Digest, DigestError};
pub use duration::parse_duration;
pub use error::{ErrorKind, chain};
pub use id::{ContainerId, ExecId, IdError, InstallId, LayerId};
pub use limit::ULIMITS;
pub use owner::{Caller, Scope};
pub use reference::{ImageReference, ReferenceError};
pub use size::{SizeError, parse_size};
pub use timestamp::{Timestamp, TimestampError};
