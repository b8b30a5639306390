//! The caller's half: start the helper, hand it its descriptors, believe its report.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use berth_sys::rustix::fs::{Mode, OFlags, ResolveFlags, XattrFlags, fsetxattr, openat2};
use berth_types::Digest;
use berth_types::task::{Wait, waits};

use crate::protocol::{
    self, Done, Fault, Format, REPORT_LIMIT, Report, Request, send_request, text_to_path,
};
use crate::{Budget, UnpackError};

/// Overlay's mark of a directory that hides what lies below it (`overlayfs.rst`).
const OPAQUE: &str = "trusted.overlay.opaque";

/// Starts one confined helper per archive.
#[derive(Debug, Clone)]
pub struct Unpacker {
    helper: PathBuf,
}

/// What an unpacked archive was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// SHA-256 of the uncompressed stream: the layer's diff ID.
    pub diff_id: Digest,
    /// SHA-256 of the stream as read: the blob's digest.
    pub digest: Digest,
    /// Length of the stream as read.
    pub read_bytes: u64,
    /// Length of the uncompressed stream.
    pub stream_bytes: u64,
    /// Apparent size of the regular files, each inode once.
    pub bytes: u64,
    /// Inodes made, the target directory not counted.
    pub inodes: u64,
    /// How the archive was compressed.
    pub format: Format,
    /// Extended attributes left out: labels of the machine that made the archive, or attributes
    /// of entries that cannot have any.
    pub ignored_xattrs: u64,
    /// Directories marked opaque.
    pub opaque_directories: u64,
}

impl Unpacker {
    /// Uses this `berth-unpack` program; nothing is started yet.
    pub fn new(helper: impl Into<PathBuf>) -> Unpacker {
        Unpacker {
            helper: helper.into(),
        }
    }

    /// Unpacks one archive into a directory, with the journal of its non-payload bytes if asked
    /// for. Blocks until the helper has ended; the thread must not end before, because the helper
    /// dies with it. `archive` is read to its end, also behind the end-of-archive mark, and closed
    /// here as soon as the helper has it, so that a feeder at the other end of a pipe sees `EPIPE`
    /// when unpacking fails. To give up early, close the feeding end: that is a truncated archive.
    ///
    /// # Errors
    /// [`UnpackError`]; its kind is `Invalid` when the archive is at fault and `Internal`
    /// otherwise. The target is left as it then is.
    pub fn unpack(
        &self,
        archive: impl Into<OwnedFd>,
        target: BorrowedFd<'_>,
        journal: Option<BorrowedFd<'_>>,
        budget: &Budget,
    ) -> Result<Unpacked, UnpackError> {
        let request = Request {
            caller: std::process::id(),
            journal: journal.is_some(),
            budget: budget.clone(),
            into: None,
        };
        self.send(archive.into(), target, journal, request)
    }

    /// As [`Unpacker::unpack`], into a tree that is in use by others.
    ///
    /// # Errors
    /// As [`Unpacker::unpack`].
    pub fn unpack_into(
        &self,
        archive: impl Into<OwnedFd>,
        target: BorrowedFd<'_>,
        into: protocol::Destination,
        budget: &Budget,
    ) -> Result<Unpacked, UnpackError> {
        let request = Request {
            caller: std::process::id(),
            journal: false,
            budget: budget.clone(),
            into: Some(into),
        };
        self.send(archive.into(), target, None, request)
    }

    fn send(
        &self,
        archive: OwnedFd,
        target: BorrowedFd<'_>,
        journal: Option<BorrowedFd<'_>>,
        request: Request,
    ) -> Result<Unpacked, UnpackError> {
        let (mut socket, mut helper) = self.start()?;
        let _waits = waits(Wait::Helper, None);
        let sent = send_request(socket.as_fd(), &request, archive.as_fd(), target, journal);
        drop(archive);
        let mut report = Vec::new();
        let limit = REPORT_LIMIT as u64 + 1;
        let received = sent
            .map_err(socket_error("send the request to"))
            .and_then(|()| {
                let read = (&mut socket).take(limit).read_to_end(&mut report);
                read.map_err(socket_error("receive the report of"))
            });
        // Nothing reads on from here: a helper that still writes ends instead of waiting.
        drop(socket);
        let status = helper.wait();
        let status = status.map_err(socket_error("wait for"))?;
        if report.is_empty() {
            return match received {
                Err(UnpackError::Socket { source, operation })
                    if source.kind() != io::ErrorKind::BrokenPipe
                        && source.kind() != io::ErrorKind::ConnectionReset =>
                {
                    Err(UnpackError::Socket { operation, source })
                }
                _ => Err(UnpackError::HelperDied { status }),
            };
        }
        received?;
        if report.len() > REPORT_LIMIT {
            return Err(UnpackError::ReportTooLong);
        }
        match serde_json::from_slice(&report).map_err(UnpackError::Report)? {
            Report::Done(done) => finish(done, target),
            Report::Error { kind, message } => Err(match kind {
                Fault::Archive => UnpackError::Archive { message },
                Fault::Budget => UnpackError::Budget { message },
                Fault::Machine => UnpackError::Machine { message },
            }),
        }
    }

    fn start(&self) -> Result<(UnixStream, Child), UnpackError> {
        let (ours, theirs) = UnixStream::pair().map_err(socket_error("make a socket for"))?;
        let child = Command::new(&self.helper)
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => Ok((ours, child)),
            Err(source) => Err(UnpackError::Spawn {
                path: self.helper.clone(),
                source,
            }),
        }
    }
}

fn socket_error(operation: &'static str) -> impl FnOnce(io::Error) -> UnpackError {
    move |source| UnpackError::Socket { operation, source }
}

/// Marks the opaque directories, which the helper has no right to do, and drops the protocol.
fn finish(done: Done, target: BorrowedFd<'_>) -> Result<Unpacked, UnpackError> {
    for path in &done.opaque {
        mark_opaque(target, path).map_err(|source| UnpackError::Opaque {
            path: path.clone(),
            source,
        })?;
    }
    Ok(Unpacked {
        diff_id: done.diff_id,
        digest: done.digest,
        read_bytes: done.read_bytes,
        stream_bytes: done.stream_bytes,
        bytes: done.bytes,
        inodes: done.inodes,
        format: done.format,
        ignored_xattrs: done.ignored_xattrs,
        opaque_directories: done.opaque.len() as u64,
    })
}

fn mark_opaque(target: BorrowedFd<'_>, text: &str) -> io::Result<()> {
    let path = text_to_path(text).ok_or(io::ErrorKind::InvalidData)?;
    let path = if path.is_empty() { b".".into() } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let directory = openat2(target, path.as_slice(), flags, Mode::empty(), beneath)?;
    fsetxattr(&directory, OPAQUE, b"y", XattrFlags::empty())?;
    Ok(())
}
