//! What caller and helper say to each other on the helper's stdin, a stream socket.
//!
//! The caller sends one [`Request`] as a line of JSON; with its first byte come the descriptors,
//! as [`send_request`] orders them. The helper answers with one [`Report`] as JSON and closes.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use berth_sys::rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use berth_types::Digest;
use serde::{Deserialize, Serialize};

use crate::Budget;

/// Largest request in bytes.
pub const REQUEST_LIMIT: usize = 4096;
/// Largest report in bytes.
pub const REPORT_LIMIT: usize = 16 << 20;
/// Largest sum of the lengths of opaque directories in a report; at most six bytes of JSON each.
pub const OPAQUE_LIMIT: u64 = 2 << 20;

/// Archive, target directory, journal.
const MAX_DESCRIPTORS: usize = 3;

/// How an archive goes into a tree that is in use, rather than becoming a layer: names that mark
/// a deletion in a layer are names like any other, and the top directory is left as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Destination {
    /// The directory below the target that names are relative to, without symbolic links and
    /// slashes at its ends; see [`path_to_text`]. Empty for the target itself. Links on the way of
    /// an entry are resolved in the target and not in this directory.
    pub directory: String,
    /// Refuse to put a directory in place of anything else, and anything else in place of a
    /// directory.
    pub keep_kinds: bool,
    /// User and group of everything that is made, instead of the archive's.
    pub owner: Option<(u32, u32)>,
}

/// What the helper is to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// Process id of the caller, without whom the helper must not go on.
    pub caller: u32,
    /// Whether a journal descriptor comes with the request.
    pub journal: bool,
    /// What the archive may ask for.
    pub budget: Budget,
    /// Where it is no layer: what it is unpacked into.
    #[serde(default)]
    pub into: Option<Destination>,
}

/// The descriptors of a request, as the helper gets them.
#[derive(Debug)]
pub struct Descriptors {
    /// Where the archive is read from: file, pipe or socket.
    pub archive: OwnedFd,
    /// The directory it is unpacked into.
    pub target: OwnedFd,
    /// Where the journal is written to, from the descriptor's position on.
    pub journal: Option<OwnedFd>,
}

/// How an archive was compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Not at all.
    Plain,
    /// RFC 1952, one or more members.
    Gzip,
    /// bzip2, one or more streams.
    Bzip2,
    /// xz, one or more streams.
    Xz,
    /// RFC 8878, one or more frames.
    Zstd,
}

/// What the helper did.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Report {
    /// The archive is unpacked.
    Done(Done),
    /// It is not.
    Error {
        /// Whose fault it is.
        kind: Fault,
        /// The whole message.
        message: String,
    },
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// The archive is wrong.
    Archive,
    /// The archive asks for more than its budget.
    Budget,
    /// The machine failed.
    Machine,
}

/// The facts of an unpacked archive.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {
    /// SHA-256 of the uncompressed stream.
    pub diff_id: Digest,
    /// SHA-256 of the stream as read.
    pub digest: Digest,
    /// Length of the stream as read.
    pub read_bytes: u64,
    /// Length of the uncompressed stream.
    pub stream_bytes: u64,
    /// Apparent size of the regular files that are there now.
    pub bytes: u64,
    /// Inodes made that are there now, the target itself not counted.
    pub inodes: u64,
    /// How the archive was compressed.
    pub format: Format,
    /// Extended attributes left out: host labels, or set where Linux has none.
    pub ignored_xattrs: u64,
    /// Directories to be marked opaque, below the target, without symbolic links; see
    /// [`path_to_text`].
    pub opaque: Vec<String>,
}

/// A path as JSON can carry it: each byte is the character of that number.
pub fn path_to_text(path: &[u8]) -> String {
    path.iter().map(|byte| char::from(*byte)).collect()
}

/// The reverse of [`path_to_text`]; `None` when the text is not of its making.
pub fn text_to_path(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(c).ok()).collect()
}

/// Sends a request with its descriptors, in the order archive, target, journal.
///
/// # Errors
/// The kernel's answer to `sendmsg(2)`, `EPIPE` when the helper is gone; `InvalidFilename` where
/// the directory's path is too long for one request.
pub fn send_request(
    socket: BorrowedFd<'_>,
    request: &Request,
    archive: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    journal: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    if line.len() > REQUEST_LIMIT {
        return Err(io::ErrorKind::InvalidFilename.into());
    }
    let mut descriptors = vec![archive, target];
    descriptors.extend(journal);
    let mut space = [MaybeUninit::uninit(); control_space()];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let data = [io::IoSlice::new(&line)];
    let sent = sendmsg(socket, &data, &mut control, SendFlags::NOSIGNAL)?;
    if sent == line.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// Receives what [`send_request`] sent. A line this short comes in one piece.
///
/// # Errors
/// `UnexpectedEof` when the caller is gone, `InvalidData` when the line is no request or the
/// descriptors do not fit it, or the kernel's answer to `recvmsg(2)`.
pub fn receive_request(socket: impl AsFd) -> io::Result<(Request, Descriptors)> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut line = vec![0; REQUEST_LIMIT];
    let mut space = [MaybeUninit::uninit(); control_space()];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        socket,
        &mut [io::IoSliceMut::new(&mut line)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(received.bytes);
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    let request: Request = serde_json::from_slice(&line)?;
    let mut descriptors = descriptors.into_iter();
    let mut next = || descriptors.next();
    let (Some(archive), Some(target)) = (next(), next()) else {
        return Err(invalid("the request came without its descriptors"));
    };
    let journal = next();
    if journal.is_some() != request.journal {
        return Err(invalid("the journal's descriptor does not fit the request"));
    }
    let descriptors = Descriptors {
        archive,
        target,
        journal,
    };
    Ok((request, descriptors))
}

/// Space for the control message of all descriptors.
const fn control_space() -> usize {
    berth_sys::rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_survives_as_text() {
        let path: Vec<u8> = (0..=255).collect();
        let json = serde_json::to_string(&path_to_text(&path)).unwrap();
        let text: String = serde_json::from_str(&json).unwrap();
        assert_eq!(text_to_path(&text), Some(path));
        assert_eq!(text_to_path("\u{100}"), None);
    }

    #[test]
    fn the_largest_request_fits() {
        let request = Request {
            caller: u32::MAX,
            journal: true,
            budget: Budget {
                stream_bytes: u64::MAX,
                bytes: u64::MAX,
                ..Budget::default()
            },
            into: None,
        };
        assert!(serde_json::to_vec(&request).unwrap().len() < REQUEST_LIMIT / 4);
    }
}
