//! One process that the monitor serves with streams: the container's init, or a further one.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use berth_shim::protocol::Stream;
use berth_sys::epoll::{Epoll, Interest};
use berth_sys::rustix::io::ioctl_fionread;

use super::connection::Connection;
use super::further::Further;
use super::input::Input;
use super::terminal::Terminal;
use super::watched::{self, Watched};

/// The key of the init's session, which is always there.
pub const INIT: u64 = 0;

/// How long a client that follows the output may take nothing of the rest before it is dropped.
const STALL_MAX: Duration = Duration::from_secs(10);

/// How long all clients of a session together may take for the rest.
const FLUSH_MAX: Duration = Duration::from_secs(60);

/// Most that is read from a terminal after its process has ended; a process elsewhere that still
/// has it open could go on for ever.
const TERMINAL_REST_MAX: u64 = 1 << 20;

/// A process's streams.
pub struct Session {
    /// Names it for as long as the monitor lives.
    pub key: u64,
    pub input: Input,
    pub outputs: [Output; 2],
    pub terminal: Option<Terminal>,
    /// None for the init's session.
    pub further: Option<Further>,
    /// Set once the process has ended.
    pub ending: Option<Patience>,
}

/// One of a process's two outputs. A terminal is the first and has no second.
pub struct Output {
    pub stream: Stream,
    /// None once it has ended.
    pub source: Option<OwnedFd>,
    /// After the exit: how many bytes are still to be read.
    pub rest: Option<u64>,
    watched: Watched,
}

/// How long slow clients are waited for.
pub struct Patience {
    since: Instant,
    progress: Instant,
}

impl Session {
    /// The session of a process with pipes, or of one whose streams are not there yet.
    pub fn new(key: u64, input: Input, [stdout, stderr]: [Option<OwnedFd>; 2]) -> Self {
        Self {
            key,
            input,
            outputs: [
                Output::new(Stream::Stdout, stdout),
                Output::new(Stream::Stderr, stderr),
            ],
            terminal: None,
            further: None,
            ending: None,
        }
    }

    /// Takes what was written up to now for all there will be.
    pub fn seal(&mut self) {
        let is_terminal = self.terminal.is_some();
        for output in &mut self.outputs {
            let inside = output.source.as_ref().map(ioctl_fionread);
            // A terminal hands on what was written when it is read, and counts nothing before.
            output.rest = Some(match inside {
                Some(_) if is_terminal => TERMINAL_REST_MAX,
                inside => inside.and_then(Result::ok).unwrap_or(0),
            });
        }
        self.input.close();
        self.ending = Some(Patience::new());
    }

    /// Makes every registration follow from the state.
    pub fn settle(&mut self, epoll: &Epoll, connections: &[Option<Connection>]) {
        self.input.settle(epoll, watched::input(self.key));
        for (index, output) in self.outputs.iter_mut().enumerate() {
            let stalled = is_stalled(connections, self.key, output.stream);
            if let Some(source) = &output.source {
                let wanted = (!stalled).then_some(Interest::READ);
                output
                    .watched
                    .set(epoll, source, watched::output(self.key, index), wanted);
            }
        }
        if let Some(further) = &mut self.further {
            further.settle(epoll, watched::report(self.key));
        }
    }

    /// Moves what a client has sent to the process, if it is a client of this session.
    pub fn take_input(&mut self, connection: &mut Connection) {
        if connection.session() == Some(self.key)
            && self.input.serve(connection)
            && let Some(terminal) = &mut self.terminal
        {
            terminal.note_input();
        }
    }

    /// Whether output is still to be read.
    pub fn has_output(&self) -> bool {
        self.outputs.iter().any(|output| output.source.is_some())
    }
}

impl Output {
    fn new(stream: Stream, source: Option<OwnedFd>) -> Self {
        Self {
            stream,
            source,
            rest: None,
            watched: Watched::default(),
        }
    }
}

impl Patience {
    fn new() -> Self {
        let since = Instant::now();
        Self {
            since,
            progress: since,
        }
    }

    /// A client has taken something.
    pub fn note_progress(&mut self) {
        self.progress = Instant::now();
    }

    /// How much longer to wait.
    pub fn left(&self) -> Duration {
        let deadline = (self.progress + STALL_MAX).min(self.since + FLUSH_MAX);
        deadline.saturating_duration_since(Instant::now())
    }
}

/// Whether a client of the session that follows `stream` has no room for more of it.
pub fn is_stalled(connections: &[Option<Connection>], session: u64, stream: Stream) -> bool {
    connections
        .iter()
        .flatten()
        .any(|connection| connection.stalls(session, stream))
}

/// The descriptor, so that it can be registered a second time on its own.
pub fn second(fd: impl AsFd) -> std::io::Result<OwnedFd> {
    Ok(berth_sys::rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
}
