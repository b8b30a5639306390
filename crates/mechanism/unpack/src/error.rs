//! Why an archive was not unpacked.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use berth_types::ErrorKind;

/// Why [`crate::Unpacker::unpack`] failed. The target directory then holds an unknown part of the
/// archive and is to be removed.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive is damaged, truncated, or asks for something that is never done.
    #[error("{message}")]
    Archive {
        /// What is wrong, in which entry or at which offset.
        message: String,
    },
    /// The archive asks for more than its [`crate::Budget`].
    #[error("{message}")]
    Budget {
        /// Which budget, its limit, and the entry.
        message: String,
    },
    /// The machine failed while the helper worked: the disk is full, the pipe broke.
    #[error("{message}")]
    Machine {
        /// What was attempted and the system's answer.
        message: String,
    },
    /// The helper could not be started.
    #[error("cannot start {}; is Berth installed completely?", path.display())]
    Spawn {
        /// The helper's program file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Talking to the helper failed.
    #[error("cannot {operation} the unpack helper")]
    Socket {
        /// What was attempted: `send the request to`, ...
        operation: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The helper ended without a report.
    #[error(
        "the unpack helper ended without a report ({status}); SIGKILL points to memory running \
         out, SIGSYS or SIGABRT to an archive that needs more than the helper may use"
    )]
    HelperDied {
        /// How it ended.
        status: ExitStatus,
    },
    /// The helper's report is no report.
    #[error(
        "the unpack helper sent a report that makes no sense; are all programs of one version?"
    )]
    Report(#[source] serde_json::Error),
    /// The helper's report is longer than [`crate::protocol::REPORT_LIMIT`].
    #[error(
        "the unpack helper sent a report of more than {} bytes",
        crate::protocol::REPORT_LIMIT
    )]
    ReportTooLong,
    /// A directory could not be marked opaque after unpacking.
    #[error("cannot set trusted.overlay.opaque on {path:?}")]
    Opaque {
        /// The directory, below the target.
        path: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl UnpackError {
    /// `Invalid` when the archive is at fault, `Internal` when the machine is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            UnpackError::Archive { .. } | UnpackError::Budget { .. } => ErrorKind::Invalid,
            _ => ErrorKind::Internal,
        }
    }
}
