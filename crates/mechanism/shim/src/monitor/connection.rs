//! One connection of the monitor: first requests, then perhaps the container's streams.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use berth_shim::protocol::{Decoder, LOST_STREAM, OUTPUT_HEADER_LEN, Stream, output_header};
use berth_shim::{AttachWant, ExecRequest, Role};
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
    /// What came with the frames and was not used yet.
    pub descriptors: Vec<OwnedFd>,
    /// An EXEC whose FILTER is on its way, and its parked client.
    pub order: Option<(Box<ExecRequest>, Option<UnixStream>)>,
    /// How many kills for want of memory it was told of.
    pub told_of: u64,
    /// The session whose end it is told of, and with which it ends.
    pub exec: Option<u64>,
}

/// A connection that carries the streams.
pub struct Attached {
    pub session: u64,
    pub want: AttachWant,
    /// A terminal's bytes go out as they are.
    raw: bool,
    /// Output was skipped, and the screen is to be drawn anew once there is room.
    stale: bool,
    /// The client may still send input.
    pub input_open: bool,
    /// Output bytes that were skipped and not reported yet; always 0 for a following client.
    lost: u64,
}

impl Attached {
    pub fn new(session: u64, raw: bool, want: AttachWant) -> Self {
        Self {
            session,
            want,
            raw,
            stale: false,
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

    /// The session that it is attached to.
    pub fn session(&self) -> Option<u64> {
        match &self.state {
            State::Attached(attached) => Some(attached.session),
            State::Control(_) => None,
        }
    }

    /// Gives the client what `stream` of a session has said.
    pub fn offer(&mut self, session: u64, stream: Stream, data: &[u8]) {
        let State::Attached(attached) = &mut self.state else {
            return;
        };
        if self.gone || attached.session != session || !attached.wants(stream) {
            return;
        }
        if attached.stale {
            return;
        }
        let room = QUEUE_MAX.saturating_sub(self.outgoing.len() + 3 * OUTPUT_HEADER_LEN);
        if attached.want.role == Role::Watch && !self.outgoing.is_empty() && data.len() > room {
            attached.lost += data.len() as u64;
            attached.stale = attached.raw && attached.want.screen;
            return;
        }
        let framed = output_header(stream.number(), data.len() as u32);
        let header: &[u8] = if attached.raw { &[] } else { &framed };
        self.report_lost();
        if self.outgoing.send(&self.socket, header, data).is_err() {
            self.abandon();
        }
    }

    /// Whether the client waits for its screen to be drawn anew, and has room for that.
    pub fn is_stale(&self) -> bool {
        matches!(&self.state, State::Attached(attached) if attached.stale)
            && self.outgoing.is_empty()
            && !self.gone
    }

    /// Whether the client needs the screen of a session.
    pub fn is_shown(&self, session: u64) -> bool {
        matches!(&self.state, State::Attached(a) if a.session == session && a.want.screen)
            && !self.gone
    }

    /// Shows the client the whole screen; from here on it is up to date.
    pub fn redraw(&mut self, screen: &[u8]) {
        if let State::Attached(attached) = &mut self.state {
            (attached.stale, attached.lost) = (false, 0);
            self.answer(screen);
        }
    }

    /// Shows the client of a terminal a line that is none of its program's. One that has no room
    /// can do without.
    pub fn interject(&mut self, session: u64, line: &[u8]) {
        let State::Attached(attached) = &self.state else {
            return;
        };
        let is_here = attached.session == session && attached.raw && attached.want.stdout;
        if is_here && !self.gone && self.outgoing.len() < QUEUE_MAX {
            self.answer(line);
        }
    }

    /// Tells a watcher what it missed, at the place where it is missing.
    fn report_lost(&mut self) {
        let State::Attached(attached) = &mut self.state else {
            return;
        };
        let lost = std::mem::take(&mut attached.lost);
        if lost > 0 && !attached.raw {
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
    pub fn stalls(&self, session: u64, stream: Stream) -> bool {
        let State::Attached(attached) = &self.state else {
            return false;
        };
        !self.gone
            && attached.session == session
            && attached.follows(stream)
            && self.outgoing.len() >= QUEUE_MAX
    }

    /// Lets go of the connection without a word to its peer, whose other users may go on.
    pub fn dismiss(&mut self) {
        self.abandon();
        match &mut self.state {
            State::Attached(attached) => attached.input_open = false,
            State::Control(control) => control.finished = true,
        }
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
