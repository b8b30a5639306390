//! A terminal as its monitor keeps it: the size, what was written last, and when.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use berth_shim::TerminalState;
use berth_sys::pty;
use berth_sys::rustix::io::ioctl_fionbio;
use berth_types::Timestamp;
use berth_types::oci::ConsoleSize;

use super::input::Input;
use super::screen::Screen;
use super::session::{self, Output, Session};

/// How much of the newest output is kept for a screen that nobody has asked for yet.
const RECENT_MAX: usize = 16 << 10;

/// One terminal.
pub struct Terminal {
    master: OwnedFd,
    /// Keeps the terminal from hanging up while no process of the container has it open: the init
    /// may close it and open `/dev/console` later.
    _kept: Option<OwnedFd>,
    recent: VecDeque<u8>,
    screen: Option<Screen>,
    input: Timestamp,
    output: Timestamp,
}

impl Terminal {
    fn new(master: OwnedFd, keep: bool) -> io::Result<Self> {
        let kept = keep.then(|| pty::peer(&master)).transpose()?;
        Ok(Self {
            master,
            _kept: kept,
            recent: VecDeque::new(),
            screen: None,
            input: Timestamp::NEVER,
            output: Timestamp::NEVER,
        })
    }

    /// A client has typed.
    pub fn note_input(&mut self) {
        self.input = Timestamp::now();
    }

    /// A program has written.
    pub fn note_output(&mut self, data: &[u8], at: Timestamp) {
        self.output = at;
        let newest = data
            .get(data.len().saturating_sub(RECENT_MAX)..)
            .unwrap_or(data);
        let excess = (self.recent.len() + newest.len()).saturating_sub(RECENT_MAX);
        self.recent.drain(..excess);
        self.recent.extend(newest);
        if let Some(screen) = &mut self.screen {
            screen.feed(data);
        }
    }

    /// What makes another terminal show the same as this one. From here on a model is kept.
    pub fn redraw(&mut self) -> Vec<u8> {
        let size = pty::size(&self.master).unwrap_or_default();
        let recent = &self.recent;
        let screen = self.screen.get_or_insert_with(|| Screen::new(size, recent));
        screen.redraw()
    }

    /// Nobody needs the model for now.
    pub fn forget_screen(&mut self) {
        self.screen = None;
    }

    /// Changes the size, and tells the foreground processes.
    pub fn resize(&mut self, size: ConsoleSize) -> io::Result<()> {
        pty::set_size(&self.master, size)?;
        if let Some(screen) = &mut self.screen {
            screen.resize(size);
        }
        Ok(())
    }

    /// What is known of it; who is on it is counted elsewhere.
    pub fn state(&self, typing: u32, watching: u32) -> io::Result<TerminalState> {
        Ok(TerminalState {
            size: pty::size(&self.master)?,
            input: self.input,
            output: self.output,
            typing,
            watching,
        })
    }
}

impl Session {
    /// Gives the session its terminal. `keep`: it must not hang up while the process lives.
    pub fn set_terminal(&mut self, master: OwnedFd, keep: bool) -> io::Result<()> {
        ioctl_fionbio(&master, true)?;
        self.input = Input::terminal(session::second(&master)?);
        let [Output { source, .. }, _] = &mut self.outputs;
        *source = Some(session::second(&master)?);
        self.terminal = Some(Terminal::new(master, keep)?);
        Ok(())
    }
}
