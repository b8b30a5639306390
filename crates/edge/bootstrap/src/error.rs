//! What can go wrong when an image is made from a machine's packages.

use std::io;

use berth_types::ErrorKind;

/// An image that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootstrapError {
    /// The machine's packages are none that we can read.
    #[error(
        "an image from this machine's packages is not supported on {0}: \
         it needs dpkg, as Debian, Ubuntu and their relatives have it"
    )]
    Family(String),
    /// Packages were asked for that the machine does not have.
    #[error("not installed on this machine: {0}; install them, or leave them out of --packages")]
    NotInstalled(String),
    /// Something of the root file system cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// What, below the root.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that every image needs is not there, or not as its package has it.
    #[error(
        "{path} of package {package} is missing or changed; \
         reinstall it: apt-get install --reinstall {package}"
    )]
    Unusable {
        /// The file.
        path: &'static str,
        /// Its package.
        package: &'static str,
    },
    /// The archive has nowhere to go.
    #[error("cannot write the archive of the image")]
    Write(#[source] io::Error),
    /// A program that is needed is not installed.
    #[error("neither mmdebstrap nor debootstrap is installed: apt-get install mmdebstrap")]
    NoProgram,
    /// A program could not be started.
    #[error("cannot run {program}")]
    Run {
        /// Which.
        program: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program failed; it has said why.
    #[error("{program} failed ({status}); what it said stands above")]
    Failed {
        /// Which.
        program: &'static str,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// apt knows no sources for the suite.
    #[error(
        "this machine's own package sources for {suite} were not found: \
         `apt-get indextargets` should list them; run apt-get update first"
    )]
    NoSources {
        /// The release.
        suite: String,
    },
    /// The release has no name to ask for.
    #[error("{0} has no VERSION_CODENAME: name the release with --suite")]
    NoSuite(String),
}

impl BootstrapError {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Family(_) => ErrorKind::Unsupported,
            Self::NotInstalled(_) | Self::NoSuite(_) => ErrorKind::Invalid,
            Self::NoProgram | Self::NoSources { .. } | Self::Unusable { .. } => {
                ErrorKind::Unavailable
            }
            Self::Read { .. } | Self::Write(_) | Self::Run { .. } | Self::Failed { .. } => {
                ErrorKind::Internal
            }
        }
    }
}
