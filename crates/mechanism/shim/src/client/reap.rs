//! The ends of monitors.
//!
//! One that hangs in the kernel is not waited for without end. It stays a child of this process,
//! and would stay in its table when it ends at last, so each later end looks for such ones.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use berth_sys::pidfd;
use berth_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};
use berth_types::task::{Wait, waits};

/// Longest wait for a monitor that said it is about to end.
const REAP_MAX: Duration = Duration::from_secs(10);

/// Monitors that did not end in time. Each is a process, so there are never more than those.
static LATE: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

/// Waits for a monitor's end, [`REAP_MAX`] at most, and reaps it.
pub(super) fn wait_and_reap(monitor: &OwnedFd) {
    let _waits = waits(Wait::MonitorEnd, Some(REAP_MAX));
    wait_for(monitor, REAP_MAX);
}

fn wait_for(monitor: &OwnedFd, limit: Duration) {
    let limit = Timespec::try_from(limit).ok();
    let mut ended = [PollFd::new(monitor, PollFlags::IN)];
    let _ = poll(&mut ended, limit.as_ref());
    let mut late = LATE.lock().unwrap_or_else(PoisonError::into_inner);
    late.retain(is_left);
    // Without a descriptor to spare it is left to this process's end.
    if is_left(monitor)
        && let Ok(monitor) = monitor.try_clone()
    {
        late.push(monitor);
    }
}

/// Reaps the monitor if it has ended; whether it is still to be reaped by us. An error is the
/// monitor of an earlier engine, which init reaps.
fn is_left(monitor: &OwnedFd) -> bool {
    matches!(pidfd::try_wait(monitor.as_fd()), Ok(None))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    #[expect(clippy::zombie_processes, reason = "the tested function reaps")]
    fn child(seconds: &str) -> (OwnedFd, i32) {
        let child = Command::new("sleep").arg(seconds).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        (pidfd::open(pid).unwrap(), pid)
    }

    fn is_listed(pid: i32) -> bool {
        Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn one_that_ends_late_is_reaped_with_a_later_one() {
        let (late, late_pid) = child("60");
        wait_for(&late, Duration::from_millis(1));
        assert!(is_listed(late_pid));
        pidfd::send_signal(&late, 9).unwrap();
        let mut ended = [PollFd::new(&late, PollFlags::IN)];
        poll(&mut ended, None).unwrap();
        assert!(is_listed(late_pid), "nobody has reaped it yet");

        let (next, next_pid) = child("0");
        wait_for(&next, Duration::from_secs(60));
        assert!(!is_listed(next_pid));
        assert!(!is_listed(late_pid), "the late one is a zombie");
    }
}
