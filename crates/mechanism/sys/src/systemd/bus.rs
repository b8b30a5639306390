//! One connection to the system bus, for one conversation. Every wait ends at one deadline.
//!
//! ```text
//! we                                  the bus
//! \0 AUTH EXTERNAL uid, BEGIN ------>
//!                             <------ OK id
//! Hello, AddMatch, Subscribe, the call ------>
//!                             <------ answers and signals, in any order
//! ```

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::wire::{self, Call, FIXED, Kind, Message, Writer};

/// Where the bus listens when the environment does not say.
const SOCKET: &str = "/run/dbus/system_bus_socket";
/// Says where, in the bus' own notation.
const ADDRESS_VARIABLE: &str = "DBUS_SYSTEM_BUS_ADDRESS";
/// Longest answer of the authentication.
const LINE_MAX: usize = 256;
/// Most messages that are read in one conversation; a match lets only few in.
const MESSAGES_MAX: usize = 4096;

/// A conversation with systemd that failed.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// There is no bus, or it does not let us in.
    #[error("cannot talk to the system bus at {path}: is D-Bus running?")]
    Connect {
        /// Its socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It broke off, or did not answer in time.
    #[error("systemd did not answer to {call}")]
    Talk {
        /// The method.
        call: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// systemd says no.
    #[error("systemd refuses {call}: {message} ({name})")]
    Refused {
        /// The method.
        call: &'static str,
        /// The error's name on the bus.
        name: String,
        /// The error's text.
        message: String,
    },
    /// The job ended with another result than `done`.
    #[error("systemd could not start {unit}: {result}; `systemctl status {unit}` may say why")]
    Job {
        /// The unit.
        unit: String,
        /// systemd's word.
        result: String,
    },
}

impl BusError {
    /// Whether systemd refused with the error of this name.
    pub(super) fn is(&self, error: &str) -> bool {
        matches!(self, Self::Refused { name, .. } if name == error)
    }
}

/// An authenticated connection that has its name.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    deadline: Instant,
    serial: u32,
    received: Vec<u8>,
    messages: usize,
}

/// Where the system bus listens.
pub(super) fn socket() -> PathBuf {
    let address = std::env::var(ADDRESS_VARIABLE).unwrap_or_default();
    let path = address
        .split([';', ','])
        .find_map(|part| part.strip_prefix("unix:path="));
    PathBuf::from(path.filter(|p| !p.is_empty()).unwrap_or(SOCKET))
}

impl Bus {
    /// Connects and says hello; the whole conversation has to end within `patience`.
    pub fn connect(patience: Duration) -> Result<Self, BusError> {
        let path = socket();
        let deadline = Instant::now() + patience;
        let connected = UnixStream::connect(&path).and_then(|stream| Self::enter(stream, deadline));
        connected.map_err(|source| BusError::Connect { path, source })
    }

    pub(super) fn enter(stream: UnixStream, deadline: Instant) -> io::Result<Self> {
        let mut bus = Self {
            stream,
            deadline,
            serial: 0,
            received: Vec::new(),
            messages: 0,
        };
        let uid = rustix::process::geteuid().as_raw().to_string();
        let uid: String = uid.bytes().map(|digit| format!("{digit:02x}")).collect();
        bus.write(format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n").as_bytes())?;
        let line = bus.line()?;
        if !line.starts_with("OK ") {
            let text = format!("it does not take our credentials: {line}");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        bus.send(&ask_bus("Hello", ""))?;
        Ok(bus)
    }

    /// Asks for the signals that fit `rule`. A refusal is told by the call that follows.
    pub fn listen(&mut self, rule: &str) -> io::Result<()> {
        self.send(&ask_bus("AddMatch", rule)).map(drop)
    }

    /// Sends a call; its number.
    pub fn send(&mut self, call: &Call<'_>) -> io::Result<u32> {
        self.serial += 1;
        let bytes = call.encode(self.serial);
        if bytes.len() > wire::MESSAGE_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.write(&bytes)?;
        Ok(self.serial)
    }

    /// The next message.
    pub fn receive(&mut self) -> io::Result<Message> {
        self.messages += 1;
        if self.messages > MESSAGES_MAX {
            return Err(io::Error::other(
                "the bus sent more messages than any call needs",
            ));
        }
        self.fill(FIXED)?;
        let length = wire::length(&self.received)?;
        self.fill(length)?;
        let message: Vec<u8> = self.received.drain(..length).collect();
        Message::decode(&message)
    }

    /// The next message, if it comes before `until`.
    pub fn receive_until(&mut self, until: Instant) -> io::Result<Option<Message>> {
        let deadline = self.deadline;
        self.deadline = until.min(deadline);
        let message = self.receive();
        self.deadline = deadline;
        match message {
            Err(e) if e.kind() == io::ErrorKind::TimedOut => Ok(None),
            other => other.map(Some),
        }
    }

    /// Sends a call and waits for its answer: the texts in it. Signals that come before it are
    /// given to `signal`.
    pub fn call(
        &mut self,
        name: &'static str,
        call: &Call<'_>,
        mut signal: impl FnMut(Message),
    ) -> Result<Vec<String>, BusError> {
        let talk = |source| BusError::Talk { call: name, source };
        let serial = self.send(call).map_err(talk)?;
        loop {
            let message = self.receive().map_err(talk)?;
            match (message.kind, message.answers) {
                (Kind::Return, Some(answered)) if answered == serial => return Ok(message.texts),
                // What came before the call has no other purpose than the call.
                (Kind::Error, Some(_)) => {
                    return Err(BusError::Refused {
                        call: name,
                        name: message.error,
                        message: message.texts.into_iter().next().unwrap_or_default(),
                    });
                }
                (Kind::Signal, _) => signal(message),
                _ => {}
            }
        }
    }

    fn patience(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(Some(self.patience()?))?;
        self.stream.write_all(bytes).map_err(timed_out)
    }

    /// Reads until `length` bytes are there.
    fn fill(&mut self, length: usize) -> io::Result<()> {
        while self.received.len() < length {
            self.read_more()?;
        }
        Ok(())
    }

    fn read_more(&mut self) -> io::Result<()> {
        self.stream.set_read_timeout(Some(self.patience()?))?;
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.received
                    .extend_from_slice(buffer.get(..count).unwrap_or_default());
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(e) => Err(timed_out(e)),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.received.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.received.len() > LINE_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.read_more()?;
        }
    }
}

/// A socket's own time limit is told as "would block".
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

/// A call to the bus itself, with one text or none.
fn ask_bus<'a>(member: &'a str, text: &str) -> Call<'a> {
    let mut arguments = Writer::default();
    let signature = if text.is_empty() {
        ""
    } else {
        arguments.string(text);
        "s"
    };
    Call {
        destination: "org.freedesktop.DBus",
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus",
        member,
        arguments: (signature, arguments),
    }
}
