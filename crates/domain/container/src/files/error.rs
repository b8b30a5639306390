//! What can go wrong with the files of a container.

use std::io;

use berth_storage::StorageError;
use berth_storage::archive::ArchiveError;
use berth_types::ErrorKind;
use berth_unpack::UnpackError;

use crate::error::ContainerError;

/// A request about a container's files that was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// The container is not there, or in no state for this.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The storage below failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Nothing is there.
    #[error("Could not find the file {path} in container {container}")]
    NotFound {
        /// The path as given.
        path: String,
        /// The container as given.
        container: String,
    },
    /// A path that has to name a directory names something else.
    #[error("{0}: not a directory")]
    NotADirectory(String),
    /// Files go into a directory only.
    #[error("extraction point is not a directory: {0}")]
    NoTarget(String),
    /// A path is needed.
    #[error("bad parameter: the path is empty, or holds a NUL")]
    BadPath,
    /// The root file system is not to be written.
    #[error("container rootfs is marked read-only")]
    ReadOnly,
    /// The path lies in a mount that a stopped container does not have.
    #[error(
        "{path} is not supported while container {container} does not run: it lies in the mount \
         at {mount}; start the container, or use the mount's source on the host"
    )]
    Mounted {
        /// The path.
        path: String,
        /// The container.
        container: String,
        /// Where the mount is.
        mount: String,
    },
    /// Another request writes into the container, or it is being started, for a long time.
    #[error("container {0} is being started or copied into: try again")]
    Busy(String),
    /// The container's root file system cannot be looked at.
    #[error("cannot {operation} {path} of container {container}")]
    Look {
        /// What failed.
        operation: &'static str,
        /// On what.
        path: String,
        /// Whose.
        container: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The container's user is unknown in it.
    #[error("no user {0:?} in the container: copy without --archive")]
    User(String),
    /// Reading the files failed.
    #[error(transparent)]
    Read(#[from] ArchiveError),
    /// Writing the files failed.
    #[error("cannot copy into container {container}")]
    Write {
        /// Whose.
        container: String,
        /// Why.
        #[source]
        source: UnpackError,
    },
}

impl FilesError {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Container(e) => e.kind(),
            Self::Storage(e) => e.kind(),
            Self::Read(e) => e.kind(),
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::NotADirectory(_) | Self::NoTarget(_) | Self::BadPath | Self::User(_) => {
                ErrorKind::Invalid
            }
            Self::ReadOnly => ErrorKind::Forbidden,
            Self::Mounted { .. } => ErrorKind::Unsupported,
            Self::Busy(_) => ErrorKind::Conflict,
            Self::Look { .. } => ErrorKind::Internal,
            Self::Write { source, .. } => source.kind(),
        }
    }
}
