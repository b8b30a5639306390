//! Making a process inside new namespaces with `clone3(2)`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::thread::UnshareFlags;

/// Which side of a [`clone3`] the caller is on.
#[derive(Debug)]
pub enum Cloned {
    /// The caller, with the new process.
    Parent {
        /// Process id in the caller's namespace.
        pid: i32,
        /// The process itself, safe against reuse of the number; close-on-exec.
        pidfd: OwnedFd,
    },
    /// The new process. It ends with an `execve` or with [`crate::process::exit_now`], never by
    /// returning into the caller's event loop.
    Child,
}

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` of `linux/sched.h`, up to the member that Linux 5.7 added.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// The flags that make namespaces. The other ones of `unshare(2)` mean the opposite in a clone.
fn namespace_flags() -> UnshareFlags {
    UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWUSER
        | UnshareFlags::NEWCGROUP
        | UnshareFlags::NEWTIME
}

/// Makes a copy of this process in new `namespaces` and, on cgroup v2, already inside `cgroup`
/// (a directory descriptor). The copy has its own memory, so it may allocate, and shares open
/// files only as a fork does. `SIGCHLD` is sent when it ends.
///
/// A process with several threads cannot be copied soundly: a lock that another thread held would
/// stay locked in the copy. The kernel is asked about that first, by an `unshare(CLONE_THREAD)`,
/// which changes nothing in a process of one thread and is refused in any other; that costs one
/// system call and needs no `/proc`.
///
/// # Errors
/// `EINVAL` for flags that are no namespaces and for a process of several threads, and whatever
/// `clone3(2)` says, which needs Linux 5.3, and 5.7 for `cgroup`.
pub fn clone3(namespaces: UnshareFlags, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    if !(namespaces - namespace_flags()).is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    refuse_threads()?;
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: u64::from(namespaces.bits()) | CLONE_PIDFD,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(directory) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = directory.as_raw_fd() as u64;
    }
    // SAFETY: `args` is a valid `clone_args` of the given size. Neither CLONE_VM nor a stack is
    // asked for, so the child runs on its own copy of this stack, and no other thread exists
    // whose locks or stack could be missing in the copy.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    match result {
        0 => Ok(Cloned::Child),
        pid if pid > 0 => {
            // SAFETY: the kernel stored a new descriptor here, which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent {
                pid: pid as i32,
                pidfd,
            })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

fn refuse_threads() -> io::Result<()> {
    // SAFETY: CLONE_THREAD has no effect in `unshare(2)` beyond the check described above.
    match unsafe { libc::unshare(libc::CLONE_THREAD) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_is_refused() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || stopped.recv());
        let error = clone3(UnshareFlags::empty(), None).map(|_| ()).unwrap_err();
        drop(stop);
        assert!(other.join().is_ok());
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn flags_that_are_no_namespace_are_refused() {
        let error = clone3(UnshareFlags::FILES, None).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
