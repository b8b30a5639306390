//! Further processes: from EXEC to EXECEXITED.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use berth_runtime::{Executed, Pending};
use berth_shim::ExecRequest;
use berth_shim::protocol::{EXECS_MAX, Message, Running};
use berth_sys::epoll::{Epoll, Interest};
use berth_sys::seccomp::Filter;
use berth_types::launch::{StartFailure, Started};
use berth_types::oci::ConsoleSize;

use super::bus::Bus;
use super::connection::{Connection, State};
use super::control;
use super::input::Input;
use super::launch::{Streams, failure, open_streams};
use super::session::{INIT, Session};
use super::watched::Watched;

/// The exit code of a killed process, as a shell counts.
const KILLED: i32 = 128 + 9;

/// What a session knows of its further process.
pub struct Further {
    id: String,
    pid: i32,
    /// While it is on its way to its program.
    pending: Option<Pending>,
    /// The size that a terminal is to have which is not there yet.
    size: Option<ConsoleSize>,
    /// Its exit code, once it was reaped.
    exit: Option<i32>,
    watched: Watched,
}

impl Further {
    /// Keeps a size for the terminal of a process that is on its way; false where it is there.
    pub fn keep_size(&mut self, size: ConsoleSize) -> bool {
        let coming = self.pending.as_ref().is_some_and(Pending::has_terminal);
        if coming {
            self.size = Some(size);
        }
        coming
    }

    /// Waits for the news of a process that is on its way.
    pub fn settle(&mut self, epoll: &Epoll, token: u64) {
        if let Some(pending) = &self.pending {
            self.watched
                .set(epoll, pending, token, Some(Interest::READ));
        }
    }
}

impl Bus {
    /// Begins what EXEC asks for, on the connection in `slot`.
    pub(super) fn begin_exec(
        &mut self,
        slot: usize,
        request: ExecRequest,
        filter: &[u8],
        parked: Option<UnixStream>,
    ) {
        match self.clone_further(request, filter, parked) {
            Ok(key) => {
                if let Some(control) = self.control(slot) {
                    control.exec = Some(key);
                }
            }
            Err(failure) => self.answer_last(slot, &Message::Failed(failure)),
        }
    }

    fn clone_further(
        &mut self,
        request: ExecRequest,
        filter: &[u8],
        parked: Option<UnixStream>,
    ) -> Result<u64, StartFailure> {
        let ExecRequest {
            mut exec,
            parked: want,
        } = request;
        let what = "start a further process";
        if self.record.is_some() {
            return Err(failure(what, &"it has ended"));
        }
        if self.sessions.len() > EXECS_MAX || self.children.is_none() {
            return Err(failure(what, &format!("{EXECS_MAX} run already")));
        }
        if self.further(&exec.id).is_some() {
            return Err(failure(what, &"there is one of this id"));
        }
        let filter = (!filter.is_empty()).then(|| Filter::from_bytes(filter));
        let filter = filter
            .transpose()
            .map_err(|e| failure("read the system call filter", &e))?;
        exec.process.oom_score_adj.get_or_insert(self.oom_score);
        let key = self.next_key;
        let (mut session, stdio) = if exec.process.terminal {
            (Session::new(key, Input::coming(), [None, None]), None)
        } else {
            let (streams, stdio) =
                open_streams(exec.stdin).map_err(|e| failure("open the standard streams", &e))?;
            (streams.session(key), Some(stdio))
        };
        let cgroup = self.cgroup.as_ref();
        let pending = berth_runtime::exec(berth_runtime::ExecRequest {
            exec: &exec,
            filter: filter.as_ref(),
            stdio,
            init: self.running.started.init,
            init_pidfd: self.init.as_fd(),
            cgroup: cgroup.ok_or_else(|| failure(what, &"it has ended"))?,
        })?;
        session.further = Some(Further {
            id: exec.id,
            pid: pending.process().pid,
            pending: Some(pending),
            size: None,
            exit: None,
            watched: Watched::default(),
        });
        self.next_key += 1;
        self.sessions.push(session);
        if let (Some(want), Some(socket)) = (want, parked) {
            self.attach_parked(key, exec.process.terminal, want, socket);
        }
        Ok(key)
    }

    /// A process that was on its way has something to say.
    pub(super) fn hear_report(&mut self, key: u64) {
        let Some(session) = self.session(key) else {
            return;
        };
        let Some(further) = &mut session.further else {
            return;
        };
        let Some(mut pending) = further.pending.take() else {
            return;
        };
        let Some(outcome) = pending.advance() else {
            further.pending = Some(pending);
            return;
        };
        let size = further.size;
        let started = outcome.and_then(|executed| {
            let Executed {
                process,
                at,
                phases,
                terminal,
            } = executed;
            if let Some(master) = terminal {
                session
                    .set_terminal(master, false)
                    .map_err(|e| failure("keep the terminal", &e))?;
                if let (Some(size), Some(terminal)) = (size, &mut session.terminal) {
                    // A size that the kernel refuses is not worth the process.
                    let _ = terminal.resize(size);
                }
            }
            Ok(Started {
                init: process,
                at,
                phases,
            })
        });
        match started {
            Ok(started) => {
                let monitor = self.running.monitor;
                self.tell(key, &Message::Started(Running { monitor, started }));
                if let Some(session) = self.session(key) {
                    session.input.resume();
                }
                self.resume_input(key);
                self.seal_ended(key);
            }
            Err(failure) => {
                pending.kill();
                self.tell_last(key, &Message::Failed(failure));
                self.forget(key);
            }
        }
    }

    /// Notes that child `pid` has ended; whether it was a further process.
    pub(super) fn note_exit(&mut self, pid: i32, code: i32) -> bool {
        let found = self.sessions.iter_mut().find_map(|session| {
            let further = session.further.as_mut()?;
            (further.pid == pid && further.exit.is_none()).then_some((session.key, further))
        });
        let Some((key, further)) = found else {
            return false;
        };
        further.exit = Some(code);
        self.seal_ended(key);
        true
    }

    /// Begins the end of a session whose process has ended; one that is still on its way has to
    /// be heard first.
    fn seal_ended(&mut self, key: u64) {
        if let Some(session) = self.session(key)
            && session.ending.is_none()
            && session
                .further
                .as_ref()
                .is_some_and(|f| f.exit.is_some() && f.pending.is_none())
        {
            session.seal();
        }
    }

    /// Everything of a further process is out: parts from its clients, then tells.
    pub(super) fn finish_further(&mut self, key: u64) {
        let code = self
            .session(key)
            .and_then(|session| session.further.as_ref()?.exit);
        for connection in self.connections.iter_mut().flatten() {
            if connection.session() == Some(key) {
                connection.part();
            }
        }
        self.tell_last(key, &Message::ExecExited(code.unwrap_or_default()));
        self.forget(key);
    }

    /// The connection of a peer that asked for a further process is gone.
    pub(super) fn withdraw(&mut self, key: u64) {
        if let Some(session) = self.session(key)
            && let Some(pending) = session.further.as_ref().and_then(|f| f.pending.as_ref())
        {
            pending.kill();
        }
    }

    /// Ends what has not come as far as its program when its container ends.
    pub(super) fn fail_pending(&mut self) {
        let pending = |s: &Session| s.further.as_ref().is_some_and(|f| f.pending.is_some());
        let keys: Vec<u64> = self
            .sessions
            .iter()
            .filter(|s| pending(s))
            .map(|s| s.key)
            .collect();
        for key in keys {
            self.withdraw(key);
            let ended = failure("start a further process", &"it has ended");
            self.tell_last(key, &Message::Failed(ended));
            self.forget(key);
        }
    }

    /// Counts as killed what the kernel cannot kill: the container's exit does not wait for it.
    pub(super) fn give_up_further(&mut self) {
        for session in &mut self.sessions {
            if let Some(further) = &mut session.further
                && further.exit.is_none()
            {
                further.exit = Some(KILLED);
                session.seal();
            }
        }
    }

    fn forget(&mut self, key: u64) {
        for connection in self.connections.iter_mut().flatten() {
            if connection.session() == Some(key) {
                connection.dismiss();
            }
        }
        self.sessions.retain(|session| session.key != key);
    }

    fn tell(&mut self, key: u64, message: &Message) {
        for slot in 0..self.connections.len() {
            if self.control(slot).is_some_and(|c| c.exec == Some(key))
                && let Some(Some(connection)) = self.connections.get_mut(slot)
            {
                control::answer(connection, message);
            }
        }
    }

    fn tell_last(&mut self, key: u64, message: &Message) {
        for slot in 0..self.connections.len() {
            if self.control(slot).is_some_and(|c| c.exec == Some(key)) {
                self.answer_last(slot, message);
            }
        }
    }

    /// Answers, after which the connection ends.
    pub(super) fn answer_last(&mut self, slot: usize, message: &Message) {
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            control::answer(connection, message);
            if let State::Control(control) = &mut connection.state {
                control.finished = true;
                control.exec = None;
            }
        }
    }

    fn control(&mut self, slot: usize) -> Option<&mut super::connection::Control> {
        match &mut self.connections.get_mut(slot)?.as_mut()?.state {
            State::Control(control) => Some(control),
            State::Attached(_) => None,
        }
    }

    /// The session of the further process with this id.
    pub(super) fn further(&mut self, id: &str) -> Option<&mut Session> {
        let is_it = |s: &Session| s.further.as_ref().is_some_and(|f| f.id == id);
        self.sessions.iter_mut().find(|session| is_it(session))
    }

    /// The session with this key.
    pub(super) fn session(&mut self, key: u64) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.key == key)
    }
}

impl Streams {
    /// A session with these streams.
    pub fn session(self, key: u64) -> Session {
        let [stdout, stderr] = self.output;
        let input = Input::new(self.input, self.input_once);
        Session::new(key, input, [Some(stdout), Some(stderr)])
    }
}

/// The sessions that are not the init's.
pub fn is_further(session: &Session) -> bool {
    session.key != INIT
}

/// How many bytes wait for clients of a session.
pub fn waits(connections: &[Option<Connection>], key: u64) -> bool {
    let of_session = |c: &&Connection| c.session() == Some(key) && !c.outgoing.is_empty();
    connections.iter().flatten().any(|c| of_session(&c))
}
