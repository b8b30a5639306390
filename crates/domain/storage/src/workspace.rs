//! Archives that are no layers, unpacked for as long as someone looks into them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use berth_unpack::Budget;

use crate::error::StorageError;
use crate::layers::Unfinished;
use crate::layout::open_directory;
use crate::service::Inner;

/// Mode of the directory, which nobody but the engine looks into.
const OWN: u32 = 0o700;

pub(crate) fn with_unpacked<T, E: From<StorageError>>(
    inner: &Inner,
    archive: OwnedFd,
    budget: &Budget,
    work: impl FnOnce(BorrowedFd<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let making = Unfinished::make(inner, &[("content", OWN)])?;
    let path = inner.root.paths.overlay().join(&making.name);
    let directory = open_directory(&inner.root.overlay, format!("{}/content", making.name))
        .map_err(StorageError::io("open", path))?;
    let unpacked = inner
        .unpacker
        .unpack(archive, directory.as_fd(), None, budget);
    unpacked.map_err(StorageError::from)?;
    work(directory.as_fd())
}
