//! Read-only layers: how they come and go.
//!
//! ```text
//! tmp-x/{diff,journal.gz}  unpack, sync the file system once
//! ── lock ──
//! <chain>/                 rename, sync the directory
//! row, claim               one commit
//! ── unlock ──
//! ```
//!
//! A removal is the reverse: the row goes, then the name, then the bytes.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::PoisonError;

use berth_store::{Row, StoreError, WriteError, WriteTxn, failpoint};
use berth_sys::rustix::fs::{Mode, OFlags, fsync, openat, renameat, syncfs};
use berth_types::task::{Wait, lock, waits};
use berth_types::{LayerId, Timestamp};
use berth_unpack::{Budget, Unpacked};

use crate::chain::{DEPTH_MAX, chain_id};
use crate::claims;
use crate::error::StorageError;
use crate::layout::{
    PRIVATE, ROOT_OF_CONTAINER, exists, make_directory, open_directory, removing_name,
    temporary_name,
};
use crate::record::{CLAIMS, LAYERS, Layer};
use crate::service::Inner;
use crate::tree;

/// How a layer names itself in the claim on its parent.
const OWNER: &str = "layer:";

pub(crate) fn find(inner: &Inner, id: LayerId) -> Result<Layer, StorageError> {
    let row: Option<Layer> = inner.db.read(|txn| txn.get(&LAYERS, &id))?;
    row.ok_or(StorageError::NoLayer(id))
}

pub(crate) fn chain(inner: &Inner, top: LayerId) -> Result<Vec<Layer>, StorageError> {
    inner.db.read(|txn| {
        let mut layers = Vec::new();
        let mut next = Some(top);
        while let Some(id) = next {
            if layers.len() >= DEPTH_MAX as usize {
                return Err(StorageError::TooDeep);
            }
            let layer: Layer = txn.get(&LAYERS, &id)?.ok_or(StorageError::NoLayer(id))?;
            next = layer.parent;
            layers.push(layer);
        }
        layers.reverse();
        Ok(layers)
    })
}

/// A directory below `overlay2` that is being made; removed when dropped, if it is still there.
pub(crate) struct Unfinished<'a> {
    inner: &'a Inner,
    pub name: String,
}

impl<'a> Unfinished<'a> {
    /// Makes the directory, and the directories `children` in it.
    pub fn make(inner: &'a Inner, children: &[(&str, u32)]) -> Result<Self, StorageError> {
        let overlay = inner.root.paths.overlay();
        let name = temporary_name().map_err(StorageError::io("draw a random name in", &overlay))?;
        let path = overlay.join(&name);
        unfinished(inner).insert(name.clone());
        let this = Self { inner, name };
        let make = |parent: &OwnedFd, name: &str, mode| {
            make_directory(parent, name, mode)
                .map_err(StorageError::io("make a directory in", &path))
        };
        make(&inner.root.overlay, &this.name, PRIVATE)?;
        let directory = open_directory(&inner.root.overlay, &this.name)
            .map_err(StorageError::io("open", &path))?;
        for (child, mode) in children {
            make(&directory, child, *mode)?;
        }
        Ok(this)
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Err(error) = tree::remove(self.inner.root.overlay.as_fd(), &self.name) {
            tracing::warn!(name = self.name, %error, "a half-made directory could not be removed");
        }
        unfinished(self.inner).remove(&self.name);
    }
}

pub(crate) fn unfinished(
    inner: &Inner,
) -> std::sync::MutexGuard<'_, std::collections::HashSet<String>> {
    inner
        .unfinished
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn ingest(
    inner: &Inner,
    owner: &str,
    archive: OwnedFd,
    parent: Option<LayerId>,
) -> Result<Layer, StorageError> {
    let below = parent.map(|parent| find(inner, parent)).transpose()?;
    let depth = below.as_ref().map_or(0, |layer| layer.depth) + 1;
    if depth > DEPTH_MAX {
        return Err(StorageError::TooDeep);
    }
    let making = Unfinished::make(inner, &[("diff", ROOT_OF_CONTAINER)])?;
    let unpacked = unpack(inner, &making.name, archive)?;
    failpoint::hit("storage.ingest.after-unpack");
    let overlay = inner.root.paths.overlay();
    let syncing = waits(Wait::DiskSync, None);
    syncfs(&inner.root.overlay).map_err(StorageError::io("sync the file system of", &overlay))?;
    drop(syncing);
    let chain = chain_id(
        below.map(|layer| layer.chain_id()).as_ref(),
        &unpacked.diff_id,
    );
    let layer = Layer {
        id: LayerId::from_bytes(*chain.as_bytes()),
        diff_id: unpacked.diff_id,
        parent,
        depth,
        bytes: unpacked.bytes,
        inodes: unpacked.inodes,
        created: Timestamp::now(),
    };
    publish(inner, &making.name, layer, owner)
}

fn unpack(inner: &Inner, name: &str, archive: OwnedFd) -> Result<Unpacked, StorageError> {
    let path = inner.root.paths.overlay().join(name);
    let directory =
        open_directory(&inner.root.overlay, name).map_err(StorageError::io("open", &path))?;
    let target =
        open_directory(&directory, "diff").map_err(StorageError::io("open", path.join("diff")))?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let journal = openat(&directory, "journal.gz", flags, Mode::from(0o600))
        .map_err(StorageError::io("make", path.join("journal.gz")))?;
    let budget = Budget::default();
    Ok(inner
        .unpacker
        .unpack(archive, target.as_fd(), Some(journal.as_fd()), &budget)?)
}

/// Gives an unpacked directory its name and its row.
fn publish(
    inner: &Inner,
    unpacked: &str,
    layer: Layer,
    owner: &str,
) -> Result<Layer, StorageError> {
    let overlay = &inner.root.overlay;
    let path = inner.root.paths.overlay();
    let name = layer.id.to_string();
    let renamed = StorageError::io("rename a directory in", &path);
    let _guard = lock(&inner.publishing, Wait::Layers);
    let known = match find(inner, layer.id) {
        Ok(known) => Some(known),
        Err(StorageError::NoLayer(_)) => None,
        Err(e) => return Err(e),
    };
    let is_there = exists(overlay, &name).map_err(StorageError::io("look into", &path))?;
    let mut in_the_way = None;
    if known.is_none() || !is_there {
        if is_there {
            in_the_way = Some(move_away(inner, &name)?);
        }
        renameat(overlay, unpacked, overlay, &name).map_err(renamed)?;
        fsync(overlay).map_err(StorageError::io("sync", &path))?;
        failpoint::hit("storage.ingest.after-rename");
    }
    let is_new = known.is_none();
    let row = known.unwrap_or(layer);
    let committed = inner.db.write({
        let (row, owner) = (row.clone(), owner.to_owned());
        move |txn| record(txn, &row, &owner)
    });
    failpoint::hit("storage.ingest.after-commit");
    if let Some(name) = in_the_way {
        discard(inner, &name);
    }
    match committed {
        Ok(()) => {}
        Err(WriteError::Refused(error)) => {
            if is_new && let Ok(name) = move_away(inner, &name) {
                discard(inner, &name);
            }
            return Err(error);
        }
        // The row may be there after all: the directory is left to the next start.
        Err(WriteError::Store(error)) => return Err(error.into()),
    }
    Ok(row)
}

fn record(txn: &mut WriteTxn<'_>, layer: &Layer, owner: &str) -> Result<(), StorageError> {
    txn.claim_room()?;
    txn.put(&LAYERS, &layer.id, layer)?;
    if let Some(parent) = layer.parent {
        claims::hold(txn, parent, &format!("{OWNER}{}", layer.id))?;
    }
    claims::hold(txn, layer.id, owner)
}

/// Renames a directory so that its name is free; returns the new name.
pub(crate) fn move_away(inner: &Inner, name: &str) -> Result<String, StorageError> {
    let path = inner.root.paths.overlay().join(name);
    let away = removing_name(name).map_err(StorageError::io("draw a random name for", &path))?;
    let overlay = &inner.root.overlay;
    renameat(overlay, name, overlay, &away).map_err(StorageError::io("rename", path))?;
    Ok(away)
}

/// Removes a directory that has no meaning any more. What stays is found at the next start.
pub(crate) fn discard(inner: &Inner, name: &str) {
    if let Err(error) = tree::remove(inner.root.overlay.as_fd(), name) {
        tracing::warn!(name, %error, "a directory could not be removed");
    }
}

pub(crate) fn remove(inner: &Inner, id: LayerId) -> Result<(), StorageError> {
    let mut next = Some(id);
    while let Some(id) = next {
        next = remove_one(inner, id)?;
    }
    Ok(())
}

/// Removes one layer; returns the one below if nobody claims it any more.
fn remove_one(inner: &Inner, id: LayerId) -> Result<Option<LayerId>, StorageError> {
    let guard = lock(&inner.publishing, Wait::Layers);
    let below = inner
        .db
        .write(move |txn| forget(txn, id))
        .map_err(WriteError::flatten)?;
    failpoint::hit("storage.layer-removal.after-commit");
    let name = id.to_string();
    let is_there = exists(&inner.root.overlay, &name)
        .map_err(StorageError::io("look into", inner.root.paths.overlay()))?;
    let away = if is_there {
        Some(move_away(inner, &name)?)
    } else {
        None
    };
    drop(guard);
    failpoint::hit("storage.layer-removal.after-rename");
    if let Some(name) = away {
        tree::remove(inner.root.overlay.as_fd(), &name).map_err(StorageError::io(
            "remove the directory",
            inner.root.paths.overlay().join(&name),
        ))?;
    }
    Ok(below)
}

/// Removes a layer's row and its claim on its parent.
pub(crate) fn forget(txn: &mut WriteTxn<'_>, id: LayerId) -> Result<Option<LayerId>, StorageError> {
    let layer = txn.get(&LAYERS, &id)?.ok_or(StorageError::NoLayer(id))?;
    let owners = claims::owners(txn, id)?;
    if !owners.is_empty() {
        return Err(StorageError::LayerInUse { layer: id, owners });
    }
    txn.remove(&LAYERS, &id)?;
    let Some(parent) = layer.parent else {
        return Ok(None);
    };
    claims::release(txn, parent, &format!("{OWNER}{id}"))?;
    let is_free = txn.get(&LAYERS, &parent)?.is_some() && claims::owners(txn, parent)?.is_empty();
    Ok(is_free.then_some(parent))
}

pub(crate) fn drop_claims(
    inner: &Inner,
    is_gone: impl Fn(&str) -> bool + Send + 'static,
) -> Result<(), StorageError> {
    let unclaimed = inner
        .db
        .write(move |txn| {
            for row in txn.scan(&CLAIMS)? {
                if let Row::Whole((layer, owner), _) = row
                    && is_gone(&owner)
                {
                    claims::release(txn, layer, &owner)?;
                }
            }
            let mut unclaimed = Vec::new();
            for row in txn.scan(&LAYERS)? {
                if let Row::Whole(id, _) = row
                    && claims::owners(txn, id)?.is_empty()
                {
                    unclaimed.push(id);
                }
            }
            Ok::<_, StoreError>(unclaimed)
        })
        .map_err(WriteError::flatten)?;
    for id in unclaimed {
        match remove(inner, id) {
            Ok(()) | Err(StorageError::NoLayer(_)) => {}
            Err(error) => tracing::warn!(layer = %id, %error, "an unused layer was not removed"),
        }
    }
    Ok(())
}
