//! Sockets that the service manager opened for us (`sd_listen_fds(3)`).

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;

use rustix::io::FdFlags;
use rustix::net::{AddressFamily, sockopt};

/// The first passed descriptor.
const FIRST: i32 = 3;
/// Most descriptors that are taken.
const MAX: i32 = 64;

/// Passed sockets that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// `LISTEN_FDS` says nonsense.
    #[error("LISTEN_FDS={0:?} is no number from 0 to {MAX}")]
    Count(String),
    /// A descriptor is not what it has to be.
    #[error(
        "passed descriptor {descriptor} is no listening Unix socket; take other sockets out of the socket unit"
    )]
    Socket {
        /// Its number.
        descriptor: i32,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Takes the sockets that were passed to this process, in their order, close-on-exec; none without
/// a manager that passes some. To be called once, before the process opens anything, by its only
/// thread.
///
/// # Errors
/// One of them is no listening Unix socket.
pub fn listeners() -> Result<Vec<UnixListener>, ListenError> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    // Another process' variables are inherited by its children.
    if variable("LISTEN_PID") != std::process::id().to_string() {
        return Ok(Vec::new());
    }
    let count = variable("LISTEN_FDS");
    let count = match count.parse::<i32>() {
        Ok(number @ 0..=MAX) => number,
        _ => return Err(ListenError::Count(count)),
    };
    let numbers = FIRST..FIRST + count;
    numbers
        .map(|descriptor| {
            // SAFETY: the manager's protocol gives us these descriptors; nobody else in this
            // process knows of them, and the caller sees to it that they are taken once.
            let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
            listener(owned).map_err(|source| ListenError::Socket { descriptor, source })
        })
        .collect()
}

fn listener(descriptor: OwnedFd) -> io::Result<UnixListener> {
    rustix::io::fcntl_setfd(&descriptor, FdFlags::CLOEXEC)?;
    let fits = sockopt::socket_domain(&descriptor)? == AddressFamily::UNIX
        && sockopt::socket_acceptconn(&descriptor)?
        && sockopt::socket_type(&descriptor)? == rustix::net::SocketType::STREAM;
    if fits {
        Ok(descriptor.into())
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listening_sockets_are_taken() {
        let directory = std::env::temp_dir().join(format!("berth-listen-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let socket = UnixListener::bind(directory.join("s")).unwrap();
        assert!(listener(socket.into()).is_ok());
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(listener(one.into()).is_err());
        assert!(listener(std::fs::File::open("/dev/null").unwrap().into()).is_err());
        std::fs::remove_dir_all(&directory).unwrap();
        // This process was given none.
        assert!(listeners().unwrap().is_empty());
    }
}
