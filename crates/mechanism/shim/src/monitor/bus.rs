//! The event loop of a running container: output to the log and to every client, input from the
//! clients to the program, requests, and the exit.
//!
//! Nothing is kept here longer than it must be. Output is read only while every client that
//! follows it has room, and input is moved inside the kernel, from socket to pipe, so a program
//! that does not read stops its clients and fills nothing of ours.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use berth_shim::protocol::{CONNECTIONS_MAX, Message, Resize, Running};
use berth_sys::cgroup::Cgroup;
use berth_sys::epoll::{Epoll, Event, Interest};
use berth_sys::rustix::buffer::spare_capacity;
use berth_sys::rustix::io::{Errno, read};
use berth_sys::rustix::process::geteuid;
use berth_sys::spawn::ChildExits;
use berth_sys::{memory, socket};
use berth_types::Timestamp;
use berth_types::launch::ExitRecord;

use super::connection::{Attached, Connection, Control, State};
use super::control::{self, Order};
use super::launch::{Launched, Place};
use super::oom::Oom;
use super::session::{INIT, Patience, Session, is_stalled};
use super::watched::{self, Part, Watched};

/// Most output that is read at a time: as much as a pipe holds by default.
const READ_MAX: usize = 64 << 10;

/// How long nothing must happen before memory that only output needs is given back.
const QUIET: Duration = Duration::from_secs(1);

/// Everything that one monitor knows and does.
pub struct Bus {
    pub(super) running: Running,
    pub(super) init: OwnedFd,
    /// Taken when it is removed.
    pub(super) cgroup: Option<Cgroup>,
    pub(super) durable_exit: bool,
    pub(super) place: Place,
    pub(super) connections: Vec<Option<Connection>>,
    /// The init's first; it is always there.
    pub(super) sessions: Vec<Session>,
    pub(super) next_key: u64,
    /// The OOM score of a further process that is not told another one.
    pub(super) oom_score: i32,
    pub(super) oom: Oom,
    /// Set once init has ended, and everything in its group with it.
    pub(super) record: Option<ExitRecord>,
    /// Where the kernel would not make it, what the container leaves behind stays unreaped until
    /// the monitor ends.
    pub(super) children: Option<ChildExits>,
    /// Connections cannot be accepted for now.
    deaf: bool,
    /// Clients have left, and perhaps memory that only they needed.
    untidy: bool,
    watched: [Watched; 2],
    buffer: Vec<u8>,
}

impl Bus {
    /// A bus with the parked clients attached, and the engine as the first to be told of the exit.
    pub fn new(launched: Launched, control: UnixStream) -> Self {
        let mut bus = Self {
            running: launched.running,
            init: launched.init,
            cgroup: Some(launched.cgroup),
            durable_exit: launched.durable_exit,
            place: launched.place,
            connections: Vec::new(),
            sessions: vec![launched.session],
            next_key: INIT + 1,
            oom_score: launched.oom_score,
            oom: Oom::default(),
            record: None,
            children: ChildExits::new().ok(),
            deaf: false,
            untidy: false,
            watched: Default::default(),
            buffer: Vec::new(),
        };
        let engine = Control {
            greeted: true,
            watching: true,
            ..Control::default()
        };
        bus.connect(control, State::Control(engine));
        let raw = bus.sessions.iter().any(|s| s.terminal.is_some());
        for (want, socket) in launched.parked {
            bus.attach_parked(INIT, raw, want, socket);
        }
        bus
    }

    /// Runs until the container has ended and everyone has been told.
    pub fn run(mut self, mut epoll: Epoll) {
        if let Some(children) = &self.children {
            let _ = epoll.add(children, watched::CHILDREN, Interest::READ);
        }
        if let Some(cgroup) = &self.cgroup {
            self.oom.begin(cgroup, &epoll);
        }
        // What ended before it was watched is seen now.
        self.reap();
        loop {
            self.tell_of_kills();
            let limit = self.conclude();
            if limit == Some(Duration::ZERO) {
                return;
            }
            self.settle(&epoll);
            let restless = self.deaf || self.untidy || self.buffer.capacity() > 0;
            let limit = limit.or(self.oom.patience());
            let limit = limit.or(restless.then_some(QUIET));
            let mut quiet = true;
            // The kernel refuses a wait only for arguments that are wrong for good.
            let Ok(events) = epoll.wait(limit) else {
                return;
            };
            for event in events {
                quiet = false;
                self.handle(event);
            }
            if quiet {
                self.rest();
            }
            if let (Some(_), Some(cgroup)) = (self.oom.patience(), &self.cgroup) {
                self.oom.look(cgroup);
            }
        }
    }

    /// Makes every registration follow from the state, and forgets connections that are over.
    fn settle(&mut self, epoll: &Epoll) {
        let [init, listener] = &mut self.watched;
        let alive = self.record.is_none().then_some(Interest::READ);
        init.set(epoll, &self.init, watched::INIT, alive);
        let listening = (!self.deaf).then_some(Interest::READ);
        listener.set(epoll, &self.place.listener, watched::LISTENER, listening);
        for session in &mut self.sessions {
            session.settle(epoll, &self.connections);
        }
        let mut departed = Vec::new();
        for (slot, token) in self.connections.iter_mut().zip(watched::CONNECTIONS..) {
            let Some(connection) = slot else { continue };
            let over = connection.is_over();
            let session = connection.session();
            let session = self.sessions.iter().find(|s| Some(s.key) == session);
            let blocked = session.is_some_and(|s| s.input.is_blocked());
            let wanted = connection.interest(blocked).filter(|_| !over);
            // Deleted by hand: a parked client's socket may still be open in the engine, and
            // would go on being reported.
            let (fd, watched) = (connection.socket.as_fd(), &mut connection.watched);
            watched.set(epoll, fd, token, wanted);
            if over {
                departed.extend(slot.take());
            }
        }
        departed
            .into_iter()
            .for_each(|connection| self.part_with(connection.state));
    }

    /// A connection is over.
    fn part_with(&mut self, state: State) {
        self.untidy = true;
        match state {
            State::Control(control) => control.exec.into_iter().for_each(|key| self.withdraw(key)),
            State::Attached(Attached { session, want, .. }) if self.record.is_none() => {
                self.announce(session, None, &want.announce, ": ended");
            }
            State::Attached(_) => {}
        }
    }

    fn handle(&mut self, event: Event) {
        match event.token {
            watched::INIT => self.reap(),
            watched::CHILDREN => {
                self.children.iter().for_each(ChildExits::clear);
                self.reap();
            }
            watched::LISTENER => self.accept(),
            watched::OOM => self
                .cgroup
                .iter()
                .for_each(|cgroup| self.oom.notice(cgroup)),
            token => match watched::part(token) {
                Some((key, Part::Input)) if event.hung_up => {
                    if let Some(session) = self.session(key) {
                        session.input.close();
                    }
                }
                Some((key, Part::Input)) => self.resume_input(key),
                Some((key, Part::Output(index))) => {
                    self.read_output(key, index);
                }
                Some((key, Part::Report)) => self.hear_report(key),
                None => self.serve(event),
            },
        }
    }

    /// Reads one output of a session once; whether there may be more to read.
    pub(super) fn read_output(&mut self, key: u64, index: usize) -> bool {
        let Some(session) = self.sessions.iter_mut().find(|s| s.key == key) else {
            return false;
        };
        let Some(output) = session.outputs.get_mut(index) else {
            return false;
        };
        let stream = output.stream;
        let Some(source) = &output.source else {
            return false;
        };
        if output.rest == Some(0) {
            self.end_output(key, index);
            return false;
        }
        if is_stalled(&self.connections, key, stream) {
            return false;
        }
        self.buffer.clear();
        self.buffer.reserve_exact(READ_MAX);
        match read(source, spare_capacity(&mut self.buffer)) {
            Ok(0) => self.end_output(key, index),
            Ok(count) => {
                output.rest = output.rest.map(|rest| rest.saturating_sub(count as u64));
                let now = Timestamp::now();
                if let Some(terminal) = &mut session.terminal {
                    terminal.note_output(&self.buffer, now);
                }
                for connection in self.connections.iter_mut().flatten() {
                    connection.offer(key, stream, &self.buffer);
                }
                if let Some(log) = self.place.log.as_mut().filter(|_| key == INIT) {
                    log.write(stream, &self.buffer, now);
                }
                return true;
            }
            Err(Errno::INTR) => return true,
            Err(Errno::AGAIN) if output.rest.is_none() => {}
            // For a terminal that nobody has open any more, this is the end.
            Err(_) => self.end_output(key, index),
        }
        false
    }

    fn end_output(&mut self, key: u64, index: usize) {
        let session = self.session(key);
        let Some(output) = session.and_then(|session| session.outputs.get_mut(index)) else {
            return;
        };
        output.source = None;
        let stream = output.stream;
        if let Some(log) = self.place.log.as_mut().filter(|_| key == INIT) {
            log.finish(stream, Timestamp::now());
        }
    }

    /// The program has made room: every client may have input waiting.
    pub(super) fn resume_input(&mut self, key: u64) {
        let Some(session) = self.sessions.iter_mut().find(|s| s.key == key) else {
            return;
        };
        session.input.unblock();
        for connection in self.connections.iter_mut().flatten() {
            session.take_input(connection);
        }
    }

    fn accept(&mut self) {
        loop {
            match self.place.listener.accept() {
                Ok((socket, _)) => {
                    let owner = geteuid().as_raw();
                    if socket::peer(&socket).is_ok_and(|peer| peer.uid == owner) {
                        self.connect(socket, State::Control(Control::default()));
                    }
                }
                Err(error) => {
                    // Want of descriptors or memory would be reported again at once.
                    self.deaf = error.kind() != ErrorKind::WouldBlock;
                    return;
                }
            }
        }
    }

    /// Takes a connection in, or closes it at once when there are too many.
    pub(super) fn connect(&mut self, socket: UnixStream, state: State) {
        let Ok(connection) = Connection::new(socket, state) else {
            return;
        };
        if let Some(free) = self.connections.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(connection);
        } else if self.connections.len() < CONNECTIONS_MAX {
            self.connections.push(Some(connection));
        }
    }

    fn serve(&mut self, event: Event) {
        let slot = event.token.checked_sub(watched::CONNECTIONS);
        let Some(slot) = slot.and_then(|slot| usize::try_from(slot).ok()) else {
            return;
        };
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let session = connection.session();
        if event.writable {
            let progress = connection.flush();
            let is_stale = connection.is_stale();
            if let Some(session) = session.and_then(|key| self.session(key))
                && progress
            {
                session.ending.iter_mut().for_each(Patience::note_progress);
            }
            if is_stale {
                self.redraw(slot);
            }
        }
        if event.readable {
            self.obey(slot);
            let Some(Some(connection)) = self.connections.get_mut(slot) else {
                return;
            };
            let session = connection.session();
            if let Some(session) = self.sessions.iter_mut().find(|s| Some(s.key) == session) {
                session.take_input(connection);
            } else if session.is_some() {
                connection.dismiss();
            }
        }
        if event.hung_up
            && let Some(Some(connection)) = self.connections.get_mut(slot)
        {
            connection.abandon();
        }
    }

    /// Carries out what the peer asks for.
    fn obey(&mut self, slot: usize) {
        loop {
            let Some(Some(connection)) = self.connections.get_mut(slot) else {
                return;
            };
            let Some(order) = control::next(connection, &self.running, self.init.as_fd()) else {
                return;
            };
            match order {
                Order::Attach(want) => self.attach(slot, want),
                Order::Resize(Resize { exec, size }) => {
                    let done = Message::Done(control::error_number(self.resize(exec, size)));
                    self.answer(slot, &done);
                }
                Order::Terminal => {
                    let state = self.terminal_state();
                    self.answer(slot, &Message::TerminalState(state));
                }
                Order::Exec(request, filter, parked) => {
                    self.begin_exec(slot, *request, &filter, parked);
                }
            }
        }
    }

    fn answer(&mut self, slot: usize, message: &Message) {
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            control::answer(connection, message);
        }
    }

    /// Nothing has happened for a while.
    fn rest(&mut self) {
        (self.deaf, self.untidy) = (false, false);
        self.buffer = Vec::new();
        self.forget_screens();
        if let Some(log) = &mut self.place.log {
            log.release_memory();
        }
        memory::release_unused();
    }
}
