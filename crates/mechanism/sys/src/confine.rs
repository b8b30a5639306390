//! Giving up what a helper does not need and [`rustix`] has no safe call for.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

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
