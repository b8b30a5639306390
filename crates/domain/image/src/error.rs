//! What can go wrong with images. Where Docker has a sentence, it is Docker's.

use berth_storage::StorageError;
use berth_store::StoreError;
use berth_types::{Digest, ErrorKind, ReferenceError};

/// An operation on images that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The layers failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// No image of the caller has this name.
    #[error("No such image: {0}")]
    NotFound(String),
    /// Several images have an id that begins so.
    #[error("image id {0} is ambiguous: write more of its digits")]
    Ambiguous(String),
    /// The text is no image name.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// An image cannot be given a name that says which image it is.
    #[error("cannot import digest reference {0}: write a tag instead of the digest")]
    DigestReference(String),
    /// A change to the configuration is wrong.
    #[error("{0}")]
    Change(String),
    /// A tag cannot say which image it is.
    #[error("refusing to create a tag with a digest reference")]
    TagDigest,
    /// The image is in use, or has several names; Docker's sentence.
    #[error("{0}")]
    Conflict(String),
    /// The archive is none that holds images; the text says why.
    #[error("{0}")]
    Archive(String),
    /// A file of an unpacked archive, or a descriptor for a stream, could not be had.
    #[error("cannot {operation}")]
    Io {
        /// What was attempted, on what.
        operation: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The platform is none that Berth runs, or no platform at all.
    #[error("invalid platform {platform:?}: {reason}")]
    Platform {
        /// What was given.
        platform: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The archive ended because whoever sent it went away.
    #[error("the archive broke off before its end: send it again")]
    Interrupted,
    /// The configuration has no JSON form.
    #[error("cannot write the configuration of the new image")]
    Encode(#[source] serde_json::Error),
    /// No randomness for a name.
    #[error("cannot draw a random name for the import")]
    Random(#[source] std::io::Error),
    /// No pipe for the archive that the engine carries.
    #[error("cannot make the archive of the engine's own image")]
    BuiltIn(#[source] std::io::Error),
    /// An image that was to be pinned is gone.
    #[error("No such image: {0}")]
    Gone(Digest),
}

impl ImageError {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(e) => e.kind(),
            Self::Storage(e) => e.kind(),
            Self::NotFound(_) | Self::Gone(_) => ErrorKind::NotFound,
            Self::Ambiguous(_)
            | Self::Reference(_)
            | Self::DigestReference(_)
            | Self::Change(_)
            | Self::TagDigest
            | Self::Archive(_)
            | Self::Interrupted
            | Self::Platform { .. } => ErrorKind::Invalid,
            Self::Conflict(_) => ErrorKind::Conflict,
            Self::Io { .. } | Self::Encode(_) | Self::Random(_) | Self::BuiltIn(_) => {
                ErrorKind::Internal
            }
        }
    }
}
