//! Bytes on disk: read-only layers, the writable snapshots of containers, and their removal.
//!
//! ```text
//! DATA_ROOT/                         0710
//!   install-id                       whose root this is; see below
//!   overlay2/                        0710
//!     <chain>/{diff/,journal.gz}     a layer, read-only from its rename on
//!     <container>/{diff/,work/}      a snapshot: the upper and work directory of an overlay
//!     tmp-<random>/                  being made
//!     removing-<name>-<random>/      being removed
//!   containers/<container>/          a container's log and exit record
//!   volumes/  content/sha256/  tmp/
//! ```
//!
//! The rows say what there is; a directory is made before its row is written and removed after
//! its row is gone. So after a crash there can be a directory too much and never one too few, and
//! [`Storage::open`] removes what no row knows. It does so only for names of the forms above, and
//! only where `install-id` says that this root belongs to this database.
//!
//! Nobody asks upward who uses a layer: users take a claim ([`claims`]), and a claimed layer is
//! not removed. A layer claims its parent, so an image or a container claims its topmost layer
//! and with it all of them.

pub mod archive;
mod chain;
pub mod claims;
mod error;
mod fsck;
mod identity;
mod layers;
mod layout;
mod record;
mod retire;
mod service;
mod snapshots;
mod streams;
mod sweep;
mod tree;
mod workspace;

pub use chain::{DEPTH_MAX, chain_id};
pub use error::StorageError;
pub use fsck::{Finding, FindingKind};
pub use layout::Paths;
pub use record::Layer;
pub use retire::{Claim, Retired};
pub use service::Storage;
pub use snapshots::Snapshot;
pub use streams::LayerStream;
pub use tree::{Small, Usage};

/// What [`Storage::with_unpacked`] lets an archive ask for.
pub use berth_unpack::{Budget, Devices};

/// The places in this crate where a test may end the process; see [`berth_store::failpoint`].
pub const FAILPOINTS: &[&str] = &[
    "storage.ingest.after-unpack",
    "storage.ingest.after-rename",
    "storage.ingest.after-commit",
    "storage.retire.after-commit",
    "storage.retire.after-rename",
    "storage.layer-removal.after-commit",
    "storage.layer-removal.after-rename",
    "storage.prepare.before-rename",
    "storage.collect.after-rename",
    "storage.collect.after-removal",
];
