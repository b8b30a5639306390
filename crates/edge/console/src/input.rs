//! Standard input, piece by piece.
//!
//! It is read on a thread of its own: it may be a file or a pipe, which an event loop cannot watch
//! without changing the description that other programs share. The thread waits for input and for
//! a pipe whose other end is [`Keyboard`]; so it ends with it, and takes no key from whatever
//! reads the terminal next.

use std::os::fd::OwnedFd;

use berth_sys::rustix::event::{PollFd, PollFlags, poll};
use berth_sys::rustix::io::{Errno, read};
use berth_sys::rustix::pipe::{PipeFlags, pipe_with};
use berth_sys::rustix::stdio::stdin;
use tokio::sync::mpsc;

use crate::error::ConsoleError;

/// How much is read at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// How many pieces may wait for a container that does not read.
const WAITING_MAX: usize = 16;

/// What the user types, or what a file holds.
pub(crate) struct Keyboard {
    pieces: mpsc::Receiver<Vec<u8>>,
    /// Its closing ends the thread.
    _open: OwnedFd,
}

impl Keyboard {
    /// Begins to read.
    pub(crate) fn open() -> Result<Self, ConsoleError> {
        let (closed, open) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|e| ConsoleError::Input { source: e.into() })?;
        let (sender, pieces) = mpsc::channel(WAITING_MAX);
        std::thread::spawn(move || read_all(&closed, &sender));
        Ok(Self {
            pieces,
            _open: open,
        })
    }

    /// The next piece; `None` at the end, also where standard input cannot be read.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        self.pieces.recv().await
    }
}

fn read_all(closed: &OwnedFd, sender: &mpsc::Sender<Vec<u8>>) {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let mut watched = [
            PollFd::from_borrowed_fd(stdin(), PollFlags::IN),
            PollFd::new(closed, PollFlags::IN),
        ];
        match poll(&mut watched, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => return,
        }
        let [input, closed] = &watched;
        if !closed.revents().is_empty() {
            return;
        }
        if input.revents().is_empty() {
            continue;
        }
        match read(stdin(), &mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                let piece = buffer.get(..length).unwrap_or_default().to_vec();
                if sender.blocking_send(piece).is_err() {
                    return;
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return,
        }
    }
}
