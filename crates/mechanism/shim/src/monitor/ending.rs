//! The exit of a container, from the kernel's notice to the monitor's own end.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::Duration;

use berth_shim::protocol::Message;
use berth_shim::{SOCKET_NAME, exit_record};
use berth_sys::pidfd::{self, Exit};
use berth_sys::rustix::fs::{AtFlags, unlinkat};
use berth_sys::rustix::process::{WaitOptions, WaitStatus, wait};
use berth_types::Timestamp;
use berth_types::launch::{EXIT_RECORD_VERSION, ExitRecord};

use super::bus::Bus;
use super::connection::{Connection, State};
use super::further::{is_further, waits};
use super::session::{INIT, Patience, Session};

/// Least wait for a client that has to read, so that a wait is never mistaken for the end.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// How long one connection may take for the news of the exit.
const NEWS_MAX: Duration = Duration::from_secs(1);

/// Most input that is thrown away when a client's connection is closed.
const DISCARD_MAX: u64 = 1 << 20;

impl Bus {
    /// Reaps init, and the children that it left to us.
    pub(super) fn reap(&mut self) {
        if self.record.is_none()
            && let Ok(Some(exit)) = pidfd::try_wait(self.init.as_fd())
        {
            self.end(exit);
        }
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let (pid, exit) = (pid.as_raw_pid(), exit_of(status));
            if self.note_exit(pid, exit.shell_code()) {
                continue;
            }
            // Init may have ended since it was asked for.
            if pid == self.running.started.init.pid && self.record.is_none() {
                self.end(exit);
            }
        }
        if self.record.is_some() {
            self.give_up_further();
        }
    }

    /// Init has ended, and all that it left behind is killed. What is in the pipes now is all that
    /// the container has said, even if a process elsewhere holds them open and goes on writing.
    fn end(&mut self, exit: Exit) {
        let at = Timestamp::now();
        let mut reason = None;
        if let Some(cgroup) = &self.cgroup {
            self.oom.look(cgroup);
            if let Err(error) = cgroup.kill_all() {
                reason = Some(error.to_string());
            }
        }
        if let Some(session) = self.session(INIT) {
            session.seal();
        }
        self.fail_pending();
        let code = exit.shell_code();
        self.record = Some(ExitRecord {
            version: EXIT_RECORD_VERSION,
            code,
            oom_killed: self.oom.kills > 0,
            at,
            reason,
        });
    }

    /// Brings the exits of processes forward as far as they go at the moment. None while nothing
    /// ends; else how long to wait at most for clients to read, and zero when all is done.
    pub(super) fn conclude(&mut self) -> Option<Duration> {
        let ending = |s: &Session| s.ending.is_some();
        let keys: Vec<u64> = self
            .sessions
            .iter()
            .filter(|s| ending(s))
            .map(|s| s.key)
            .collect();
        let mut wait = None;
        for key in keys {
            let left = self.conclude_session(key);
            if !left.is_zero() {
                wait = Some(wait.map_or(left, |wait: Duration| wait.min(left)));
            } else if key != INIT {
                self.finish_further(key);
            }
        }
        let init_is_out = self
            .session(INIT)
            .is_some_and(|init| init.ending.is_some() && !init.has_output());
        let init_is_out = init_is_out && !waits(&self.connections, INIT);
        if init_is_out && self.record.is_some() && !self.sessions.iter().any(is_further) {
            self.finish();
            return Some(Duration::ZERO);
        }
        wait
    }

    /// Hands on what the process of a session has left. Zero when all is out, else how long to
    /// wait for its clients.
    fn conclude_session(&mut self, key: u64) -> Duration {
        loop {
            for index in 0..2 {
                while self.read_output(key, index) {}
            }
            let Some(session) = self.session(key) else {
                return Duration::ZERO;
            };
            let left = session
                .ending
                .as_ref()
                .map_or(Duration::ZERO, Patience::left);
            let has_output = session.has_output();
            let waiting = waits(&self.connections, key);
            if !waiting && !has_output {
                return Duration::ZERO;
            }
            if !(left.is_zero() && waiting) {
                return left.max(LOOK_AGAIN);
            }
            let slow = self.connections.iter_mut().flatten();
            slow.filter(|c| c.session() == Some(key) && !c.outgoing.is_empty())
                .for_each(Connection::abandon);
            // Those that had to wait for the slow ones get their turn.
            if let Some(session) = self.session(key) {
                session.ending.iter_mut().for_each(Patience::note_progress);
            }
        }
    }

    /// Everything is out: writes the record, then tells.
    fn finish(&mut self) {
        let Some(mut record) = self.record.take() else {
            return;
        };
        let removed = self.cgroup.take().map_or(Ok(()), |cgroup| cgroup.remove());
        if let Err(error) = removed {
            record.reason.get_or_insert(error.to_string());
        }
        let state = self.place.state.as_fd();
        // An engine that listens records the exit before it tells anyone; only without one is this
        // record all there is after a power cut.
        let durable = self.durable_exit && !self.connections.iter().flatten().any(watches);
        if let Err(error) = exit_record::write(state, &record, durable) {
            record.reason = Some(format!("the exit record could not be written: {error}"));
        }
        let _ = unlinkat(&self.place.runtime, SOCKET_NAME, AtFlags::empty());
        let news = Message::Exited(record).encode().unwrap_or_default();
        self.tell_of_kills();
        for connection in self.connections.drain(..).flatten() {
            part_from(connection, &news);
        }
    }
}

fn watches(connection: &Connection) -> bool {
    matches!(&connection.state, State::Control(control) if control.watching)
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
        State::Attached(_) => connection.part(),
    }
}

impl Connection {
    /// Ends the streams. Unread input would reset the connection, and with it output that was not
    /// read yet. So first no more may come, and then what came is thrown away.
    pub(super) fn part(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        let input = (&mut self.socket).take(DISCARD_MAX);
        let _ = std::io::copy(&mut { input }, &mut std::io::sink());
    }
}

fn exit_of(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(0),
    }
}
