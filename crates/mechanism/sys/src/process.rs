//! What a process does to itself on its way into another program, and what can be asked of one.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use berth_types::launch::ProcessIdentity;
use rustix::thread::UnshareFlags;

use crate::pidfd::Exit;

const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;

/// Longest `/proc/PID/stat` that is read.
const MAX_STAT: usize = 4096;

/// Position of the start time in `/proc/PID/stat`, counted after the command's closing
/// parenthesis (field 22; the state, field 3, is 0).
const START_TIME: usize = 19;
/// `num_threads` and `exit_code`, counted likewise.
const THREADS: usize = 17;
const EXIT_STATUS: usize = 49;

/// Executes `program`. Returns only if that failed, with the reason.
pub fn exec(program: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |list: &[CString]| -> Vec<*const c_char> {
        list.iter()
            .map(|s| s.as_ptr())
            .chain(std::iter::once(std::ptr::null()))
            .collect()
    };
    let (argv, envp) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end with a null pointer and point to C strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends this process at once: no destructor and no exit handler runs, which after a clone belong
/// to the parent.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Sets every signal to its default action and unblocks all: an ignored signal and the mask
/// would outlive an `execve`. Past the C library, which keeps two of them for itself and would
/// pass them on as they were inherited.
pub fn reset_signals() {
    /// `struct kernel_sigaction`: handler, flags, restorer, mask; the default action is all zeros.
    const DEFAULT: [u64; 4] = [0; 4];
    const MASK_SIZE: usize = 8;
    const LAST_SIGNAL: i32 = 64;
    for signal in 1..=LAST_SIGNAL {
        // SAFETY: the kernel reads one `kernel_sigaction`; the default action runs no code of
        // ours. The two signals that cannot be changed are refused without effect.
        unsafe {
            let old = std::ptr::null_mut::<u64>();
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                old,
                MASK_SIZE,
            )
        };
    }
    let none: u64 = 0;
    // SAFETY: the kernel reads one set of 64 signals.
    unsafe {
        let old = std::ptr::null_mut::<u64>();
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            old,
            MASK_SIZE,
        )
    };
}

/// Marks every descriptor from `first` on close-on-exec (`close_range(2)`, Linux 5.11).
///
/// # Errors
/// `EINVAL` on an older kernel.
pub fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: nothing is closed now; after an `execve` no owner of a descriptor is left.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Makes `fds` the standard input, output and error of this process, and consumes them. Whatever
/// was there is closed, whoever owned it: for a process that is about to execute a program.
///
/// # Errors
/// As `fcntl(2)` and `dup2(2)`.
pub fn replace_stdio(fds: [OwnedFd; 3]) -> io::Result<()> {
    // None of the sources may be a target of another: all go above first.
    let mut above = Vec::with_capacity(fds.len());
    for fd in fds {
        above.push(if fd.as_raw_fd() < 3 {
            rustix::io::fcntl_dupfd_cloexec(&fd, 3)?
        } else {
            fd
        });
    }
    for (target, fd) in above.iter().enumerate() {
        // SAFETY: the targets are the standard descriptors, which no `OwnedFd` of this process
        // uses any more.
        if unsafe { libc::dup2(fd.as_raw_fd(), target as RawFd) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Leaves the session keyring of the caller for a new, empty one. A kernel without keyrings has
/// none to leave.
///
/// # Errors
/// `EDQUOT` when the user has too many keyrings.
pub fn new_session_keyring() -> io::Result<()> {
    // SAFETY: a null name asks for an anonymous keyring; no memory is read.
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<c_char>(),
        )
    };
    match result {
        -1 => match io::Error::last_os_error() {
            e if e.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
            e => Err(e),
        },
        _ => Ok(()),
    }
}

/// Moves this process into new namespaces. Only namespaces: descriptors stay shared.
///
/// # Errors
/// As `unshare(2)`.
pub fn unshare_namespaces(namespaces: UnshareFlags) -> io::Result<()> {
    let allowed = namespaces - (UnshareFlags::FILES | UnshareFlags::FS | UnshareFlags::SYSVSEM);
    // SAFETY: the descriptor table is not unshared.
    Ok(unsafe { rustix::thread::unshare_unsafe(allowed) }?)
}

/// The identity of process `pid`; works for one that has ended and was not reaped.
///
/// # Errors
/// `NotFound` when there is no such process, `InvalidData` when procfs is not as documented.
pub fn identity(pid: i32) -> io::Result<ProcessIdentity> {
    let file = rustix::fs::open(
        format!("/proc/{pid}/stat"),
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    let mut buffer = [0; MAX_STAT];
    let length = rustix::io::read(file.as_fd(), &mut buffer)?;
    let start_time = buffer
        .get(..length)
        .and_then(start_time)
        .ok_or(io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(ProcessIdentity { pid, start_time })
}

/// What the kernel says of a process that is known by its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It lives, or one of its threads does.
    Alive,
    /// It has ended so, and nobody has reaped it.
    Ended(Exit),
    /// There is no such process any more; its number may be another's.
    Gone,
}

/// Whether a process lives, and how it ended where it is nobody's child that was reaped. Needs no
/// relation to it: the kernel shows the status to whoever may trace it (`proc_pid_stat(5)`).
///
/// # Errors
/// `InvalidData` when procfs is not as documented.
pub fn life(process: ProcessIdentity) -> io::Result<Life> {
    let stat = match std::fs::read(format!("/proc/{}/stat", process.pid)) {
        Ok(stat) => stat,
        // The second one ended while it was read.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {
            return Ok(Life::Gone);
        }
        Err(e) => return Err(e),
    };
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    match life_of(&stat).ok_or_else(invalid)? {
        (start_time, life) if start_time == process.start_time => Ok(life),
        _ => Ok(Life::Gone),
    }
}

fn life_of(stat: &[u8]) -> Option<(u64, Life)> {
    let after = stat.iter().rposition(|b| *b == b')')? + 1;
    let text = std::str::from_utf8(stat.get(after..)?).ok()?;
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let start_time = fields.get(START_TIME)?.parse().ok()?;
    let threads: u32 = fields.get(THREADS)?.parse().ok()?;
    let status: i32 = fields.get(EXIT_STATUS)?.parse().ok()?;
    let is_dead = matches!(*fields.first()?, "Z" | "X") && threads <= 1;
    let exit = match status & 0x7f {
        0 => Exit::Code(status >> 8 & 0xff),
        signal => Exit::Signal(signal),
    };
    let life = if is_dead {
        Life::Ended(exit)
    } else {
        Life::Alive
    };
    Some((start_time, life))
}

/// The command may hold spaces and parentheses, so counting begins after its last one.
fn start_time(stat: &[u8]) -> Option<u64> {
    let after = stat.iter().rposition(|b| *b == b')')? + 1;
    let text = std::str::from_utf8(stat.get(after..)?).ok()?;
    text.split_ascii_whitespace().nth(START_TIME)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_cannot_fake_the_start_time() {
        let line = b"7 (a) 1 2 (b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 2 3";
        assert_eq!(start_time(line), Some(4242));
        assert_eq!(start_time(b"7 (a"), None);
    }

    #[test]
    fn a_child_is_alive_then_ended_then_gone() {
        for (script, exit) in [
            ("read x; exit 7", Exit::Code(7)),
            ("read x; kill -KILL $$", Exit::Signal(9)),
        ] {
            let mut child = std::process::Command::new("/bin/sh")
                .args(["-c", script])
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let process = identity(child.id() as i32).unwrap();
            assert_eq!(life(process).unwrap(), Life::Alive);
            let stranger = ProcessIdentity {
                start_time: process.start_time + 1,
                ..process
            };
            assert_eq!(life(stranger).unwrap(), Life::Gone);
            let pidfd = crate::pidfd::open(process.pid).unwrap();
            drop(child.stdin.take());
            // Ended, and not reaped.
            let mut ended = [rustix::event::PollFd::new(
                &pidfd,
                rustix::event::PollFlags::IN,
            )];
            rustix::event::poll(&mut ended, None).unwrap();
            assert_eq!(life(process).unwrap(), Life::Ended(exit));
            child.wait().unwrap();
            assert_eq!(life(process).unwrap(), Life::Gone);
        }
    }

    #[test]
    fn identity_of_this_process() {
        let pid = std::process::id() as i32;
        let id = identity(pid).unwrap();
        assert_eq!(id.pid, pid);
        assert!(id.start_time > 0);
    }
}
