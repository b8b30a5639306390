//! A filter that asks (`SECCOMP_RET_USER_NOTIF`, seccomp_unotify(2)): before each of some calls of
//! a thread and its children somebody decides whether the call happens or what it fails with.
//!
//! Not for confinement: what a call points at can change between the question and the call.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::{Filter, Instruction};
use crate::arch::Arch;

/// Loads a word of `struct seccomp_data` by its offset (`BPF_LD | BPF_W | BPF_ABS`).
const LOAD: u16 = 0x20;
/// Compares with a constant (`BPF_JMP | BPF_JEQ | BPF_K`).
const IS: u16 = 0x15;
/// Tests for any bit of a constant (`BPF_JMP | BPF_JSET | BPF_K`).
const HAS: u16 = 0x45;
/// Ends with a constant (`BPF_RET | BPF_K`).
const END: u16 = 0x06;
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// The lower half of the flags of `openat`.
const OPEN_FLAGS: u32 = 16 + 2 * 8;
/// Whoever waits for an answer can only be killed (`SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`).
const WAIT_KILLABLE: libc::c_ulong = 1 << 5;

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    id: u64,
    /// Who calls, as this process sees the thread.
    pub thread: u32,
    /// Its number, of the native architecture.
    pub number: u32,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It happens.
    Happen,
    /// It fails with this error number.
    Fail(i32),
}

/// The end of a filter where its questions arrive.
#[derive(Debug)]
pub struct Listener(OwnedFd);

/// A filter that asks before the native calls of these names, and before each `openat` that may
/// make a file. Unknown names are left out.
fn asking(calls: &[&str]) -> Option<Filter> {
    let does = |code, jump_true, jump_false, operand| Instruction {
        code,
        jump_true,
        jump_false,
        operand,
    };
    let happens = does(END, 0, 0, libc::SECCOMP_RET_ALLOW);
    let asks = does(END, 0, 0, libc::SECCOMP_RET_USER_NOTIF);
    let mut program = vec![
        does(LOAD, 0, 0, ARCHITECTURE),
        does(IS, 1, 0, Arch::NATIVE.audit()),
        happens,
        does(LOAD, 0, 0, NUMBER),
    ];
    let number = |name: &str| Arch::NATIVE.syscall_number(name);
    for found in calls.iter().filter_map(|name| number(name)) {
        program.extend([does(IS, 0, 1, found), asks]);
    }
    let makes = (libc::O_CREAT | libc::O_TMPFILE & !libc::O_DIRECTORY).cast_unsigned();
    program.extend([
        does(IS, 0, 3, number("openat")?),
        does(LOAD, 0, 0, OPEN_FLAGS),
        does(HAS, 0, 1, makes),
        asks,
        happens,
    ]);
    Filter::from_instructions(program).ok()
}

impl Listener {
    /// Puts a filter on the calling thread that asks before the calls of these names, and before
    /// each `openat` that may make a file. It stays on the thread and its children; where nobody
    /// listens any more such a call fails with `ENOSYS`.
    ///
    /// # Errors
    /// Those of `seccomp(2)`; `EBUSY` where the thread has such a filter.
    pub fn install(calls: &[&str]) -> io::Result<Self> {
        let filter = asking(calls).ok_or(io::ErrorKind::InvalidInput)?;
        let instructions = filter.instructions();
        let program = libc::sock_fprog {
            len: u16::try_from(instructions.len()).map_err(io::Error::other)?,
            filter: instructions.as_ptr().cast_mut().cast(),
        };
        // SAFETY: `program` points at `len` instructions laid out as `sock_filter`, alive and
        // unchanged during the call; the kernel only reads and copies them.
        let descriptor = unsafe {
            let operation = libc::SECCOMP_SET_MODE_FILTER;
            let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | WAIT_KILLABLE;
            libc::syscall(libc::SYS_seccomp, operation, flags, &raw const program)
        };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
        // SAFETY: the kernel has just made this descriptor, close-on-exec, for nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Waits for a question.
    ///
    /// # Errors
    /// Those of `SECCOMP_IOCTL_NOTIF_RECV`: `EINTR`, and `ENOENT` where the caller is gone again.
    pub fn next(&self) -> io::Result<Call> {
        // SAFETY: the structure consists of integers, and the kernel wants it to be zero.
        let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel fills the structure of this request, which outlives the call.
        let result = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                &raw mut call,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Call {
            id: call.id,
            thread: call.pid,
            number: call.data.nr.cast_unsigned(),
            arguments: call.data.args,
        })
    }

    /// Answers a question. That its caller was killed meanwhile is no error.
    ///
    /// # Errors
    /// Those of `SECCOMP_IOCTL_NOTIF_SEND`.
    pub fn answer(&self, call: &Call, answer: Answer) -> io::Result<()> {
        let mut reply = libc::seccomp_notif_resp {
            id: call.id,
            val: 0,
            error: 0,
            flags: 0,
        };
        match answer {
            Answer::Happen => reply.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
            Answer::Fail(number) => reply.error = -number,
        }
        // SAFETY: the kernel reads the structure of this request, which outlives the call.
        let result = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND,
                &raw mut reply,
            )
        };
        match io::Error::last_os_error() {
            _ if result >= 0 => Ok(()),
            error if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            error => Err(error),
        }
    }
}
