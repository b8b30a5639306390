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

use berth_shim::AttachWant;
use berth_shim::protocol::{CONNECTIONS_MAX, Running, Stream};
use berth_sys::cgroup::Cgroup;
use berth_sys::epoll::{Epoll, Event, Interest};
use berth_sys::rustix::buffer::spare_capacity;
use berth_sys::rustix::io::{Errno, ioctl_fionread, read};
use berth_sys::rustix::process::geteuid;
use berth_sys::spawn::ChildExits;
use berth_sys::{memory, socket};
use berth_types::Timestamp;

use super::connection::{Attached, Connection, Control, State};
use super::control;
use super::ending::Ending;
use super::input::Input;
use super::launch::{Launched, Place};
use super::watched::{self, Watched};

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
    pub(super) input: Input,
    pub(super) outputs: [Output; 2],
    /// Set once init has ended, and everything in its group with it.
    pub(super) ending: Option<Ending>,
    /// Where the kernel would not make it, what the container leaves behind stays unreaped until
    /// the monitor ends.
    children: Option<ChildExits>,
    /// Connections cannot be accepted for now.
    deaf: bool,
    watched: [Watched; 2],
    buffer: Vec<u8>,
}

/// One of the container's two output pipes.
pub struct Output {
    pub(super) stream: Stream,
    /// None once it has ended.
    pub(super) pipe: Option<OwnedFd>,
    /// After the exit: how many bytes are still to be read.
    rest: Option<u64>,
    watched: Watched,
}

impl Output {
    fn new(stream: Stream, pipe: OwnedFd) -> Self {
        Self {
            stream,
            pipe: Some(pipe),
            rest: None,
            watched: Watched::default(),
        }
    }

    /// Takes what is in the pipe now for all there will be.
    pub(super) fn seal(&mut self) {
        let inside = self.pipe.as_ref().map(ioctl_fionread);
        self.rest = Some(inside.and_then(Result::ok).unwrap_or(0));
    }
}

impl Bus {
    /// A bus with the parked clients attached, and the engine as the first to be told of the exit.
    pub fn new(launched: Launched, control: UnixStream) -> Self {
        let [stdout, stderr] = launched.streams.output;
        let mut bus = Self {
            running: launched.running,
            init: launched.init,
            cgroup: Some(launched.cgroup),
            durable_exit: launched.durable_exit,
            place: launched.place,
            connections: Vec::new(),
            input: Input::new(launched.streams.input, launched.streams.input_once),
            outputs: [
                Output::new(Stream::Stdout, stdout),
                Output::new(Stream::Stderr, stderr),
            ],
            ending: None,
            children: ChildExits::new().ok(),
            deaf: false,
            watched: Default::default(),
            buffer: Vec::new(),
        };
        let engine = Control {
            greeted: true,
            watching: true,
            ..Control::default()
        };
        bus.connect(control, State::Control(engine));
        for (want, socket) in launched.parked {
            bus.attach(want, socket);
        }
        bus
    }

    /// Runs until the container has ended and everyone has been told.
    pub fn run(mut self, mut epoll: Epoll) {
        if let Some(children) = &self.children {
            let _ = epoll.add(children, watched::CHILDREN, Interest::READ);
        }
        // What ended before it was watched is seen now.
        self.reap();
        loop {
            let restless = self.deaf || self.buffer.capacity() > 0;
            let limit = match self.conclude() {
                Some(Duration::ZERO) => return,
                limit => limit.or(restless.then_some(QUIET)),
            };
            self.settle(&epoll);
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
        }
    }

    /// Makes every registration follow from the state, and forgets connections that are over.
    fn settle(&mut self, epoll: &Epoll) {
        let [init, listener] = &mut self.watched;
        let alive = self.ending.is_none().then_some(Interest::READ);
        init.set(epoll, &self.init, watched::INIT, alive);
        let listening = (!self.deaf).then_some(Interest::READ);
        listener.set(epoll, &self.place.listener, watched::LISTENER, listening);
        self.input.settle(epoll);
        for (output, token) in self.outputs.iter_mut().zip(watched::OUTPUT) {
            let stalled = is_stalled(&self.connections, output.stream);
            if let Some(pipe) = &output.pipe {
                let wanted = (!stalled).then_some(Interest::READ);
                output.watched.set(epoll, pipe, token, wanted);
            }
        }
        for (slot, token) in self.connections.iter_mut().zip(watched::CONNECTIONS..) {
            let Some(connection) = slot else { continue };
            let over = connection.is_over();
            let wanted = connection
                .interest(self.input.is_blocked())
                .filter(|_| !over);
            // Deleted by hand: a parked client's socket may still be open in the engine, and
            // would go on being reported.
            let (fd, watched) = (connection.socket.as_fd(), &mut connection.watched);
            watched.set(epoll, fd, token, wanted);
            if over {
                *slot = None;
            }
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
            watched::INPUT if event.hung_up => self.input.close(),
            watched::INPUT => self.resume_input(),
            token => {
                if let Some(index) = watched::OUTPUT.iter().position(|output| *output == token) {
                    self.read_output(index);
                } else {
                    self.serve(event);
                }
            }
        }
    }

    /// Reads one pipe once; whether there may be more to read.
    pub(super) fn read_output(&mut self, index: usize) -> bool {
        let Some(output) = self.outputs.get_mut(index) else {
            return false;
        };
        let stream = output.stream;
        let Some(pipe) = &output.pipe else {
            return false;
        };
        if output.rest == Some(0) {
            self.end_output(index);
            return false;
        }
        if is_stalled(&self.connections, stream) {
            return false;
        }
        self.buffer.clear();
        self.buffer.reserve_exact(READ_MAX);
        match read(pipe, spare_capacity(&mut self.buffer)) {
            Ok(0) => self.end_output(index),
            Ok(count) => {
                output.rest = output.rest.map(|rest| rest.saturating_sub(count as u64));
                for connection in self.connections.iter_mut().flatten() {
                    connection.offer(stream, &self.buffer);
                }
                if let Some(log) = &mut self.place.log {
                    log.write(stream, &self.buffer, Timestamp::now());
                }
                return true;
            }
            Err(Errno::INTR) => return true,
            Err(Errno::AGAIN) if output.rest.is_none() => {}
            Err(_) => self.end_output(index),
        }
        false
    }

    fn end_output(&mut self, index: usize) {
        let Some(output) = self.outputs.get_mut(index) else {
            return;
        };
        output.pipe = None;
        if let Some(log) = &mut self.place.log {
            log.finish(output.stream, Timestamp::now());
        }
    }

    /// The program has made room: every client may have input waiting.
    fn resume_input(&mut self) {
        self.input.unblock();
        for connection in self.connections.iter_mut().flatten() {
            self.input.serve(connection);
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

    fn attach(&mut self, want: AttachWant, socket: UnixStream) {
        self.connect(socket, State::Attached(Attached::new(want)));
    }

    /// Takes a connection in, or closes it at once when there are too many.
    fn connect(&mut self, socket: UnixStream, state: State) {
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
        let slot = slot.and_then(|slot| usize::try_from(slot).ok());
        let connection = slot.and_then(|slot| self.connections.get_mut(slot)?.as_mut());
        let Some(connection) = connection else { return };
        if event.writable && connection.flush() {
            self.ending.iter_mut().for_each(Ending::note_progress);
        }
        if event.readable {
            control::serve(connection, &self.running, self.init.as_fd());
            self.input.serve(connection);
        }
        if event.hung_up {
            connection.abandon();
        }
    }

    /// Nothing has happened for a while.
    fn rest(&mut self) {
        self.deaf = false;
        self.buffer = Vec::new();
        if let Some(log) = &mut self.place.log {
            log.release_memory();
        }
        memory::release_unused();
    }
}

/// Whether a client that follows `stream` has no room for more of it.
fn is_stalled(connections: &[Option<Connection>], stream: Stream) -> bool {
    connections
        .iter()
        .flatten()
        .any(|connection| connection.stalls(stream))
}
