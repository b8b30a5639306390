//! What can go wrong with a container, in words for the person who asked.

use berth_types::ErrorKind;
use berth_types::launch::{StartFailure, StartFailureKind};

/// A request about a container that was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// No container of this name or id is visible to the caller.
    #[error("No such container: {0}")]
    NotFound(String),
    /// No further process of this id is known.
    #[error("No such exec instance: {0}")]
    NoExec(String),
    /// A further process could not be started. Clients look for these words.
    #[error("OCI runtime exec failed: exec failed: unable to start container process")]
    Exec(#[source] berth_shim::LaunchError),
    /// An id prefix fits several containers.
    #[error("container id prefix {0:?} fits more than one container: give more digits")]
    Ambiguous(String),
    /// The request is wrong in itself; the text says how.
    #[error("{0}")]
    Invalid(String),
    /// A valid request for something that is not built; the text says what.
    #[error("{0}")]
    Unsupported(String),
    /// The name is taken.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". \
         You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameTaken {
        /// The name without a slash.
        name: String,
        /// Who has it.
        id: String,
    },
    /// The container's present state does not allow the request; the text says which state.
    #[error("{0}")]
    Conflict(String),
    /// The container is being removed by another request.
    #[error("removal of container {0} is already in progress")]
    Removing(String),
    /// The program could not be started.
    #[error("failed to start container {id}: {}", failure.message)]
    Start {
        /// Short id of the container.
        id: String,
        /// What the runtime said.
        failure: StartFailure,
    },
    /// The image is not there, or is ambiguous.
    #[error(transparent)]
    Image(#[from] berth_image::ImageError),
    /// The storage below failed.
    #[error(transparent)]
    Storage(#[from] berth_storage::StorageError),
    /// The metadata database failed.
    #[error("cannot record the container's state")]
    Store(#[from] berth_store::StoreError),
    /// The network did not take the container.
    #[error("failed to set up container networking: {reason}")]
    Network {
        /// Why, in the network's words.
        reason: String,
        /// What sort of failure that is.
        kind: ErrorKind,
    },
    /// The container's control group refused or is not there.
    #[error(transparent)]
    Group(#[from] berth_sys::cgroup::CgroupError),
    /// A file or a kernel object of the container could not be handled.
    #[error("cannot {what} of container {id}")]
    Io {
        /// The operation and its object, "write the hosts file".
        what: &'static str,
        /// The container.
        id: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What was asked has not ended in time, and goes on.
    #[error(
        "cannot {what} of container {id}: it has not ended within {seconds} s; a file system or a \
         process of the container hangs in the kernel: mend that, or kill the container"
    )]
    Hung {
        /// The operation and its object, "read the processes".
        what: &'static str,
        /// Short id of the container.
        id: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// So much of the kind is under way that it did not come to this one's turn.
    #[error(
        "cannot {what} of container {id}: as many such requests as there may be are under way and \
         do not end; try again when they have"
    )]
    Crowded {
        /// The operation and its object.
        what: &'static str,
        /// Short id of the container.
        id: String,
    },
    /// The container's own task has not come to this request in time, and comes to it yet.
    #[error(
        "container {0} is busy with what was asked before and has not come to this request: it is \
         done after that"
    )]
    Busy(String),
    /// The engine is going down and takes no more work.
    #[error("the engine is shutting down: try again when it is back")]
    ShuttingDown,
}

impl ContainerError {
    /// The kind, for a status code.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) | Self::NoExec(_) => ErrorKind::NotFound,
            Self::Exec(error) => error.kind(),
            Self::Ambiguous(_) | Self::Invalid(_) => ErrorKind::Invalid,
            Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::NameTaken { .. } | Self::Conflict(_) | Self::Removing(_) => ErrorKind::Conflict,
            Self::Start { failure, .. } => match failure.kind {
                StartFailureKind::CommandNotFound
                | StartFailureKind::NotExecutable
                | StartFailureKind::BadMount
                | StartFailureKind::BadLimit
                | StartFailureKind::UnknownUser => ErrorKind::Invalid,
                StartFailureKind::Internal => ErrorKind::Internal,
            },
            Self::Image(error) => error.kind(),
            Self::Storage(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Network { kind, .. } => *kind,
            Self::Group(error) => error.kind(),
            Self::Io { .. } => ErrorKind::Internal,
            Self::Hung { .. } | Self::Crowded { .. } | Self::Busy(_) | Self::ShuttingDown => {
                ErrorKind::Unavailable
            }
        }
    }
}
