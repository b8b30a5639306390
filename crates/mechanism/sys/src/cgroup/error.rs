//! What can go wrong with a control group, and what to do about it.

use std::io;
use std::path::PathBuf;

use berth_types::ErrorKind;

/// A failed operation on a control group.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// Nothing is mounted.
    #[error("cannot find control groups on this machine; mount cgroup2 at /sys/fs/cgroup")]
    Detect(#[source] io::Error),
    /// The path is not one that can be made below the mount point.
    #[error("invalid control group path {0:?}: expected an absolute path without \"..\"")]
    Path(String),
    /// A directory cannot be made.
    #[error("cannot make control group {path}")]
    Create {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The directory exists and has processes.
    #[error("control group {0} is in use by another container or by one that was not cleaned up")]
    InUse(PathBuf),
    /// A limit's value is refused.
    #[error("cannot set the {limit} to {value:?} ({file}); choose a value this machine supports")]
    Limit {
        /// What a person calls it.
        limit: &'static str,
        /// The value that was written.
        value: String,
        /// The file it was written to.
        file: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A limit needs a controller that is not there.
    #[error("cannot set a {limit}: this machine has no {controller} controller; start without it")]
    NoController {
        /// What a person calls it.
        limit: &'static str,
        /// The controller.
        controller: &'static str,
    },
    /// The limit of memory and swap together is below that of memory alone.
    #[error(
        "cannot limit memory and swap together to {swap} bytes when memory alone may be {limit}; \
         give at least as much"
    )]
    SwapBelowMemory {
        /// Memory limit, bytes.
        limit: i64,
        /// Limit of memory and swap, bytes.
        swap: i64,
    },
    /// The device rules are refused.
    #[error("cannot set the device rules of control group {path}")]
    Devices {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A process cannot join.
    #[error("cannot join control group {path}")]
    Enter {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Its processes cannot be stopped or let go on.
    #[error("cannot pause or unpause control group {path}; see its processes' /proc/PID/stack")]
    Freeze {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Processes did not stop when they were frozen.
    #[error("the processes of control group {path} did not stop in time: one hangs in the kernel")]
    Restless {
        /// The directory.
        path: PathBuf,
    },
    /// Processes did not go away when they were killed.
    #[error(
        "{count} processes of control group {path} survived SIGKILL; see their /proc/PID/stack"
    )]
    Survivors {
        /// The directory.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// A directory cannot be removed.
    #[error("cannot remove control group {path}")]
    Remove {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl CgroupError {
    /// Which sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(_) | Self::Limit { .. } | Self::SwapBelowMemory { .. } => ErrorKind::Invalid,
            Self::NoController { .. } => ErrorKind::Unsupported,
            Self::InUse(_) => ErrorKind::Conflict,
            Self::Detect(_)
            | Self::Create { .. }
            | Self::Devices { .. }
            | Self::Enter { .. }
            | Self::Freeze { .. }
            | Self::Read { .. }
            | Self::Restless { .. }
            | Self::Survivors { .. }
            | Self::Remove { .. } => ErrorKind::Internal,
        }
    }

    /// Whether a limit was asked for that cannot be had.
    pub fn is_limit(&self) -> bool {
        matches!(
            self,
            Self::Limit { .. } | Self::NoController { .. } | Self::SwapBelowMemory { .. }
        )
    }
}
