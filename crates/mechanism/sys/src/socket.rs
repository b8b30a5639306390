//! Unix sockets that carry descriptors, know their peer, and live at paths of any length.
//!
//! `sun_path` holds 108 bytes, less than a deep data root plus a container id. A socket is
//! therefore always named through an open directory, as `/proc/self/fd/N/name`: that is short
//! whatever the directory is called, and cannot be redirected by renaming a parent.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

/// Most descriptors that one message carries (`SCM_RIGHTS`; the kernel's own limit is 253).
pub const DESCRIPTORS_MAX: usize = 64;

/// Who is on the other side of a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Process id, in our namespace, at the time of `connect` or `listen`.
    pub pid: i32,
    /// Effective user id at that time.
    pub uid: u32,
}

/// The peer's credentials (`SO_PEERCRED`), taken by the kernel when the connection was made.
pub fn peer(socket: impl AsFd) -> io::Result<Peer> {
    let credentials = rustix::net::sockopt::socket_peercred(socket)?;
    Ok(Peer {
        pid: credentials.pid.as_raw_nonzero().get(),
        uid: credentials.uid.as_raw(),
    })
}

/// Sends `data` and `descriptors` in one message and returns how many bytes the socket took; the
/// descriptors travel with the first of them. Never raises `SIGPIPE`.
pub fn send(
    socket: impl AsFd,
    data: &[IoSlice<'_>],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    if descriptors.len() > DESCRIPTORS_MAX {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    loop {
        match rustix::net::sendmsg(&socket, data, &mut control, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Receives up to `buffer.len()` bytes and appends the descriptors that came with them,
/// close-on-exec. 0 is the end of the stream. A message whose descriptors did not fit is an
/// error: none of them may be lost unseen.
pub fn receive(
    socket: impl AsFd,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let slices = &mut [IoSliceMut::new(buffer)];
        match rustix::net::recvmsg(&socket, slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            result => break result?,
        }
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a message carried more than {DESCRIPTORS_MAX} descriptors"),
        ));
    }
    Ok(received.bytes)
}

/// Opens a directory to name sockets and files through, without following a last symbolic link.
pub fn open_directory(path: &std::path::Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Makes a listening socket `name` in `directory` that only its owner may connect to (0600).
/// The mode is set by the file-creation mask, so there is no moment with a wider one; the caller
/// must be single-threaded for that.
pub fn bind_at(directory: BorrowedFd<'_>, name: &str) -> io::Result<UnixListener> {
    let path = path_of(directory, name);
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    listener
}

/// Connects to the socket `name` in `directory`. Where its queue is full, and for every later write,
/// that takes at most `within` (`unix(7)`: the send timeout holds for `connect`, too).
///
/// # Errors
/// As `connect(2)`; `WouldBlock` when nobody took the connection in time.
pub fn connect_at(
    directory: BorrowedFd<'_>,
    name: &str,
    within: Duration,
) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path_of(directory, name))?;
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let socket = UnixStream::from(socket);
    socket.set_write_timeout(Some(within))?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

fn path_of(directory: BorrowedFd<'_>, name: &str) -> String {
    format!("/proc/self/fd/{}/{name}", directory.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn descriptors_arrive_with_the_first_byte() {
        let (a, b) = UnixStream::pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let parts = [IoSlice::new(b"he"), IoSlice::new(b"llo")];
        assert_eq!(send(&a, &parts, &[write.as_fd()]).unwrap(), 5);
        drop((a, write));

        let mut descriptors = Vec::new();
        let mut buffer = [0; 1];
        assert_eq!(receive(&b, &mut buffer, &mut descriptors).unwrap(), 1);
        assert_eq!(descriptors.len(), 1);
        let flags = rustix::io::fcntl_getfd(&descriptors[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        std::fs::File::from(descriptors.remove(0))
            .write_all(b"through")
            .unwrap();
        let mut text = String::new();
        std::fs::File::from(read).read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");

        let mut rest = [0; 16];
        assert_eq!(receive(&b, &mut rest, &mut descriptors).unwrap(), 4);
        assert_eq!(
            receive(&b, &mut rest, &mut descriptors).unwrap(),
            0,
            "end of stream"
        );
        assert!(descriptors.is_empty());
    }

    #[test]
    fn a_socket_lives_below_a_path_longer_than_sun_path() {
        let top = std::env::temp_dir().join(format!("berth-socket-{}", std::process::id()));
        let deep = top.join("d".repeat(120));
        std::fs::create_dir_all(&deep).unwrap();
        let directory = open_directory(&deep).unwrap();
        let listener = bind_at(directory.as_fd(), "s.sock").unwrap();
        let mode = {
            use std::os::unix::fs::PermissionsExt;
            std::fs::metadata(deep.join("s.sock"))
                .unwrap()
                .permissions()
                .mode()
        };
        assert_eq!(mode & 0o777, 0o600);
        let client = connect_at(directory.as_fd(), "s.sock", Duration::from_secs(10)).unwrap();
        let (server, _) = listener.accept().unwrap();
        let me = Peer {
            pid: i32::try_from(std::process::id()).unwrap(),
            uid: rustix::process::geteuid().as_raw(),
        };
        assert_eq!(peer(&server).unwrap(), me);
        assert_eq!(peer(&client).unwrap(), me);
        std::fs::remove_dir_all(&top).unwrap();
    }

    #[test]
    fn a_listener_that_takes_nobody_is_not_waited_for() {
        let top = std::env::temp_dir().join(format!("berth-queue-{}", std::process::id()));
        std::fs::create_dir_all(&top).unwrap();
        let directory = open_directory(&top).unwrap();
        let listener = bind_at(directory.as_fd(), "s.sock").unwrap();
        // A queue for one.
        rustix::net::listen(&listener, 0).unwrap();
        let connect = || connect_at(directory.as_fd(), "s.sock", Duration::from_millis(50));
        let _first = connect().unwrap();
        let refused = connect().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        std::fs::remove_dir_all(&top).unwrap();
    }
}
