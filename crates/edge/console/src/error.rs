//! What can go wrong between a terminal and a container.

use std::io;

use berth_api::stream::FrameError;
use berth_types::ErrorKind;

/// A failure at the user's end of a container's streams.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The terminal's settings cannot be read or changed.
    #[error("cannot set the terminal to pass every key on")]
    Terminal {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A signal cannot be taken over.
    #[error("cannot take over {name}")]
    Signal {
        /// The signal's name.
        name: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The pipe that ends the reading of standard input cannot be made.
    #[error("cannot read standard input")]
    Input {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The stream from the container broke.
    #[error("the container's output broke off")]
    Broken {
        /// What the connection said.
        #[source]
        source: io::Error,
    },
    /// The stream from the container is not what it should be.
    #[error("the container's output cannot be read")]
    Frames {
        /// What is wrong with it.
        #[source]
        source: FrameError,
    },
    /// Nobody reads standard output or standard error any more.
    #[error("nobody reads the output")]
    ReaderGone,
}

impl ConsoleError {
    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Broken { .. } | Self::ReaderGone => ErrorKind::Unavailable,
            Self::Terminal { .. }
            | Self::Signal { .. }
            | Self::Input { .. }
            | Self::Frames { .. } => ErrorKind::Internal,
        }
    }
}
