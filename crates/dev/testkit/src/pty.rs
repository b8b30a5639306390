//! A client at a terminal of its own, driven by the test: what it shows is expected, what a person
//! would type is sent.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use berth_sys::rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use berth_sys::rustix::termios::{Winsize, tcsetwinsize};

use crate::command::{CLIENT_LIMIT, shown};
use crate::wait::try_until;

/// Bytes read from the terminal at once.
const READ: usize = 4096;
/// How long output may come behind the end of the client.
const OUTPUT_LIMIT: Duration = Duration::from_secs(10);

/// A command on a terminal. Dropping it kills the command.
#[derive(Debug)]
pub struct Terminal {
    command: String,
    child: Child,
    master: File,
    pieces: Receiver<Vec<u8>>,
    /// What was shown and not expected yet.
    shown: Vec<u8>,
    /// Everything that was shown, for messages.
    all: Vec<u8>,
}

impl Terminal {
    /// Starts `command` as the leader of a session on a terminal of this size.
    #[track_caller]
    pub(crate) fn start(command: &Command, rows: u16, columns: u16) -> Self {
        let text = shown(command);
        let opened = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(opened).expect("a terminal can be made");
        grantpt(&master).expect("the terminal is ours");
        unlockpt(&master).expect("the terminal is ours");
        let peer = ioctl_tiocgptpeer(&master, opened).expect("the terminal has an other side");
        let master = File::from(master);
        set_size(&master, rows, columns);
        // Makes the session and takes the terminal; without a fork, for it leads no group yet.
        let mut leader = Command::new("setsid");
        leader
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => leader.env(name, value),
                None => leader.env_remove(name),
            };
        }
        leader.env("TERM", "xterm");
        let side = || Stdio::from(peer.try_clone().expect("a descriptor can be duplicated"));
        let spawned = leader.stdin(side()).stdout(side()).stderr(side()).spawn();
        let child = match spawned {
            Ok(child) => child,
            Err(error) => panic!("setsid (package util-linux) cannot start `{text}`: {error}"),
        };
        let reader = master.try_clone().expect("a descriptor can be duplicated");
        Self {
            command: text,
            child,
            pieces: read(reader),
            master,
            shown: Vec::new(),
            all: Vec::new(),
        }
    }

    /// Waits until the terminal shows `text`, behind what was expected before, and returns all up
    /// to there, `text` included.
    ///
    /// # Panics
    /// When it does not, for as long as any client may take or until the command ends.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        match self.look_for(text, CLIENT_LIMIT) {
            Ok(head) => head,
            Err(why) => panic!(
                "`{}` {} without showing {text:?}; all it showed: {:?}",
                self.command,
                match why {
                    RecvTimeoutError::Timeout => "went on",
                    RecvTimeoutError::Disconnected => "ended",
                },
                String::from_utf8_lossy(&self.all)
            ),
        }
    }

    /// Whether the terminal shows `text` within `limit`; then as [`Terminal::expect`].
    pub fn shows(&mut self, text: &str, limit: Duration) -> bool {
        self.look_for(text, limit).is_ok()
    }

    fn look_for(&mut self, text: &str, limit: Duration) -> Result<String, RecvTimeoutError> {
        let end = Instant::now() + limit;
        loop {
            if let Some(at) = find(&self.shown, text.as_bytes()) {
                let head: Vec<u8> = self.shown.drain(..at + text.len()).collect();
                return Ok(String::from_utf8_lossy(&head).into_owned());
            }
            let left = end.saturating_duration_since(Instant::now());
            let piece = self.pieces.recv_timeout(left)?;
            self.take(&piece);
        }
    }

    /// Types `text`; `\r` is the return key.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.master
            .write_all(text.as_bytes())
            .expect("the terminal is open");
    }

    /// Changes the size of the terminal, which its programs are told by a signal.
    pub fn resize(&self, rows: u16, columns: u16) {
        set_size(&self.master, rows, columns);
    }

    /// The process id of the command.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of the command: its exit status (128+n after signal n), and what the
    /// terminal showed that was not expected.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn finish(mut self) -> (i32, String) {
        let Some(status) = try_until(CLIENT_LIMIT, || self.child.try_wait().transpose()) else {
            self.drain(Duration::ZERO);
            panic!(
                "`{}` did not end within {} s; it showed {:?}",
                self.command,
                CLIENT_LIMIT.as_secs(),
                String::from_utf8_lossy(&self.all)
            );
        };
        let status = status.expect("a child of ours can be waited for");
        self.drain(OUTPUT_LIMIT);
        let code = status.code().or(status.signal().map(|n| 128 + n));
        let rest = String::from_utf8_lossy(&self.shown).into_owned();
        (code.unwrap_or(-1), rest)
    }

    fn drain(&mut self, limit: Duration) {
        let end = Instant::now() + limit;
        let left = || end.saturating_duration_since(Instant::now());
        while let Ok(piece) = self.pieces.recv_timeout(left()) {
            self.take(&piece);
        }
    }

    fn take(&mut self, piece: &[u8]) {
        self.shown.extend_from_slice(piece);
        self.all.extend_from_slice(piece);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only when the child has been reaped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_size(terminal: impl AsFd, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).expect("the terminal is open");
}

/// Reads on a thread of its own. A terminal whose other side is closed reads as an error.
fn read(mut terminal: File) -> Receiver<Vec<u8>> {
    let (sender, pieces) = channel();
    std::thread::spawn(move || {
        let mut buffer = vec![0; READ];
        while let Ok(n @ 1..) = terminal.read(&mut buffer) {
            if sender.send(buffer[..n].to_vec()).is_err() {
                break;
            }
        }
    });
    pieces
}

fn find(within: &[u8], text: &[u8]) -> Option<usize> {
    within.windows(text.len()).position(|part| part == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_is_talked_to_and_told_its_size() {
        let mut command = Command::new("/bin/sh");
        command.args([
            "-c",
            "stty size; read line; echo \"got $line\"; stty size; exit 3",
        ]);
        let mut terminal = Terminal::start(&command, 11, 22);
        terminal.expect("11 22");
        terminal.resize(33, 44);
        terminal.send("word\r");
        terminal.expect("got word");
        let (status, rest) = terminal.finish();
        assert_eq!((status, rest.trim()), (3, "33 44"));
    }

    #[test]
    fn a_terminal_of_its_own_has_its_keys() {
        let mut command = Command::new("/bin/sh");
        command.args([
            "-c",
            "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 1; done",
        ]);
        let mut terminal = Terminal::start(&command, 24, 80);
        terminal.expect("ready");
        terminal.send("\x03");
        terminal.expect("caught");
        assert_eq!(terminal.finish().0, 5);
    }
}
