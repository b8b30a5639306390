//! What the frames mean.

use berth_types::Timestamp;
use berth_types::launch::{Exec, ExitRecord, Launch, ProcessIdentity, StartFailure, Started};
use berth_types::oci::ConsoleSize;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::decoder::check_version;
use super::{Frame, FrameError, MAGIC};

/// Everything a monitor is told at its start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaunchRequest {
    /// The container.
    pub launch: Launch,
    /// What the parked clients want, in the order of their sockets. They are attached before the
    /// program runs and therefore miss nothing. At most [`super::PARKED_MAX`].
    pub parked: Vec<AttachWant>,
}

/// What an attached client wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachWant {
    /// Send input. Input of a client that did not ask is read and thrown away.
    pub stdin: bool,
    /// Receive standard output.
    pub stdout: bool,
    /// Receive standard error.
    pub stderr: bool,
    /// How a client that does not read is treated.
    pub role: Role,
    /// Begin with what the screen shows now. Of a terminal only.
    #[serde(default)]
    pub screen: bool,
    /// What the others on this terminal are told when the client comes and when it goes; empty
    /// for nothing.
    #[serde(default)]
    pub announce: String,
}

impl AttachWant {
    /// A client that the program waits for.
    pub fn new(stdin: bool, stdout: bool, stderr: bool) -> Self {
        Self {
            stdin,
            stdout,
            stderr,
            role: Role::Follow,
            screen: false,
            announce: String::new(),
        }
    }

    /// The same without input.
    pub fn without_stdin(self) -> Self {
        Self {
            stdin: false,
            ..self
        }
    }
}

/// A further process in a container that runs. The body of EXEC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// The process.
    pub exec: Exec,
    /// What the client wants whose socket comes along; it misses nothing.
    pub parked: Option<AttachWant>,
}

/// The body of RESIZE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resize {
    /// Whose terminal: that of a further process, by its id; none for the container's.
    pub exec: Option<String>,
    /// The new size.
    pub size: ConsoleSize,
}

/// What a monitor knows of its container's terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalState {
    /// Its size.
    pub size: ConsoleSize,
    /// When a client last typed; [`Timestamp::NEVER`] for not in this run.
    pub input: Timestamp,
    /// When a program last wrote; likewise.
    pub output: Timestamp,
    /// Clients that may type.
    pub typing: u32,
    /// Clients that only look.
    pub watching: u32,
}

/// How an attached client that does not read is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The program waits for it: it gets every byte. What `docker attach` is.
    Follow,
    /// Nobody waits for it: output that it has no room for is skipped, and it is told how much.
    Watch,
}

/// A container that runs, and who watches over it. The body of STARTED.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The monitor itself.
    pub monitor: ProcessIdentity,
    /// The container. The phases of the start are told in answer to LAUNCH only.
    pub started: Started,
}

/// A frame with its body understood.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The first frame of either side.
    Hello,
    /// The sender will not talk to the receiver, and says why. Its version is in the header, so
    /// a receiver of another version need not understand the text. The end.
    Refused(String),
    /// Start this container; the descriptors come along.
    Launch(Box<LaunchRequest>),
    /// The compiled seccomp filter of the LAUNCH or EXEC before; empty for none.
    Filter(Vec<u8>),
    /// The container runs; a pidfd of its init comes along.
    Started(Running),
    /// The container did not start, and nothing of it is left. The end.
    Failed(StartFailure),
    /// Ask for STARTED.
    Status,
    /// Ask to be told of the exit.
    Watch,
    /// Turn this connection into streams.
    Attach(AttachWant),
    /// Send a signal to the container's init.
    Signal(i32),
    /// The answer to a request that has no other: 0, or an error number of the kernel.
    Done(i32),
    /// The kernel has killed so many processes of the container in this run for want of memory.
    OomKilled(u64),
    /// The container ended. The end.
    Exited(ExitRecord),
    /// Start this further process once its FILTER came; the parked client comes along. Answered
    /// with STARTED, whose init is then the process, or with FAILED.
    Exec(Box<ExecRequest>),
    /// The further process ended with this code, and its output was handed on. The end.
    ExecExited(i32),
    /// Set the size of a terminal.
    Resize(Resize),
    /// Ask for TERMINALSTATE.
    Terminal,
    /// The container's terminal; none for a container without one.
    TerminalState(Option<TerminalState>),
    /// The answer to a kind that the monitor does not know.
    Unsupported(u16),
}

mod kind {
    pub const HELLO: u16 = 1;
    pub const REFUSED: u16 = 2;
    pub const LAUNCH: u16 = 3;
    pub const FILTER: u16 = 4;
    pub const STARTED: u16 = 5;
    pub const FAILED: u16 = 6;
    pub const STATUS: u16 = 7;
    pub const WATCH: u16 = 8;
    pub const ATTACH: u16 = 9;
    pub const SIGNAL: u16 = 10;
    pub const DONE: u16 = 11;
    pub const EXITED: u16 = 12;
    pub const UNSUPPORTED: u16 = 13;
    pub const EXEC: u16 = 14;
    pub const EXECEXITED: u16 = 15;
    pub const RESIZE: u16 = 16;
    pub const TERMINAL: u16 = 17;
    pub const TERMINALSTATE: u16 = 18;
    pub const OOMKILLED: u16 = 19;
}

impl Message {
    /// The message as a frame of this version.
    ///
    /// # Errors
    /// [`FrameError::Body`] for something JSON cannot hold.
    pub fn frame(&self) -> Result<Frame, FrameError> {
        let (kind, body) = match self {
            Self::Hello => (kind::HELLO, MAGIC.to_vec()),
            Self::Refused(text) => (kind::REFUSED, text.as_bytes().to_vec()),
            Self::Launch(request) => (kind::LAUNCH, json(kind::LAUNCH, request)?),
            Self::Filter(program) => (kind::FILTER, program.clone()),
            Self::Started(running) => (kind::STARTED, json(kind::STARTED, running)?),
            Self::Failed(failure) => (kind::FAILED, json(kind::FAILED, failure)?),
            Self::Status => (kind::STATUS, Vec::new()),
            Self::Watch => (kind::WATCH, Vec::new()),
            Self::Attach(want) => (kind::ATTACH, json(kind::ATTACH, want)?),
            Self::Signal(signal) => (kind::SIGNAL, signal.to_le_bytes().to_vec()),
            Self::Done(error) => (kind::DONE, error.to_le_bytes().to_vec()),
            Self::OomKilled(kills) => (kind::OOMKILLED, kills.to_le_bytes().to_vec()),
            Self::Exited(record) => (kind::EXITED, json(kind::EXITED, record)?),
            Self::Unsupported(other) => (kind::UNSUPPORTED, other.to_le_bytes().to_vec()),
            Self::Exec(request) => (kind::EXEC, json(kind::EXEC, request)?),
            Self::ExecExited(code) => (kind::EXECEXITED, code.to_le_bytes().to_vec()),
            Self::Resize(resize) => (kind::RESIZE, json(kind::RESIZE, resize)?),
            Self::Terminal => (kind::TERMINAL, Vec::new()),
            Self::TerminalState(state) => (kind::TERMINALSTATE, json(kind::TERMINALSTATE, state)?),
        };
        Ok(Frame::new(kind, body))
    }

    /// The bytes on the wire.
    ///
    /// # Errors
    /// As [`Message::frame`] and [`Frame::encode`].
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        self.frame()?.encode()
    }

    /// What `frame` means; none for a kind that this version does not know.
    ///
    /// # Errors
    /// [`FrameError`] for a frame of another version, or a body that does not fit its kind.
    pub fn decode(frame: Frame) -> Result<Option<Self>, FrameError> {
        check_version(&frame)?;
        Ok(Some(match frame.kind {
            kind::HELLO if frame.body == MAGIC => Self::Hello,
            kind::HELLO => return Err(FrameError::Magic),
            kind::REFUSED => Self::Refused(String::from_utf8_lossy(&frame.body).into_owned()),
            kind::LAUNCH => Self::Launch(parse(&frame)?),
            kind::FILTER => Self::Filter(frame.body),
            kind::STARTED => Self::Started(parse(&frame)?),
            kind::FAILED => Self::Failed(parse(&frame)?),
            kind::STATUS => Self::Status,
            kind::WATCH => Self::Watch,
            kind::ATTACH => Self::Attach(parse(&frame)?),
            kind::SIGNAL => Self::Signal(i32::from_le_bytes(exact(&frame)?)),
            kind::DONE => Self::Done(i32::from_le_bytes(exact(&frame)?)),
            kind::EXITED => Self::Exited(parse(&frame)?),
            kind::OOMKILLED => Self::OomKilled(u64::from_le_bytes(exact(&frame)?)),
            kind::UNSUPPORTED => Self::Unsupported(u16::from_le_bytes(exact(&frame)?)),
            kind::EXEC => Self::Exec(parse(&frame)?),
            kind::EXECEXITED => Self::ExecExited(i32::from_le_bytes(exact(&frame)?)),
            kind::RESIZE => Self::Resize(parse(&frame)?),
            kind::TERMINAL => Self::Terminal,
            kind::TERMINALSTATE => Self::TerminalState(parse(&frame)?),
            _ => return Ok(None),
        }))
    }
}

fn json(kind: u16, value: &impl Serialize) -> Result<Vec<u8>, FrameError> {
    serde_json::to_vec(value).map_err(|e| FrameError::Body {
        kind,
        source: Some(e),
    })
}

fn parse<T: DeserializeOwned>(frame: &Frame) -> Result<T, FrameError> {
    let Frame { kind, body, .. } = frame;
    serde_json::from_slice(body).map_err(|e| FrameError::Body {
        kind: *kind,
        source: Some(e),
    })
}

fn exact<const N: usize>(frame: &Frame) -> Result<[u8; N], FrameError> {
    let wrong = FrameError::Body {
        kind: frame.kind,
        source: None,
    };
    <[u8; N]>::try_from(frame.body.as_slice()).map_err(|_| wrong)
}
