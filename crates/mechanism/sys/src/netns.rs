//! Network namespaces. A thread that went into one never comes back to others' work: it ends.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// Enough for the few system calls that such a thread makes.
const STACK: usize = 128 << 10;

/// The network namespace of the calling thread.
///
/// # Errors
/// Without `/proc`.
pub fn current() -> io::Result<OwnedFd> {
    let (flags, mode) = (OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    Ok(rustix::fs::open("/proc/thread-self/ns/net", flags, mode)?)
}

/// Makes a network namespace and does `prepare` in it, where `/proc/sys/net` is that namespace's
/// and sockets are opened in it.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`; what `prepare` says.
pub fn create<T: Send>(prepare: impl FnOnce() -> io::Result<T> + Send) -> io::Result<(OwnedFd, T)> {
    in_thread(|| {
        // SAFETY: the thread ends after this, so that nothing else runs in its namespace; the
        // flag shares no memory or descriptors differently.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?;
        Ok((current()?, prepare()?))
    })
}

/// Does `work` in a namespace.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` in it; what `work` says.
pub fn within<T: Send>(
    namespace: impl AsFd,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let namespace = namespace.as_fd();
    in_thread(|| {
        let kind = Some(LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(namespace, kind)?;
        work()
    })
}

fn in_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, work)?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    })
}
