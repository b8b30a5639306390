//! A base image without a registry: from the packages that a Debian or Ubuntu machine has
//! installed ([`Host`]), or from its own package sources ([`distribution`]).
//!
//! An image from installed packages holds what the packages brought and nothing else: a file is
//! taken only where a package owns it and its content has the checksum that came with the
//! package. So no file of a person, no key, no changed configuration and no changed program can
//! get in. What a system needs beyond that (users, records of dpkg, certificates in one file) is
//! written anew.
//!
//! ```text
//! control   dpkg's status: which packages there are and what they need
//! closure   which of them the image gets                              pure
//! select    which paths they own, with which checksums
//! host      each path: read, check, write
//! alternatives, database, fresh                what no package owns
//! ```

mod alternatives;
mod closure;
mod control;
mod database;
pub mod distribution;
mod error;
mod fresh;
mod host;
mod root;
mod select;
mod version;
mod writer;

pub use error::BootstrapError;
pub use host::{Host, Release, Report};
