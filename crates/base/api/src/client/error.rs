//! What can go wrong between a client and its engine.

use std::io;
use std::path::PathBuf;

use berth_types::ErrorKind;

use crate::decode::DecodeError;
use crate::version::ApiVersion;

/// A failure of a request, or of finding the engine.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address cannot be used.
    #[error("invalid engine address {address:?}: {reason}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it and what is possible.
        reason: &'static str,
    },
    /// Nothing answers at the address.
    #[error("Cannot connect to the Berth engine at {host}. Is berthd running?")]
    Connect {
        /// The address.
        host: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The socket is there and this user may not use it.
    #[error(
        "permission denied while trying to connect to the Berth engine at {host}: run as root, \
         or as a member of the socket's group"
    )]
    Permission {
        /// The address.
        host: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The engine did not answer a connection in time.
    #[error("the Berth engine at {host} did not answer within {seconds} seconds")]
    Timeout {
        /// The address.
        host: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The engine speaks only versions from before the oldest that this client speaks.
    #[error(
        "the engine's newest API version is {engine} and this client needs {oldest} or newer: \
         upgrade the engine"
    )]
    EngineTooOld {
        /// The engine's newest version.
        engine: ApiVersion,
        /// The client's oldest version.
        oldest: ApiVersion,
    },
    /// The engine refused; the text is its own sentence.
    #[error("{message}")]
    Response {
        /// The HTTP status.
        status: u16,
        /// The engine's sentence, as it came.
        message: String,
    },
    /// The connection broke.
    #[error("the connection to the Berth engine at {host} broke during {request}")]
    Transport {
        /// The address.
        host: String,
        /// Method and path.
        request: String,
        /// What the HTTP library said.
        #[source]
        source: hyper::Error,
    },
    /// The request could not be written down as HTTP.
    #[error("{request} is no valid request")]
    Request {
        /// Method and path.
        request: String,
        /// Why.
        #[source]
        source: hyper::http::Error,
    },
    /// A body could not be written as JSON.
    #[error("cannot encode the body of {request}")]
    Encode {
        /// Method and path.
        request: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The answer is not what the API says.
    #[error("the engine's answer to {request} cannot be read: {cause}")]
    Answer {
        /// Method and path.
        request: String,
        /// Why.
        cause: DecodeError,
    },
    /// The answer is longer than any that makes sense.
    #[error("the engine's answer to {request} is longer than {limit} bytes")]
    TooLong {
        /// Method and path.
        request: String,
        /// The limit.
        limit: usize,
    },
    /// The engine answered an attach with a stream that cannot be written to.
    #[error("the engine did not upgrade the connection, so standard input cannot be sent")]
    NotUpgraded,
    /// The named context does not exist.
    #[error("context {name:?} does not exist: there is no {path}")]
    NoContext {
        /// Its name.
        name: String,
        /// Where it would be.
        path: PathBuf,
    },
    /// A context without an engine's address.
    #[error("context {name:?} names no engine: {path} has no Endpoints.docker.Host")]
    EmptyContext {
        /// Its name.
        name: String,
        /// Its file.
        path: PathBuf,
    },
    /// A file of Docker's configuration cannot be opened.
    #[error("cannot read {path}: mend or remove the file, or name the engine with -H")]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of Docker's configuration is damaged.
    #[error("cannot read {path}: {cause}; mend or remove the file, or name the engine with -H")]
    ConfigSyntax {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: DecodeError,
    },
}

impl ClientError {
    /// The kind; for a refusal, the one that the engine meant by its status.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Response { status, .. } => kind_of(*status),
            Self::Address { .. }
            | Self::EmptyContext { .. }
            | Self::ConfigFile { .. }
            | Self::ConfigSyntax { .. }
            | Self::Request { .. }
            | Self::Encode { .. } => ErrorKind::Invalid,
            Self::NoContext { .. } => ErrorKind::NotFound,
            Self::Permission { .. } => ErrorKind::Forbidden,
            Self::Connect { .. } | Self::Timeout { .. } | Self::Transport { .. } => {
                ErrorKind::Unavailable
            }
            Self::EngineTooOld { .. } | Self::NotUpgraded => ErrorKind::Unsupported,
            Self::Answer { .. } | Self::TooLong { .. } => ErrorKind::Internal,
        }
    }

    /// The HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Response { status, .. } => Some(*status),
            _ => None,
        }
    }
}

fn kind_of(status: u16) -> ErrorKind {
    match status {
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        400..=499 => ErrorKind::Invalid,
        501 => ErrorKind::Unsupported,
        503 => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}
