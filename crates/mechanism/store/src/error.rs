//! What can go wrong with the database.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use berth_types::ErrorKind;

/// The cause of an error that is told to every operation of a batch.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// An operation of the store that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file could not be made.
    #[error("cannot create the database {path}: check the directory, its rights and free space")]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// The file could not be opened.
    #[error(
        "cannot open the database {path}: check its rights, and that its disk works and is writable"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// Another engine has it.
    #[error(
        "the database {path} is in use by another engine: stop that one, or give this one a data \
         root of its own"
    )]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It was made by a newer Berth.
    #[error(
        "the database {path} has schema version {found}, and this Berth knows versions up to \
         {known}: it was left untouched; start the newer Berth that wrote it"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's version.
        found: u16,
        /// The newest version that this program reads.
        known: u16,
    },
    /// It was made by a Berth that is older than this one can take over from.
    #[error(
        "the database {path} has {what}, which this Berth does not read: it was left untouched; \
         start the older Berth that wrote it, or move the whole data root away and start an empty \
         one"
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Which version of what.
        what: String,
    },
    /// Its content is not what was written.
    #[error(
        "the database {path} is damaged and was left as it is, because nothing in it can be \
         trusted: restore it from a copy, or move the whole data root away and start an empty one"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        source: Cause,
    },
    /// The writer thread could not be started.
    #[error("cannot start the thread that writes the database {path}")]
    Thread {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// A table could not be read.
    #[error("cannot read table {table} of the database")]
    Read {
        /// The table.
        table: &'static str,
        /// Why.
        source: Cause,
    },
    /// A table could not be written.
    #[error("cannot write table {table} of the database")]
    Write {
        /// The table.
        table: &'static str,
        /// Why.
        source: Cause,
    },
    /// The disk is full. What removes or ends something still works.
    #[error(
        "no space left on device for the database {path}: free some on its file system, or remove \
         containers and images, and try again"
    )]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// A transaction could not be begun or committed; nothing of it took effect.
    #[error(
        "cannot write to the database {path}, nothing was changed: check that its file system \
         has space and works, then try again"
    )]
    Commit {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// A transaction failed and the file could not be read again to see whether it took effect.
    #[error(
        "a write to the database {path} failed half-way, and whether it took effect is not known \
         yet: check that its file system has space and works"
    )]
    Unsettled {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// A transaction that was answered as failed turned out to have taken effect.
    #[error(
        "the database {path} holds a change that was reported as failed: nothing more is written \
         until the engine is started again"
    )]
    Diverged {
        /// The file.
        path: PathBuf,
    },
    /// A value has no JSON form.
    #[error("cannot encode a row of table {table}")]
    Encode {
        /// The table.
        table: &'static str,
        /// Why.
        source: Arc<serde_json::Error>,
    },
    /// A row that was asked for by its key is damaged.
    #[error("row {key} of table {table} is damaged: {reason}")]
    Row {
        /// The table.
        table: &'static str,
        /// The key's bytes in hexadecimal.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The operation panicked; nothing of it took effect.
    #[error("an operation on the database panicked: {message}; this is a fault of Berth")]
    Panicked {
        /// The panic's text.
        message: String,
    },
    /// The operation was called where it would wait for itself.
    #[error("a database operation was called from inside another one; this is a fault of Berth")]
    Reentrant,
    /// The writer thread is gone.
    #[error("the database is closed; this is a fault of Berth")]
    Closed,
}

impl StoreError {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Locked { .. } => ErrorKind::Conflict,
            Self::Commit { .. } | Self::Unsettled { .. } => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        }
    }
}

/// Why [`crate::Db::write`] returned no value.
#[derive(Debug)]
pub enum WriteError<E> {
    /// The closure said no; nothing of it took effect.
    Refused(E),
    /// The store failed.
    Store(StoreError),
}

impl<E: From<StoreError>> WriteError<E> {
    /// The caller's own error type.
    pub fn flatten(self) -> E {
        match self {
            Self::Refused(e) => e,
            Self::Store(e) => e.into(),
        }
    }
}

impl<E: fmt::Display> fmt::Display for WriteError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(e) => e.fmt(f),
            Self::Store(e) => e.fmt(f),
        }
    }
}

impl<E: Error> Error for WriteError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(e) => e.source(),
            Self::Store(e) => e.source(),
        }
    }
}

/// Any error as a cause.
pub(crate) fn cause(e: impl Error + Send + Sync + 'static) -> Cause {
    Arc::new(e)
}

/// A cause that has only a text.
pub(crate) fn remark(text: impl Into<String>) -> Cause {
    Arc::new(io::Error::other(text.into()))
}

/// The text of a panic's payload.
pub(crate) fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_owned())
}
