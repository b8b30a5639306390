//! Giving up what a helper does not need.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::caps::{self, CapSet, Capability, CapsError, ThreadCaps};
use crate::seccomp::{Action, Condition, Operator, Rule};

/// `PROT_EXEC` of `mman.h`.
const PROT_EXEC: u64 = 4;

/// Calls that every helper needs: memory, waiting for its threads, ending.
const COMMON: &[&str] = &[
    "brk",
    "clock_gettime",
    "close",
    "exit",
    "exit_group",
    "futex",
    "getpid",
    "getrandom",
    "gettid",
    "madvise",
    "mremap",
    "munmap",
    "read",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "sigaltstack",
];

/// Leaves the calling thread these capabilities at most, of those that it has, and nothing to get
/// others from.
///
/// # Errors
/// The kernel's answer.
pub fn keep_capabilities(kept: CapSet) -> Result<(), CapsError> {
    caps::clear_ambient()?;
    let permitted = caps::get()?.permitted;
    if permitted.contains(Capability::Setpcap) {
        caps::limit_bounding(CapSet::EMPTY)?;
    }
    let kept = permitted.intersection(kept);
    caps::set(&ThreadCaps {
        effective: kept,
        permitted: kept,
        inheritable: CapSet::EMPTY,
    })
}

/// What the filter of this process allows in any case: memory that cannot be executed, waiting for
/// each other, ending; and these calls.
pub fn allowed_calls(more: &[&str]) -> Vec<Rule> {
    let not_executable = Condition {
        index: 2,
        operator: Operator::MaskedEqual { mask: PROT_EXEC },
        value: 0,
    };
    // How abort(3) ends this process; it must not end another.
    let only_self = Condition {
        index: 0,
        operator: Operator::Equal,
        value: u64::from(std::process::id()),
    };
    vec![
        rule(Action::Allow, COMMON, Vec::new()),
        rule(Action::Allow, more, Vec::new()),
        rule(Action::Allow, &["mmap", "mprotect"], vec![not_executable]),
        rule(Action::Allow, &["tgkill"], vec![only_self]),
    ]
}

/// What happens at these calls, where all conditions hold.
pub fn rule(action: Action, names: &[&str], conditions: Vec<Condition>) -> Rule {
    Rule {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action,
        conditions,
    }
}

/// Closes every descriptor above 2 but these (`close_range(2)`). 0, 1 and 2 stay, so that nothing
/// opened later is taken for a standard stream.
///
/// For the first moments of a helper, before it owns anything: whoever still holds a closed
/// descriptor finds it gone (`EBADF`) or, worse, taken by another file.
///
/// # Errors
/// The kernel's answer, `ENOSYS` before Linux 5.9.
pub fn close_all_but(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    // Descriptors are never negative.
    let mut kept: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    kept.retain(|number| *number > 2);
    kept.sort_unstable();
    let mut first = 3;
    for number in kept {
        if number > first {
            close_range(first, number - 1)?;
        }
        first = number + 1;
    }
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: the call touches no memory; whose descriptors these are is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0_u32) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
