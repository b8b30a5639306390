//! What can go wrong with a network.

use std::io;

use berth_types::ErrorKind;

/// Why a network could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The engine has no bridge: why, and what to do.
    #[error("{0}")]
    Unavailable(String),
    /// A request that cannot be right.
    #[error("{0}")]
    Invalid(String),
    /// A port or an address that somebody has.
    #[error("{0}")]
    Taken(String),
    /// The kernel refused.
    #[error("{what}")]
    Kernel {
        /// What was tried, on what.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl NetworkError {
    /// What sort of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable(_) => ErrorKind::Unavailable,
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Taken(_) => ErrorKind::Internal,
            Self::Kernel { .. } => ErrorKind::Internal,
        }
    }
}
