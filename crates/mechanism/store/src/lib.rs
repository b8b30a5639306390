//! The metadata database: typed tables in one file, one write transaction at a time.
//!
//! Three rules hold for everything above this crate. One operation is one closure over a
//! [`WriteTxn`], which is passed down between domains, so that what belongs together is
//! committed together. An operation is answered when it is on the disk, and what it announces
//! ([`WriteTxn::on_commit`]) is announced after that. One damaged row is one [`Row::Damaged`]:
//! it never keeps the rest from being read.
//!
//! A single thread runs the closures of all callers in the order they came and commits as many
//! as are waiting with one sync ("group commit"), so the cost of durability is shared by
//! whoever happens to write at the same time.

mod db;
mod engine;
mod error;
mod events;
pub mod failpoint;
mod hold;
mod key;
mod reserve;
mod rows;
pub mod simulated;
mod table;
mod txn;
mod writer;

#[cfg(test)]
mod tests;

pub use db::{Db, Stats};
pub use error::{Cause, StoreError, WriteError};
pub use events::{Event, EventKind, Events, Listener, Missed, RING};
pub use key::{Key, KeyRef};
pub use table::{Row, Table};
pub use txn::{Hook, ReadTxn, WriteTxn};
pub use writer::{BATCH_MAX, QUEUE_MAX};

/// The places in this crate where a test may end the process; see [`failpoint`].
pub const FAILPOINTS: &[&str] = &["store.commit.before", "store.commit.after"];
