//! How much of what was sent the peer has not taken yet.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

/// Bytes, kernel bookkeeping included, that the peer of a Unix stream socket has not read yet
/// (`SIOCOUTQ`, `unix(7)`); zero means that it has read everything.
///
/// # Errors
/// The descriptor is no socket.
pub fn unread(socket: impl AsFd) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (the number of TIOCOUTQ) writes one int to the address it is given, which
    // is that of a live local variable.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn it_is_nothing_once_the_peer_has_read() {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        assert_eq!(unread(&near).unwrap(), 0);
        near.write_all(b"head").unwrap();
        assert!(unread(&near).unwrap() > 0);
        far.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(unread(&near).unwrap(), 0);
    }
}
