//! Input on its way from the clients to the program.

use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use berth_sys::epoll::{Epoll, Interest};
use berth_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};
use berth_sys::rustix::io::{Errno, write};
use berth_sys::rustix::pipe::{SpliceFlags, splice};

use super::connection::{Attached, Connection, State};
use super::watched::Watched;

/// Most that one `splice` moves.
const MOVE_MAX: usize = 64 << 10;

/// How often one client is served before the others have their turn.
const TURNS_MAX: usize = 16;

/// The container's standard input. Bytes go from a client's socket to the pipe inside the kernel
/// and never wait here.
pub struct Input {
    /// None once it is closed, or where there never was one. Input that still comes is then read
    /// and thrown away: a socket that is closed with unread bytes in it takes output that its
    /// peer has not read yet along.
    pipe: Option<OwnedFd>,
    /// Whether the first client that ends its input ends the container's.
    once: bool,
    /// The pipe is full.
    blocked: bool,
    /// The pipe is a terminal's master: it has no end, and `splice` does not write to it.
    terminal: bool,
    /// What a terminal has no room for; clients are read again when it is empty.
    waiting: Vec<u8>,
    watched: Watched,
}

/// Most that is read for a terminal at a time: what one holds in its line buffer.
const TYPED_MAX: usize = 4 << 10;

/// What became of an attempt to move input.
enum Moved {
    Some,
    /// The client has sent nothing more for now, or the pipe is full.
    Nothing,
    /// The client has ended its side.
    End,
}

impl Input {
    pub fn new(pipe: Option<OwnedFd>, once: bool) -> Self {
        Self {
            pipe,
            once,
            blocked: false,
            terminal: false,
            waiting: Vec::new(),
            watched: Watched::default(),
        }
    }

    /// The input of a terminal, by its nonblocking master.
    pub fn terminal(master: OwnedFd) -> Self {
        Self {
            terminal: true,
            ..Self::new(Some(master), false)
        }
    }

    /// The process is there; what was held back may come.
    pub fn resume(&mut self) {
        self.blocked = !self.waiting.is_empty();
    }

    /// An input that is on its way: what clients send waits with them.
    pub fn coming() -> Self {
        Self {
            blocked: true,
            ..Self::new(None, false)
        }
    }

    /// Whether clients have to wait for the program.
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Brings the event loop's view up to date. Without interest, it hears when the program
    /// closes its end.
    pub fn settle(&mut self, epoll: &Epoll, token: u64) {
        if let Some(pipe) = &self.pipe {
            let interest = Interest {
                read: false,
                write: self.blocked,
            };
            self.watched.set(epoll, pipe, token, Some(interest));
        }
    }

    /// The program has read something.
    pub fn unblock(&mut self) {
        self.blocked = false;
        if !self.waiting.is_empty() {
            let waiting = std::mem::take(&mut self.waiting);
            self.type_in(&waiting);
        }
    }

    /// Ends the container's input.
    pub fn close(&mut self) {
        self.pipe = None;
        self.blocked = false;
        self.waiting = Vec::new();
    }

    /// Moves what the client has sent; whether there was anything.
    pub fn serve(&mut self, connection: &mut Connection) -> bool {
        let mut moved = false;
        let State::Attached(attached) = &mut connection.state else {
            return moved;
        };
        for _ in 0..TURNS_MAX {
            if !attached.input_open || (attached.want.stdin && self.blocked) {
                return moved;
            }
            match self.take(attached, &connection.socket) {
                Moved::Some => moved |= attached.want.stdin,
                Moved::Nothing => return moved,
                Moved::End => {
                    attached.input_open = false;
                    if attached.want.stdin && self.once {
                        self.close();
                    }
                }
            }
        }
        moved
    }

    fn take(&mut self, attached: &Attached, socket: &UnixStream) -> Moved {
        let Some(pipe) = self.pipe.as_ref().filter(|_| attached.want.stdin) else {
            return discard(socket);
        };
        if self.terminal {
            return self.take_typed(socket);
        }
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        match splice(socket, None, pipe, None, MOVE_MAX, flags) {
            Ok(0) => Moved::End,
            Ok(_) | Err(Errno::INTR) => Moved::Some,
            Err(Errno::AGAIN) => {
                // Either the socket is empty or the pipe is full; only the pipe can be asked.
                self.blocked = !has_room(pipe);
                Moved::Nothing
            }
            Err(Errno::PIPE) => {
                self.close();
                Moved::Some
            }
            Err(_) => Moved::End,
        }
    }
}

impl Input {
    fn take_typed(&mut self, mut socket: &UnixStream) -> Moved {
        let mut typed = [0; TYPED_MAX];
        match socket.read(&mut typed) {
            Ok(0) => Moved::End,
            Ok(count) => {
                self.type_in(typed.get(..count).unwrap_or_default());
                Moved::Some
            }
            Err(error) => not_read(&error),
        }
    }

    /// Types, and keeps what the terminal has no room for.
    fn type_in(&mut self, mut data: &[u8]) {
        while let Some(master) = self.pipe.as_ref().filter(|_| !data.is_empty()) {
            match write(master, data) {
                Ok(0) | Err(Errno::AGAIN) => {
                    self.waiting = data.to_vec();
                    self.blocked = true;
                    return;
                }
                Ok(count) => data = data.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(_) => self.close(),
            }
        }
    }
}

fn has_room(pipe: &OwnedFd) -> bool {
    let mut room = [PollFd::new(pipe, PollFlags::OUT)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut room, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

fn discard(mut socket: &UnixStream) -> Moved {
    let mut nowhere = [0; 4096];
    match socket.read(&mut nowhere) {
        Ok(0) => Moved::End,
        Ok(_) => Moved::Some,
        Err(error) => not_read(&error),
    }
}

fn not_read(error: &io::Error) -> Moved {
    match error.kind() {
        ErrorKind::WouldBlock => Moved::Nothing,
        ErrorKind::Interrupted => Moved::Some,
        _ => Moved::End,
    }
}
