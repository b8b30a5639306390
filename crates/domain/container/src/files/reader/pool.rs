//! The engine's side: readers at work, and those that wait for work.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use berth_sys::rustix::event::{PollFd, PollFlags, poll};
use berth_sys::{pidfd, spawn};
use berth_types::task::{Wait, waits};
use serde::de::DeserializeOwned;

use super::{Errand, Failure, HEAD, MESSAGE_MAX, NAME, Request, length_of, receive, send};
use crate::machine;

/// Readers that wait for work.
const IDLE_MAX: usize = 2;
/// How long they wait.
const IDLE: Duration = Duration::from_secs(10);
/// How long a reader may be silent before it is killed. Whoever asked it was answered for before
/// that; if the kernel does not let it die, the thread that asked goes on waiting and keeps its
/// container's share, so that there are no more of them than of those.
const SILENCE: Duration = Duration::from_secs(40);
const SIGKILL: i32 = 9;

/// All readers of an engine. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Readers {
    waiting: Arc<Mutex<Waiting>>,
}

/// Readers that have nothing to do.
#[derive(Default)]
struct Waiting {
    idle: Vec<Idle>,
    /// The engine ends: no more of them are kept.
    is_closed: bool,
}

struct Idle {
    process: Process,
    since: Instant,
}

/// One reader, while somebody asks it.
pub(crate) struct Reader {
    process: Option<Process>,
    readers: Readers,
    /// Whether it has answered all that it was asked, and holds nothing: then another may ask it.
    is_quiet: bool,
}

impl Readers {
    /// One that waits for work, or a new one.
    ///
    /// # Errors
    /// There is no process to be had.
    pub(crate) fn take(&self, errand: Errand) -> io::Result<Reader> {
        // The youngest: the others may come to their end.
        while let Some(process) = self.idle_for(errand) {
            if !process.has_ended() {
                return Ok(self.lend(process));
            }
        }
        Ok(self.lend(Process::spawn(errand)?))
    }

    fn idle_for(&self, errand: Errand) -> Option<Process> {
        let idle = &mut self.lock().idle;
        let fits = |one: &Idle| one.process.errand == errand;
        let found = idle.iter().rposition(fits)?;
        Some(idle.remove(found).process)
    }

    fn lend(&self, process: Process) -> Reader {
        Reader {
            process: Some(process),
            readers: self.clone(),
            is_quiet: true,
        }
    }

    fn give_back(&self, process: Process) {
        let mut waiting = self.lock();
        if waiting.idle.len() < IDLE_MAX && !waiting.is_closed {
            let since = Instant::now();
            waiting.idle.push(Idle { process, since });
            drop(waiting);
            let readers = self.clone();
            machine::spawn(async move {
                tokio::time::sleep(IDLE).await;
                // They end at once: they do nothing.
                machine::blocking(move || drop(readers.idle_since(IDLE)));
            });
        }
    }

    /// Takes those out that have waited for so long.
    fn idle_since(&self, age: Duration) -> Vec<Idle> {
        let mut waiting = self.lock();
        let idle = waiting.idle.drain(..);
        let (old, young) = idle.partition(|one| one.since.elapsed() >= age);
        waiting.idle = young;
        old
    }

    /// Ends those that wait, and keeps none any more. They are reaped when this returns; one that
    /// is being asked ends when its socket does.
    pub fn close(&self) {
        let idle = {
            let mut waiting = self.lock();
            waiting.is_closed = true;
            std::mem::take(&mut waiting.idle)
        };
        drop(idle);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// Asks one thing, with what the question is about.
    ///
    /// # Errors
    /// What the reader says, or that it is gone or silent.
    pub(crate) fn ask<T: DeserializeOwned>(
        &mut self,
        request: &Request,
        root: Option<&OwnedFd>,
    ) -> io::Result<Result<T, Failure>> {
        let _waits = waits(Wait::Files, Some(SILENCE));
        let process = self.process.as_ref().ok_or_else(gone)?;
        self.is_quiet = false;
        let root: Vec<BorrowedFd<'_>> = root.into_iter().map(|root| root.as_fd()).collect();
        send(&process.socket, request, &root)?;
        let answer = process.heard(receive(&process.socket, &mut Vec::new()))?;
        self.is_quiet = !matches!(request, Request::Look { keep: true, .. });
        answer.ok_or_else(gone)
    }

    /// Has it send what it looked at, into `sink`.
    ///
    /// # Errors
    /// The sink fails, or what the reader says, or that it is gone or silent.
    pub(crate) fn fetch(&mut self, mut sink: impl Write) -> io::Result<()> {
        let process = self.process.as_ref().ok_or_else(gone)?;
        self.is_quiet = false;
        send(&process.socket, &Request::Send, &[])?;
        let mut from = BufReader::new(Patient(process));
        let mut piece = Vec::new();
        loop {
            match next(&mut from, &mut piece)? {
                0 => break,
                _ => sink.write_all(&piece)?,
            }
        }
        next(&mut from, &mut piece)?;
        let done: Result<(), Failure> = serde_json::from_slice(&piece)?;
        self.is_quiet = true;
        Ok(done?)
    }
}

/// Reads a piece with its length.
fn next(from: &mut impl Read, piece: &mut Vec<u8>) -> io::Result<usize> {
    let _waits = waits(Wait::Files, Some(SILENCE));
    let mut head = [0; HEAD];
    from.read_exact(&mut head)?;
    let length = length_of(head)?.min(MESSAGE_MAX);
    piece.resize(length, 0);
    from.read_exact(piece)?;
    Ok(length)
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(process) = self.process.take() else {
            return;
        };
        match self.is_quiet {
            true => self.readers.give_back(process),
            // Where it hangs, on the thread that asked, which has its share for so long.
            false => drop(process),
        }
    }
}

fn gone() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the process that reads the files has ended",
    )
}

/// A reader's process. Dropped, it is killed and reaped, however long that takes.
struct Process {
    errand: Errand,
    socket: UnixStream,
    process: OwnedFd,
}

impl Process {
    fn spawn(errand: Errand) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_read_timeout(Some(SILENCE))?;
        // What runs, whatever has taken its place on the disk since.
        let program = File::open("/proc/self/exe")?;
        let spawned = spawn::spawn(program.as_fd(), NAME, errand.name().as_ref(), theirs.into())?;
        Ok(Self {
            errand,
            socket,
            process: spawned.pidfd,
        })
    }

    fn has_ended(&self) -> bool {
        !matches!(pidfd::try_wait(self.process.as_fd()), Ok(None))
    }

    /// What came of reading. Where nothing came in time the process is killed, and waited for until
    /// the kernel lets it die.
    fn heard<T>(&self, read: io::Result<T>) -> io::Result<T> {
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let _ = pidfd::send_signal(&self.process, SIGKILL);
                wait(&self.process);
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!(
                        "its file system did not answer within {} s",
                        SILENCE.as_secs()
                    ),
                ))
            }
            done => done,
        }
    }
}

/// What a process says, read with patience.
struct Patient<'a>(&'a Process);

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut socket = &self.0.socket;
        self.0.heard(socket.read(buffer))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = pidfd::send_signal(&self.process, SIGKILL);
        wait(&self.process);
        let _ = pidfd::try_wait(self.process.as_fd());
    }
}

/// Waits until a process is dead.
fn wait(process: &OwnedFd) {
    let _waits = waits(Wait::Files, None);
    let mut ended = [PollFd::new(process, PollFlags::IN)];
    while poll(&mut ended, None).is_err() {}
}
