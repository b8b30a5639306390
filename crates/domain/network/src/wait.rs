//! Waiting for descriptors.

use std::io;
use std::time::Duration;

use berth_sys::rustix::event::{PollFd, Timespec, poll};
use berth_sys::rustix::io::Errno;

/// `poll(2)`, in spite of signals: how many are ready, none after the limit.
pub(crate) fn poll_for(watched: &mut [PollFd<'_>], limit: Option<Duration>) -> io::Result<usize> {
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    loop {
        match poll(watched, limit.as_ref()) {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}
