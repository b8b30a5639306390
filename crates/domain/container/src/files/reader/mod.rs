//! Foreign file systems are looked at by a process of their own.
//!
//! What a running container has mounted, and the sources of bind mounts, may lie on a file system
//! whose server does not answer. A thread that asks it sleeps where not even SIGKILL ends it, and
//! with it all that its process holds: locks, sockets, memory, its entry in the table of
//! processes. So no thread of the engine asks. A reader does: this same program once more, which
//! holds one socket and, while it looks, the root it was given.
//!
//! ```text
//!   engine                                   reader
//!     Request (JSON), root as descriptor ──▶
//!                                        ◀── Result<answer, Failure> (JSON)
//!     Send                               ──▶
//!                                        ◀── pieces of an archive, an empty one, Result<(), Failure>
//! ```
//!
//! Every message and every piece has its length in front, four bytes, the highest first. A reader
//! that is done waits some seconds for the next question ([`pool`]), and ends when the socket does.
//! One that is for containers' files has given up all that takes to change anything ([`confine`]).

mod confine;
mod pool;
mod serve;
#[cfg(test)]
mod tests;

use std::io::{self, IoSlice, Read as _};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use berth_sys::socket;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::record::DeviceMapping;

pub(crate) use pool::{Reader, Readers};
pub use serve::main;

/// What a reader is called, as its first argument and in lists of processes.
pub const NAME: &str = "berth-files";
/// Largest message that is no archive, in bytes: a hundred sources with the longest paths.
const MESSAGE_MAX: usize = 4 << 20;
/// Bytes of an archive that are sent at once.
const PIECE: usize = 64 << 10;
/// Bytes in front of a message or a piece.
const HEAD: usize = 4;

/// What a reader is for, all its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errand {
    /// The files of containers: [`Request::Look`], [`Request::Send`], [`Request::Target`].
    Containers,
    /// What containers are to be given of the host: [`Request::Sources`], [`Request::Devices`].
    Host,
}

impl Errand {
    /// A reader's argument.
    fn name(self) -> &'static str {
        match self {
            Self::Containers => "containers",
            Self::Host => "host",
        }
    }
}

/// What a reader is asked. With the first three comes the root that paths are below.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// What lies at a path, for copying it out. Answered with [`Seen`].
    Look {
        path: String,
        /// It is to be sent next.
        keep: bool,
    },
    /// The archive of what was looked at last, on the same socket.
    Send,
    /// Where files go that are copied in, and whose they become. Answered with [`Target`].
    Target { path: String, user: Option<String> },
    /// Whether sources of bind mounts are there. Answered with `()`.
    Sources(Vec<Source>),
    /// What device nodes a container gets. Answered with [`crate::devices::Node`]s.
    Devices(Vec<DeviceMapping>),
}

/// The source of a bind mount, on the host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Source {
    pub path: String,
    /// A directory is made where nothing is.
    pub make: bool,
}

/// What lies at a path.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Where that is, without links.
    pub canonical: String,
    pub size: u64,
    /// `st_mode`.
    pub mode: u32,
    /// Nanoseconds since 1970.
    pub modified: i64,
    /// Where a symbolic link ends.
    pub link_target: Option<String>,
}

/// A directory that files go into.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Target {
    /// Where it is, without links.
    pub canonical: String,
    /// Whether its mount may not be written.
    pub read_only: bool,
    /// User and group of the user who was asked for; none where that one is unknown.
    pub owner: Option<(u32, u32)>,
}

/// What failed, by the kernel's number where it has one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    number: Option<i32>,
    pub text: String,
    /// What it failed on, where several were asked for.
    pub subject: usize,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self {
            number: error.raw_os_error(),
            text: error.to_string(),
            subject: 0,
        }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure.number {
            Some(number) => Self::from_raw_os_error(number),
            None => Self::other(failure.text),
        }
    }
}

fn head(length: usize) -> io::Result<[u8; HEAD]> {
    let length = u32::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
    Ok(length.to_be_bytes())
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message is too large")
}

/// A message with its length in front.
fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; HEAD];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - HEAD;
    if length > MESSAGE_MAX {
        return Err(too_large());
    }
    bytes.splice(..HEAD, head(length)?);
    Ok(bytes)
}

/// Sends a message, the descriptors with its first byte.
fn send(
    to: &UnixStream,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = encode(message)?;
    let (mut rest, mut descriptors) = (bytes.as_slice(), descriptors);
    while !rest.is_empty() {
        let sent = socket::send(to, &[IoSlice::new(rest)], descriptors)?;
        rest = rest.get(sent..).unwrap_or_default();
        descriptors = &[];
    }
    Ok(())
}

/// Receives a message with its descriptors; nothing where the other side is gone.
fn receive<T: DeserializeOwned>(
    from: &UnixStream,
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<Option<T>> {
    let mut length = [0; HEAD];
    let mut filled = 0;
    while let Some(rest) = length.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match socket::receive(from, rest, descriptors)? {
            0 => return Ok(None),
            received => filled += received,
        }
    }
    let length = length_of(length)?;
    let mut text = vec![0; length];
    let mut from = from;
    from.read_exact(&mut text)?;
    Ok(Some(serde_json::from_slice(&text)?))
}

fn length_of(head: [u8; HEAD]) -> io::Result<usize> {
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    match length <= MESSAGE_MAX {
        true => Ok(length),
        false => Err(too_large()),
    }
}
