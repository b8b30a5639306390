//! Names for bytes: images, the references to them, and how they come to be.
//!
//! An image is a configuration document and the layers that it lists. Its id is the SHA-256 of
//! that document, which is kept byte for byte. A reference (`name:tag`) points to one image of
//! the same scope, and moves when another image takes it; the old image stays, dangling.
//!
//! Readers work on an immutable index in memory and never wait for a writer; a change is
//! in the index when it is on the disk. Images hold their topmost layer by a claim in the
//! storage, and containers hold their image by a pin ([`Images::pin`]).

mod archive;
mod changes;
mod commit;
mod config;
mod document;
mod error;
mod events;
mod fsck;
mod hello;
mod history;
mod import;
mod index;
mod instructions;
mod list;
mod prune;
mod publish;
mod record;
mod remove;
mod service;
mod tag;
mod values;
mod words;

pub use archive::{LoadOptions, LoadStep, Loaded};
pub use commit::{CommitOptions, apply_changes};
pub use error::ImageError;
pub use hello::BuiltIn;
pub use history::Step;
pub use import::ImportOptions;
pub use list::{Filter, Listed};
pub use prune::PruneFilter;
pub use record::Image;
pub use remove::{Removal, User};
pub use service::Images;

/// The places in this crate where a test may end the process; see [`berth_store::failpoint`].
pub const FAILPOINTS: &[&str] = &[
    "image.import.after-ingest",
    "image.import.after-commit",
    "image.commit.after-ingest",
    "image.commit.after-commit",
    "image.load.after-ingest",
    "image.load.after-commit",
    "image.remove.before-commit",
    "image.remove.after-commit",
];
