//! What is cleared up when the data root is opened.

use std::collections::HashSet;
use std::os::fd::AsFd;

use berth_store::{Key, Row, StoreError};
use berth_types::task::{self, Subject};

use crate::error::StorageError;
use crate::layout::{Name, names};
use crate::record::{GARBAGE, LAYERS, SNAPSHOTS};
use crate::service::Inner;
use crate::{layers, snapshots, tree};

/// The names below `overlay2` that rows know.
pub(crate) struct Known {
    pub ids: HashSet<[u8; 32]>,
    /// Whether a row's key could not be read: then any name may be the one that it knew.
    pub is_blind: bool,
}

impl Known {
    pub fn read(inner: &Inner) -> Result<Self, StorageError> {
        let mut known = Self {
            ids: HashSet::new(),
            is_blind: false,
        };
        inner.db.read(|txn| {
            known.add(txn.scan(&LAYERS)?, |id| *id.as_bytes());
            known.add(txn.scan(&SNAPSHOTS)?, |id| *id.as_bytes());
            known.add(txn.scan(&GARBAGE)?, |id| *id.as_bytes());
            Ok::<_, StoreError>(())
        })?;
        Ok(known)
    }

    fn add<K: Key, V>(&mut self, rows: Vec<Row<K, V>>, bytes: impl Fn(&K) -> [u8; 32]) {
        for row in rows {
            match row {
                Row::Whole(key, _) | Row::Damaged { key: Some(key), .. } => {
                    self.ids.insert(bytes(&key));
                }
                Row::Damaged { key: None, .. } => self.is_blind = true,
            }
        }
    }
}

/// Finishes removals, and removes what is half made and what no row knows.
pub(crate) fn leftovers(inner: &Inner) -> Result<(), StorageError> {
    for row in inner.db.read(|txn| txn.scan(&GARBAGE))? {
        let id = match row {
            Row::Whole(id, _) | Row::Damaged { key: Some(id), .. } => id,
            Row::Damaged { .. } => continue,
        };
        let _task = task::begin("delete", id).enter();
        if let Err(error) = snapshots::collect(inner, id) {
            tracing::warn!(container = %id, %error, "a removed container left something behind");
        }
    }
    let _task = task::begin("sweep-storage", Subject::Engine).enter();
    let known = Known::read(inner)?;
    let overlay = inner.root.paths.overlay();
    for name in names(&inner.root.overlay).map_err(StorageError::io("list", &overlay))? {
        match Name::of(&name) {
            Name::Temporary | Name::Removing => layers::discard(inner, &name),
            Name::Id(id) if !known.is_blind && !known.ids.contains(&id) => {
                tracing::info!(name, "removing a directory that nothing knows");
                match layers::move_away(inner, &name) {
                    Ok(name) => layers::discard(inner, &name),
                    Err(error) => tracing::warn!(%error, "it could not be renamed"),
                }
            }
            Name::Id(_) | Name::Foreign => {}
        }
    }
    let containers = inner.root.paths.containers();
    for name in names(&inner.root.containers).map_err(StorageError::io("list", &containers))? {
        // The garbage row goes without waiting for the disk, as does the directory: after a power
        // cut the one may be gone and the other not.
        let is_left = match Name::of(&name) {
            Name::Removing => true,
            Name::Id(id) => !known.is_blind && !known.ids.contains(&id),
            Name::Temporary | Name::Foreign => false,
        };
        if is_left && let Err(error) = tree::remove(inner.root.containers.as_fd(), &name) {
            tracing::warn!(name, %error, "a directory could not be removed");
        }
    }
    Ok(())
}
