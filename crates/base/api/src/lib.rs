//! The Docker Engine API as Berth speaks it: wire types, request decoding, version shaping and
//! stream framing; with the `client` feature, the typed client that the command line uses.
//!
//! The types describe the newest version of the API only ([`version::NEWEST`]). What older
//! clients expect instead is decided in one place, [`shape`], at the border of the daemon.
//!
//! Read JSON into these types with [`decode`], never with `serde_json` directly: Docker's clients
//! and servers rely on the leniency of Go's decoder (letter case of keys, `null` for "not
//! there"), which the derived implementations alone do not have. Writing with `serde_json` gives
//! `null`, `[]` or no key at all where Docker does.
//!
//! The crate must not know the daemon, the store or any domain type: wire types stop at the
//! border.

pub mod archive;
pub mod berth;
#[cfg(feature = "client")]
pub mod client;
pub mod container;
pub mod decode;
pub mod disk;
mod error;
pub mod events;
pub mod exec;
mod filters;
pub mod image;
pub mod network;
mod nil;
mod progress;
pub mod query;
pub mod shape;
pub mod stats;
pub mod stream;
pub mod system;
pub mod top;
pub mod update;
pub mod version;

pub use error::ErrorResponse;
pub use filters::{Filters, FiltersError};
pub use progress::{ErrorDetail, ProgressDetail, ProgressMessage};
pub use version::ApiVersion;
