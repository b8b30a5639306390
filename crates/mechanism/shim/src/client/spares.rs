//! Monitors that wait for a container, spawned before anybody asks for one.
//!
//! A spare is the same program that is spawned for a start, up to its first wait: it has left the
//! engine's session and reads its socket. It has nothing of a container, and nothing of the engine
//! but that socket: when the engine goes, however, the socket ends and the spare with it.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use berth_sys::ahead::Spare;
use berth_sys::pidfd;
use berth_sys::spawn::{self, Spawned};

use super::START_SILENCE_MAX;
use super::reap::wait_and_reap;
use crate::protocol::{Channel, ChannelError, Message};
use crate::{PROGRAM_NAME, SPARE_ARGUMENT};

const SIGKILL: i32 = 9;

/// How long a new spare may take to say HELLO.
const HELLO_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// A monitor without a container.
#[derive(Debug)]
pub(super) struct Waiting {
    /// None once it was taken for a launch.
    channel: Option<Channel>,
    monitor: Arc<OwnedFd>,
    pid: i32,
}

impl Waiting {
    /// Spawns one and waits until it waits.
    pub(super) fn new(program: &OwnedFd) -> Result<Self, ChannelError> {
        let (channel, monitor) = spawn_monitor(program, SPARE_ARGUMENT)?;
        let mut waiting = Self {
            channel: Some(channel),
            monitor: Arc::new(monitor.pidfd),
            pid: monitor.pid,
        };
        let Some(channel) = &mut waiting.channel else {
            return Err(ChannelError::Unexpected);
        };
        channel.set_patience(HELLO_MAX)?;
        channel.send(&Message::Hello, &[])?;
        match channel.receive(&mut Vec::new())? {
            Message::Hello => channel.set_patience(START_SILENCE_MAX)?,
            _ => return Err(ChannelError::Unexpected),
        }
        Ok(waiting)
    }

    /// Its process.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it died while it waited.
    pub(super) fn has_ended(&self) -> bool {
        !matches!(pidfd::try_wait(self.monitor.as_fd()), Ok(None))
    }

    pub(super) fn channel(&mut self) -> Option<&mut Channel> {
        self.channel.as_mut()
    }

    /// It is a container's monitor from now on.
    pub(super) fn into_parts(mut self) -> Option<(Channel, Arc<OwnedFd>)> {
        Some((self.channel.take()?, Arc::clone(&self.monitor)))
    }
}

impl Spare for Waiting {
    fn ended(&self) -> Option<Arc<OwnedFd>> {
        Some(Arc::clone(&self.monitor))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.channel.take().is_some() {
            // It has nothing to end in order, and may be stopped.
            let _ = pidfd::send_signal(&self.monitor, SIGKILL);
            wait_and_reap(&self.monitor);
        }
    }
}

/// Spawns a monitor and does not wait for it.
pub(super) fn spawn_monitor(
    program: &OwnedFd,
    argument: &str,
) -> std::io::Result<(Channel, Spawned)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_read_timeout(Some(START_SILENCE_MAX))?;
    ours.set_write_timeout(Some(START_SILENCE_MAX))?;
    let (program, argument) = (program.as_fd(), argument.as_ref());
    let monitor = spawn::spawn(program, PROGRAM_NAME, argument, theirs.into())?;
    Ok((Channel::new(ours), monitor))
}
