//! Input on its way from the clients to the program.

use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use berth_sys::epoll::{Epoll, Interest};
use berth_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};
use berth_sys::rustix::io::Errno;
use berth_sys::rustix::pipe::{SpliceFlags, splice};

use super::connection::{Attached, Connection, State};
use super::watched::{self, Watched};

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
    watched: Watched,
}

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
            watched: Watched::default(),
        }
    }

    /// Whether clients have to wait for the program.
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Brings the event loop's view up to date. Without interest, it hears when the program
    /// closes its end.
    pub fn settle(&mut self, epoll: &Epoll) {
        if let Some(pipe) = &self.pipe {
            let interest = Interest {
                read: false,
                write: self.blocked,
            };
            self.watched
                .set(epoll, pipe, watched::INPUT, Some(interest));
        }
    }

    /// The program has read something.
    pub fn unblock(&mut self) {
        self.blocked = false;
    }

    /// Ends the container's input.
    pub fn close(&mut self) {
        self.pipe = None;
        self.blocked = false;
    }

    /// Moves what the client has sent.
    pub fn serve(&mut self, connection: &mut Connection) {
        let State::Attached(attached) = &mut connection.state else {
            return;
        };
        for _ in 0..TURNS_MAX {
            if !attached.input_open || (attached.want.stdin && self.blocked) {
                return;
            }
            match self.take(attached, &connection.socket) {
                Moved::Some => {}
                Moved::Nothing => return,
                Moved::End => {
                    attached.input_open = false;
                    if attached.want.stdin && self.once {
                        self.close();
                    }
                }
            }
        }
    }

    fn take(&mut self, attached: &Attached, socket: &UnixStream) -> Moved {
        let Some(pipe) = self.pipe.as_ref().filter(|_| attached.want.stdin) else {
            return discard(socket);
        };
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
