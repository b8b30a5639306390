//! Why a start failed, inside the crate; outside it is a [`StartFailure`].

use std::io;

use berth_sys::caps::CapsError;
use berth_sys::cgroup::CgroupError;
use berth_types::launch::{StartFailure, StartFailureKind};

use crate::exec::ExecError;
use crate::user::UserError;

pub(crate) type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Caps(#[from] CapsError),
    #[error(transparent)]
    User(#[from] UserError),
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// A part of the specification that is wrong in itself.
    #[error("{0}")]
    Invalid(String),
    /// A mount that cannot be made as asked.
    #[error("cannot mount at {destination}: {problem}")]
    Mount {
        destination: String,
        problem: String,
        source: Option<io::Error>,
    },
    /// The root file system cannot be put together.
    #[error("cannot mount the root file system: {problem}; check that its layers are on disk")]
    Root { problem: String, source: io::Error },
    /// A limit of the process that the kernel refuses.
    #[error("cannot set {limit}; lower it")]
    Limit { limit: String, source: io::Error },
    /// Any other step: what was done, on what.
    #[error("cannot {action} {subject}")]
    Step {
        action: &'static str,
        subject: String,
        source: io::Error,
    },
    /// What another process reported.
    #[error("{}", .0.message)]
    Reported(StartFailure),
    /// The process went away without a word.
    #[error(
        "the process ended before it could execute its program ({0}); the machine may be \
         short of memory"
    )]
    Vanished(String),
}

impl Error {
    fn kind(&self) -> StartFailureKind {
        match self {
            Self::Cgroup(e) if e.is_limit() => StartFailureKind::BadLimit,
            Self::Limit { .. } => StartFailureKind::BadLimit,
            Self::User(UserError::Unknown { .. }) => StartFailureKind::UnknownUser,
            Self::Exec(e) => e.kind(),
            // A full disk says nothing about what was asked for.
            Self::Mount {
                source: Some(e), ..
            } if e.kind() == io::ErrorKind::StorageFull => StartFailureKind::Internal,
            Self::Mount { .. } => StartFailureKind::BadMount,
            Self::Reported(failure) => failure.kind,
            Self::Cgroup(_)
            | Self::Caps(_)
            | Self::User(_)
            | Self::Invalid(_)
            | Self::Root { .. }
            | Self::Step { .. }
            | Self::Vanished(_) => StartFailureKind::Internal,
        }
    }

    /// A request with neither a terminal nor streams.
    pub(crate) fn no_streams() -> Self {
        Self::Invalid("the process has no standard streams; give it some or a terminal".to_owned())
    }

    /// The failure as it is told to others: the whole chain of causes in one sentence.
    pub(crate) fn failure(&self) -> StartFailure {
        StartFailure {
            kind: self.kind(),
            message: berth_types::chain(self),
        }
    }
}

/// Names the step that a system call belongs to.
pub(crate) trait Context<T> {
    fn step(self, action: &'static str, subject: impl Into<String>) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn step(self, action: &'static str, subject: impl Into<String>) -> Result<T> {
        self.map_err(|e| Error::Step {
            action,
            subject: subject.into(),
            source: e.into(),
        })
    }
}
