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
    /// The database is missing, and what it knew is there.
    #[error(
        "{} is missing, and {} holds what it knew: nothing was touched; put the database back, or \
         move the whole data root away and start an empty one", path.display(), root.display()
    )]
    NoDatabase {
        /// Where the database should be.
        path: PathBuf,
        /// The data root.
        root: PathBuf,
    },
    /// The root does not say which database it belongs to, and is not empty.
    #[error(
        "{} is missing, so it is not known whether these containers and layers belong to the \
         database with install id {expected}: nothing was touched; write that id into it if they \
         do, or start with another data root", path.display()
    )]
    Unmarked {
        /// The file that should say so.
        path: PathBuf,
        /// The database's identity.
        expected: InstallId,
    },
    /// The database is older than the root.
    #[error(
        "the database in {} is an old copy: its last commit has number {found}, and at the last \
         start it was {before}; nothing was touched; put the newest back, or remove {} to go on \
         with this one and lose what it does not know", path.display(), file.display()
    )]
    OldDatabase {
        /// The data root.
        path: PathBuf,
        /// Number of the database's last commit.
        found: u64,
        /// The number when the engine last started.
        before: u64,
        /// The file that holds that.
        file: PathBuf,
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
            Self::Io { .. } => ErrorKind::Internal,
            Self::ForeignRoot { .. }
            | Self::NoDatabase { .. }
            | Self::Unmarked { .. }
            | Self::OldDatabase { .. } => ErrorKind::Conflict,
            Self::NoLayer(_) | Self::NoSnapshot(_) => ErrorKind::NotFound,
            Self::LayerInUse { .. } => ErrorKind::InUse,
            Self::TooDeep => ErrorKind::Invalid,
        }
    }

    /// Whether the file system has no room left.
    pub(crate) fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
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
