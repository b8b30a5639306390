//! What can go wrong with bytes on disk.

use std::io;
use std::path::PathBuf;

use berth_store::StoreError;
use berth_types::{ContainerId, ErrorKind, InstallId, LayerId};
use berth_unpack::{JournalError, UnpackError};

use crate::archive::ArchiveError;
use crate::chain::DEPTH_MAX;

/// An operation of the storage that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An archive was not unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// A layer cannot be put together again.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A tree was not written to its end.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The file system failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was attempted: `make the directory`.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The data root was made by another database.
    #[error(
        "{} belongs to the database with install id {found}, and this one has {expected}: put the \
         meta.db back that belongs there, or start with another data root", path.display()
    )]
    ForeignRoot {
        /// The data root.
        path: PathBuf,
        /// The root's identity.
        found: String,
        /// The database's identity.
        expected: InstallId,
    },
    /// There is no such layer.
    #[error("layer {0} does not exist")]
    NoLayer(LayerId),
    /// Someone holds the layer.
    #[error("layer {layer} is in use by {}", owners.join(", "))]
    LayerInUse {
        /// The layer.
        layer: LayerId,
        /// The holders, as they named themselves.
        owners: Vec<String>,
    },
    /// Too many layers upon each other.
    #[error("max depth exceeded: an image has at most {DEPTH_MAX} layers")]
    TooDeep,
    /// The container has no snapshot, or it is being removed.
    #[error("container {0} has no file system: it is being removed, or was never created")]
    NoSnapshot(ContainerId),
}

impl StorageError {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(e) => e.kind(),
            Self::Unpack(e) => e.kind(),
            Self::Journal(e) => e.kind(),
            Self::Archive(e) => e.kind(),
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Unavailable,
                _ => ErrorKind::Internal,
            },
            Self::ForeignRoot { .. } => ErrorKind::Conflict,
            Self::NoLayer(_) | Self::NoSnapshot(_) => ErrorKind::NotFound,
            Self::LayerInUse { .. } => ErrorKind::InUse,
            Self::TooDeep => ErrorKind::Invalid,
        }
    }

    /// For `map_err`: the failure of `operation` on `path`.
    pub(crate) fn io<E: Into<io::Error>>(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |source| Self::Io {
            operation,
            path,
            source: source.into(),
        }
    }
}
