//! One connection of the monitor: first requests, then perhaps the container's streams.

use std::io;
use std::os::unix::net::UnixStream;

use berth_shim::protocol::{Decoder, LOST_STREAM, OUTPUT_HEADER_LEN, Stream, output_header};
use berth_shim::{AttachWant, Role};
use berth_sys::epoll::Interest;

use super::outgoing::Outgoing;
use super::watched::Watched;

/// Output that may wait for one client. A following client that has this much waiting stops the
/// reading of the container's pipes; what one read gave can come on top.
pub const QUEUE_MAX: usize = 64 << 10;

/// One peer.
pub struct Connection {
    pub socket: UnixStream,
    pub outgoing: Outgoing,
    pub state: State,
    pub watched: Watched,
    /// Nothing more can be sent to it. It is kept for as long as its input is not used up.
    pub gone: bool,
}

/// What the connection is used for.
pub enum State {
    /// Requests and their answers.
    Control(Control),
    /// The container's streams.
    Attached(Attached),
}

/// A connection that speaks the protocol.
#[derive(Default)]
pub struct Control {
    pub decoder: Decoder,
    /// HELLO was exchanged.
    pub greeted: bool,
    /// It is told of the exit.
    pub watching: bool,
    /// The peer has ended its side, or broken the protocol: nothing more is read.
    pub finished: bool,
}

/// A connection that carries the streams.
pub struct Attached {
    pub want: AttachWant,
    /// The client may still send input.
    pub input_open: bool,
    /// Output bytes that were skipped and not reported yet; always 0 for a following client.
    lost: u64,
}

impl Attached {
    pub fn new(want: AttachWant) -> Self {
        Self {
            want,
            input_open: true,
            lost: 0,
        }
    }

    /// Whether the program waits for this client to read `stream`.
    fn follows(&self, stream: Stream) -> bool {
        self.want.role == Role::Follow && self.wants(stream)
    }

    fn wants(&self, stream: Stream) -> bool {
        match stream {
            Stream::Stdout => self.want.stdout,
            Stream::Stderr => self.want.stderr,
        }
    }
}

impl Connection {
    /// A connection; `socket` is made nonblocking.
    pub fn new(socket: UnixStream, state: State) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let (outgoing, watched) = (Outgoing::default(), Watched::default());
        Ok(Self {
            socket,
            outgoing,
            state,
            watched,
            gone: false,
        })
    }

    /// Gives the client what `stream` has said.
    pub fn offer(&mut self, stream: Stream, data: &[u8]) {
        let State::Attached(attached) = &mut self.state else {
            return;
        };
        if self.gone || !attached.wants(stream) {
            return;
        }
        let room = QUEUE_MAX.saturating_sub(self.outgoing.len() + 3 * OUTPUT_HEADER_LEN);
        if attached.want.role == Role::Watch && !self.outgoing.is_empty() && data.len() > room {
            attached.lost += data.len() as u64;
            return;
        }
        self.report_lost();
        let header = output_header(stream.number(), data.len() as u32);
        if self.outgoing.send(&self.socket, &header, data).is_err() {
            self.abandon();
        }
    }

    /// Tells a watcher what it missed, at the place where it is missing.
    fn report_lost(&mut self) {
        let State::Attached(attached) = &mut self.state else {
            return;
        };
        let lost = std::mem::take(&mut attached.lost);
        if lost > 0 {
            let header = output_header(LOST_STREAM, size_of_val(&lost) as u32);
            let sent = self
                .outgoing
                .send(&self.socket, &header, &lost.to_le_bytes());
            if sent.is_err() {
                self.abandon();
            }
        }
    }

    /// Sends the bytes of one frame.
    pub fn answer(&mut self, frame: &[u8]) {
        if self.outgoing.send(&self.socket, frame, &[]).is_err() {
            self.abandon();
        }
    }

    /// Sends what waits; whether anything went.
    pub fn flush(&mut self) -> bool {
        match self.outgoing.flush(&self.socket) {
            Ok(sent) => {
                if self.outgoing.is_empty() {
                    self.report_lost();
                }
                sent > 0
            }
            Err(_) => {
                self.abandon();
                false
            }
        }
    }

    /// The peer hears nothing any more.
    pub fn abandon(&mut self) {
        self.gone = true;
        self.outgoing = Outgoing::default();
    }

    /// Whether the container's `stream` must not be read for now.
    pub fn stalls(&self, stream: Stream) -> bool {
        let State::Attached(attached) = &self.state else {
            return false;
        };
        !self.gone && attached.follows(stream) && self.outgoing.len() >= QUEUE_MAX
    }

    /// Whether the connection has no further use.
    pub fn is_over(&self) -> bool {
        match &self.state {
            State::Attached(attached) => self.gone && !attached.input_open,
            State::Control(control) => self.gone || (control.finished && self.outgoing.is_empty()),
        }
    }

    /// What the event loop should wait for. `input_blocked`: the program does not read.
    pub fn interest(&self, input_blocked: bool) -> Option<Interest> {
        let read = match &self.state {
            // One answer at a time: a peer that does not read its answers is not read either.
            State::Control(control) => !control.finished && self.outgoing.is_empty(),
            State::Attached(attached) => {
                attached.input_open && !(attached.want.stdin && input_blocked)
            }
        };
        (read || !self.gone).then(|| Interest {
            read,
            write: !self.outgoing.is_empty(),
        })
    }
}
