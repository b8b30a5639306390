//! Starting helper processes cheaply and living as one.
//!
//! A helper is executed with `posix_spawn`, which shares the caller's memory until the program
//! runs: the size of the engine does not matter. `std` takes that way as long as nothing has to
//! be done between the two, so the helper does the rest itself.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::{Pid, PidfdFlags};

/// A process that was started here.
#[derive(Debug)]
pub struct Spawned {
    /// Its number in our namespace.
    pub pid: i32,
    /// A reference to it that outlives the number.
    pub pidfd: OwnedFd,
}

/// The helper's whole environment: its allocator keeps no cache of small freed pieces, which would
/// pin every page that one of them lies on for as long as the helper waits.
const ENVIRONMENT: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0");

/// Executes the open file `program` as `name argument`, with `stdin` as descriptor 0,
/// `/dev/null` as 1 and 2, no other descriptor and nothing of our environment. The child is ours
/// to reap.
pub fn spawn(
    program: BorrowedFd<'_>,
    name: &str,
    argument: &OsStr,
    stdin: OwnedFd,
) -> io::Result<Spawned> {
    let child = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
        .arg0(name)
        .arg(argument)
        .env_clear()
        .env(ENVIRONMENT.0, ENVIRONMENT.1)
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let pid = i32::try_from(child.id()).map_err(|_| io::ErrorKind::InvalidData)?;
    let number = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?;
    // The number cannot be reused before we reap the child.
    let pidfd = rustix::process::pidfd_open(number, PidfdFlags::empty())?;
    Ok(Spawned { pid, pidfd })
}

/// Makes the given signals do nothing here. They get a handler and are not set to "ignore",
/// because a disposition of "ignore" survives `execve` and would reach the container's program;
/// a handler is reset to the default by it.
pub fn absorb_signals(signals: &[i32]) -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    for &signal in signals {
        // SAFETY: all bytes zero is a valid `sigaction` with an empty mask.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: the handler touches nothing, so it may interrupt anything.
        if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// A descriptor that becomes readable when a child ends (`signalfd(2)` for `SIGCHLD`).
#[derive(Debug)]
pub struct ChildExits(OwnedFd);

impl ChildExits {
    /// Blocks `SIGCHLD` for this thread and opens the descriptor. The mask is inherited by what
    /// is started later, so start first, or reset it there.
    pub fn new() -> io::Result<Self> {
        let mut mask = MaybeUninit::uninit();
        // SAFETY: `sigemptyset` initialises the set that the other calls read; the descriptor
        // that `signalfd` returns is new and owned by nobody else.
        unsafe {
            libc::sigemptyset(mask.as_mut_ptr());
            libc::sigaddset(mask.as_mut_ptr(), libc::SIGCHLD);
            if libc::sigprocmask(libc::SIG_BLOCK, mask.as_ptr(), std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            let fd = libc::signalfd(-1, mask.as_ptr(), libc::SFD_NONBLOCK | libc::SFD_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// Takes the pending notices, so that the descriptor is quiet until the next child ends.
    pub fn clear(&self) {
        let mut notices = [0_u8; size_of::<libc::signalfd_siginfo>()];
        while rustix::io::read(&self.0, &mut notices).is_ok_and(|taken| taken > 0) {}
    }
}

impl AsFd for ChildExits {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{WaitId, WaitIdOptions};
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_helper_gets_its_socket_its_names_and_nothing_else() {
        let Ok(shell) = std::fs::File::open("/bin/sh") else {
            return;
        };
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let script = OsStr::new("-s");
        let child = spawn(shell.as_fd(), "helper", script, theirs.into()).unwrap();
        ours.write_all(b"test \"$0\" = helper -a -z \"$HOME\" && exit 41\n")
            .unwrap();
        let status =
            rustix::process::waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
        assert_eq!(status.unwrap().unwrap().exit_status(), Some(41));
    }
}
