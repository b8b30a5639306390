//! The writable layers of containers, and their state directories.
//!
//! ```text
//! reserve  row, claim                in the transaction that creates the container
//! prepare  overlay2/<id>/{diff,work} made beside and renamed, so it is there whole or not
//! condemn  garbage row, no claim     in the transaction that removes the container
//! collect  rename, remove, row gone  afterwards, and again at the next start if it failed
//! ```

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use berth_store::{WriteError, WriteTxn, failpoint};
use berth_sys::rustix::fs::{RenameFlags, renameat, renameat_with};
use berth_sys::rustix::io::Errno;
use berth_types::{ContainerId, LayerId};

use crate::claims;
use crate::error::StorageError;
use crate::layers::{self, Unfinished};
use crate::layout::{
    PRIVATE, Paths, ROOT_OF_CONTAINER, exists, make_directory, open_directory, removing_name,
};
use crate::record::{GARBAGE, Held, SNAPSHOTS, SnapshotRow};
use crate::service::Inner;
use crate::tree::{self, Small, Usage};

/// How a container names itself in the claim on its topmost layer.
const OWNER: &str = "container:";
/// Mode of the work directory, which the kernel alone uses.
const WORK: u32 = 0o700;

/// The parts of a container's root file system, for an overlay mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The read-only directories, topmost first. Empty for a container from nothing: then
    /// `upper` is the root by itself.
    pub lower: Vec<PathBuf>,
    /// The container's own files.
    pub upper: PathBuf,
    /// The overlay's work directory.
    pub work: PathBuf,
}

impl Paths {
    /// Where the parts of a container's root are; `chain` is its layers from the lowest up.
    pub fn snapshot(&self, id: ContainerId, chain: &[LayerId]) -> Snapshot {
        Snapshot {
            lower: chain.iter().rev().map(|layer| self.layer(*layer)).collect(),
            upper: self.upper(id),
            work: self.work(id),
        }
    }
}

pub(crate) fn reserve(
    txn: &mut WriteTxn<'_>,
    id: ContainerId,
    top: Option<LayerId>,
) -> Result<(), StorageError> {
    if let Some(top) = top {
        claims::hold(txn, top, &format!("{OWNER}{id}"))?;
    }
    Ok(txn.put(&SNAPSHOTS, &id, &SnapshotRow { top })?)
}

pub(crate) fn prepare(inner: &Inner, id: ContainerId) -> Result<Snapshot, StorageError> {
    let row = inner.db.read(|txn| txn.get(&SNAPSHOTS, &id))?;
    let SnapshotRow { top } = row.ok_or(StorageError::NoSnapshot(id))?;
    let chain = match top {
        Some(top) => layers::chain(inner, top)?,
        None => Vec::new(),
    };
    let chain: Vec<LayerId> = chain.into_iter().map(|layer| layer.id).collect();
    let name = id.to_string();
    let overlay = &inner.root.overlay;
    let path = inner.root.paths.overlay();
    if !exists(overlay, &name).map_err(StorageError::io("look into", &path))? {
        let making = Unfinished::make(inner, &[("diff", ROOT_OF_CONTAINER), ("work", WORK)])?;
        failpoint::hit("storage.prepare.before-rename");
        match renameat_with(
            overlay,
            &making.name,
            overlay,
            &name,
            RenameFlags::NOREPLACE,
        ) {
            // Someone else prepared it meanwhile.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(StorageError::io("rename a directory in", path)(e)),
        }
    }
    Ok(inner.root.paths.snapshot(id, &chain))
}

pub(crate) fn make_state(inner: &Inner, id: ContainerId) -> Result<PathBuf, StorageError> {
    let path = inner.root.paths.state(id);
    make_directory(&inner.root.containers, id.to_string(), PRIVATE)
        .map_err(StorageError::io("make the directory", &path))?;
    Ok(path)
}

pub(crate) fn condemn(txn: &mut WriteTxn<'_>, id: ContainerId) -> Result<(), StorageError> {
    if let Some(SnapshotRow { top: Some(top) }) = txn.get(&SNAPSHOTS, &id)? {
        claims::release(txn, top, &format!("{OWNER}{id}"))?;
    }
    txn.remove(&SNAPSHOTS, &id)?;
    Ok(txn.put(&GARBAGE, &id, &Held {})?)
}

pub(crate) fn collect(inner: &Inner, id: ContainerId) -> Result<(), StorageError> {
    let paths = &inner.root.paths;
    let places = [
        (&inner.root.overlay, paths.overlay()),
        (&inner.root.containers, paths.containers()),
    ];
    // Both names are freed before the long part begins.
    let mut away = Vec::new();
    for (directory, path) in places {
        if let Some(name) = free_name(directory, &id.to_string())
            .map_err(StorageError::io("rename a directory in", &path))?
        {
            away.push((directory, path.join(&name), name));
        }
    }
    failpoint::hit("storage.collect.after-rename");
    let mut result = Ok(());
    for (directory, path, name) in away {
        let removed = tree::remove(directory.as_fd(), &name);
        result = result.and(removed.map_err(StorageError::io("remove the directory", path)));
    }
    result?;
    failpoint::hit("storage.collect.after-removal");
    inner
        .db
        .write_lazy(move |txn| txn.remove(&GARBAGE, &id).map_err(StorageError::from))
        .map_err(WriteError::flatten)?;
    Ok(())
}

/// Renames `name`, if it is there, to a name of something that is being removed.
fn free_name(directory: &OwnedFd, name: &str) -> Result<Option<String>, Errno> {
    let away = removing_name(name)?;
    match renameat(directory, name, directory, &away) {
        Ok(()) => Ok(Some(away)),
        Err(Errno::NOENT) => Ok(None),
        // A full disk may have no room for another name. Nobody gets this one again.
        Err(Errno::NOSPC | Errno::DQUOT) => Ok(Some(name.to_owned())),
        Err(e) => Err(e),
    }
}

pub(crate) fn open_upper(inner: &Inner, id: ContainerId) -> Result<OwnedFd, StorageError> {
    let snapshot = prepare(inner, id)?;
    open_directory(&inner.root.overlay, format!("{id}/diff"))
        .map_err(StorageError::io("open", snapshot.upper))
}

pub(crate) fn is_small(inner: &Inner, id: ContainerId, most: Small) -> bool {
    let places = [&inner.root.overlay, &inner.root.containers];
    let mut left = most;
    places.into_iter().all(|place| {
        let top = match open_directory(place, id.to_string()) {
            Ok(top) => top,
            Err(error) => return error == Errno::NOENT,
        };
        let usage = tree::measure_up_to(top.as_fd(), left);
        usage.is_ok_and(|usage| {
            left.inodes = left.inodes.saturating_sub(usage.inodes);
            left.bytes = left.bytes.saturating_sub(usage.bytes);
            usage.complete
        })
    })
}

pub(crate) fn usage(inner: &Inner, id: ContainerId) -> Result<Usage, StorageError> {
    let path = inner.root.paths.upper(id);
    let name = format!("{id}/diff");
    match open_directory(&inner.root.overlay, name) {
        Ok(upper) => tree::measure(upper.as_fd()).map_err(StorageError::io("measure", path)),
        Err(Errno::NOENT) => Ok(Usage {
            complete: true,
            ..Usage::default()
        }),
        Err(e) => Err(StorageError::io("open", path)(e)),
    }
}
