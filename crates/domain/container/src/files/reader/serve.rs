//! The reader's side: one question after the other, until nobody asks any more.

use std::io::{self, Read as _, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use berth_storage::archive::{Form, TreeOptions, write_path, write_tree};
use berth_sys::path as resolve;
use berth_sys::rustix::fs::{FileType, OFlags, StatVfsMountFlags, fstat, fstatvfs};
use berth_sys::rustix::thread::set_name;

use super::{
    Errand, Failure, HEAD, PIECE, Request, Seen, Source, Target, confine, encode, head, receive,
    send,
};
use crate::devices;
use crate::files::place::{self, Found, Wanted};

/// Largest `/etc/passwd` of a container that is read, in bytes.
const PASSWD_MAX: u64 = 1 << 20;
const NANOS: i64 = 1_000_000_000;

/// What was looked at and may be sent.
struct Outgoing {
    found: Found,
    options: TreeOptions,
}

/// The life of a reader: it answers on its standard input, a socket.
pub fn main() -> ExitCode {
    // For lists of processes; any name would do.
    let _ = set_name(c"berth-files");
    // The engine's directory may be one that somebody wants to unmount.
    let _ = std::env::set_current_dir("/");
    let is_for_host = std::env::args_os()
        .nth(1)
        .is_some_and(|errand| errand == Errand::Host.name());
    let confined = match is_for_host {
        true => Ok(()),
        false => confine::enter(),
    };
    let socket = confined.and_then(|()| io::stdin().as_fd().try_clone_to_owned());
    // Whoever asked is told by the end of the socket.
    match socket.and_then(|socket| serve(&UnixStream::from(socket))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Answers on a socket until its other end is closed.
///
/// # Errors
/// The socket fails.
pub(super) fn serve(socket: &UnixStream) -> io::Result<()> {
    let mut outgoing = None;
    loop {
        let mut descriptors = Vec::new();
        let Some(request) = receive(socket, &mut descriptors)? else {
            return Ok(());
        };
        let mut root = || descriptors.pop().ok_or(io::ErrorKind::InvalidData);
        match request {
            Request::Look { path, keep } => {
                let looked = look(&root()?, &path);
                let seen = looked.map(|(seen, found)| {
                    outgoing = keep.then_some(found);
                    seen
                });
                send(socket, &seen.map_err(Failure::from), &[])?;
            }
            Request::Send => give(socket, outgoing.take().ok_or(io::ErrorKind::InvalidData)?)?,
            Request::Target { path, user } => {
                let target = target(&root()?, &path, user.as_deref());
                send(socket, &target.map_err(Failure::from), &[])?;
            }
            Request::Sources(sources) => send(socket, &check(&sources), &[])?,
            Request::Devices(asked) => {
                let nodes = devices::look(&asked).map_err(|error| said(&error));
                send(socket, &nodes, &[])?;
            }
        }
    }
}

fn wanted(path: &str) -> io::Result<Wanted> {
    Wanted::read(path).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

fn look(root: &OwnedFd, path: &str) -> io::Result<(Seen, Outgoing)> {
    let wanted = wanted(path)?;
    let found = place::find(root, &wanted)?;
    let canonical = place::path_of(&found.fd)?;
    let stat = &found.stat;
    let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    let seen = Seen {
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        mode: stat.st_mode,
        modified: stat
            .st_mtime
            .saturating_mul(NANOS)
            .saturating_add(i64::try_from(stat.st_mtime_nsec).unwrap_or_default()),
        link_target: is_link.then(|| place::end_of_link(root, &wanted, &found.fd)),
        canonical,
    };
    let options = TreeOptions {
        form: Form::Plain,
        name: wanted.name.into_bytes(),
        // Of the whole root that would be the kernel's file systems too.
        cross_mounts: seen.canonical != "/",
    };
    Ok((seen, Outgoing { found, options }))
}

fn give(socket: &UnixStream, outgoing: Outgoing) -> io::Result<()> {
    let Outgoing { found, options } = outgoing;
    let mut pieces = Pieces::new(socket);
    let written = match &found.inside {
        Some((above, name)) if !found.is_directory() => {
            write_path(above.as_fd(), name, &options, &mut pieces)
        }
        _ => write_tree(found.fd.as_fd(), &options, &mut pieces),
    };
    // Who has the answer finds nothing of it held any more.
    drop(found);
    let done = written.map(drop).map_err(|error| said(&error));
    pieces.end(&done)
}

/// A failure that is a sentence already.
fn said(error: &dyn std::error::Error) -> Failure {
    Failure {
        number: None,
        text: berth_types::chain(error),
        subject: 0,
    }
}

/// An archive on its way, in pieces with their lengths.
struct Pieces<'a> {
    socket: &'a UnixStream,
    /// Room for the length, and the piece.
    bytes: Vec<u8>,
}

impl<'a> Pieces<'a> {
    fn new(socket: &'a UnixStream) -> Self {
        let mut bytes = Vec::with_capacity(HEAD + PIECE);
        bytes.resize(HEAD, 0);
        Self { socket, bytes }
    }

    /// Completes the piece, if there is any of it.
    fn close_piece(&mut self) -> io::Result<()> {
        if self.bytes.len() > HEAD {
            let length = head(self.bytes.len() - HEAD)?;
            self.bytes.splice(..HEAD, length);
        } else {
            self.bytes.clear();
        }
        Ok(())
    }

    /// Sends what is left, the mark of the end, and what came of it.
    fn end(mut self, done: &Result<(), Failure>) -> io::Result<()> {
        self.close_piece()?;
        self.bytes.extend(head(0)?);
        self.bytes.extend(encode(done)?);
        self.socket.write_all(&self.bytes)
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = (HEAD + PIECE - self.bytes.len()).min(bytes.len());
        self.bytes
            .extend_from_slice(bytes.get(..room).unwrap_or_default());
        if self.bytes.len() == HEAD + PIECE {
            self.close_piece()?;
            self.socket.write_all(&self.bytes)?;
            self.bytes.truncate(HEAD);
        }
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn target(root: &OwnedFd, path: &str, user: Option<&str>) -> io::Result<Target> {
    let mut wanted = wanted(path)?;
    wanted.is_directory = true;
    let found = place::find(root, &wanted)?;
    let about = fstatvfs(&found.fd)?;
    Ok(Target {
        canonical: place::path_of(&found.fd)?,
        read_only: about.f_flag.contains(StatVfsMountFlags::RDONLY),
        owner: user.and_then(|user| owner(root, user)),
    })
}

/// Whether the sources are there, those made that may be. The failure says which one is missing.
fn check(sources: &[Source]) -> Result<(), Failure> {
    for (subject, source) in sources.iter().enumerate() {
        let made = match std::fs::metadata(&source.path) {
            Err(_) if source.make => std::fs::create_dir_all(&source.path),
            found => found.map(drop),
        };
        made.map_err(|error| Failure {
            subject,
            ..error.into()
        })?;
    }
    Ok(())
}

/// User and group of `user[:group]`, by the container's own `/etc/passwd` and `/etc/group`.
fn owner(root: &OwnedFd, user: &str) -> Option<(u32, u32)> {
    let (user, group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (user, None),
    };
    let passwd = text(root, "/etc/passwd");
    let line = passwd.lines().find(|line| {
        let mut fields = line.split(':');
        fields.next() == Some(user) || fields.nth(1) == Some(user)
    });
    let field = |line: &str, n| line.split(':').nth(n).and_then(|text| text.parse().ok());
    let uid = match user.parse() {
        Ok(uid) => uid,
        Err(_) => field(line?, 2)?,
    };
    let gid = match group {
        None => line.and_then(|line| field(line, 3)).unwrap_or(0),
        Some(group) => match group.parse() {
            Ok(gid) => gid,
            Err(_) => {
                let groups = text(root, "/etc/group");
                let named = |line: &&str| line.split(':').next() == Some(group);
                field(groups.lines().find(named)?, 2)?
            }
        },
    };
    Some((uid, gid))
}

/// A small file of a container; nothing where there is none.
fn text(root: &OwnedFd, path: &str) -> String {
    let opened = resolve::open(root, path, OFlags::RDONLY | OFlags::NONBLOCK);
    let Ok(fd) = opened else {
        return String::new();
    };
    let is_file =
        fstat(&fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    let mut text = Vec::new();
    if is_file {
        // What could be read of a broken file is what there is.
        let _ = std::fs::File::from(fd)
            .take(PASSWD_MAX)
            .read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}
