//! Rows, as they are kept.

use berth_store::Table;
use berth_types::{ContainerId, Digest, LayerId, Timestamp};
use serde::{Deserialize, Serialize};

/// A read-only layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Its directory name: the bytes of its chain ID.
    pub id: LayerId,
    /// SHA-256 of its uncompressed archive.
    pub diff_id: Digest,
    /// The layer below.
    pub parent: Option<LayerId>,
    /// Layers from the lowest up to this one.
    pub depth: u32,
    /// Apparent size of its regular files in bytes, each inode once.
    pub bytes: u64,
    /// Number of its inodes.
    pub inodes: u64,
    /// When it was unpacked here.
    pub created: Timestamp,
}

impl Layer {
    /// The layer's chain ID, which its directory is named after.
    pub fn chain_id(&self) -> Digest {
        Digest::from_sha256(*self.id.as_bytes())
    }
}

/// The writable layer of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotRow {
    /// The topmost layer below it; none for a container from nothing.
    pub top: Option<LayerId>,
}

/// A claim's row: its key says all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {}

pub(crate) const LAYERS: Table<LayerId, Layer> = Table::new("storage.layers", 1);
pub(crate) const SNAPSHOTS: Table<ContainerId, SnapshotRow> = Table::new("storage.snapshots", 1);
/// Layer and owner.
pub(crate) const CLAIMS: Table<(LayerId, String), Held> = Table::new("storage.claims", 1);
/// Containers whose directories are to be removed.
pub(crate) const GARBAGE: Table<ContainerId, Held> = Table::new("storage.garbage", 1);
