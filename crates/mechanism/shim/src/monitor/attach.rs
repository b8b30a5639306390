//! Clients on a terminal: their coming and going, what they see first, and who they are.

use std::io;
use std::os::unix::net::UnixStream;

use berth_shim::protocol::Message;
use berth_shim::{AttachWant, TerminalState};
use berth_sys::rustix::io::Errno;
use berth_types::oci::ConsoleSize;

use super::bus::Bus;
use super::connection::{Attached, State};
use super::control;
use super::session::INIT;

/// Longest announcement in characters.
const ANNOUNCEMENT_MAX: usize = 200;

impl Bus {
    /// Takes in a client that came before the process, which has shown nothing yet.
    pub(super) fn attach_parked(
        &mut self,
        key: u64,
        raw: bool,
        want: AttachWant,
        socket: UnixStream,
    ) {
        self.connect(socket, State::Attached(Attached::new(key, raw, want)));
    }

    /// Turns the connection in `slot` into the container's streams.
    pub(super) fn attach(&mut self, slot: usize, want: AttachWant) {
        let raw = self.session(INIT).is_some_and(|s| s.terminal.is_some());
        let announcement = want.announce.clone();
        let (screen, stdout) = (want.screen, want.stdout);
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        control::answer(connection, &Message::Done(0));
        connection.state = State::Attached(Attached::new(INIT, raw, want));
        if raw && screen && stdout {
            self.redraw(slot);
        }
        if raw {
            self.announce(INIT, Some(slot), &announcement, "");
        }
    }

    /// Sends the client in `slot` what its terminal shows now.
    pub(super) fn redraw(&mut self, slot: usize) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let key = connection.session();
        let session = self.sessions.iter_mut().find(|s| Some(s.key) == key);
        if let Some(terminal) = session.and_then(|session| session.terminal.as_mut()) {
            connection.redraw(&terminal.redraw());
        }
    }

    /// Tells the other clients of a session of one that has come or gone.
    pub(super) fn announce(&mut self, key: u64, who: Option<usize>, text: &str, end: &str) {
        if text.is_empty() {
            return;
        }
        let text: String = text
            .chars()
            .filter(|c| !c.is_control())
            .take(ANNOUNCEMENT_MAX)
            .collect();
        let line = format!("\r\n[{text}{end}]\r\n");
        for (slot, connection) in self.connections.iter_mut().enumerate() {
            if let Some(connection) = connection.as_mut().filter(|_| Some(slot) != who) {
                connection.interject(key, line.as_bytes());
            }
        }
    }

    /// Sets the size of a terminal.
    ///
    /// # Errors
    /// As [`berth_shim::Task::resize`].
    pub(super) fn resize(&mut self, exec: Option<String>, size: ConsoleSize) -> io::Result<()> {
        let session = match exec {
            Some(id) => self.further(&id),
            None => self.session(INIT),
        };
        let session = session.ok_or(Errno::SRCH)?;
        if let Some(further) = &mut session.further
            && further.keep_size(size)
        {
            return Ok(());
        }
        let terminal = session.terminal.as_mut().ok_or(Errno::NOTTY)?;
        terminal.resize(size)
    }

    /// The state of the container's terminal.
    pub(super) fn terminal_state(&mut self) -> Option<TerminalState> {
        let (mut typing, mut watching) = (0, 0);
        for connection in self.connections.iter().flatten().filter(|c| !c.gone) {
            match &connection.state {
                State::Attached(attached) if attached.session != INIT => {}
                State::Attached(attached) if attached.want.stdin => typing += 1,
                State::Attached(_) => watching += 1,
                State::Control(_) => {}
            }
        }
        let terminal = self.session(INIT)?.terminal.as_ref()?;
        terminal.state(typing, watching).ok()
    }

    /// Lets go of the models that no client needs any more.
    pub(super) fn forget_screens(&mut self) {
        for session in &mut self.sessions {
            let mut clients = self.connections.iter().flatten();
            let Some(terminal) = &mut session.terminal else {
                continue;
            };
            if !clients.any(|c| c.is_shown(session.key)) {
                terminal.forget_screen();
            }
        }
    }
}
