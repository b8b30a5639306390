//! Starting containers and finding those that run, as the engine asks for it. Synchronous: every
//! call may block and belongs on a blocking thread.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use berth_types::launch::{PROTOCOL_VERSION, ProcessIdentity, StartFailure, Started};
use berth_types::oci::ConsoleSize;
use berth_types::{ContainerId, ErrorKind};

use crate::protocol::{AttachWant, ExecRequest, FrameError, LaunchRequest, TerminalState};

/// Starts monitors, and finds those of an earlier engine.
pub trait Launcher: Send + Sync + 'static {
    /// Starts a monitor and, in it, the container. Returns when the program runs.
    ///
    /// `filter` is the compiled seccomp filter. `parked` are clients that attached before the
    /// start, one socket for each of `request.parked`; they get the output from its first byte.
    ///
    /// # Errors
    /// [`LaunchError`]. Whatever the error, no process of the launch is left.
    fn launch(
        &self,
        request: &LaunchRequest,
        filter: Option<&[u8]>,
        parked: Vec<OwnedFd>,
    ) -> Result<Box<dyn Task>, LaunchError>;

    /// Finds the monitor of a container that runs already.
    ///
    /// # Errors
    /// [`AdoptError::Gone`] when there is none: the container ended, and its exit record says
    /// how, or its monitor was killed and took it along.
    fn adopt(&self, id: &ContainerId) -> Result<Box<dyn Task>, AdoptError>;
}

/// Puts a monitor that was just started where it belongs, and with it the container that it is about
/// to make.
pub trait Placement: std::fmt::Debug + Send + Sync {
    /// Returns when the process is in place. `group` is the control group that the container will
    /// have, `runtime` its runtime directory.
    ///
    /// # Errors
    /// Then the monitor is ended, and what was made for it alone goes with it.
    fn place(
        &self,
        id: ContainerId,
        group: &str,
        monitor: i32,
        runtime: &std::path::Path,
    ) -> io::Result<()>;
}

/// A container that runs, or ran until a moment ago.
pub trait Task: Send + Sync {
    /// Its init, and how it started; without the phases where the container was adopted.
    fn started(&self) -> &Started;

    /// Its monitor.
    fn monitor(&self) -> ProcessIdentity;

    /// Sends a signal to the container's init.
    ///
    /// # Errors
    /// `ESRCH` once it has ended, `EINVAL` for a number that is no signal.
    fn signal(&self, signal: i32) -> io::Result<()>;

    /// Attaches a client. What is read from the stream is Docker's multiplexed framing, or the
    /// bytes as they are where the container has a terminal; what is written is raw input, and shutting down the writing side ends the input. After the exit
    /// the stream ends; where the client was still sending it may end with `ECONNRESET`.
    ///
    /// # Errors
    /// When the monitor is gone, or serves as many connections as it may.
    fn attach(&self, want: AttachWant) -> io::Result<UnixStream>;

    /// Starts a further process in the container, and returns when its program runs. `parked` is
    /// the client of `request.parked`, if there is one; it gets the output from its first byte.
    ///
    /// # Errors
    /// [`LaunchError`]. Whatever the error, no process of it is left.
    fn exec(
        &self,
        request: &ExecRequest,
        filter: Option<&[u8]>,
        parked: Option<OwnedFd>,
    ) -> Result<Box<dyn ExecTask>, LaunchError>;

    /// Sets the size of the container's terminal, or of that of a further process by its id.
    ///
    /// # Errors
    /// `ENOTTY` where there is no terminal, `ESRCH` where there is no such process any more.
    fn resize(&self, exec: Option<&str>, size: ConsoleSize) -> io::Result<()>;

    /// The state of the container's terminal; none for a container without one.
    ///
    /// # Errors
    /// When the monitor is gone.
    fn terminal(&self) -> io::Result<Option<TerminalState>>;

    /// The control connection, once, nonblocking: an EXITED frame, which
    /// [`crate::protocol::Decoder::event`] reads, and the end; or the end alone, which means that
    /// the monitor was killed.
    fn take_link(&mut self) -> Option<UnixStream>;

    /// Waits, for a bounded time, until the monitor is gone after EXITED or the end of the link,
    /// and reaps it where it is our child.
    fn reap(&self);
}

/// A further process in a container.
pub trait ExecTask: Send {
    /// The process.
    fn process(&self) -> ProcessIdentity;

    /// The control connection, once, nonblocking: an EXECEXITED frame, which
    /// [`crate::protocol::Decoder::event`] reads, and the end; or the end alone, which means that
    /// the monitor was killed. It is told after the process's last output was handed on.
    fn take_link(&mut self) -> Option<UnixStream>;
}

/// Why a container was not started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The runtime says no; the message is for the user as it stands.
    #[error("{}", .0.message)]
    Start(StartFailure),
    /// A directory of the container cannot be opened.
    #[error("open the container's directory {path}")]
    Directory {
        /// The directory.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The monitor's program cannot be copied or executed.
    #[error("start the container's monitor")]
    Spawn(#[source] io::Error),
    /// The monitor cannot be put where it belongs.
    #[error("find a place for the container's monitor")]
    Place(#[source] io::Error),
    /// The monitor ended or fell silent before the container ran.
    #[error(
        "the container's monitor ended before the container ran; try again, and see the kernel log if it happens twice"
    )]
    Monitor(#[source] io::Error),
    /// The monitor says nothing; it is not waited for any longer.
    #[error(
        "the container's monitor fell silent: something that the program needs, such as a file system that is mounted for it, hangs in the kernel"
    )]
    Silent,
    /// The monitor's answer cannot be understood.
    #[error("talk to the container's monitor; is its program from another version?")]
    Protocol(#[source] FrameError),
    /// More clients, or a larger request, than one launch can carry.
    #[error("invalid launch: {0}")]
    Request(String),
}

impl LaunchError {
    /// What sort of failure it is.
    pub fn kind(&self) -> ErrorKind {
        use berth_types::launch::StartFailureKind as Kind;
        match self {
            Self::Start(failure) => match failure.kind {
                Kind::Internal => ErrorKind::Internal,
                _ => ErrorKind::Invalid,
            },
            Self::Request(_) => ErrorKind::Invalid,
            _ => ErrorKind::Internal,
        }
    }
}

/// Why a running container was not adopted.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// No monitor answers.
    #[error("container {0} has no monitor")]
    Gone(ContainerId),
    /// Its monitor is of another version and was left alone, with its container.
    #[error(
        "the monitor of container {id} speaks protocol {theirs}, this engine {PROTOCOL_VERSION}: \
         stop the container with the engine that started it"
    )]
    Version {
        /// The container.
        id: ContainerId,
        /// Version of the monitor.
        theirs: u16,
        /// Version of this engine.
        ours: u16,
    },
    /// A monitor is there but does not answer as it should.
    #[error("ask the monitor of container {id}")]
    Monitor {
        /// The container.
        id: ContainerId,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl AdoptError {
    /// What sort of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Gone(_) => ErrorKind::NotFound,
            Self::Version { .. } => ErrorKind::Unsupported,
            Self::Monitor { .. } => ErrorKind::Unavailable,
        }
    }
}
