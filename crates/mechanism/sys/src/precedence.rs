//! Which threads of a process come first when there are more of them than processors.

use std::io;

/// `struct sched_attr` of `sched_setattr(2)`, in its first version.
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

const SCHED_OTHER: u32 = 0;
/// `SCHED_FLAG_RESET_ON_FORK`
const RESET_ON_FORK: u64 = 1;

/// Gives the calling thread the nice value `nice`, which is below zero, and slices of
/// `slice_ns` (Linux 6.12; others take no notice): it is run sooner once it has something to do,
/// and gives way sooner. Threads and processes that it makes have neither
/// (`SCHED_FLAG_RESET_ON_FORK`). Returns whether that was done: a process with a nice value of its
/// own keeps that, because somebody gave it.
///
/// # Errors
/// `EPERM` without `CAP_SYS_NICE` and without `RLIMIT_NICE`.
pub fn precede(nice: i32, slice_ns: u64) -> io::Result<bool> {
    if rustix::process::getpriority_process(None)? != 0 {
        return Ok(false);
    }
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: SCHED_OTHER,
        flags: RESET_ON_FORK,
        nice,
        priority: 0,
        runtime: slice_ns,
        deadline: 0,
        period: 0,
    };
    // SAFETY: the kernel reads one `sched_attr` of the size that stands in it; 0 is this thread.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    match result {
        0 => Ok(true),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn what_a_thread_makes_does_not_come_first_as_well() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let made = thread::spawn(move || {
            if !precede(-5, 1_000_000).expect("tests run as root") {
                return None;
            }
            let child = thread::spawn(nice).join().unwrap();
            let process = std::process::Command::new("nice").output().unwrap();
            Some((nice(), child, String::from_utf8(process.stdout).unwrap()))
        });
        let made = made.join().unwrap();
        // Tests may themselves run with a nice value, which is left alone.
        if nice() == 0 {
            assert_eq!(made, Some((-5, 0, "0\n".to_owned())));
        } else {
            assert_eq!(made, None);
        }
    }
}
