//! The exit of a container, from the kernel's notice to the monitor's own end.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use berth_shim::protocol::Message;
use berth_shim::{SOCKET_NAME, exit_record};
use berth_sys::pidfd::{self, Exit};
use berth_sys::rustix::fs::{AtFlags, unlinkat};
use berth_sys::rustix::process::{WaitOptions, WaitStatus, wait};
use berth_types::Timestamp;
use berth_types::launch::{EXIT_RECORD_VERSION, ExitRecord};

use super::bus::{Bus, Output};
use super::connection::{Connection, State};

/// How long a client that follows the output may take nothing of the rest before it is dropped.
const STALL_MAX: Duration = Duration::from_secs(10);

/// How long all clients together may take for the rest.
const FLUSH_MAX: Duration = Duration::from_secs(60);

/// How long one connection may take for the news of the exit.
const NEWS_MAX: Duration = Duration::from_secs(1);

/// Most input that is thrown away when a client's connection is closed.
const DISCARD_MAX: u64 = 1 << 20;

/// An exit whose output is still on its way.
pub struct Ending {
    record: ExitRecord,
    since: Instant,
    progress: Instant,
}

impl Ending {
    /// A client has taken something.
    pub fn note_progress(&mut self) {
        self.progress = Instant::now();
    }

    fn deadline(&self) -> Instant {
        (self.progress + STALL_MAX).min(self.since + FLUSH_MAX)
    }
}

impl Bus {
    /// Reaps init, and the children that it left to us.
    pub(super) fn reap(&mut self) {
        if self.ending.is_none()
            && let Ok(Some(exit)) = pidfd::try_wait(self.init.as_fd())
        {
            self.end(exit);
        }
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            // Init may have ended since it was asked for.
            if pid.as_raw_pid() == self.running.started.init.pid && self.ending.is_none() {
                self.end(exit_of(status));
            }
        }
    }

    /// Init has ended, and all that it left behind is killed. What is in the pipes now is all that
    /// the container has said, even if a process elsewhere holds them open and goes on writing.
    fn end(&mut self, exit: Exit) {
        let at = Timestamp::now();
        let (mut oom_killed, mut reason) = (false, None);
        if let Some(cgroup) = &self.cgroup {
            oom_killed = cgroup.oom_killed().unwrap_or(false);
            if let Err(error) = cgroup.kill_all() {
                reason = Some(error.to_string());
            }
        }
        self.outputs.iter_mut().for_each(Output::seal);
        self.input.close();
        let code = exit.shell_code();
        let record = ExitRecord {
            version: EXIT_RECORD_VERSION,
            code,
            oom_killed,
            at,
            reason,
        };
        let since = Instant::now();
        self.ending = Some(Ending {
            record,
            since,
            progress: since,
        });
    }

    /// Brings an exit forward as far as it goes at the moment. None while the container runs;
    /// else how long to wait at most for clients to read, and zero when all is done.
    pub(super) fn conclude(&mut self) -> Option<Duration> {
        let deadline = self.ending.as_ref()?.deadline();
        for index in 0..self.outputs.len() {
            while self.read_output(index) {}
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let waiting = self
            .connections
            .iter()
            .flatten()
            .any(|c| !c.outgoing.is_empty());
        if left.is_zero() && waiting {
            let slow = self
                .connections
                .iter_mut()
                .flatten()
                .filter(|c| !c.outgoing.is_empty());
            slow.for_each(Connection::abandon);
            // Those that had to wait for the slow ones get their turn.
            self.ending.iter_mut().for_each(Ending::note_progress);
            return self.conclude();
        }
        if waiting || self.outputs.iter().any(|output| output.pipe.is_some()) {
            return Some(left);
        }
        self.finish();
        Some(Duration::ZERO)
    }

    /// Everything is out: writes the record, then tells.
    fn finish(&mut self) {
        let Some(Ending { mut record, .. }) = self.ending.take() else {
            return;
        };
        let removed = self.cgroup.take().map_or(Ok(()), |cgroup| cgroup.remove());
        if let Err(error) = removed {
            record.reason.get_or_insert(error.to_string());
        }
        let state = self.place.state.as_fd();
        if let Err(error) = exit_record::write(state, &record, self.durable_exit) {
            record.reason = Some(format!("the exit record could not be written: {error}"));
        }
        let _ = unlinkat(&self.place.runtime, SOCKET_NAME, AtFlags::empty());
        let news = Message::Exited(record).encode().unwrap_or_default();
        for connection in self.connections.drain(..).flatten() {
            part_from(connection, &news);
        }
    }
}

fn part_from(mut connection: Connection, news: &[u8]) {
    match connection.state {
        State::Control(control) => {
            let timely = connection.socket.set_nonblocking(false).is_ok()
                && connection.socket.set_write_timeout(Some(NEWS_MAX)).is_ok();
            if control.watching && timely {
                // Who does not listen finds the record on disk.
                let _ = connection.socket.write_all(news);
            }
        }
        // Unread input would reset the connection, and with it output that was not read yet. So
        // first no more may come, and then what came is thrown away.
        State::Attached(_) => {
            let _ = connection.socket.shutdown(Shutdown::Both);
            let input = (&mut connection.socket).take(DISCARD_MAX);
            let _ = std::io::copy(&mut { input }, &mut std::io::sink());
        }
    }
}

fn exit_of(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(0),
    }
}
